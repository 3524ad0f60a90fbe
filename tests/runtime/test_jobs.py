"""Jobs: shared by key, cancelled by interest, short work before long work, and nothing waits for ever."""

import faulthandler
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from core.errors import JobCancelled
from core.runtime.jobs import Job, JobControl, JobPool, current_control, default_pool, running
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored
from core.runtime.turns import Turns
from tests.helpers.progress import Heard

PROJECT = Path(__file__).resolve().parents[2]
SOON = 10


@pytest.fixture(autouse=True)
def fail_when_hanging():
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def wait_until(condition) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


class Blocker:
    """Work that holds its turn until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, control: JobControl) -> str:
        self.started.set()
        assert self.let_go.wait(SOON)
        return "blocker"


@pytest.fixture
def blocker():
    blocker = Blocker()
    yield blocker
    blocker.let_go.set()


def occupy(pool: JobPool, blocker: Blocker) -> Job[str]:
    job = pool.submit("blocker", blocker)
    assert blocker.started.wait(SOON)
    return job


def until_cancelled(control: JobControl) -> None:
    while True:
        control.checkpoint()
        time.sleep(0.001)


# Sharing


def test_thirty_threads_share_one_run(blocker):
    pool = JobPool()
    runs = []

    def work(control):
        runs.append(1)
        return blocker(control)

    def ask(n):
        return pool.submit("same", work, viewer=str(n))

    with ThreadPoolExecutor(30) as threads:
        jobs = list(threads.map(ask, range(30)))
        blocker.let_go.set()
        assert set(threads.map(lambda job: job.result(SOON), jobs)) == {"blocker"}
    assert len({id(job) for job in jobs}) == 1
    assert runs == [1]
    assert jobs[0].state == "done"


def test_a_queued_job_is_shared_and_runs_once(blocker):
    pool = JobPool()
    occupy(pool, blocker)
    runs = []
    jobs = [pool.submit("queued", lambda _: runs.append(1)) for _ in range(5)]
    assert {job.state for job in jobs} == {"queued"}
    blocker.let_go.set()
    for job in jobs:
        job.result(SOON)
    time.sleep(0.05)
    assert runs == [1]


def test_a_finished_job_can_be_picked_up_until_it_is_forgotten():
    pool = JobPool(keep_finished=3)
    jobs = [pool.submit(str(n), lambda _, n=n: n) for n in range(6)]
    assert [job.result(SOON) for job in jobs] == list(range(6))
    assert pool.submit("5", lambda _: "computed again").result(SOON) == 5
    wait_until(lambda: pool.get("0") is None)
    kept = [n for n in range(6) if pool.get(str(n)) is not None]
    assert kept == [3, 4, 5]
    assert pool.submit("0", lambda _: "computed again").result(SOON) == "computed again"


def test_finished_jobs_are_forgotten_in_time():
    pool = JobPool(keep_seconds=0.05)
    pool.submit("a", lambda _: 1).result(SOON)
    time.sleep(0.1)
    assert pool.get("a") is None


def test_one_job_computes_at_a_time():
    pool = JobPool()
    inside = []
    most = []

    def work(control):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)
        control.checkpoint()
        inside.pop()

    for job in [pool.submit(str(n), work) for n in range(20)]:
        job.result(SOON)
    assert max(most) == 1


def test_two_workers_compute_two_at_a_time():
    pool = JobPool(workers=2)
    together = threading.Barrier(2)
    jobs = [pool.submit(str(n), lambda _: together.wait(SOON)) for n in range(2)]
    assert sorted(job.result(SOON) for job in jobs) == [0, 1]


# Progress


def test_progress_partial_results_and_time_left():
    pool = JobPool()
    step, seen = threading.Semaphore(0), threading.Semaphore(0)

    def work(control):
        for n in range(5):
            control.progress(n / 4, f"step {n}")
            control.partial(list(range(n)))
            seen.release()
            assert step.acquire(timeout=SOON)
        return "all"

    job = pool.submit("progress", work)
    assert seen.acquire(timeout=SOON)
    assert (job.state, job.fraction, job.message, job.partial_value) == ("running", 0.0, "step 0", [])
    assert job.eta_seconds is None
    time.sleep(0.2)
    step.release()
    assert seen.acquire(timeout=SOON)
    assert (job.fraction, job.message, job.partial_value) == (0.25, "step 1", [0])
    assert 0.3 < job.eta_seconds <= 0.2 * 3 * 2
    for _ in range(4):
        step.release()
    assert job.result(SOON) == "all"
    assert (job.state, job.fraction, job.eta_seconds) == ("done", 1.0, None)


def timed_job(monkeypatch, expected=math.inf):
    """A job that nothing runs, and the clock that it goes by."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    job = Job(JobPool(), "timed", lambda control: None, False, 0, Turns(1, 1.0), expected)
    return job, clock


