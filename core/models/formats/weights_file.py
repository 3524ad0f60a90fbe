"""What a safetensors file holds, read from its header alone: no torch, no weights in memory."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.paths import model_file, shown

PICKLES = ("*.bin", "*.pt", "*.pth")
MAX_HEADER_BYTES = 100_000_000
# Buffers that old checkpoints carry beside their weights: causal masks, rotary frequencies.
BUFFERS = re.compile(r"(masked_bias|inv_freq|\.attn\.bias|\.attention\.bias|\.attn\.attention\.bias)$")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor's name in its number format (as safetensors spells it, such as `F16`) and shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file by name.

    Raises ModelUnavailable if the file is cut short or is not a safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ValueError("impossible header length")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if 8 + length + end != size:
            raise ValueError("the file is cut short")
        return {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelUnavailable(
            f"The weights file {path.name} of {shown(path.parent)} is corrupt or incomplete: "
            "remove that folder and bring the model in again."
        ) from error


def count_weights(paths: list[Path]) -> int:
    """How many weights the files hold; masks and other buffers of old checkpoints are left out."""
    tensors = {name: info for path in paths for name, info in read_header(path).items()}
    return sum(math.prod(info.shape) for name, info in tensors.items() if not _is_buffer(name, info))


def _is_buffer(name: str, info: TensorInfo) -> bool:
    return bool(BUFFERS.search(name)) and (len(info.shape) != 1 or not name.endswith(".bias"))


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in order of name.

    Raises ModelUnavailable if there are none, a shard is missing, or only a pickle checkpoint is there.
    """
    index = model_file(folder, "model.safetensors.index.json")
    single = model_file(folder, "model.safetensors")
    if single is not None:
        return [single]
    if index is not None:
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelUnavailable(f"The file {index.name} of {shown(folder)} is not a safetensors index.") from error
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise _no_weights(folder)
    files = []
    for name in names:
        path = model_file(folder, name) if Path(name).name == name else None
        if path is None:
            raise ModelUnavailable(f"The weights file {name} of {shown(folder)} is missing: bring the model in again.")
        files.append(path)
    return files


def has_pickles(folder: Path) -> bool:
    """Whether a folder holds files that `core.models.fetching` may convert."""
    return any(path for kind in PICKLES for path in folder.glob(kind))


def _no_weights(folder: Path) -> ModelUnavailable:
    if has_pickles(folder):
        return ModelUnavailable(
            f"{shown(folder)} holds only a pickle checkpoint, which is never loaded as it is: "
            f"`python -m core models add {shown(folder)}` converts it to safetensors without running code from it."
        )
    return ModelUnavailable(f"{shown(folder)} holds no weights: a file model.safetensors is missing.")
