"""Which device to compute on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from core.errors import BadInput, ModelUnavailable
from core.runtime.keys import result_key
from core.runtime.versions import library_versions

KINDS = ("cpu", "cuda", "mps")
# What a CUDA driver leaves on a machine: Linux, the Windows subsystem for Linux.
_CUDA_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")


def best_device() -> str:
    """`cuda` where a GPU can be used; `mps` where the self-check has passed on it; else `cpu`.

    Looks for the driver's files first: torch, which takes seconds to import, stays off the way to a stored result.
    """
    if _has_cuda_driver():
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    if sys.platform == "darwin" and platform.machine() == "arm64" and has_passed("mps"):
        import torch

        return "mps" if torch.backends.mps.is_available() else "cpu"
    return "cpu"


def checked_device(device: str) -> str:
    """`device` with `auto` resolved.

    Raises BadInput for a word that names no device, ModelUnavailable for a GPU that is not there.
    """
    if device == "auto":
        return best_device()
    kind, _, number = device.partition(":")
    if kind not in KINDS or (number and not (kind == "cuda" and number.isdecimal())):
        raise BadInput(f"The device must be auto, cpu, cuda, cuda:N or mps, not {device!r}.")
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ModelUnavailable("No CUDA device can be used on this machine: choose auto or cpu.")
        if number and int(number) >= torch.cuda.device_count():
            raise ModelUnavailable(
                f"There is no device {device}: this machine has {torch.cuda.device_count()}, counted from 0."
            )
    if kind == "mps":
        import torch

        if not torch.backends.mps.is_available():
            raise ModelUnavailable("No Apple GPU can be used on this machine: choose auto or cpu.")
    return device


def note_passed(kind: str) -> None:
    """Remember that the self-check passed on this kind of device with the libraries as they are."""
    from core.runtime.store import default_store

    default_store().put(_passed_key(kind), {}, {"passed": True})


def has_passed(kind: str) -> bool:
    """Whether the self-check has passed on this kind of device with the libraries as they are."""
    from core.runtime.store import default_store

    return default_store().get(_passed_key(kind)) is not None


def _passed_key(kind: str) -> str:
    return result_key("self-check", device=kind, libraries=library_versions())


def _has_cuda_driver() -> bool:
    if sys.platform == "win32":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll").exists()
    return any(Path(path).exists() for path in _CUDA_DRIVERS)
