"""Bounded, shared, cancellable work for everybody who uses this process.

**Turns.** Computing takes a turn (`core.runtime.turns`), and a `JobPool` has few of them. Work calls `checkpoint()` between its
steps, none of which should take more than half a second, and there lets more urgent work go first.

**Sharing.** A job has a key, a string that says what it computes. Submitting a key again gives the job that is already
there, whether it waits, runs or is done; a failed or cancelled one is started afresh.

**Nobody is refused.** Of one person's jobs so many are in line at once; further ones are held until one of those ends. Each has
a place in the queue, which can be asked for at any time.

**Cancelling is by interest.** Each submit adds a viewer (a session's id; one nameless viewer by default) to those who
want the job. `cancel(viewer)` takes that viewer off, and the job stops only when nobody is left who wants it: one person
in a class who presses Cancel does not take the result from the others. A job stops at its next `checkpoint()`. Whoever has
gone, as `watch_presence` finds, wants nothing any more.

**Waiting inside a job** for somebody else's work must give the turn away meanwhile, or the two wait for each other for
ever: do it inside `current_control().waiting()`. The store and `Job.result` do. For the same reason, hold no lock and
leave no hook on a model across a `checkpoint()`.
"""

import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Literal, TypeVar

from core.errors import JobCancelled
from core.runtime.pass_lock import let_go
from core.runtime.turns import LEAST_SLICE_SECONDS, Turns

T = TypeVar("T")
JobState = Literal["queued", "running", "done", "failed", "cancelled"]

_POLL_SECONDS = 0.1
# Nothing is said of the time left once it has passed by so much.
OVERDUE_SECONDS = 5.0
# Progress that comes this many times faster than the whole is expected to was at hand already, and says nothing of the rest;
# where nothing is expected, a whole that would take less than so many seconds.
_TIMES_FASTER = 20.0
_QUICKEST_WHOLE_SECONDS = 0.25
# A pace of less than this share of the whole is none, but what rounding leaves.
_LEAST_SHARE = 1e-9


class JobControl:
    """What work may report and ask while it runs: the one road for progress, from wherever the work is done.

    This base class serves work that is run straight away, outside a pool: nobody listens and nobody cancels. The command
    line's prints what it is told (`running`).
    """

    def __init__(self) -> None:
        # What the part that is being done is of the whole: where it begins and ends.
        self._part = (0.0, 1.0)

    def progress(self, fraction: float, message: str = "") -> None:
        """Report how much of this part is done, 0 to 1, and what is being done; a job that was cancelled stops here."""
        self.raise_if_cancelled()
        begin, end = self._part
        self.report(begin + (end - begin) * min(1.0, max(0.0, fraction)), message)

    @contextmanager
    def part(self, done: int, of: int | Sequence[float], message: str = "") -> Iterator[None]:
        """While inside, progress is of step `done` (from 0); the job may be stopped at its beginning.

        of: how many steps there are, as long as each other; or what each takes beside the others, in any unit, where they are
        not: the time that is left is told from the pace so far.
        """
        self.checkpoint()
        begin, end = before = self._part
        costs = [1.0] * of if isinstance(of, int) else of
        width = (end - begin) / (sum(costs) or 1.0)
        start = begin + sum(costs[:done]) * width
        self._part = (start, start + costs[done] * width)
        if message:
            self.progress(0.0, message)
        try:
            yield
        finally:
            self._part = before

    def report(self, fraction: float, message: str) -> None:
        """Take note of how much of the whole is done."""

    def partial(self, value: Any) -> None:
        """Show a result that is not complete yet; the latest replaces the one before."""

    def raise_if_cancelled(self) -> None:
        """Raise `JobCancelled` if nobody wants the result any more."""

    def checkpoint(self) -> None:
        """Between two steps: stop if cancelled (`JobCancelled`), and let more urgent work go first."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside, this thread waits for others and computes nothing, so its turn goes to somebody else.

        Raises `JobCancelled` on leaving if the job was cancelled meanwhile.
        """
        yield

    def compute_here(self) -> None:
        """What other machines were to compute is computed in this process after all; raises as `checkpoint` does."""


