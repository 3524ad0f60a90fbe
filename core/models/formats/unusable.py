"""Folders that hold weights and cannot be measured as they are: each with the sentence that says why, and what would do."""

from __future__ import annotations

from pathlib import Path

from core.errors import ModelUnavailable
from core.models.formats.json_file import read_object
from core.models.formats.weights_file import PICKLES
from core.models.paths import HF_FILE, NATIVE_FILE, model_file, shown
from core.runtime.files import shown_name

ADAPTER_FILE = "adapter_config.json"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_MERGE = "Merge it into its base model (`merge_and_unload()` of peft, then `save_pretrained()`), and put the merged model here."


def why_unusable(folder: Path) -> str | None:
    """Why a folder cannot be measured although it holds weights; None for a model's folder, and for one without any.

    An adapter beside its base would be left out, and the base measured under the name of both.
    """
    if (folder / NATIVE_FILE).is_file():
        return None
    if model_file(folder, ADAPTER_FILE) is not None:
        if (folder / HF_FILE).is_file():
            return (
                f"{shown(folder)} holds a base model and an adapter beside it ({ADAPTER_FILE}), which would be left out. "
                f"{_MERGE} To measure the base model alone, take {ADAPTER_FILE} away."
            )
        return f"{shown(folder)} is an adapter without its base model{_base(folder)}. {_MERGE}"
    adapter = next((name for name in _ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if adapter is not None:
        beside = f" beside a model's {HF_FILE}" if (folder / HF_FILE).is_file() else ""
        return (
            f"{shown(folder)} holds the weights of an adapter ({adapter}){beside} and no {ADAPTER_FILE}, which says what they "
            f"are added to, so they would be left out. {_MERGE} To measure a model without them, take {adapter} away."
        )
    if (folder / HF_FILE).is_file():
        return None
    quantised = sorted(shown_name(path.name) for path in folder.glob("*.gguf"))
    if quantised:
        return (
            f"{shown(folder)} holds {quantised[0]}, a file in the GGUF format, and no {HF_FILE}: HeadScope reads {HF_FILE} "
            "with safetensors, which most models are published in, too."
        )
    weights = sorted(shown_name(path.name) for kind in ("*.safetensors", *PICKLES) for path in folder.glob(kind))
    if weights:
        return f"{shown(folder)} holds weights ({weights[0]}) and no {HF_FILE}: put the one that belongs to them beside them."
    return None


def check_usable(folder: Path) -> None:
    """Raises ModelUnavailable with the sentence of `why_unusable`, if there is one."""
    reason = why_unusable(folder)
    if reason is not None:
        raise ModelUnavailable(reason)


def _base(folder: Path) -> str:
    """Which base model an adapter names; nothing where it does not."""
    path = model_file(folder, ADAPTER_FILE)
    try:
        named = read_object(path).get("base_model_name_or_path") if path else None
    except ModelUnavailable:
        return ""
    return f" {named[:80]!r}" if isinstance(named, str) and named else ""
