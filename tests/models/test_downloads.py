"""Downloads hold up nobody: they leave the turn, they can be cancelled, and they end when their time is up."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from core.errors import JobCancelled, ModelUnavailable
from core.models.fetching import smollm2
from core.models.fetching.hub import check_disk, most_bytes
from core.runtime.jobs import JobControl, JobPool, running
from core.ui.frame import bring_in

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


class Impatient(JobControl):
    """Nobody wants the result any more after a moment."""

    def __init__(self) -> None:
        super().__init__()
        self._until = time.monotonic() + 0.3

    def raise_if_cancelled(self) -> None:
        if time.monotonic() > self._until:
            raise JobCancelled("cancelled.")


def test_a_download_that_nobody_wants_is_stopped() -> None:
    with running(Impatient()), pytest.raises(JobCancelled):
        smollm2._run(SLEEPS)
    assert not [child for child in psutil.Process().children() if child.cmdline() == SLEEPS]


def test_one_that_takes_too_long_says_so_and_one_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert smollm2._run([sys.executable, "-c", "import sys; sys.exit('no such package')"]) == (1, "no such package\n")
    assert smollm2._run([sys.executable, "-c", "pass"]) == (0, "")
    monkeypatch.setattr(smollm2, "DOWNLOAD_SECONDS", 0.2)
    assert smollm2._run(SLEEPS) == (1, "it did not end within 0.2 s")


def test_others_compute_while_a_model_is_brought_in(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def slowly(name: str) -> Path:
        begun.set()
        assert let_go.wait(10)
        return Path(name)

    monkeypatch.setattr("core.models.fetching.add.add_model", slowly)
    pool = JobPool(workers=1)
    fetching = pool.submit("bring in", lambda control: bring_in._bring_in("somewhere"))
    assert begun.wait(10)
    assert pool.submit("measure", lambda control: "measured").result(10) == "measured"
    let_go.set()
    assert fetching.result(10) == "somewhere"


def test_the_model_folder_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    (tmp_path / "held").write_bytes(bytes(600_000))
    monkeypatch.setenv("HEADSCOPE_MODELS_MAX_GB", "0.001")
    check_disk(tmp_path, 300_000, "small")
    with pytest.raises(ModelUnavailable, match="the model folder may hold 1 MB and holds 1 MB: take a model out"):
        check_disk(tmp_path, 500_000, "large")
    for odd in ("", "x", "-1", "nan", "inf"):
        monkeypatch.setenv("HEADSCOPE_MODELS_MAX_GB", odd)
        assert most_bytes() == 100 * 10**9