def test_time_in_line_and_a_step_that_never_ends_say_nothing_of_the_time_left(monkeypatch):
    job, clock = timed_job(monkeypatch)
    job.report(0.0, "begun")
    clock[0] += 10
    job.report(0.25, "on")
    assert job.eta_seconds == pytest.approx(30)
    with job.standing_in_line():
        assert job.in_line
        clock[0] += 600
        assert job.eta_seconds == pytest.approx(30), "its clock stands still"
    assert not job.in_line
    clock[0] += 10
    job.report(0.5, "on")
    assert job.eta_seconds == pytest.approx(20)
    clock[0] += 20
    assert job.eta_seconds == 0
    clock[0] += 20
    assert job.eta_seconds is None, "whatever it does takes longer than all before, and how long is not known"


def test_what_is_made_ready_before_the_first_step_is_no_step(monkeypatch):
    job, clock = timed_job(monkeypatch)
    job.report(0.0, "made ready")
    clock[0] += 60
    job.report(0.0, "the first step")
    clock[0] += 1
    job.report(0.1, "on")
    assert job.eta_seconds == pytest.approx(9)


def test_what_is_at_hand_already_says_nothing_of_the_time_left(monkeypatch):
    job, clock = timed_job(monkeypatch, 600.0)
    job.report(0.0, "begun")
    for done in (0.2, 0.25, 0.6):
        clock[0] += 0.05
        job.report(done, "kept from before")
    assert job.eta_seconds == pytest.approx(240), "as was expected of what is left"
    clock[0] += 63
    job.report(0.65, "the first that is measured now")
    assert job.eta_seconds == pytest.approx(0.35 * 63 / 0.05)
    clock[0] += 0.01
    job.report(0.8, "kept from before")
    assert job.eta_seconds == pytest.approx(0.2 * 63 / 0.05)
    clock[0] += 37
    job.report(0.85, "on")
    assert job.eta_seconds == pytest.approx(0.15 * 100 / 0.1)


def test_what_was_expected_is_counted_down_and_once_it_has_passed_nothing_is_said(monkeypatch):
    job, clock = timed_job(monkeypatch, 60.0)
    assert job.eta_seconds == pytest.approx(60), "it waits, and has not begun"
    clock[0] += 100
    assert job.eta_seconds == pytest.approx(60)
    job.execute(None)
    clock[0] += 20
    assert job.eta_seconds == pytest.approx(40)
    job.report(0.5, "work of which half is kept")
    clock[0] += 25
    assert job.eta_seconds == pytest.approx(5)
    clock[0] += 8
    assert job.eta_seconds == 0
    clock[0] += 8
    assert job.eta_seconds is None


def test_steps_that_take_unequal_times_are_told_by_what_they_take():
    pool, seen = JobPool(), []

    def work(control):
        for step in range(3):
            with control.part(step, (6.0, 0.0, 2.0), f"step {step}"):
                seen.append(pool.get("unequal").fraction)
                with control.part(1, 2):
                    control.progress(0.5, "inside")
                seen.append(pool.get("unequal").fraction)
        with control.part(0, (0.0, 0.0)):
            control.progress(1.0, "nothing takes any time")
        seen.append(pool.get("unequal").fraction)

    pool.submit("unequal", work).result(SOON)
    assert seen == pytest.approx([0, 0.75 * 0.75, 0.75, 0.75, 0.75, 0.75 + 0.25 * 0.75, 0])


def test_resumed_work_does_not_count_old_work_in_its_pace():
    pool = JobPool()
    reported, end = threading.Event(), threading.Event()

    def work(control):
        control.progress(0.8, "resumed")
        time.sleep(0.2)
        control.progress(0.9, "on")
        reported.set()
        assert end.wait(SOON)

    job = pool.submit("resumed", work)
    assert reported.wait(SOON)
    assert 0.1 < job.eta_seconds < 0.5
    end.set()
    job.result(SOON)


