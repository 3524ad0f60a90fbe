"""Long jobs on a real cluster of three nodes on this machine: same keys, same bits, nothing lost when workers are killed."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.ablation.cached_map import causal_map
from core.attention.cached import score_heads, sensitivity
from core.errors import BadInput, JobCancelled, ModelUnavailable
from core.runtime import workers as workers_module
from core.runtime.cache import if_cached
from core.runtime.jobs import Job, JobControl, JobPool
from core.runtime.store import Store, default_store
from core.runtime.workers import AUTO, Workers, WorkLost, workers_for
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.verdicts.cached import judge
from tests.browser.conftest import free_port, running_server
from tests.helpers.errands import deadly, endless, halted_once, place, refused, steps, until_there
from tests.helpers.visitor import Visitor

# Connections of a cluster have time limits of their own, which a machine busy with other tests does not keep.
pytestmark = pytest.mark.alone
ROOT = Path(__file__).resolve().parents[2]
SOON = 240
LONG = 60.0
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="NOT RUN: Ray is not installed here: .venv/bin/pip install -r requirements-cluster.txt -c constraints.txt",
)


class Nodes:
    """A cluster whose head computes nothing, and whose other nodes have one processor each."""

    def __init__(self, environment: dict[str, str]) -> None:
        from ray.cluster_utils import Cluster

        port = free_port()
        self._sizes = {"object_store_memory": 80_000_000, "include_dashboard": False}
        self._environment = environment
        with self._in_its_environment():
            self._cluster = Cluster(
                initialize_head=True, head_node_args={"num_cpus": 0, "ray_client_server_port": port, **self._sizes}
            )
        self._nodes: list[Any] = []
        self._stopped = False
        self.address = f"ray://127.0.0.1:{port}"
        for _ in range(2):
            self.add()

    def add(self) -> None:
        with self._in_its_environment():
            self._nodes.append(self._cluster.add_node(num_cpus=1, **self._sizes))

    def kill(self, node: str) -> None:
        """Everything that runs there, as when a machine loses its power."""
        [found] = [each for each in self._nodes if each.node_id == node]
        self._nodes.remove(found)
        self._cluster.remove_node(found, allow_graceful=False)

    def stop(self) -> None:
        """Its end; once is enough."""
        if not self._stopped:
            self._stopped = True
            self._cluster.shutdown()

    @contextmanager
    def _in_its_environment(self) -> Iterator[None]:
        """A node's processes find HeadScope and the store as those of a machine do."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment.items():
                patch.setenv(name, value)
            yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of server and workers."""
    return tmp_path_factory.mktemp("shared") / "results"


@pytest.fixture(scope="module")
def nodes(shared: Path) -> Iterator[Nodes]:
    """The cluster."""
    cluster = Nodes({"PYTHONPATH": str(ROOT), "HEADSCOPE_STORE": str(shared), "RAY_USAGE_STATS_ENABLED": "0"})
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def cluster(nodes: Nodes, shared: Path) -> Iterator[Workers]:
    """The server's view of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSCOPE_STORE", str(shared))
        workers = reached(nodes)
    yield workers
    workers.close()


def reached(nodes: Nodes) -> Workers:
    """Once a job has come back: a busy machine takes its time, and a server does not wait for that."""
    workers = Workers(nodes.address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers_module, "AGAIN_SECONDS", 1.0)
        wait_for(lambda: workers.run(os.getpid, JobControl()) != os.getpid() or time.sleep(1.0))
    assert workers.warning is None
    return workers


@pytest.fixture
def pool() -> JobPool:
    return JobPool()


