"""A worker's side: show that it is the server's equal, do the work, tell how far it is, stop when it is told to."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import socket
import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import HeadScopeError, JobCancelled
from core.runtime.jobs import JobControl, running
from core.runtime.lru import Lru
from core.runtime.store import default_store

_TELL_SECONDS = 0.25
_JOBS_REMEMBERED = 4096


class WorkerDiffers(HeadScopeError):
    """What this worker computed would not be the server's result."""


@dataclass(frozen=True)
class Home:
    """What the server is, and its worker must be.

    store, models: the folders, where the worker's own environment names none.
    mark: what is written in the store: another folder of the same name has another.
    gpus: how many a job takes.
    traits: what bits depend on (`traits`).
    """

    store: str
    mark: str
    models: str
    gpus: int
    traits: dict[str, str]


@dataclass
class Told:
    """How far a job is; `shown` counts the partial results, of which `value` is the latest."""

    fraction: float = 0.0
    message: str = ""
    shown: int = 0
    value: Any = None
    stop: bool = False


@dataclass
class Board:
    """An actor between a server and its workers: they say how far they are, it says who is to stop."""

    _jobs: Lru[str, Told] = field(default_factory=lambda: Lru(_JOBS_REMEMBERED))

    def say(self, job: str, fraction: float, message: str) -> bool:
        """How far a job is; answers whether it is to stop."""
        told = self._of(job)
        told.fraction, told.message = fraction, message
        return told.stop

    def show(self, job: str, value: Any) -> None:
        """A result that is not complete yet."""
        told = self._of(job)
        told.shown, told.value = told.shown + 1, value

    def stop(self, job: str) -> None:
        """Nobody wants it any more."""
        self._of(job).stop = True

    def look(self, job: str, shown: int) -> Told | None:
        """What was told of a job, its partial result only if it is newer than number `shown`; None if nothing was."""
        told = self._jobs.get(job)
        return told if told is None or told.shown > shown else replace(told, value=None)

    def _of(self, job: str) -> Told:
        return self._jobs.get_or_make(job, Told)


class _Teller(JobControl):
    """The control of work in a worker: tells the board, a few times a second, and hears there whether to stop."""

    def __init__(self, board: Any, job: str) -> None:
        super().__init__()
        import ray

        self._ray, self._board, self._job = ray, board, job
        self._fraction, self._message = 0.0, ""
        self._asked: Any = None
        self._told_at = 0.0
        self._stop = False

    def report(self, fraction: float, message: str) -> None:
        self._fraction, self._message = fraction, message
        self._tell()

    def partial(self, value: Any) -> None:
        self._board.show.remote(self._job, value)

    def raise_if_cancelled(self) -> None:
        self._tell()
        self._hear(0)
        if self._stop:
            raise JobCancelled("The work was cancelled before it finished; start it again to get its result.")

    def checkpoint(self) -> None:
        self.raise_if_cancelled()

    def hear_first(self) -> None:
        """Before anything is done: it may have waited for long, and for nobody."""
        self._tell()
        self._hear(10 * _TELL_SECONDS)
        self.raise_if_cancelled()

    def _tell(self) -> None:
        if self._asked is None and time.monotonic() - self._told_at >= _TELL_SECONDS:
            self._told_at = time.monotonic()
            self._asked = self._board.say.remote(self._job, self._fraction, self._message)

    def _hear(self, seconds: float) -> None:
        if self._asked is None or not self._ray.wait([self._asked], timeout=seconds)[0]:
            return
        asked, self._asked = self._asked, None
        try:
            self._stop = self._ray.get(asked)
        except self._ray.exceptions.RayError:
            # The board's machine is gone; it comes back on another.
            return


def compute(packed: bytes, home: Home, board: Any, job: str) -> Any:
    """Do the server's work. Raises WorkerDiffers, JobCancelled, or what the work raises."""
    control = _Teller(board, job)
    control.hear_first()
    os.environ.setdefault("HEADSCOPE_STORE", home.store)
    if home.models:
        os.environ.setdefault("HEADSCOPE_MODELS", home.models)
    if not home.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _check(home)
    try:
        work = pickle.loads(packed)
    except HeadScopeError as error:
        raise WorkerDiffers(f"{socket.gethostname()}: {error}") from error
    with running(control):
        return work()


def traits() -> dict[str, str]:
    """What bits depend on beside the key: HeadScope's sources, torch's build, the processor, the threads that share a sum."""
    import torch

    return {
        "HeadScope's sources": _sources(),
        "torch": torch.__version__,
        "the processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": str(torch.get_num_threads()),
    }


def _check(home: Home) -> None:
    import torch

    where = socket.gethostname()
    # Ray gives each worker one, whatever the server has.
    torch.set_num_threads(int(home.traits["threads"]))
    own = traits()
    for name, wanted in home.traits.items():
        if own[name] != wanted:
            raise WorkerDiffers(f"{name} of the worker on {where}: {own[name]}, and the server's: {wanted}")
    store = default_store()
    try:
        mark = store.mark()
    except OSError as error:
        raise WorkerDiffers(f"the store {store.root} cannot be used on {where} ({error.strerror})") from error
    if mark != home.mark:
        raise WorkerDiffers(f"{store.root} on {where} is another folder than the server's: HEADSCOPE_STORE must be one for all")


@cache
def _sources() -> str:
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
