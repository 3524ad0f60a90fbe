"""Whether a model fits in memory here, asked before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import psutil

from core.errors import BadInput, ModelUnavailable

BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}
# Activations, buffers, and the copy that is alive while weights are read.
HEADROOM = 1.25
_CGROUP = Path("/sys/fs/cgroup")


def check_dtype(dtype: str) -> None:
    """Raise BadInput unless `dtype` is float32, bfloat16 or float16."""
    if dtype not in BYTES_PER_WEIGHT:
        raise BadInput(f"The dtype must be {', '.join(BYTES_PER_WEIGHT)}, not {dtype!r}.")


def bytes_needed(n_params: int, dtype: str = "float32") -> int:
    """Memory a model of `n_params` weights needs, in bytes."""
    return int(n_params * BYTES_PER_WEIGHT[dtype] * HEADROOM)


def available_bytes() -> int:
    """Main memory that can still be taken, in bytes: what the machine has free, or the container's limit allows."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free


def taken_bytes() -> int:
    """Main memory that this process takes, in bytes."""
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: str) -> int:
    """Memory that can still be taken on a device, in bytes."""
    if not device.startswith("cuda"):
        return available_bytes()
    import torch

    # What torch holds back for later is free for it, though not for others.
    held_back = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + held_back


def check_fits(name: str, n_params: int, dtype: str, available: int) -> None:
    """Raise ModelUnavailable, with both numbers, if a model needs more than the `available` bytes."""
    needed = bytes_needed(n_params, dtype)
    if needed > available:
        hint = " or choose bfloat16" if dtype == "float32" and bytes_needed(n_params, "bfloat16") <= available else ""
        raise ModelUnavailable(
            f"{name} needs about {gigabytes(needed)} of memory in {dtype}, but only {gigabytes(available)} is free: "
            f"choose a smaller model{hint}."
        )


def gigabytes(n_bytes: int) -> str:
    """A size as a person reads it."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
