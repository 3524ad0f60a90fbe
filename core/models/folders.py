"""The entry of a model that can be chosen, and how one is read from a folder under the model folder. Imports no torch.

Whatever one folder holds is that folder's own trouble: it is listed with the reason why it cannot be measured.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import HeadScopeError
from core.models.formats import hf_config
from core.models.formats.native_folder import read_about
from core.models.formats.unusable import check_usable, why_unusable
from core.models.formats.weights_file import count_weights, has_pickles, weights_files
from core.models.paths import NATIVE_FILE, is_model_folder, models_root, shown
from core.runtime.files import as_text
from core.transformer.card import Source

_log = logging.getLogger("headscope")
REPO_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")


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


def without_blanks(name: str) -> str:
    """A folder's name without blanks at its ends, nor at those of a folder on the way to it."""
    return "/".join(part.strip() for part in name.split("/"))


def looks_like_a_model(folder: Path) -> bool:
    """Whether a folder is a model's, or one that cannot be looked into: that is listed, too, with the reason."""
    try:
        return is_model_folder(folder) or why_unusable(folder) is not None or not os.access(folder, os.R_OK | os.X_OK)
    except (HeadScopeError, OSError, RuntimeError):
        return True


def model_folders(root: Path, depth: int = 2) -> Iterator[Path]:
    """The folders below `root` that look like a model's, in order of name; none that leads outside."""
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
        if looks_like_a_model(folder):
            yield folder
        elif depth > 1:
            yield from model_folders(folder, depth - 1)


def name_of_folder(folder: Path) -> str:
    """The name of a folder under the root: its path from there, or the repository it was brought in from."""
    relative = folder.resolve().relative_to(models_root().resolve())
    if len(relative.parts) == 1 and "--" in relative.name and REPO_ID.fullmatch(relative.name.replace("--", "/", 1)):
        return relative.name.replace("--", "/", 1)
    return as_text(relative.as_posix())


def folder_entry(folder: Path, name: str, source: Source) -> CatalogueEntry:
    """An entry for a folder; a broken one is listed as not available, with the reason as its description."""
    repo_id, complete = name if source == "hub" else None, False
    reason = _out_of_reach(folder)
    if reason:
        return unmeasured(name, source, reason)
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
        return replace(unmeasured(name, source, reason), problem=problem)


def unmeasured(name: str, source: Source, reason: str) -> CatalogueEntry:
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
    if without_blanks(name) != name:  # which addresses and controls leave out
        return f"The folder {name!r} has a name that begins or ends with a blank: rename it to {without_blanks(name)!r}."
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"{shown(folder)} cannot be looked into: whoever runs HeadScope may not read that folder."
    return ""


def _holds_pickles(folder: Path) -> bool:
    try:
        return has_pickles(folder) and why_unusable(folder) is None
    except (HeadScopeError, OSError):
        return False


def is_complete(folder: Path) -> bool:
    """Whether a folder is a model's and holds weights."""
    try:
        return is_model_folder(folder) and any(folder.glob("*.safetensors"))
    except OSError:
        return False
