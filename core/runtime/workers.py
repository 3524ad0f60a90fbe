"""Long work on other machines: jobs are sent to the workers of a Ray cluster, and come back as if they had been done here.

`HEADSCOPE_WORKERS` says where: `ray://HOST:PORT`, or `auto` for a cluster whose head is this machine. Where it says nothing,
nothing of Ray is imported.

Server and workers have one store, a folder that all see. So whatever a job has finished is there for everybody, a worker that
dies loses one step at most, and what two compute at once is computed once, by the locks of the store. A worker first shows that
it is the server's equal (`core.runtime.worker`): same store, same sources, same libraries, same kind of processor, as many
threads. Then keys and bits are the same.

A cluster that cannot be reached, or whose workers differ, costs nobody a result: the job is done here, and `Workers.warning`
says why.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import pickle
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from core.errors import HeadScopeError, JobCancelled
from core.runtime.jobs import JobControl
from core.runtime.store import default_store
from core.runtime.turns import Turns
from core.runtime.worker import Board, Home, WorkerDiffers, compute, traits

T = TypeVar("T")
WORKERS = "HEADSCOPE_WORKERS"
AUTO = "ray://127.0.0.1:10001"
# Shorter work is done here: it would be under way as long as it takes.
WORTH_SENDING_SECONDS = 5.0
# How often a job is sent again whose worker was lost.
ATTEMPTS = 3
# After a failure the cluster is left alone for so long.
AGAIN_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.25
_REACHED_SECONDS = 3.0
# For so long a cluster may be out of reach while a job is there, then the job is done here. Ray itself waits for half a minute.
_GONE_SECONDS = "10"


class WorkersUnavailable(HeadScopeError):
    """The workers cannot do this: the job is to be done here."""


class WorkLost(HeadScopeError):
    """Worker after worker ended while it did this."""


@dataclass(frozen=True)
class _Link:
    """An open connection to a cluster."""

    ray: Any
    task: Any
    board: Any
    home: Home


class Workers:
    """A cluster's workers, as one server sees them.

    Args:
        address: `ray://HOST:PORT`.
        device: gives the class of device that this server computes on: its workers must have one, too.
    """

    def __init__(self, address: str, device: Callable[[], str] = lambda: "cpu") -> None:
        self.address = address
        self.warning: str | None = None
        # As many as the cluster has processors for, once that is known.
        self.turns = Turns(1, _PATIENCE_SECONDS)
        self._device = device
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._failed_at = -math.inf

    def run(self, work: Callable[[], T], control: JobControl) -> T:
        """What `work` returns, computed by a worker; where that cannot be, here.

        Raises what the work raises, and JobCancelled.
        """
        try:
            found: T = self._sent(work, control)
        except WorkersUnavailable as error:
            self.warning = f"The workers at {self.address} cannot be used, so this server computes alone: {error}"
            control.compute_here()
            return work()
        self.warning = None
        return found

    def close(self) -> None:
        """Leave the cluster."""
        with self._lock:
            if self._link is not None:
                self._link.ray.shutdown()
                self._link = None

    def _sent(self, work: Callable[[], T], control: JobControl) -> Any:
        link = self._linked()
        with self._failures(link):
            packed = _packed(link, work)
            job = secrets.token_hex(8)
            answer = link.task.remote(packed, link.home, link.board, job)
            shown = 0
            try:
                while not link.ray.wait([answer], timeout=_POLL_SECONDS)[0]:
                    shown = self._listen(link, job, shown, control)
                    control.raise_if_cancelled()
            except JobCancelled:
                link.board.stop.remote(job)
                raise
            return link.ray.get(answer)

    def _listen(self, link: _Link, job: str, shown: int, control: JobControl) -> int:
        """Pass on what the worker has told since; the board may be on its way to another machine, and then nothing is."""
        with suppress(link.ray.exceptions.RayActorError, link.ray.exceptions.GetTimeoutError):
            told = link.ray.get(link.board.look.remote(job, shown), timeout=_REACHED_SECONDS)
            if told is not None:
                control.report(told.fraction, told.message)
                if told.shown > shown:
                    control.partial(told.value)
                    return int(told.shown)
        return shown

    @contextmanager
    def _failures(self, link: _Link) -> Iterator[None]:
        """The work's own errors as they were raised; the cluster's as WorkersUnavailable."""
        try:
            yield
        except link.ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, WorkerDiffers | link.ray.exceptions.RayError):
                # One that has no HeadScope cannot even begin.
                raise WorkersUnavailable(_first_line(cause)) from None
            # Not with the worker's traceback in its sentence.
            raise cause from None
        except _losses(link.ray) as error:
            # Not done here: what ended several workers could end the server.
            raise WorkLost(
                f"The worker that did this was lost {ATTEMPTS + 1} times, so it may need more memory than they have: ask for "
                "fewer or shorter sequences."
            ) from error
        except (link.ray.exceptions.RayError, ConnectionError) as error:
            self._forget(link)
            raise WorkersUnavailable(_first_line(error)) from error

    def _linked(self) -> _Link:
        with self._lock:
            if self._link is None:
                if time.monotonic() - self._failed_at < AGAIN_SECONDS:
                    raise WorkersUnavailable("it could not be reached a moment ago")
                try:
                    self._link = _connect(self.address, self._device())
                except WorkersUnavailable:
                    self._failed_at = time.monotonic()
                    raise
            link = self._link
        with self._failures(link):
            self.turns.resize(max(1, int(link.ray.cluster_resources().get("CPU", 1))))
        return link

    def _forget(self, link: _Link) -> None:
        with self._lock:
            if self._link is link:
                self._link, self._failed_at = None, time.monotonic()
                with suppress(Exception):
                    link.ray.shutdown()


def workers_for(seconds: float, device: Callable[[], str]) -> Workers | None:
    """The workers that work of `seconds` is sent to; None where it is done here, as all is where none are asked for."""
    said = os.environ.get(WORKERS, "").strip()
    if not said or not WORTH_SENDING_SECONDS <= seconds < math.inf:
        return None
    return _workers_at(AUTO if said == "auto" else said, device)


def workers_warning() -> str | None:
    """One sentence where workers are asked for and cannot be used."""
    said = os.environ.get(WORKERS, "").strip()
    return _workers_at(AUTO if said == "auto" else said, None).warning if said else None


_known: dict[str, Workers] = {}
_known_lock = threading.Lock()


def _workers_at(address: str, device: Callable[[], str] | None) -> Workers:
    with _known_lock:
        found = _known.get(address)
        if found is None:
            found = _known[address] = Workers(address, device or (lambda: "cpu"))
        return found


def _packed(link: _Link, work: Callable[[], object]) -> bytes:
    """The work as bytes. What cannot travel, a model in memory for example, is for this process."""
    try:
        packed: bytes = link.ray.cloudpickle.dumps(work)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise WorkersUnavailable(f"this work cannot be sent ({_first_line(error)})") from error
    return packed


def _connect(address: str, device: str) -> _Link:
    _check_reached(address)
    ray = _ray()
    try:
        ray.init(address, namespace="headscope", log_to_driver=False)
        gpus = int(device == "cuda")
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": ATTEMPTS}
        # Its last words may be a moment old when its machine dies: it starts again elsewhere, and is told again.
        board = ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
        return _Link(ray, ray.remote(**options)(compute), board, _home(gpus))
    except OSError as error:
        raise WorkersUnavailable(f"the store cannot be shared ({error.strerror or _first_line(error)})") from error
    except Exception as error:
        # Of many kinds: another version of Ray or of Python at the other end, a cluster that is being shut down.
        raise WorkersUnavailable(_first_line(error)) from error


def _home(gpus: int) -> Home:
    store = default_store()
    return Home(
        store=str(store.root),
        mark=store.mark(),
        models=os.environ.get("HEADSCOPE_MODELS", ""),
        gpus=gpus,
        traits=traits(),
    )


def _losses(ray: Any) -> tuple[type[Exception], ...]:
    known = ray.exceptions
    return known.WorkerCrashedError, known.NodeDiedError, known.OutOfMemoryError


def _check_reached(address: str) -> None:
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "ray" or not parts.hostname or port is None:
        raise WorkersUnavailable(f"{WORKERS} must be ray://HOST:PORT, or auto, not {address!r}")
    try:
        socket.create_connection((parts.hostname, port), timeout=_REACHED_SECONDS).close()
    except OSError as error:
        raise WorkersUnavailable(f"nobody answers there ({error.strerror or _first_line(error)})") from error


@functools.cache
def _ray() -> Any:
    # Nothing leaves the machines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What a cancelled job ends with over there is no error; without it a traceback comes into the server's log.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", _GONE_SECONDS)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise WorkersUnavailable("Ray is not installed: pip install -r requirements-cluster.txt") from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