_thread = threading.local()


def current_control() -> JobControl:
    """The control of the job that this thread runs, or one that does nothing outside a job."""
    control: JobControl | None = getattr(_thread, "control", None)
    return JobControl() if control is None else control


def share_of(what: str) -> Callable[[float], None]:
    """What tells the job that this runs in how much of `what` is done; the job can be cancelled there."""
    control = current_control()

    def report(share: float) -> None:
        control.checkpoint()
        control.progress(share, what)

    return report


@contextmanager
def running(control: JobControl) -> Iterator[None]:
    """While inside, work in this thread reports to `control`."""
    before = getattr(_thread, "control", None)
    _thread.control = control
    try:
        yield
    finally:
        _thread.control = before


class Job(Generic[T]):
    """One piece of work and how far it is. Made by `JobPool.submit`; read by anybody, from any thread."""

    def __init__(
        self,
        pool: "JobPool",
        key: str,
        function: Callable[[JobControl], T],
        background: bool,
        sequence: int,
        turns: Turns,
        seconds: float = math.inf,
    ) -> None:
        self.key = key
        self.turns = turns
        self.background = background
        self.expected_seconds = seconds
        self.state: JobState = "queued"
        self.fraction = 0.0
        self.message = ""
        self.partial_value: Any = None
        self.error: BaseException | None = None
        self.finished_at: float | None = None
        self.sequence = sequence
        # Every viewer that wants it, and who that is.
        self.viewers: dict[str, str] = {}
        self.cancel_requested = threading.Event()
        self._pool = pool
        self._function: Callable[[JobControl], T] | None = function
        self._value: T | None = None
        self._finished = threading.Event()
        self._first_report: tuple[float, float] | None = None
        self._last_report: tuple[float, float] | None = None
        # Since the first report: seconds, and share of the whole, that were at hand.
        self._at_hand = (0.0, 0.0)
        self._began: float | None = None
        self._in_line_since: float | None = None
        self._in_line_before = 0.0

    @property
    def finished(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self._finished.is_set()

    @property
    def people(self) -> frozenset[str]:
        """Who wants it, several windows of one person counted once."""
        return frozenset(self.viewers.copy().values())

    @property
    def seconds_left(self) -> float:
        """As far as is known: by its own pace, else by what was expected; infinite where nothing is."""
        if self.fraction >= 1:
            return 0.0
        by_pace = self._by_pace()
        return max(0.0, by_pace) if by_pace is not None else self.expected_seconds * (1 - self.fraction)

    @property
    def in_line(self) -> bool:
        """Whether it has begun, and waits while more urgent work goes first."""
        return self._in_line_since is not None

    @contextmanager
    def standing_in_line(self) -> Iterator[None]:
        """The time inside is no time of its own: it says nothing of its pace."""
        self._in_line_since = time.monotonic()
        try:
            yield
        finally:
            self._in_line_before, self._in_line_since = self._own_clock_offset(), None

    def _own_clock_offset(self) -> float:
        since = self._in_line_since
        return self._in_line_before + (0.0 if since is None else time.monotonic() - since)

    def _own_clock(self) -> float:
        """Seconds that stand still while it waits in line."""
        return time.monotonic() - self._own_clock_offset()

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left, as far as can be said: at the pace so far, or as was expected where nothing shows a pace yet.

        None where neither is known, and once a step takes so much longer than those before that there is no pace.
        """
        if self.finished:
            return None
        left = self._by_pace()
        if left is None:
            left = self.expected_seconds * (1 - self.fraction) - self._since_last_report()
        return None if left < -OVERDUE_SECONDS or left == math.inf else max(0.0, left)

    def _since_last_report(self) -> float:
        """Seconds of its own since it said how far it is, or else since it began."""
        since = self._began if self._last_report is None else self._last_report[0]
        return 0.0 if since is None else self._own_clock() - since

    def _by_pace(self) -> float | None:
        """Seconds left at the pace so far, below zero where that has passed; None until two reports have shown a pace."""
        if self._first_report is None or self._last_report is None or self.finished:
            return None
        (start, fraction_at_start), (last, fraction), (seconds_at_hand, at_hand) = (
            self._first_report,
            self._last_report,
            self._at_hand,
        )
        done = fraction - fraction_at_start - at_hand
        if done < _LEAST_SHARE:
            return None
        seconds_left = (1 - fraction) * (last - start - seconds_at_hand) / done
        return seconds_left - (self._own_clock() - last)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            TimeoutError: it is not finished in that time (and goes on).
            JobCancelled: it was cancelled.
            Exception: whatever the work itself raised.
        """
        if not self._finished.is_set():
            self._wait(timeout)
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # set by finish() whenever there is no error

    def cancel(self, viewer: str = "") -> bool:
        """Say that this viewer no longer wants the result; True if that was the last one, so that the job stops."""
        return self._pool.withdraw(self, viewer)

    def report(self, fraction: float, message: str) -> None:
        """Note progress (see `JobControl.progress`)."""
        self.fraction = min(1.0, max(0.0, fraction))
        self.message = message
        now = self._own_clock()
        # The pace is counted from the last report before any progress: what is made ready before the first step is no step.
        if self._first_report is None or self._last_report is None or self.fraction <= self._first_report[1]:
            self._first_report, self._at_hand = (now, self.fraction), (0.0, 0.0)
        else:
            took, gained = now - self._last_report[0], self.fraction - self._last_report[1]
            whole = self.expected_seconds / _TIMES_FASTER if self.expected_seconds < math.inf else _QUICKEST_WHOLE_SECONDS
            if gained > 0 and took < gained * whole:
                # Work of which a part is kept did not do that part now.
                self._at_hand = (self._at_hand[0] + took, self._at_hand[1] + gained)
        self._last_report = (now, self.fraction)

    def execute(self, control: JobControl) -> T:
        """Run the work in this thread."""
        if self._function is None:
            raise RuntimeError(f"the job {self.key} has already been run")
        self._began = self._own_clock()
        return self._function(control)

    def finish(self, state: JobState, value: T | None, error: BaseException | None) -> None:
        """Record the end and wake everybody who waits for it."""
        self._value, self.error = value, error
        # What the function closes over can be a model; a finished job must not keep it in memory.
        self._function = None
        self.finished_at = time.monotonic()
        if state == "done":
            self.fraction = 1.0
        self.state = state
        self._finished.set()

    def _wait(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        control = current_control()
        with control.waiting():
            while not self._finished.wait(_next_wait(deadline)):
                control.raise_if_cancelled()
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.key} was not finished within {timeout} s")


def _next_wait(deadline: float | None) -> float:
    """Seconds to wait before looking again whether the waiting job itself was cancelled."""
    return _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, max(0.0, deadline - time.monotonic()))