def test_fractions_stay_between_0_and_1():
    pool = JobPool()
    seen = []

    def work(control):
        for fraction in (-1, 2):
            control.progress(fraction)
            seen.append(pool.get("f").fraction)

    pool.submit("f", work).result(SOON)
    assert seen == [0.0, 1.0]


# Failure


def test_a_failure_reaches_everybody_and_the_next_submit_tries_again():
    pool = JobPool()

    def fail(control):
        raise ZeroDivisionError("by design")

    job = pool.submit("fails", fail)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="by design"):
            job.result(SOON)
    assert job.state == "failed"
    assert isinstance(job.error, ZeroDivisionError)
    assert pool.submit("fails", lambda _: "fine now").result(SOON) == "fine now"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, JobCancelled])
def test_whatever_is_raised_the_turn_comes_back(error):
    pool = JobPool()

    def fail(control):
        raise error

    job = pool.submit("fails", fail)
    with pytest.raises(error):
        job.result(SOON)
    assert job.state == "failed"
    assert pool.submit("next", lambda _: 1).result(SOON) == 1


def test_a_failed_job_holds_no_memory_of_its_work():
    import weakref

    class Activation:
        pass

    references = []

    def fail(control):
        activation = Activation()
        references.append(weakref.ref(activation))
        raise ZeroDivisionError

    job = JobPool().submit("fails", fail)
    with pytest.raises(ZeroDivisionError):
        job.result(SOON)
    assert references[0]() is None


def test_result_waits_no_longer_than_asked(blocker):
    pool = JobPool()
    job = occupy(pool, blocker)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="blocker"):
        job.result(0.05)
    assert time.monotonic() - started < 1
    assert job.state == "running"
    blocker.let_go.set()
    assert job.result(SOON) == "blocker"


# Cancelling


def test_a_running_job_stops_at_its_next_checkpoint():
    pool = JobPool()
    job = pool.submit("long", until_cancelled, background=True)
    wait_until(lambda: job.state == "running")
    assert job.cancel()
    with pytest.raises(JobCancelled, match="start it again"):
        job.result(SOON)
    assert job.state == "cancelled"
    assert pool.submit("next", lambda _: 1).result(SOON) == 1


def test_a_queued_job_is_cancelled_without_running(blocker):
    pool = JobPool()
    occupy(pool, blocker)
    ran = []
    job = pool.submit("queued", lambda _: ran.append(1))
    assert job.cancel()
    with pytest.raises(JobCancelled):
        job.result(SOON)
    assert job.state == "cancelled"
    assert ran == []


def test_a_job_goes_on_while_anybody_wants_it():
    pool = JobPool()
    job = pool.submit("long", until_cancelled, viewer="ada", background=True)
    assert pool.submit("long", until_cancelled, viewer="bob", background=True) is job
    assert not job.cancel("ada")
    assert not job.cancel("ada")
    assert not job.cancel("somebody else")
    time.sleep(0.03)
    assert job.state == "running"
    assert job.cancel("bob")
    with pytest.raises(JobCancelled):
        job.result(SOON)


def test_a_job_that_is_stopping_is_not_shared(blocker):
    pool = JobPool()
    first = occupy(pool, blocker)
    assert first.cancel()
    second = pool.submit("blocker", lambda _: "fresh")
    assert second is not first
    blocker.let_go.set()
    assert second.result(SOON) == "fresh"
    assert pool.get("blocker") is second


def test_cancelling_after_the_end_changes_nothing():
    job = JobPool().submit("a", lambda _: 1)
    assert job.result(SOON) == 1
    assert not job.cancel()
    assert job.state == "done"
    assert job.result() == 1


# Short work before long work


def test_interactive_work_does_not_wait_for_the_end_of_background_work():
    pool = JobPool()
    steps = []

    def long(control):
        for n in range(200):
            control.checkpoint()
            time.sleep(0.005)
            steps.append(n)
        return "long"

    job = pool.submit("long", long, background=True)
    wait_until(lambda: len(steps) > 2)
    waits = []
    for n in range(10):
        before = len(steps)
        # Counted when the short job runs, not when this thread is woken: a busy machine may let that wait.
        waits.append(pool.submit(f"short {n}", lambda _: len(steps)).result(SOON) - before)
    assert min(waits) <= 2
    assert job.state == "running"
    assert job.result(SOON) == "long"
    assert steps == list(range(200))


