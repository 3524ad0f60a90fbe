"""Who a model is, read from its folder without torch: a first screen needs nothing more."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.catalogue import BY_CONSTRUCTION, find_entry, folder_of
from core.models.folders import CatalogueEntry
from core.models.formats.hf_folder import hf_identity
from core.models.formats.native_folder import native_identity
from core.models.paths import NATIVE_FILE
from core.runtime.lru import Lru
from core.transformer.card import ModelIdentity

_known: Lru[tuple[object, ...], ModelIdentity] = Lru(64)


def model_identity(name: str) -> ModelIdentity:
    """The identity of an available model: its card, weights digest, tokenizer and special ids. Imports no torch.

    Large files that this machine has not met yet are read whole, which is long work (`core.models.formats.digest`).

    Raises ModelUnavailable if the model is unknown, not brought in yet, or its files are broken.
    """
    entry = find_entry(name)
    if entry.name == BY_CONSTRUCTION:
        from core.models.built_in.construction import identity

        return identity()
    folder = _folder(entry)
    return _known.get_or_make(_key(entry, folder), lambda: _read(folder, entry))


def reading_key(name: str) -> str:
    """The key of a job that reads the files of a model (`model_identity`): the same as long as they are.

    Raises ModelUnavailable as `model_identity` does for a model that is not here.
    """
    entry = find_entry(name)
    return f"files of {entry.name} " + hashlib.sha256(repr(_key(entry, _folder(entry))).encode()).hexdigest()


def _folder(entry: CatalogueEntry) -> Path:
    folder = folder_of(entry)
    if folder is None:
        raise ModelUnavailable(
            entry.problem
            or f"{entry.name} is not on this machine yet: bring it in with `python -m core models add {entry.name}`."
        )
    return folder


def _key(entry: CatalogueEntry, folder: Path) -> tuple[object, ...]:
    return (entry.name, entry.source, *_state(folder))


def _read(folder: Path, entry: CatalogueEntry) -> ModelIdentity:
    if (folder / NATIVE_FILE).is_file():
        return native_identity(folder, entry.name, entry.source)
    return hf_identity(folder, entry.name, entry.source, title=entry.title, description=entry.description)


def _state(folder: Path) -> list[tuple[str, int, int, int]]:
    """The folder's files with sizes and times: when any changes, the identity is read again.

    The time of the last change to the file itself, too, which nobody can set: a copy may keep the time of what it replaces.
    """
    found = [(str(folder), 0, 0, 0)]
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors") and path.name[0] != ".":
            # A link to nothing, or a file that is just being replaced: what needs it says that it is missing.
            with suppress(OSError):
                stat = path.stat()
                found.append((path.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return found
