"""What a safetensors file holds, read from its header alone: no torch, no weights in memory."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.formats.json_file import parse_object, read_object
from core.models.paths import model_file, shown
from core.runtime.files import shown_name
from core.runtime.lru import Lru

PICKLES = ("*.bin", "*.pt", "*.pth")
AGAIN = "bring the model in again, or copy the file again."
# Of each number format, as safetensors spells it, the bits that a number takes.
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
# A hundred thousand tensors take half of this; it is read whole, and turned into ten times as much.
MAX_HEADER_BYTES = 25_000_000
# Buffers that old checkpoints carry beside their weights: causal masks, rotary frequencies.
BUFFERS = re.compile(r"(masked_bias|inv_freq|\.attn\.bias|\.attention\.bias|\.attn\.attention\.bias)$")

_counts: Lru[tuple[object, ...], int] = Lru(512)


@dataclass(frozen=True)
class TensorInfo:
    """One tensor's name in its number format (as safetensors spells it, such as `F16`) and shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file by name.

    Raises ModelUnavailable if the file is cut short, is not a safetensors file, or holds bytes that are no tensor's.
    """
    whose = f"The weights file {path.name} of {shown(path.parent)}"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ModelUnavailable(f"{whose} is no safetensors file, or is cut short: {AGAIN}")
            header = parse_object(file.read(length), f"The header of {whose.replace('The', 'the', 1)}")
    except OSError as error:
        raise ModelUnavailable(f"{whose} cannot be read: {(error.strerror or type(error).__name__).lower()}.") from error
    header.pop("__metadata__", None)
    found = {name: _tensor(name, entry, whose) for name, entry in header.items()}
    end = 0
    for begin, its_end in sorted(entry["data_offsets"] for entry in header.values()):
        if begin != end:
            raise ModelUnavailable(f"{whose} is corrupt: its tensors overlap or leave gaps between them. {AGAIN.capitalize()}")
        end = its_end
    if 8 + length + end != size:
        raise ModelUnavailable(
            f"{whose} is corrupt or incomplete, {size:,} bytes long instead of {8 + length + end:,}: {AGAIN}"
        )
    return found


def _tensor(name: str, entry: object, whose: str) -> TensorInfo:
    """One tensor as the header describes it; raises ModelUnavailable unless shape, format and place agree."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]  # type: ignore[index]
        whole = all(type(size) is int and 0 <= size < 1 << 48 for size in (*shape, begin, end))
        if not whole or math.prod(shape) * BITS[dtype] != 8 * (end - begin):
            raise ValueError("sizes that do not agree")
        return TensorInfo(dtype, tuple(shape))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(
            f"{whose} is corrupt: the sizes of its tensor {name[:80]} do not agree. {AGAIN.capitalize()}"
        ) from error