def test_interactive_work_overtakes_queued_background_work(blocker):
    pool = JobPool()
    occupy(pool, blocker)
    order = []

    def submit(name, background):
        return pool.submit(name, lambda _: order.append(name), background=background)

    jobs = [submit("b1", True), submit("i1", False), submit("b2", True), submit("i2", False), submit("b3", True)]
    submit("b3", False)
    blocker.let_go.set()
    for job in jobs:
        job.result(SOON)
    assert order == ["i1", "i2", "b3", "b1", "b2"]


def test_background_work_is_finished_in_order():
    pool = JobPool()
    order = []

    def work(control):
        for _ in range(5):
            control.checkpoint()
            time.sleep(0.002)
            order.append(threading.current_thread().name)

    jobs = [pool.submit(name, work, background=True) for name in ("a", "b")]
    for n in range(5):
        pool.submit(str(n), lambda _: None).result(SOON)
    for job in jobs:
        job.result(SOON)
    assert order == ["job a"] * 5 + ["job b"] * 5


def test_background_work_goes_on_while_interactive_work_waits(blocker):
    pool = JobPool(per_person=1000, patience=0.03)
    occupy(pool, blocker)
    steps = []

    def long(control):
        for n in range(3):
            control.checkpoint()
            steps.append(n)

    job = pool.submit("long", long, background=True)
    shorts = [pool.submit(str(n), lambda _: time.sleep(0.003)) for n in range(150)]
    blocker.let_go.set()
    job.result(SOON)
    assert shorts[-1].state == "queued"
    for short in shorts:
        short.result(SOON)


def test_queued_background_work_does_not_slip_in_before_interactive_work():
    pool = JobPool(patience=0.02)
    steps, order = [], []

    def long(control):
        for n in range(60):
            control.checkpoint()
            steps.append(n)
            time.sleep(0.005)

    first = pool.submit("first", long, background=True)
    second = pool.submit("second", lambda _: order.append("second"), background=True)
    wait_until(lambda: len(steps) > 10)
    pool.submit("short", lambda _: order.append("short")).result(SOON)
    assert first.state == "running"
    first.result(SOON)
    second.result(SOON)
    assert order == ["short", "second"]


def test_nobody_is_refused_and_everybody_has_a_place(blocker):
    pool = JobPool(per_person=3)
    occupy(pool, blocker)
    jobs = [pool.submit(str(n), lambda _, n=n: n, viewer="ada") for n in range(200)]
    threads = sum(thread.name.startswith("job ") for thread in threading.enumerate())
    assert threads <= 1 + 3, "what is held has no thread"
    wait_until(lambda: pool.place(jobs[2]) == 2)
    assert [pool.place(job) for job in jobs[:5]] == [0, 1, 2, 3, 4] and pool.place(jobs[199]) == 199
    assert pool.submit("150", lambda _: "shared", viewer="bob") is jobs[150]
    assert jobs[100].cancel("ada") and jobs[100].state == "cancelled"
    with pytest.raises(JobCancelled):
        jobs[100].result(SOON)
    other = pool.submit("of another person", lambda _: "not behind the 200", viewer="bob")
    blocker.let_go.set()
    assert other.result(SOON) == "not behind the 200"
    assert [job.result(SOON) for n, job in enumerate(jobs) if n != 100] == [n for n in range(200) if n != 100]
    assert pool.place(jobs[0]) == 0
    wait_until(lambda: not pool._in_line)


def test_windows_of_one_person_are_one_person(blocker):
    pool = JobPool(per_person=2)
    occupy(pool, blocker)
    jobs = [pool.submit(str(n), lambda _, n=n: n, viewer=f"window {n}", person="ada") for n in range(6)]
    assert sum(thread.name.startswith("job ") for thread in threading.enumerate()) <= 3
    assert jobs[0].people == frozenset({"ada"})
    blocker.let_go.set()
    assert [job.result(SOON) for job in jobs] == list(range(6))


# Whose turn it is


def busy_for(seconds, step=0.01):
    """Work of many short steps."""

    def work(control):
        end = time.monotonic() + seconds
        spent = 0.0
        while spent < seconds:
            begin = time.monotonic()
            time.sleep(step)
            spent += time.monotonic() - begin
            control.progress(min(1.0, spent / seconds))
            control.checkpoint()
        return end

    return work


