"""A server killed while windows compute, again and again: nothing half-written, and in the end every result of a quiet machine.

Five kills in the suite; `HEADSCOPE_KILLS=60` for more (`make bench`).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from core.ablation.cached_map import causal_map
from core.attention.cached import score_heads
from core.runtime.files import TEMPORARY
from core.runtime.store import Store
from core.settings.request import Request
from core.settings.subject import bind
from core.verdicts.cached import judge
from tests.browser.conftest import free_port, log_of, start_server
from tests.helpers.visitor import Visitor

KILLS = int(os.environ.get("HEADSCOPE_KILLS", "5"))
WINDOWS_AT_ONCE = 6
AT_WORK_SECONDS = 120


@dataclass(frozen=True)
class Question:
    """What one window asks, and what that is without a server."""

    page: str
    seed: int

    @property
    def link(self) -> dict[str, str]:
        return {"model": "two-layer", "length": "20", "sequences": "4", "seed": str(self.seed), "mode": "mean"}

    def alone(self) -> None:
        """Into the store of this process, one thing after the other."""
        subject = bind(Request("two-layer", length=20, sequences=4, seed=self.seed))
        whole = {"Heads": score_heads, "Causal_map": partial(causal_map, mode="mean"), "Verdicts": judge}
        whole[self.page](subject)  # type: ignore[operator]


class Sight(FileSystemEventHandler):
    """What appears in the store: that a lock is taken, that a file is being written."""

    def __init__(self) -> None:
        self.work, self.write = threading.Event(), threading.Event()

    def on_created(self, event: FileSystemEvent) -> None:
        name = str(event.src_path)
        if name.endswith(".lock"):
            self.work.set()
        elif name.endswith(TEMPORARY):
            self.write.set()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The store, its folders there from the beginning so that what comes into them is seen."""
    folder = tmp_path / "results"
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True)
    return folder


@pytest.fixture
def sight(results: Path) -> Iterator[Sight]:
    handler, observer = Sight(), Observer()
    observer.schedule(handler, str(results), recursive=True)
    observer.start()
    yield handler
    observer.stop()
    observer.join()


def kept(folder: Path) -> dict[str, Any]:
    """Every result, each array to the bit; a file that is there must be whole, as a store sees it that has just been opened."""
    store, found = Store(folder), {}
    for path in sorted(folder.rglob("*.safetensors")):
        result = store.get(path.stem)
        assert result is not None, f"{path.name} is there and not whole"
        found[path.stem] = (
            {name: (str(each.dtype), each.shape, each.tobytes()) for name, each in result.arrays.items()},
            result.meta,
        )
    assert not list(folder.rglob("*.bad"))
    return found


def ask(address: str, questions: list[Question]) -> list[Visitor]:
    """Windows as people leave them open."""
    windows = [Visitor(address, question.page, question.link) for question in questions]
    for window in windows:
        window.open()
    return windows


def listen(windows: list[Visitor], over: threading.Event) -> list[threading.Thread]:
    """Poll as browsers do, until the server is gone."""

    def poll(window: Visitor) -> None:
        # The websocket breaks when the server is killed: that is what is being tested.
        with suppress(AssertionError, OSError):
            while not over.is_set():
                window.for_seconds(0.2)

    threads = [threading.Thread(target=poll, args=(window,), daemon=True) for window in windows]
    for thread in threads:
        thread.start()
    return threads


def questions_of(round_: int) -> list[Question]:
    """Of a round's own, so that there is always something left to compute."""
    first = [Question("Heads", 5000 + round_), Question("Causal_map", 6000 + round_), Question("Heads", 7000 + round_)]
    return [*first, Question("Verdicts", 8000 + round_)] if round_ % 5 == 0 else first


@pytest.mark.timeout(300 + 60 * KILLS)
def test_kills_under_load_leave_nothing_wrong(
    tmp_path: Path, results: Path, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other kill comes just when a file is being written, the others at any moment of work."""
    chance = random.Random(13)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    asked: list[Question] = []
    cut_off: set[str] = set()
    for round_ in range(KILLS):
        process = start_server(tmp_path, port)
        over = threading.Event()
        try:
            new = questions_of(round_)
            # What the last round was killed in is asked for again, as a browser does when its server is back.
            windows = ask(address, [*asked[-3:], *new])
            asked += new
            threads = listen(windows, over)
            sight.work.clear()
            sight.write.clear()
            assert sight.work.wait(AT_WORK_SECONDS), "nothing was computed"
            if round_ % 2:
                sight.write.clear()
                assert sight.write.wait(AT_WORK_SECONDS), "nothing was written"
            else:
                time.sleep(chance.uniform(0.0, 1.5))
        finally:
            process.kill()
            process.wait()
            over.set()
        for thread in threads:
            thread.join(20)
        for window in windows:
            window.close()
        cut_off |= {path.name for path in results.rglob(f"*{TEMPORARY}")}
        kept(results)
    process = start_server(tmp_path, port)
    try:

        def until_still(question: Question) -> list[str]:
            with Visitor(address, question.page, question.link) as window:
                return window.until_still(400).errors

        with ThreadPoolExecutor(WINDOWS_AT_ONCE) as room:
            assert [errors for errors in room.map(until_still, asked) if errors] == []
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert "Traceback" not in log_of(tmp_path, port).read_text()
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "alone"))
    for question in asked:
        question.alone()
    quiet, after = kept(tmp_path / "alone"), kept(results)
    print(f"{KILLS} kills, {len(cut_off)} files cut off while written, {len(after)} results, {len(quiet)} compared")
    assert len(quiet) >= 3 * KILLS and {key: after.get(key) for key in quiet} == quiet, "equal to the serial ones, to the bit"