@pytest.fixture(autouse=True)
def at_home(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSCOPE_STORE", str(shared))


def send(pool: JobPool, workers: Workers, work: Callable[[], object], key: str = "job") -> Job[Any]:
    return pool.submit(key, partial(workers.run, work), seconds=LONG, turns=workers.turns)


def wait_for(condition: Callable[[], object], seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def diary_of(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def subject(seed: int) -> Subject:
    return bind(Request("two-layer", length=20, sequences=4, seed=seed))


def kept(folder: Path) -> dict[str, tuple[dict[str, tuple[str, tuple[int, ...], bytes]], dict[str, Any]]]:
    """Every result of a store, by its key: each array to the bit, and the metadata. A file's own order is chance."""
    store, found = Store(folder), {}
    for path in folder.rglob("*.safetensors"):
        result = store.get(path.stem)
        assert result is not None, "a file that is there is whole"
        arrays = {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in result.arrays.items()}
        found[path.stem] = (arrays, result.meta)
    return found


def computing(shared: Path) -> set[int]:
    """The processes of the cluster with that store that do a job now: Ray writes what they do into their names."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if "ray::compute" in (process.info["cmdline"] or [""])[0] and process.environ().get("HEADSCOPE_STORE") == str(
                shared
            ):
                found.add(process.pid)
    return found


@needs_ray
def test_workers_give_the_same_keys_and_the_same_bits(
    cluster: Workers, pool: JobPool, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = subject(11)
    questions = [partial(score_heads, asked), partial(causal_map, asked, "mean"), partial(judge, asked, [20], per_length=12)]
    before = kept(shared)
    jobs = [send(pool, cluster, work, str(number)) for number, work in enumerate(questions)]
    answers = [job.result(SOON) for job in jobs]
    assert cluster.warning is None
    sent = {key: result for key, result in kept(shared).items() if key not in before}
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "alone"))
    alone = [work() for work in questions]
    assert sent == kept(tmp_path / "alone") and len(sent) >= 4, "every key, every bit"
    assert answers[0].mean("induction").tobytes() == alone[0].mean("induction").tobytes()
    assert answers[1].losses.tobytes() == alone[1].losses.tobytes()
    assert [verdict.label for verdict in answers[2].verdicts] == [verdict.label for verdict in alone[2].verdicts]


@needs_ray
def test_it_is_another_process_and_both_nodes_are_used(cluster: Workers, pool: JobPool, tmp_path: Path) -> None:
    assert send(pool, cluster, place).result(SOON)[0] != os.getpid()
    assert cluster.turns.place(pool.get("job")) == 0  # type: ignore[arg-type]
    rounds = iter(range(100))

    def both() -> bool:
        """On a busy machine one job can be over before the other node has begun a process for the second."""
        number = next(rounds)
        diaries = [tmp_path / f"one {number}", tmp_path / f"other {number}"]
        jobs = [send(pool, cluster, partial(steps, diary, 6, 0.3), diary.name) for diary in diaries]
        assert [job.result(SOON) for job in jobs] == [15.0, 15.0]
        return len({line[3] for diary in diaries for line in diary_of(diary)}) == 2

    wait_for(both)


@needs_ray
def test_progress_and_partial_results_come_through(cluster: Workers, pool: JobPool, tmp_path: Path) -> None:
    job = send(pool, cluster, partial(steps, tmp_path / "diary", 8, 0.4))
    seen: list[tuple[float, str, object]] = []
    while not job.finished:
        if job.message and (not seen or seen[-1][0] != job.fraction):
            seen.append((job.fraction, job.message, job.partial_value))
        time.sleep(0.01)
    assert job.result(SOON) == 28.0
    fractions = [fraction for fraction, _, _ in seen]
    assert len(seen) >= 3 and fractions == sorted(fractions) and 0 < fractions[1] < 1
    assert seen[1][1].startswith("step ")
    assert any(isinstance(value, float) and 0 < value < 28 for _, _, value in seen)


@needs_ray
def test_what_nobody_wants_stops_over_there(cluster: Workers, pool: JobPool, tmp_path: Path) -> None:
    running, waiting = tmp_path / "running", tmp_path / "waiting"
    jobs = [send(pool, cluster, partial(endless, running), f"running {number}") for number in range(2)]
    wait_for(lambda: len(diary_of(running)) == 2)
    behind = send(pool, cluster, partial(endless, waiting), "waiting")
    time.sleep(0.5)
    assert behind.state == "queued" and pool.place(behind) == 0
    behind.cancel()
    for job in jobs:
        job.cancel()
    for job in [*jobs, behind]:
        with pytest.raises(JobCancelled):
            job.result(SOON)
        assert job.state == "cancelled"
    wait_for(lambda: [line[0] for line in diary_of(running)].count("stopped") == 2)
    assert not waiting.exists()


@needs_ray
def test_an_error_is_the_works_own_sentence(cluster: Workers, pool: JobPool) -> None:
    with pytest.raises(BadInput) as raised:
        send(pool, cluster, refused).result(SOON)
    assert str(raised.value) == "This cannot be; ask for less."


@needs_ray
def test_a_worker_killed_while_it_computes_loses_and_doubles_nothing(cluster: Workers, pool: JobPool, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    job = send(pool, cluster, partial(steps, diary, 8, 0.3))
    wait_for(lambda: ["did", "2"] in [line[:2] for line in diary_of(diary)])
    wait_for(lambda: diary_of(diary)[-1][0] == "began")
    killed = int(diary_of(diary)[-1][2])
    os.kill(killed, signal.SIGKILL)
    assert job.result(SOON) == 28.0
    done = [line for line in diary_of(diary) if line[0] == "did"]
    assert sorted(int(line[1]) for line in done) == list(range(8)), "every step once"
    assert len({line[2] for line in done}) == 2 and int(done[-1][2]) != killed
    began = [line[1] for line in diary_of(diary) if line[0] == "began"]
    assert len(began) == 9, "only the step that it was killed in was begun again"


@needs_ray
def test_a_node_that_dies_hands_its_work_to_another(nodes: Nodes, cluster: Workers, pool: JobPool, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    job = send(pool, cluster, partial(steps, diary, 8, 0.3))
    wait_for(lambda: ["did", "2"] in [line[:2] for line in diary_of(diary)])
    dead = diary_of(diary)[-1][3]
    nodes.kill(dead)
    assert job.result(SOON) == 28.0
    done = [line for line in diary_of(diary) if line[0] == "did"]
    assert {line[3] for line in done} > {dead} and done[-1][3] != dead
    assert len(done) == 8 or (len(done) == 9 and len({line[1] for line in done}) == 8), "at most the one that it died in"
    nodes.add()


@needs_ray
def test_a_real_job_whose_worker_is_killed_has_the_bits_of_a_quiet_one(
    cluster: Workers, pool: JobPool, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = bind(Request("two-layer", length=30, sequences=20, seed=21))
    before = kept(shared)
    work = partial(sensitivity, asked, "induction")
    diary = tmp_path / "diary"
    # However work is cut into steps: some results are kept by then, and others are not.
    job = send(pool, cluster, partial(halted_once, work, diary, len(before) + 2))
    wait_for(lambda: diary_of(diary))
    [[_, victim]] = diary_of(diary)
    assert len(kept(shared).keys() - before.keys()) == 2 and not job.finished, "it is killed in the middle"
    os.kill(int(victim), signal.SIGKILL)
    job.result(SOON)
    assert cluster.warning is None, "a worker finished it"
    sent = {key: result for key, result in kept(shared).items() if key not in before}
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "alone"))
    work()
    assert sent == kept(tmp_path / "alone") and len(sent) >= 4
    assert not list(shared.rglob("*.bad"))


@needs_ray
def test_work_that_ends_every_worker_is_not_brought_to_the_server(cluster: Workers, pool: JobPool, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    with pytest.raises(WorkLost, match="more memory than they have: ask for fewer"):
        send(pool, cluster, partial(deadly, diary)).result(SOON)
    assert len(diary_of(diary)) == workers_module.ATTEMPTS + 1
    assert send(pool, cluster, place, "next").result(SOON)[0] != os.getpid()


@needs_ray
def test_a_worker_that_differs_computes_nothing(
    nodes: Nodes, cluster: Workers, pool: JobPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another store, or other sources: the server does it, and says why."""
    # A process has one connection.
    cluster.close()
    real = workers_module._home

    def same(gpus: int) -> Any:
        return real(gpus)

    def other_sources(gpus: int) -> Any:
        home = real(gpus)
        return replace(home, traits=home.traits | {"HeadScope's sources": "older"})

    cases: list[tuple[Callable[[int], Any], Path, str]] = [
        (same, tmp_path / "another", "is another folder than the server's: HEADSCOPE_STORE must be one for all"),
        (other_sources, default_store().root, "HeadScope's sources of the worker on"),
    ]
    monkeypatch.setattr(workers_module, "AGAIN_SECONDS", 1.0)
    for home, store, reason in cases:
        monkeypatch.setenv("HEADSCOPE_STORE", str(store))
        monkeypatch.setattr(workers_module, "_home", home)
        workers = Workers(nodes.address)
        try:
            # A cluster on a busy machine does not always answer a new connection in time; then it is asked again.
            wait_for(partial(_is_told, workers, pool, reason))
        finally:
            workers.close()


def _is_told(workers: Workers, pool: JobPool, reason: str) -> bool:
    """Whether the server, which computes by itself in any case, says why."""
    assert send(pool, workers, os.getpid, f"{reason} {time.monotonic()}").result(SOON) == os.getpid()
    return workers.warning is not None and reason in workers.warning


@needs_ray
def test_the_dashboard_sends_long_work_to_the_workers(nodes: Nodes, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSCOPE_WORKERS", nodes.address)
    # What other orders of them take is long on a machine of twice this speed, too.
    sequences = 80
    asked = {"model": "by-construction", "length": "100", "sequences": str(sequences)}
    seen: set[int] = set()
    with running_server(shared.parent) as address, ThreadPoolExecutor(1) as room:
        for seed in range(9, 12):
            with Visitor(address, "Heads", asked | {"seed": str(seed)}) as window:
                still = room.submit(window.until_still, 200)
                while not still.done():
                    seen |= computing(shared)
                    time.sleep(0.3)
                still.result()
                assert not window.errors
                if "cannot be used" not in window.shown:
                    break
            # A busy machine did not answer in time; the server looks for the cluster again after a while.
            time.sleep(workers_module.AGAIN_SECONDS)
        assert "cannot be used" not in window.shown
    assert seen, "a worker had it"
    found = if_cached(partial(score_heads, Request("by-construction", length=100, sequences=sequences, seed=seed)))
    assert found is not None and found.has_rotation, "and left it where all look"


@needs_ray
def test_a_cluster_that_ends_leaves_its_work_to_the_server(
    nodes: Nodes, cluster: Workers, pool: JobPool, tmp_path: Path
) -> None:
    """The last of those that need it: nothing of it is left."""
    # A process has one connection, and an earlier test may have closed it.
    cluster.close()
    workers = reached(nodes)
    diary, sign = tmp_path / "diary", tmp_path / "sign"
    job = send(pool, workers, partial(until_there, diary, sign))
    wait_for(lambda: diary_of(diary))
    nodes.stop()
    wait_for(lambda: workers.warning is not None)
    wait_for(lambda: len(diary_of(diary)) == 2)
    sign.touch()
    assert job.result(SOON) == os.getpid()
    assert send(pool, workers, os.getpid, "next").result(SOON) == os.getpid()


def test_without_a_cluster_the_server_does_it_and_says_so(pool: JobPool) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        cases = {
            f"ray://127.0.0.1:{nobody.getsockname()[1]}": "nobody answers there",
            "http://127.0.0.1:1": "must be ray://HOST:PORT, or auto",
            "ray://127.0.0.1": "must be ray://HOST:PORT, or auto",
            "ray://127.0.0.1:many": "must be ray://HOST:PORT, or auto",
        }
        for address, reason in cases.items():
            workers = Workers(address)
            assert send(pool, workers, os.getpid, address).result(SOON) == os.getpid()
            assert workers.warning is not None and reason in workers.warning and address in workers.warning


def test_a_server_without_ray_does_it_and_says_how_to_get_it(pool: JobPool, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in the place of a module is what the import system takes for one that is not there.
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(workers_module, "_ray", workers_module._ray.__wrapped__)
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        workers = Workers(f"ray://127.0.0.1:{somebody.getsockname()[1]}")
        assert send(pool, workers, os.getpid).result(SOON) == os.getpid()
    assert workers.warning is not None and "pip install -r requirements-cluster.txt" in workers.warning


def test_only_long_work_is_sent_and_only_where_workers_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def device() -> str:
        return "cpu"

    monkeypatch.delenv("HEADSCOPE_WORKERS", raising=False)
    assert workers_for(LONG, device) is None
    monkeypatch.setenv("HEADSCOPE_WORKERS", "auto")
    found = workers_for(LONG, device)
    assert found is not None and found.address == AUTO and workers_for(LONG, device) is found
    assert workers_for(1.0, device) is None and workers_for(float("inf"), device) is None


def test_ray_is_not_imported_where_nobody_asks_for_workers() -> None:
    code = (
        "import sys\nfrom functools import partial\n"
        "from core.attention.cached import score_heads\nfrom core.runtime.jobs import JobPool\n"
        "import core.runtime.worker, core.runtime.workers, core.ui.frame.waiting\n"
        "JobPool().submit('scores', lambda control: score_heads('two-layer'), seconds=60.0).result()\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'ray'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HEADSCOPE_WORKERS"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_a_subject_arrives_as_itself_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = subject(3)
    packed = pickle.dumps(asked)
    arrived = pickle.loads(packed)
    assert arrived.digest == asked.digest and arrived.request == asked.request and len(packed) < 2000
    monkeypatch.setattr("core.settings.subject.library_versions", lambda: {"torch": "another"})
    with pytest.raises(ModelUnavailable, match="two-layer has other weights here, or the libraries"):
        pickle.loads(packed)


def test_a_store_has_a_mark_of_its_own_that_many_agree_on(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as room:
        marks = set(room.map(lambda _: Store(tmp_path / "one").mark(), range(32)))
    assert len(marks) == 1 and len(marks.pop()) == 32
    assert Store(tmp_path / "one").mark() == Store(tmp_path / "one").mark() != Store(tmp_path / "other").mark()
