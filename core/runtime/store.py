"""Content-addressed results on disk, computed once for everybody.

A result is named by a key: a digest of everything that changes it (`core.runtime.keys`). It is one safetensors file,
`ROOT/ab/abcd....safetensors`, whose header holds the key, the metadata as JSON and a digest of the whole file.

- A file appears whole or not at all: it is written under another name, flushed to the disk, then renamed.
- A file is used only if its digest is right. Otherwise it is set aside as `*.bad` and the result is computed again.
- A key is computed once, however many threads and processes ask for it at the same time.
- The files that were used longest ago go when the folder exceeds its size. With several processes it can exceed it for
  a few writes, because each counts only its own until it looks at the folder again.
- A disk that is full or read-only costs nobody their result: it stays in memory, and `Store.warning` says what to do.
"""

import errno
import functools
import hashlib
import json
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load, save

from core.errors import BadInput
from core.runtime.files import TEMPORARY, is_being_written, write_whole
from core.runtime.heartbeat import Watch, beating
from core.runtime.keys import check_json, json_text
from core.runtime.locks import POLL_SECONDS, take, take_lock
from core.runtime.lru import Lru

DEFAULT_MAX_BYTES = 2 * 10**9
# The bundled models' default results travel with the project, so that a first screen waits for no library to be imported.
BUNDLED_RESULTS = Path(__file__).with_name("bundled_results")

_SUFFIX = ".safetensors"
_NO_DIGEST = b"0" * 64
_BAD_FILES_KEPT = 8
_ABANDONED_SECONDS = 3600
# Without a sign of life for so long, the holder of a lock is not waited for.
STALLED_SECONDS = 10.0
_WRITES_BETWEEN_SWEEPS = 64


@dataclass(frozen=True, eq=False)
class Stored:
    """A result: arrays, copied and made read-only, and JSON metadata.

    Arrays are bool, integer or float up to 64 bits, of any shape. NaN belongs in an array: the metadata is strict JSON.

    Raises:
        TypeError: an array, or a value in the metadata, is of a type that cannot be stored.
        ValueError: a number in the metadata is NaN or infinite.
    """

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        check_json(self.meta, "meta")
        object.__setattr__(self, "arrays", {name: _read_only(name, array) for name, array in self.arrays.items()})
        # What is served from memory must equal what a later process reads from disk, and be nobody else's object.
        object.__setattr__(self, "meta", json.loads(json_text(self.meta)))


def _read_only(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if name == "__metadata__" or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"array {name!r} of type {array.dtype} cannot be stored")
    if array.flags.writeable or not array.flags.owndata or not array.flags.c_contiguous:
        array = np.array(array, order="C")
        array.setflags(write=False)
    return array


def _digest_place(data: bytes | bytearray) -> int:
    """Where the digest's 64 characters start; ValueError if the header has none.

    No array name or metadata can imitate it: in the header's JSON their quotation marks are escaped.
    """
    header_end = 8 + int.from_bytes(data[:8], "little")
    label = b'"digest":"'
    return data.index(label, 8, min(header_end, len(data))) + len(label)


def _digest(data: bytes | bytearray, place: int) -> bytes:
    """Digest of every byte of the file, with zeros where the digest itself stands."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:place])
    digest.update(_NO_DIGEST)
    digest.update(view[place + len(_NO_DIGEST) :])
    return digest.hexdigest().encode()


def _pack(key: str, stored: Stored) -> bytes:
    header = {"key": key, "meta": json_text(stored.meta), "digest": _NO_DIGEST.decode()}
    data = bytearray(save(stored.arrays, metadata=header))
    place = _digest_place(data)
    data[place : place + len(_NO_DIGEST)] = _digest(data, place)
    return bytes(data)


def _unpack(key: str, data: bytes) -> Stored:
    """The result in a file's bytes; ValueError if they are not exactly what was written for this key."""
    place = _digest_place(data)
    if data[place : place + len(_NO_DIGEST)] != _digest(data, place):
        raise ValueError("the digest does not match")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    if header["key"] != key:
        raise ValueError("the file belongs to another key")
    return Stored(load(data), json.loads(header["meta"]))


@dataclass
class _KeyLock:
    lock: threading.Lock
    users: int = 0


