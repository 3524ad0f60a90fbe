"""Who a model is, read from its folder without torch: a first screen needs nothing more."""

from __future__ import annotations

from pathlib import Path

from core.errors import ModelUnavailable
from core.models.catalogue import BY_CONSTRUCTION, CatalogueEntry, find_entry, folder_of
from core.models.formats.hf_folder import hf_identity
from core.models.formats.native_folder import native_identity
from core.models.paths import NATIVE_FILE
from core.runtime.lru import Lru
from core.transformer.card import ModelIdentity

_known: Lru[tuple[object, ...], ModelIdentity] = Lru(64)


def model_identity(name: str) -> ModelIdentity:
    """The identity of an available model: its card, weights digest, tokenizer and special ids. Imports no torch.

    Raises ModelUnavailable if the model is unknown, not brought in yet, or its files are broken.
    """
    entry = find_entry(name)
    if entry.name == BY_CONSTRUCTION:
        from core.models.built_in.construction import identity

        return identity()
    folder = folder_of(entry)
    if folder is None:
        raise ModelUnavailable(
            f"{entry.name} is not on this machine yet: bring it in with `python -m core models add {entry.name}`."
        )
    key = (entry.name, entry.source, *_state(folder))
    return _known.get_or_make(key, lambda: _read(folder, entry))


def _read(folder: Path, entry: CatalogueEntry) -> ModelIdentity:
    if (folder / NATIVE_FILE).is_file():
        return native_identity(folder, entry.name, entry.source)
    return hf_identity(folder, entry.name, entry.source, title=entry.title, description=entry.description)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """The folder's files with sizes and times: when any changes, the identity is read again."""
    stats = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.suffix in (".json", ".safetensors"))
    return [(str(folder), 0, 0)] + [(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats if file[0] != "."]