def count_weights(paths: list[Path]) -> int:
    """How many weights the files hold; masks and other buffers of old checkpoints are left out.

    Raises ModelUnavailable as `read_header`, and where two files hold a tensor of one name.
    """
    stats = ((path, path.stat()) for path in paths)
    files = tuple((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats)
    # Asked of every model at every listing, and the headers of some are long.
    return _counts.get_or_make(files, lambda: _count(paths))


def _count(paths: list[Path]) -> int:
    kept_in: dict[str, Path] = {}
    count = 0
    for path in paths:
        for name, info in read_header(path).items():
            if (other := kept_in.setdefault(name, path)) != path:
                # The model library takes the one that it reads last.
                raise ModelUnavailable(
                    f"{shown(path.parent)} has the tensor {name[:80]} twice, in {other.name} and in {path.name}, and which of "
                    "them is meant is not said: save the model again (`save_pretrained()`)."
                )
            count += 0 if _is_buffer(name, info) else math.prod(info.shape)
    return count


def all_floating(paths: list[Path]) -> bool:
    """Whether every tensor of the files is of ordinary floating-point numbers, so that nothing in them is packed."""
    return all(info.dtype in ("F64", "F32", "F16", "BF16") for path in paths for info in read_header(path).values())


def check_sizes(
    files: list[Path], whose: str, *, d_vocab: int, n_layers: int, n_heads: int, d_model: int, **others: int
) -> None:
    """Raises ModelUnavailable where a config states a size that the weights beside it cannot have.

    Before anything of that size is made: a vocabulary is a dimension of some tensor, and every head writes to the stream.
    """
    tensors = [info for path in files for info in read_header(path).values()]
    largest = max((size for info in tensors for size in info.shape), default=0)
    # Packed formats keep up to eight weights in one number.
    room = 8 * sum(math.prod(info.shape) for info in tensors)
    for stated, most, what in (
        (d_vocab, largest, "ids"),
        (n_layers, len(tensors), "layers"),
        (n_layers * n_heads * d_model, room, "layers times heads times width"),
        *((size, 8 * largest, what) for what, size in others.items()),
    ):
        if stated > most:
            raise ModelUnavailable(
                f"The config of {whose} states {stated:,} {what}, which its weights have no room for: "
                "get the config that belongs to them."
            )


def _is_buffer(name: str, info: TensorInfo) -> bool:
    return bool(BUFFERS.search(name)) and (len(info.shape) != 1 or not name.endswith(".bias"))


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in order of name.

    Raises ModelUnavailable if there are none or two sets of them, a shard is missing, or only a pickle checkpoint is there.
    """
    index = model_file(folder, "model.safetensors.index.json")
    single = model_file(folder, "model.safetensors")
    if single is not None:
        _check_one_set(folder, index)
        return [single]
    if index is None:
        raise _no_weights(folder)
    files = []
    names = _indexed(index)
    for name in names:
        path = model_file(folder, name) if Path(name).name == name else None
        if path is None:
            raise ModelUnavailable(
                f"The weights file {shown_name(name)} of {shown(folder)} is missing: bring the model in again."
            )
        files.append(path)
    return files


def _indexed(index: Path) -> list[str]:
    """The files that an index names, in order; raises ModelUnavailable where it is none."""
    try:
        names = sorted(set(read_object(index)["weight_map"].values()))
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a file's name is text")
    except (KeyError, AttributeError, TypeError) as error:
        raise ModelUnavailable(f"The file {index.name} of {shown(index.parent)} is not a safetensors index.") from error
    return names


def _check_one_set(folder: Path, index: Path | None) -> None:
    """Raises ModelUnavailable where shards lie beside a file of all weights, of another day of the training perhaps.

    The model library takes the one file without a word. An index whose shards are not here says nothing of what is.
    """
    shards = [] if index is None else [name for name in _indexed(index) if name != "model.safetensors"]
    here = [name for name in shards if Path(name).name == name and model_file(folder, name) is not None]
    if here:
        raise ModelUnavailable(
            f"{shown(folder)} holds two sets of weights, model.safetensors and {shown_name(here[0])} with what belongs to it, "
            "and which of them is the model is not said: take one away."
        )


def has_pickles(folder: Path) -> bool:
    """Whether a folder holds files that `core.models.fetching` may convert."""
    return any(path for kind in PICKLES for path in folder.glob(kind))


def _no_weights(folder: Path) -> ModelUnavailable:
    others = sorted(shown_name(path.name) for path in folder.glob("*.safetensors"))
    if others:
        return ModelUnavailable(
            f"{shown(folder)} holds {others[0]}, and neither model.safetensors nor model.safetensors.index.json, which says "
            "which tensor is in which file: give the file that name, or save the model again (`save_pretrained()`)."
        )
    if has_pickles(folder):
        return ModelUnavailable(
            f"{shown(folder)} holds only a pickle checkpoint, which is never loaded as it is: "
            f"`python -m core models add {shown(folder)}` converts it to safetensors without running code from it."
        )
    return ModelUnavailable(f"{shown(folder)} holds no weights: a file model.safetensors is missing.")