def _cancelled() -> JobCancelled:
    return JobCancelled("The work was cancelled before it finished; start it again to get its result.")


class _PoolControl(JobControl):
    """The control of a job in a pool. Used only by the thread that runs the job."""

    def __init__(self, job: Job[Any], turns_here: Turns) -> None:
        super().__init__()
        self._job = job
        self._turns_here = turns_here
        self._holds_turn = False
        self._since = 0.0

    def report(self, fraction: float, message: str) -> None:
        self._job.report(fraction, message)

    def partial(self, value: Any) -> None:
        self._job.partial_value = value

    def raise_if_cancelled(self) -> None:
        if self._job.cancel_requested.is_set():
            raise _cancelled()

    def checkpoint(self) -> None:
        self.raise_if_cancelled()
        held = time.monotonic() - self._since
        if not self._holds_turn or not (self._job.background or held >= LEAST_SLICE_SECONDS):
            return
        # Whoever got the turn and waited for a model that is held here would wait for ever.
        with let_go() as free:
            if free:
                # Held by nobody if it is cancelled while it waits in line.
                self._holds_turn = False
                with self._job.standing_in_line():
                    self._job.turns.pass_on(self._job, held)
                self._holds_turn, self._since = True, time.monotonic()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        if not self._holds_turn:
            yield
            return
        with let_go():
            self.give_turn()
            try:
                yield
            finally:
                self.take_turn()

    def compute_here(self) -> None:
        self.give_turn()
        self._job.turns = self._turns_here
        self.take_turn()

    def take_turn(self) -> None:
        with self._job.standing_in_line():
            self._job.turns.take(self._job)
        self._holds_turn, self._since = True, time.monotonic()

    def give_turn(self) -> None:
        if self._holds_turn:
            self._holds_turn = False
            self._job.turns.give(self._job, time.monotonic() - self._since)