class Store:
    """Results by key, in memory and in a folder. Safe for many threads and many processes.

    Args:
        root: the folder; it is made when it is first written to.
        max_bytes: bound on the folder's size.
        memory_entries: results kept in memory, the latest used.
        bundled: a folder of the same layout that travels with the project; it is only read.
    """

    def __init__(
        self,
        root: Path,
        max_bytes: int = DEFAULT_MAX_BYTES,
        memory_entries: int = 64,
        bundled: Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.max_bytes = max_bytes
        self.bundled = bundled
        self.warning: str | None = None
        self._guard = threading.Lock()
        self._memory: Lru[str, Stored] = Lru(memory_entries)
        self._key_locks: dict[str, _KeyLock] = {}
        # The folder's size, as far as this process knows; None until it has looked.
        self._size: int | None = None
        self._writes = 0

    def get(self, key: str) -> Stored | None:
        """The result of this key, or None if it has to be computed."""
        path = self.path(key)
        stored = self._recall(key)
        if stored is None:
            stored = self._read(key, path) or self._read_bundled(key)
            if stored is None:
                return None
            self._remember(key, stored)
        # The time of last use, also of what memory served: the order in which files are removed.
        with suppress(OSError):
            os.utime(path)
        return stored

    def put(self, key: str, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> Stored:
        """Keep a result, and return it as everybody will see it from now on.

        Raises:
            TypeError, ValueError: the arrays or the metadata cannot be stored (see `Stored`).
        """
        path = self.path(key)
        stored = Stored(dict(arrays), dict(meta))
        self._remember(key, stored)
        try:
            self._write(path, _pack(key, stored))
        except OSError as error:
            self.warning = self._explain(error)
        return stored

    def get_or_compute(self, key: str, compute: Callable[[], Stored]) -> Stored:
        """The result of this key, computed if nobody has yet.

        While somebody else computes it, this waits, and gives its turn to compute away (see `core.runtime.jobs`). If their
        attempt fails, the next who waits tries.

        Raises:
            JobCancelled: the job that waits here was cancelled.
            Exception: whatever `compute` raises; nothing is stored then.
        """
        stored = self.get(key)
        if stored is not None:
            return stored
        with self._alone_among_threads(key), self._alone_among_processes(key):
            stored = self.get(key)
            if stored is None:
                computed = compute()
                stored = self.put(key, computed.arrays, computed.meta)
            return stored

    def path(self, key: str) -> Path:
        """The file of this key; ValueError if it is not a key, because a key becomes a path."""
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise ValueError(f"{key!r} is not a key made by result_key")
        return self.root / key[:2] / f"{key}{_SUFFIX}"

    def mark(self) -> str:
        """32 characters that are this folder's own, made when first asked for: two processes that read the same share a store.

        Raises OSError where the folder cannot be read, or written when it has none yet.
        """
        path = self.root / "mark"
        self.root.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), open(path, "x") as file:
            file.write(secrets.token_hex(16))
        deadline = time.monotonic() + 1.0
        # Somebody else may just be writing it.
        while len(text := path.read_text()) < 32 and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return text

    # Memory

    def _recall(self, key: str) -> Stored | None:
        stored = self._memory.get(key)
        # A copy, sharing the read-only arrays: nobody can change the metadata that the next one gets.
        return None if stored is None else Stored(stored.arrays, stored.meta)

    def _remember(self, key: str, stored: Stored) -> None:
        self._memory.put(key, Stored(stored.arrays, stored.meta))

    # Once per key

    @contextmanager
    def _alone_among_threads(self, key: str) -> Iterator[None]:
        with self._guard:
            entry = self._key_locks.setdefault(key, _KeyLock(threading.Lock()))
            entry.users += 1
        try:
            take_lock(entry.lock)
            try:
                yield
            finally:
                entry.lock.release()
        finally:
            with self._guard:
                entry.users -= 1
                if entry.users == 0:
                    del self._key_locks[key]

    @contextmanager
    def _alone_among_processes(self, key: str) -> Iterator[None]:
        path = self.path(key)
        lock = FileLock(path.with_name(f".{key}.lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            watch = Watch(Path(lock.lock_file))
            take(functools.partial(_try_file_lock, lock), lock.release, functools.partial(_give_up_on, watch))
        except _Stalled:
            yield
            # After what was computed here is kept: a write that goes well takes earlier warnings back.
            self.warning = (
                f"Another process that computes here has not stirred for {STALLED_SECONDS:.0f} s, so its result was not waited "
                "for: it may have been stopped."
            )
            return
        except OSError as error:
            # Nothing can be written here, so no other process can share this result either.
            self.warning = self._explain(error)
            yield
            return
        try:
            with beating(lock.lock_file):
                yield
        finally:
            # Removed while held: who waits on the removed file sees that it has no name and opens the next one.
            with suppress(OSError):
                os.unlink(lock.lock_file)
            lock.release()

    # Disk

    def _read(self, key: str, path: Path) -> Stored | None:
        try:
            return _unpack(key, path.read_bytes())
        except OSError:
            return None
        except (ValueError, KeyError, SafetensorError):
            self._set_aside(path)
            return None

    def _read_bundled(self, key: str) -> Stored | None:
        if self.bundled is None:
            return None
        try:
            return _unpack(key, (self.bundled / key[:2] / f"{key}{_SUFFIX}").read_bytes())
        except (OSError, ValueError, KeyError, SafetensorError):
            return None

    def _set_aside(self, path: Path) -> None:
        with suppress(OSError):
            os.replace(path, path.with_name(path.name + ".bad"))
        with self._guard:
            self._size = None

    def _write(self, path: Path, data: bytes) -> None:
        if len(data) > self.max_bytes:
            self.warning = (
                f"A result of {len(data) / 1e6:.0f} MB is larger than the {self.max_bytes / 1e6:.0f} MB that "
                f"{self.root} may hold, so it is kept in memory only; set HEADSCOPE_STORE_MAX_GB to more."
            )
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        self.warning = None
        self._bound_size(path, len(data))

    def _explain(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            wrong, remedy = f"The disk that holds {self.root} is full", "free some space there"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            wrong, remedy = f"The folder {self.root} cannot be written to", "make it writable"
        else:
            wrong, remedy = f"Results cannot be saved in {self.root} ({error.strerror})", "repair that folder"
        return (
            f"{wrong}, so results are kept in memory only and are computed again after a restart; "
            f"{remedy}, or set HEADSCOPE_STORE to another folder."
        )

    # Size

    def _bound_size(self, written: Path, size: int) -> None:
        with self._guard:
            self._writes += 1
            due = self._size is None or self._writes % _WRITES_BETWEEN_SWEEPS == 0
            self._size = size + (self._size or 0)
            due = due or self._size > self.max_bytes
        if due:
            total = self._sweep(written)
            with self._guard:
                self._size = total

    def _sweep(self, keep: Path) -> int:
        """Remove what was abandoned, then what was used longest ago, except `keep`; returns the bytes that stay."""
        results, bad = [], []
        for path, status in _files(self.root):
            entry = (status.st_mtime_ns, status.st_size, path)
            if path.name.endswith(_SUFFIX):
                results.append(entry)
            elif path.name.endswith(_SUFFIX + ".bad"):
                bad.append(entry)
            elif path.suffix in (TEMPORARY, ".lock") and time.time() - status.st_mtime > _ABANDONED_SECONDS:
                _remove_abandoned(path)
        bad.sort()
        for _, _, path in bad[:-_BAD_FILES_KEPT]:
            _unlink(path)
        removable = bad[-_BAD_FILES_KEPT:] + sorted(results)
        total = sum(size for _, size, _ in removable)
        if total <= self.max_bytes:
            return total
        # Somewhat below the bound, so that not every write has to look through the folder.
        for _, size, path in removable:
            if total <= 0.9 * self.max_bytes:
                break
            if path != keep:
                _unlink(path)
                total -= size
        return total


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that a store made; other processes may add and remove some meanwhile."""
    for folder in root.glob("[0-9a-f][0-9a-f]"):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _remove_abandoned(path: Path) -> None:
    """Remove what a killed process left behind; a lock that is held stays, however old its file is."""
    if path.suffix == TEMPORARY:
        # By lock, not by clock, which may be hours ahead: what is being written stays.
        if not is_being_written(path):
            _unlink(path)
        return
    lock = FileLock(path)
    with suppress(OSError), lock.acquire(timeout=0):
        _unlink(path)


class _Stalled(Exception):
    """Whoever holds the lock gives no sign of life."""


def _give_up_on(watch: Watch) -> None:
    """Raises `_Stalled` where the file that a lock's holder touches has stood still for too long."""
    if watch.still_for() >= STALLED_SECONDS:
        watch.remember()
        raise _Stalled
    if watch.stopped_with_another():
        raise _Stalled


def _try_file_lock(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds, poll_interval=POLL_SECONDS / 5)
    except Timeout:
        return False
    return True


def default_store() -> Store:
    """The one store that everything in this process shares.

    Its folder is `HEADSCOPE_STORE` (default `~/.cache/headscope/results`), its bound `HEADSCOPE_STORE_MAX_GB` (2).

    Raises:
        BadInput: the bound is not a positive number.
    """
    root = os.environ.get("HEADSCOPE_STORE") or "~/.cache/headscope/results"
    limit = os.environ.get("HEADSCOPE_STORE_MAX_GB") or "2"
    with _default_store_lock:
        return _store_at(Path(root).expanduser().absolute(), _bytes_of_gigabytes(limit))


_default_store_lock = threading.Lock()


@functools.lru_cache(maxsize=8)
def _store_at(root: Path, max_bytes: int) -> Store:
    return Store(root, max_bytes, bundled=BUNDLED_RESULTS)


def _bytes_of_gigabytes(text: str) -> int:
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not (math.isfinite(gigabytes) and gigabytes > 0):
        raise BadInput(f"HEADSCOPE_STORE_MAX_GB is {text!r}; it must be a positive number of gigabytes, such as 2.")
    return int(gigabytes * 1e9)
