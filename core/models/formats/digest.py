"""Content digests of weights files, remembered so that a large file is read once and not at every start.

Remembered beside the results, never in the model's own folder: whoever can write there could say that one model's weights are
another's, and so put one's numbers in the place of the other's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from core.runtime.files import write_whole

REMEMBERED = "digests"
# Hashing less than this takes no noticeable time, so of small files nothing is written down.
REMEMBERED_FROM_BYTES = 16 * 2**20

_known: dict[tuple[str, int, int], str] = {}
_lock = threading.Lock()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, from memory or from what was written down if size and modification time are unchanged."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    with _lock:
        if key in _known:
            return _known[key]
    digest = _written_down(path, stat) if stat.st_size >= REMEMBERED_FROM_BYTES else None
    if digest is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if stat.st_size >= REMEMBERED_FROM_BYTES:
            _write_down(path, stat, digest)
    with _lock:
        _known[key] = digest
    return digest


def weights_digest(config: dict[str, Any], files: list[Path]) -> str:
    """One sha256 over a model's configuration and its weights files, whatever the folder is called."""
    hasher = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for path in files:
        hasher.update(bytes.fromhex(file_sha256(path)))
    return hasher.hexdigest()


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
    if isinstance(entry, dict) and entry.get("size") == stat.st_size and entry.get("mtime_ns") == stat.st_mtime_ns:
        digest = entry.get("sha256")
        return digest if isinstance(digest, str) and len(digest) == 64 else None
    return None


def _write_down(path: Path, stat: os.stat_result, digest: str) -> None:
    note = _note(path)
    with contextlib.suppress(OSError):  # a folder that cannot be written to: it is computed again next time
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps({"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest}))
