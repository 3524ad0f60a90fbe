"""Which device to compute on."""

from __future__ import annotations

from pathlib import Path

from core.errors import BadInput, ModelUnavailable


def best_device() -> str:
    """`cuda` where a GPU can be used, else `cpu`; asks torch only on a machine that has a GPU's driver at all.

    Looking for the driver's device file first keeps torch, which takes seconds to import, off the way to a stored result.
    """
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(device: str) -> str:
    """`device` with `auto` resolved.

    Raises BadInput for a word that names no device, ModelUnavailable for a GPU that is not there.
    """
    if device == "auto":
        return best_device()
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise BadInput(f"The device must be auto, cpu or cuda, not {device!r}.")
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ModelUnavailable("No CUDA device can be used on this machine: choose auto or cpu.")
    return device