def test_a_small_job_is_done_at_once_however_much_one_person_has_queued():
    pool = JobPool()
    long = [pool.submit(f"long {n}", busy_for(60), viewer=f"tab {n}", person="greedy") for n in range(20)]
    time.sleep(2.5)
    for n in range(3):
        begin = time.monotonic()
        pool.submit(f"small {n}", busy_for(0.2), viewer=f"bystander {n}").result(SOON)
        assert time.monotonic() - begin < 1.5
    for n, job in enumerate(long):
        job.cancel(f"tab {n}")
    for job in long:
        with pytest.raises(JobCancelled):
            job.result(SOON)


def test_work_that_is_known_to_be_short_goes_before_work_that_is_known_to_be_long(blocker):
    """Whoever asks: twenty strangers with a long link each are twenty people who have had nothing yet."""
    pool = JobPool()
    occupy(pool, blocker)
    order = []
    long = [
        pool.submit(f"long {n}", lambda _, n=n: order.append(n), viewer=str(n), seconds=1000 + n) for n in reversed(range(20))
    ]
    small = pool.submit("small", lambda _: order.append("small"), viewer="bystander", seconds=0.5)
    wait_until(lambda: pool.place(long[0]) == 20)
    assert pool.place(small) == 0
    blocker.let_go.set()
    for job in long:
        job.result(SOON)
    assert order == ["small", *range(20)]


def test_equals_are_done_one_after_the_other_and_not_all_at_the_end():
    pool = JobPool()
    ends = []

    def work(control, n):
        busy_for(0.15)(control)
        ends.append(n)

    jobs = [pool.submit(str(n), lambda control, n=n: work(control, n), viewer=str(n)) for n in range(6)]
    jobs[0].result(SOON)
    assert ends == [0] and jobs[5].state == "queued"
    for job in jobs:
        job.result(SOON)
    assert ends == list(range(6))


def test_long_work_is_never_starved():
    pool = JobPool(patience=0.3)
    steps = []

    def long(control):
        for n in range(4):
            steps.append(n)
            time.sleep(0.11)
            control.checkpoint()

    job = pool.submit("long", long, viewer="ada", seconds=1000)
    end = time.monotonic() + SOON
    n = 0
    while not job.finished and time.monotonic() < end:
        pool.submit(f"short {n}", lambda _: time.sleep(0.02), viewer=f"crowd {n}", seconds=0.02)
        n += 1
        time.sleep(0.015)
    assert job.finished and steps == [0, 1, 2, 3]


# Who has gone


def test_what_nobody_present_wants_is_dropped_and_what_somebody_wants_goes_on(blocker):
    pool = JobPool()
    present = {"ada", "bob"}
    pool.watch_presence(lambda viewer: viewer in present, grace=0.2, every=0.02)
    running_job = pool.submit("running", until_cancelled, viewer="ada")
    queued = pool.submit("queued", lambda _: 1, viewer="ada")
    shared = pool.submit("shared", until_cancelled, viewer="ada")
    pool.submit("shared", until_cancelled, viewer="bob")
    wait_until(lambda: running_job.state == "running")
    present.discard("ada")
    time.sleep(0.1)
    present.add("ada")
    time.sleep(0.3)
    assert not running_job.finished and not queued.finished, "a reload, or a connection lost for a moment, keeps it"
    present.discard("ada")
    for job in (running_job, queued):
        with pytest.raises(JobCancelled):
            job.result(SOON)
    wait_until(lambda: shared.state == "running")
    assert list(shared.viewers) == ["bob"]
    present.clear()
    with pytest.raises(JobCancelled):
        shared.result(SOON)


# Work that waits for other work


def test_a_job_that_waits_for_another_gives_it_the_turn():
    pool = JobPool()
    outer = pool.submit("outer", lambda _: pool.submit("inner", lambda _: 20).result(SOON) + 1)
    assert outer.result(SOON) == 21


def test_a_job_that_waits_can_be_cancelled():
    pool = JobPool()
    inner = pool.submit("inner", until_cancelled, background=True)
    outer = pool.submit("outer", lambda _: inner.result())
    wait_until(lambda: outer.state == "running")
    outer.cancel()
    with pytest.raises(JobCancelled):
        outer.result(SOON)
    assert outer.state == "cancelled"
    assert inner.state == "running"
    inner.cancel()


