"""A process that was stopped while it computes holds up nobody for long; one that computes is waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from core.runtime import heartbeat
from core.runtime import store as stores
from core.runtime.files import TEMPORARY, is_being_written, whole_file
from core.runtime.heartbeat import Watch, beating
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored

ROOT = Path(__file__).resolve().parents[2]
# As elsewhere, only that less of the time is waited.
BEAT_SECONDS = heartbeat.BEAT_SECONDS / 2
HOLDER = """
import sys, time
from core.runtime import heartbeat
heartbeat.BEAT_SECONDS /= 2
from core.runtime.store import Store, Stored
from core.runtime.keys import result_key
def slow():
    print("computing", flush=True)
    time.sleep(float(sys.argv[2]))
    return Stored({}, {"by": "holder"})
print(Store(__import__("pathlib").Path(sys.argv[1])).get_or_compute(result_key("shared"), slow).meta["by"], flush=True)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life twice as often."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", BEAT_SECONDS)


def holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "computing\n"
    return process


def test_a_stopped_process_is_not_waited_for_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "STALLED_SECONDS", 2 * BEAT_SECONDS)
    process = holder(tmp_path, 60)
    try:
        os.kill(process.pid, signal.SIGSTOP)
        store = Store(tmp_path)
        begin = time.monotonic()
        found = store.get_or_compute(result_key("shared"), lambda: Stored({}, {"by": "other"}))
        assert found.meta == {"by": "other"} and time.monotonic() - begin < 12
        assert store.warning is not None and "has not stirred" in store.warning
    finally:
        process.kill()
        process.wait()


def test_what_else_a_stopped_process_holds_is_not_waited_for_as_long_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are made of results: it holds the whole and a part, and who needs both waits once."""
    monkeypatch.setattr(stores, "STALLED_SECONDS", 4 * BEAT_SECONDS)
    monkeypatch.setattr(heartbeat, "_stopped", deque(maxlen=64))
    held = [tmp_path / name for name in ("whole", "part", "another's")]
    for path in held:
        path.touch()
    with beating(str(held[2])):
        whole, part, other = map(Watch, held)

        def waited(*watched: Watch) -> float:
            """Seconds until the first of them is given up; the others are waited for all along."""
            begin = time.monotonic()
            try:
                while time.monotonic() - begin < 30:
                    for each in watched:
                        stores._give_up_on(each)
                    time.sleep(0.05)
            except stores._Stalled:
                pass
            return time.monotonic() - begin

        first, second = waited(other, whole), waited(other, part)
    assert first >= 4 * BEAT_SECONDS and second < 2 * BEAT_SECONDS
    assert not other.stopped_with_another(), "one that stirs is waited for"


def test_one_that_computes_is_waited_for_however_long_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "STALLED_SECONDS", 2 * BEAT_SECONDS)
    process = holder(tmp_path, 4 * BEAT_SECONDS)
    found = Store(tmp_path).get_or_compute(result_key("shared"), lambda: pytest.fail("computed twice"))
    assert found.meta == {"by": "holder"} and process.wait(20) == 0


def test_signs_of_life_come_while_somebody_holds_and_end_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    watch = Watch(path)
    with beating(str(path)), beating(str(path)):
        time.sleep(2.5 * BEAT_SECONDS)
        assert watch.still_for() < 1.5 * BEAT_SECONDS
    watch.still_for()
    time.sleep(1.5 * BEAT_SECONDS)
    assert watch.still_for() >= 1.4 * BEAT_SECONDS
    path.unlink()
    assert watch.still_for() == 0


def test_a_file_that_is_being_written_stays_whatever_the_clock_says(tmp_path: Path) -> None:
    store = Store(tmp_path)
    target = store.path(result_key("large"))
    target.parent.mkdir(parents=True)
    left = target.parent / f".left{TEMPORARY}"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    with whole_file(target) as temporary:
        temporary.write_bytes(b"half")
        os.utime(temporary, (1, 1))
        assert is_being_written(temporary) and not is_being_written(left)
        for number in range(stores._WRITES_BETWEEN_SWEEPS + 1):
            store.put(result_key("other", number=number), {}, {})
        assert temporary.exists() and not left.exists()
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
