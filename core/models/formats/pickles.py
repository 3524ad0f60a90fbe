"""Pickle checkpoints turned into safetensors, once, by a reader that runs nothing that is in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.models.paths import shown
from core.runtime.files import whole_file
from core.runtime.jobs import current_control


def read_pickle(path: Path) -> dict[str, Any]:
    """The tensors of a pickle checkpoint, by name, read with `weights_only=True`.

    Raises ModelUnavailable if it holds anything but tensors, or cannot be read.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ModelUnavailable(
            f"The pickle checkpoint {path.name} is refused: it is broken, or holds more than tensors, "
            "and HeadScope runs no code from a checkpoint."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelUnavailable(f"The pickle checkpoint {path.name} is refused: it is not a table of tensors.")
    return state


def convert_pickles(folder: Path) -> None:
    """Write `model.safetensors` from a folder's `pytorch_model*.bin`, which are then removed.

    Raises ModelUnavailable if there are none or one cannot be read.
    """
    from safetensors.torch import save_file

    paths = sorted(folder.glob("pytorch_model*.bin"))
    if not paths:
        raise ModelUnavailable(f"{shown(folder)} holds no weights: a file model.safetensors is missing.")
    current_control().progress(0.9, "converting the pickle checkpoint to safetensors: seconds")
    state = {name: tensor for path in paths for name, tensor in read_pickle(path).items()}
    # Tied weights share memory, which safetensors does not store: each gets a copy of its own.
    with whole_file(folder / "model.safetensors") as partial:
        save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, partial, metadata={"format": "pt"})
    for path in paths:
        path.unlink()