def test_a_stored_result_wanted_by_a_short_job_while_a_long_one_computes_it(tmp_path):
    """The short job gets the turn at the long one's checkpoint, then needs the result that the long one computes."""
    pool, store, key = JobPool(), Store(tmp_path), result_key("shared")
    computing, asked = threading.Event(), threading.Event()

    def compute():
        computing.set()
        assert asked.wait(SOON)
        for _ in range(20):
            current_control().checkpoint()
            time.sleep(0.002)
        return Stored({}, {"by": "long"})

    def fail():
        raise AssertionError("it is computed already")

    long = pool.submit("long", lambda _: store.get_or_compute(key, compute), background=True)
    assert computing.wait(SOON)
    short = pool.submit("short", lambda _: store.get_or_compute(key, fail))
    asked.set()
    assert short.result(SOON).meta == {"by": "long"}
    assert long.result(SOON).meta == {"by": "long"}


def test_waiting_for_a_stored_result_can_be_cancelled(tmp_path):
    pool, store, key = JobPool(), Store(tmp_path), result_key("shared")
    computing, end = threading.Event(), threading.Event()

    def compute():
        computing.set()
        assert end.wait(SOON)
        return Stored({}, {})

    outside = threading.Thread(target=store.get_or_compute, args=(key, compute))
    outside.start()
    assert computing.wait(SOON)
    job = pool.submit("waits", lambda _: store.get_or_compute(key, compute))
    wait_until(lambda: job.state == "running")
    assert pool.submit("other", lambda _: 1).result(SOON) == 1
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result(SOON)
    end.set()
    outside.join(SOON)
    assert store.get_or_compute(key, compute).meta == {}


def test_a_job_cancelled_between_a_store_lock_and_its_turn_holds_up_nobody(tmp_path, blocker):
    pool, store, key = JobPool(), Store(tmp_path), result_key("shared")
    computing, end = threading.Event(), threading.Event()

    def fail():
        computing.set()
        assert end.wait(SOON)
        raise ZeroDivisionError

    def compute_and_fail():
        with pytest.raises(ZeroDivisionError):
            store.get_or_compute(key, fail)

    outside = threading.Thread(target=compute_and_fail)
    outside.start()
    assert computing.wait(SOON)
    job = pool.submit("waits", lambda _: store.get_or_compute(key, lambda: Stored({}, {"by": "job"})))
    wait_until(lambda: job.state == "running")
    occupy(pool, blocker)
    end.set()
    outside.join(SOON)
    # Long enough for the job to get the lock; the turn, it cannot get.
    time.sleep(0.2)
    answers = []
    following = threading.Thread(
        target=lambda: answers.append(store.get_or_compute(key, lambda: Stored({}, {"by": "next"}))), daemon=True
    )
    following.start()
    time.sleep(0.05)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result(SOON)
    following.join(SOON)
    assert [answer.meta for answer in answers] == [{"by": "next"}]


def test_random_loads_of_nested_cancelled_and_failing_jobs_always_end():
    pool = JobPool(workers=2, per_person=1000, patience=0.01)

    def leaf(control):
        for _ in range(3):
            control.checkpoint()
            time.sleep(0.0005)
        return 1

    def work(control, n):
        control.checkpoint()
        if n % 7 == 0:
            raise ValueError
        inner = pool.submit(f"leaf {n % 5}", leaf, viewer=str(n), background=n % 2 == 0)
        return inner.result(SOON) + 1

    jobs = [pool.submit(str(n), lambda c, n=n: work(c, n), background=n % 3 == 0) for n in range(120)]
    for job in jobs[::4]:
        job.cancel()
    for n, job in enumerate(jobs):
        try:
            assert job.result(SOON) == 2
        except ValueError:
            assert n % 7 == 0
        except JobCancelled:
            assert n % 4 == 0
    # Both turns are free again.
    together = threading.Barrier(2)
    for job in [pool.submit(f"last {n}", lambda _: together.wait(SOON)) for n in range(2)]:
        job.result(SOON)


# Outside a pool


def test_work_runs_without_a_pool():
    control = current_control()
    control.progress(0.5, "half")
    control.partial([1])
    control.raise_if_cancelled()
    control.checkpoint()
    with control.waiting():
        pass


