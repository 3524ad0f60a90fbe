"""Content digests of weights files, remembered so that a large file is read once and not at every start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from core.runtime.files import write_whole

SIDECAR = ".headscope-digests.json"
# Hashing less than this takes no noticeable time, so small models leave no sidecar file behind.
SIDECAR_FROM_BYTES = 16 * 2**20

_known: dict[tuple[str, int, int], str] = {}
_lock = threading.Lock()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, from memory or the folder's sidecar if size and modification time are unchanged."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    with _lock:
        if key in _known:
            return _known[key]
    digest = _from_sidecar(path, stat) if stat.st_size >= SIDECAR_FROM_BYTES else None
    if digest is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if stat.st_size >= SIDECAR_FROM_BYTES:
            _to_sidecar(path, stat, digest)
    with _lock:
        _known[key] = digest
    return digest


def weights_digest(config: dict[str, Any], files: list[Path]) -> str:
    """One sha256 over a model's configuration and its weights files, whatever the folder is called."""
    hasher = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for path in files:
        hasher.update(bytes.fromhex(file_sha256(path)))
    return hasher.hexdigest()


def _read_sidecar(folder: Path) -> dict[str, Any]:
    try:
        entries = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _from_sidecar(path: Path, stat: os.stat_result) -> str | None:
    entry = _read_sidecar(path.parent).get(path.name)
    if isinstance(entry, dict) and entry.get("size") == stat.st_size and entry.get("mtime_ns") == stat.st_mtime_ns:
        digest = entry.get("sha256")
        return digest if isinstance(digest, str) and len(digest) == 64 else None
    return None


def _to_sidecar(path: Path, stat: os.stat_result, digest: str) -> None:
    entries = _read_sidecar(path.parent)
    entries[path.name] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest}
    with contextlib.suppress(OSError):  # a read-only folder: the digest is computed again next time
        write_whole(path.parent / SIDECAR, json.dumps(entries, indent=1))