class JobPool:
    """Runs jobs in daemon threads, so many at a time as there are turns.

    Args:
        workers: turns, that is, jobs that compute at the same time.
        per_person: jobs of one person that are in line at once.
        patience: seconds after which waiting work gets one step in spite of more urgent work.
        keep_finished: finished jobs kept for those who poll for their result.
        keep_seconds: how long they are kept.
    """

    def __init__(
        self,
        workers: int = 1,
        per_person: int = 16,
        patience: float = 10.0,
        keep_finished: int = 64,
        keep_seconds: float = 600.0,
    ) -> None:
        self.per_person = per_person
        self.keep_finished = keep_finished
        self.keep_seconds = keep_seconds
        self._turns = Turns(workers, patience)
        self._lock = threading.Lock()
        self._jobs: dict[str, Job[Any]] = {}
        self._held: list[tuple[str, Job[Any]]] = []
        self._in_line: dict[str, int] = {}
        self._submitted = 0
        self._watching: threading.Thread | None = None

    def submit(
        self,
        key: str,
        function: Callable[[JobControl], T],
        viewer: str = "",
        background: bool = False,
        *,
        person: str | None = None,
        seconds: float = math.inf,
        turns: Turns | None = None,
    ) -> Job[T]:
        """Start work, or join the same work that is there already.

        Args:
            key: says what is computed: equal keys must mean equal results.
            function: the work; it gets the job's control.
            viewer: who wants it (see `Job.cancel`).
            background: long work that makes way for other work at its checkpoints. If anybody asks for the same key
                as interactive work, it becomes interactive.
            person: whose viewer that is, by default the viewer itself: a person with twenty windows is one person.
            seconds: how long it is expected to take; short work goes first.
            turns: whose turns it takes, if not this process's own: those of the workers that it is sent to.
        """
        with self._lock:
            self._forget_old()
            job = self._shared_job(key)
            if job is None:
                whose = viewer if person is None else person
                job = self._start(key, function, background, whose, seconds, turns or self._turns)
            job.viewers[viewer] = viewer if person is None else person
            job.background = job.background and background
            return job

    def place(self, job: Job[Any]) -> int:
        """How many jobs come before this one, which waits; 0 for the next one, and for one that runs or has ended."""
        with self._lock:
            ahead = [other for _, other in self._held]
        if job in ahead:
            waiting = sum(other.state == "queued" for other in list(self._jobs.values())) - len(ahead)
            return waiting + ahead.index(job)
        return job.turns.place(job) if job.state == "queued" else 0

    def watch_presence(self, present: Callable[[str], bool], grace: float = 30.0, every: float = 1.0) -> None:
        """From now on, take off every job whoever has not been `present` for `grace` seconds; asked `every` so many seconds."""
        with self._lock:
            if self._watching is not None:
                return
            self._watching = threading.Thread(target=self._watch, args=(present, grace, every), name="presence", daemon=True)
            self._watching.start()

    def _watch(self, present: Callable[[str], bool], grace: float, every: float) -> None:
        gone_since: dict[str, float] = {}
        while True:
            time.sleep(every)
            with self._lock:
                wanted = [(job, viewer) for job in self._jobs.values() if not job.finished for viewer in job.viewers]
            now = time.monotonic()
            gone = {viewer for viewer in {viewer for _, viewer in wanted} if not present(viewer)}
            gone_since = {viewer: gone_since.get(viewer, now) for viewer in gone}
            for job, viewer in wanted:
                if viewer in gone and now - gone_since[viewer] >= grace:
                    self.withdraw(job, viewer)

    def get(self, key: str) -> Job[Any] | None:
        """The job of this key, unfinished or finished not long ago, or None."""
        with self._lock:
            self._forget_old()
            return self._jobs.get(key)

    def unfinished(self) -> tuple[Job[Any], ...]:
        """The jobs that run or wait, in the order in which they were asked for."""
        with self._lock:
            return tuple(job for job in self._jobs.values() if not job.finished)

    def withdraw(self, job: Job[Any], viewer: str) -> bool:
        """See `Job.cancel`."""
        with self._lock:
            if job.viewers.pop(viewer, None) is None or job.viewers or job.finished:
                return False
            job.cancel_requested.set()
            held = [entry for entry in self._held if entry[1] is job]
            for entry in held:
                self._held.remove(entry)
        if held:
            job.finish("cancelled", None, _cancelled())
        job.turns.wake()
        return True

    def _shared_job(self, key: str) -> Job[Any] | None:
        job = self._jobs.get(key)
        if job is None or job.cancel_requested.is_set() or job.state == "failed":
            return None
        return job

    def _start(
        self, key: str, function: Callable[[JobControl], T], background: bool, person: str, seconds: float, turns: Turns
    ) -> Job[T]:
        self._submitted += 1
        job = Job(self, key, function, background, self._submitted, turns, seconds)
        self._jobs[key] = job
        # What a job itself asks for is never held: the job waits for it in line.
        if self._in_line.get(person, 0) < self.per_person or isinstance(current_control(), _PoolControl):
            self._begin(person, job)
        else:
            self._held.append((person, job))
        return job

    def _begin(self, person: str, job: Job[Any]) -> None:
        self._in_line[person] = self._in_line.get(person, 0) + 1
        threading.Thread(target=self._run, args=(job, person), name=f"job {job.key[:24]}", daemon=True).start()

    def _ended(self, person: str) -> None:
        """One of a person's jobs has ended: the next that is held goes in line."""
        with self._lock:
            self._in_line[person] -= 1
            if not self._in_line[person]:
                del self._in_line[person]
            following = next((entry for entry in self._held if entry[0] == person), None)
            if following is not None:
                self._held.remove(following)
                self._begin(*following)

    def _run(self, job: Job[Any], person: str) -> None:
        control = _PoolControl(job, self._turns)
        _thread.control = control
        value: Any = None
        error: BaseException | None = None
        try:
            control.take_turn()
            control.raise_if_cancelled()
            job.state = "running"
            value = job.execute(control)
        except BaseException as raised:  # kept for whoever asks for the result
            # The frames of a traceback hold every activation of the failed pass for as long as the job is kept.
            traceback.clear_frames(raised.__traceback__)
            error = raised
        finally:
            control.give_turn()
        job.finish(_end_state(job, error), value, error)
        self._ended(person)

    def _forget_old(self) -> None:
        ended = {key: job.finished_at for key, job in self._jobs.items() if job.finished_at is not None}
        newest_first = sorted(ended, key=lambda key: ended[key], reverse=True)
        too_old = time.monotonic() - self.keep_seconds
        for place, key in enumerate(newest_first):
            if place >= self.keep_finished or ended[key] < too_old:
                del self._jobs[key]


def _end_state(job: Job[Any], error: BaseException | None) -> JobState:
    if error is None:
        return "done"
    return "cancelled" if isinstance(error, JobCancelled) and job.cancel_requested.is_set() else "failed"


_default_pool: JobPool | None = None
_default_pool_lock = threading.Lock()


def default_pool() -> JobPool:
    """The one pool that everything in this process shares."""
    global _default_pool
    with _default_pool_lock:
        if _default_pool is None:
            _default_pool = JobPool()
        return _default_pool
