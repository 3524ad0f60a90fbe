"""Content digests of weights files, remembered so that a large file is read once and not at every start.

Reading a large file is long work as any other: it reports how many bytes are read, makes way and can be cancelled, and is not
begun where only what is at hand may be used (`core.runtime.cache.if_cached`), as in a page's own script.

Remembered beside the results, never in the model's own folder: whoever can write there could say that one model's weights are
another's, and so put one's numbers in the place of the other's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.models.paths import shown
from core.runtime.files import write_whole
from core.transformer.memory import gigabytes

REMEMBERED = "digests"
# Hashing less than this takes no noticeable time, so of small files nothing is written down.
REMEMBERED_FROM_BYTES = 16 * 2**20

# Reading more than this takes longer than a page's script may: it is a job's work.
INLINE_BYTES = 100 * 10**6
# Read between two looks at whether anybody still wants it.
STEP_BYTES = 8 * 2**20
# What is written down of a file beside its digest.
_STATE = ("size", "mtime_ns", "ctime_ns")

_known: dict[tuple[str, int, int, int], str] = {}
_lock = threading.Lock()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, from memory or from what was written down if its size and both its times are unchanged.

    Raises ModelUnavailable if it was written to meanwhile, JobCancelled if nobody wants it any more.
    """
    return _digests([path])[0]


def weights_digest(config: dict[str, Any], files: Sequence[Path]) -> str:
    """One sha256 over a model's configuration and its weights files, whatever the folder is called; raises as `file_sha256`."""
    hasher = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for digest in _digests(files):
        hasher.update(bytes.fromhex(digest))
    return hasher.hexdigest()


def _digests(files: Sequence[Path]) -> list[str]:
    found = [_remembered(path, path.stat()) for path in files]
    unread = [path for path, digest in zip(files, found, strict=True) if digest is None]
    reading = _Reading(sum(path.stat().st_size for path in unread))
    return [digest or reading.sha256(path) for path, digest in zip(files, found, strict=True)]


class _Reading:
    """Some files read one after the other, reported as one piece of work where they are large together."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._long = total > INLINE_BYTES
        if self._long:
            from core.runtime.cache import about_to_compute

            about_to_compute()

    def sha256(self, path: Path) -> str:
        """The digest of one of them, remembered from now on."""
        hasher = hashlib.sha256()
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            while step := file.read(STEP_BYTES):
                hasher.update(step)
                self._done += len(step)
                self._report()
            after = os.fstat(file.fileno())
        if _state(before) != _state(after):
            raise ModelUnavailable(
                f"The file {path.name} of {shown(path.parent)} was written to while it was read: wait until it is whole."
            )
        _remember(path, before, digest := hasher.hexdigest())
        return digest

    def _report(self) -> None:
        if self._long:
            # Here and not above: what shows a model's name needs no store and no jobs.
            from core.runtime.jobs import current_control

            control = current_control()
            control.checkpoint()
            how_far = f"{gigabytes(self._done)} of {gigabytes(self._total)}"
            control.progress(self._done / self._total, f"reading the weights once to know them again, {how_far}")


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    # When it was last changed in any way, too: a copy can keep the time of what it stands in the place of.
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _remembered(path: Path, stat: os.stat_result) -> str | None:
    with _lock:
        known = _known.get((str(path.resolve()), *_state(stat)))
    if known is None and stat.st_size >= REMEMBERED_FROM_BYTES:
        return _written_down(path, stat)
    return known


def _remember(path: Path, stat: os.stat_result, digest: str) -> None:
    with _lock:
        _known[(str(path.resolve()), *_state(stat))] = digest
    if stat.st_size >= REMEMBERED_FROM_BYTES:
        _write_down(path, stat, digest)


def _note(path: Path) -> Path:
    # Here and not above: what shows a model's name needs no store and no jobs.
    from core.runtime.store import default_store

    name = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()
    return default_store().root / REMEMBERED / f"{name}.json"


def _written_down(path: Path, stat: os.stat_result) -> str | None:
    try:
        entry = json.loads(_note(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(entry, dict) and tuple(entry.get(name) for name in _STATE) == _state(stat):
        digest = entry.get("sha256")
        return digest if isinstance(digest, str) and len(digest) == 64 else None
    return None


def _write_down(path: Path, stat: os.stat_result, digest: str) -> None:
    note = _note(path)
    with contextlib.suppress(OSError):  # a folder that cannot be written to: it is computed again next time
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps(dict(zip(_STATE, _state(stat), strict=True)) | {"sha256": digest}))