def test_parts_share_out_the_progress_of_the_whole():
    heard = Heard()
    with running(heard):
        control = current_control()
        with control.part(0, 4, "first"):
            control.progress(0.5, "half of it")
        with control.part(1, 2):
            with control.part(1, 2, "inner"):
                control.progress(1.0, "all of it")
            control.progress(0.0, "outer again")
        with pytest.raises(ValueError, match="inside"), control.part(1, 4):
            raise ValueError("inside")
        control.progress(2.0, "the whole")
    assert heard.said == [
        (0.0, "first"),
        (0.125, "half of it"),
        (0.75, "inner"),
        (1.0, "all of it"),
        (0.5, "outer again"),
        (1.0, "the whole"),
    ]


def test_work_reports_to_who_listens_in_its_thread_and_to_nobody_else():
    outer, inner = Heard(), Heard()
    with running(outer):
        with running(inner):
            current_control().progress(0.1)
            with ThreadPoolExecutor(1) as other:
                other.submit(lambda: current_control().progress(0.2)).result(SOON)
        with pytest.raises(ValueError, match="inside"), running(inner):
            raise ValueError("inside")
        current_control().progress(0.3)
    current_control().progress(0.4)
    assert (outer.shares, inner.shares) == ([0.3], [0.1])


def test_a_cancelled_job_begins_no_further_part():
    begun = []

    def work(control):
        for n in range(1000):
            with control.part(n, 1000):
                begun.append(n)
                time.sleep(0.002)

    job = JobPool().submit("parts", work)
    wait_until(lambda: begun)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result(SOON)
    assert job.state == "cancelled" and len(begun) < 1000


def test_the_default_pool_is_one():
    with ThreadPoolExecutor(8) as threads:
        assert len({id(pool) for pool in threads.map(lambda _: default_pool(), range(16))}) == 1


def test_exit_does_not_wait_for_jobs():
    script = """
import time
from core.runtime.jobs import default_pool
job = default_pool().submit("for ever", lambda _: time.sleep(1000))
waiting = default_pool().submit("waiting", lambda _: 1)
while job.state != "running":
    time.sleep(.001)
print("end", waiting.state)
"""
    output = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=20, check=True)
    assert (output.stdout, output.stderr) == ("end queued\n", "")


def test_work_that_others_were_to_do_takes_a_turn_here_when_it_comes_back() -> None:
    """There both were under way at once; here there is one turn, and they take it one after the other."""
    pool, elsewhere = JobPool(workers=1), Turns(2, patience=10.0)
    together = threading.Barrier(2, timeout=SOON)
    here: list[str] = []

    def work(name: str, control: JobControl) -> None:
        together.wait()
        control.compute_here()
        for _ in range(20):
            here.append(name)
            time.sleep(0.005)

    jobs = [pool.submit(name, partial(work, name), turns=elsewhere) for name in ("one", "other")]
    for job in jobs:
        job.result(SOON)
    assert len(here) == 40 and len(set(here[:20])) == 1 == len(set(here[20:]))
    # And those turns are free again.
    blockers = [Blocker(), Blocker()]
    for number, blocker in enumerate(blockers):
        pool.submit(f"blocker {number}", blocker, turns=elsewhere)
    for blocker in blockers:
        assert blocker.started.wait(SOON)
        blocker.let_go.set()


def test_turns_that_become_more_or_fewer(blocker: Blocker) -> None:
    pool, turns = JobPool(), Turns(1, patience=10.0)
    pool.submit("blocker", blocker, turns=turns)
    assert blocker.started.wait(SOON)
    second, third = Blocker(), Blocker()
    waiting = pool.submit("second", second, turns=turns)
    assert not second.started.wait(0.2) and pool.place(waiting) == 0 and waiting.state == "queued"
    turns.resize(2)
    assert second.started.wait(SOON)
    turns.resize(1)
    pool.submit("third", third, turns=turns)
    blocker.let_go.set()
    assert not third.started.wait(0.2), "the one turn is the second job's"
    second.let_go.set()
    assert third.started.wait(SOON)
    third.let_go.set()


def test_waiting_work_elsewhere_can_be_cancelled(blocker: Blocker) -> None:
    pool, turns = JobPool(), Turns(1, patience=10.0)
    pool.submit("blocker", blocker, turns=turns)
    assert blocker.started.wait(SOON)
    waiting = pool.submit("waiting", Blocker(), turns=turns)
    waiting.cancel()
    with pytest.raises(JobCancelled):
        waiting.result(SOON)
