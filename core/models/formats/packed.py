"""Weights that are packed into fewer bits: whether a config says how, and what to say where they cannot be unpacked here."""

from __future__ import annotations

from typing import Any

from core.errors import ModelUnavailable
from core.models.paths import HF_FILE

PACKING = "quantization_config"
# bitsandbytes was the first, and said its name only later.
_BITSANDBYTES = ("load_in_4bit", "load_in_8bit")
_INSTEAD = "put the model here that they were packed from, with its weights as they were trained."


def check_packing(config: dict[str, Any], whose: str) -> None:
    """Raises ModelUnavailable where a config speaks of packed weights without saying how they are packed."""
    if config.get(PACKING) is not None and not packing(config):
        raise ModelUnavailable(
            f"The {HF_FILE} of {whose} has a `{PACKING}` that does not name its `quant_method`, a word such as gptq: take it "
            "out if the weights are not packed, or get the file again."
        )


def packing(config: dict[str, Any]) -> str:
    """By what a config's weights are packed; empty where they are not, or it does not say."""
    said = config.get(PACKING)
    if not isinstance(said, dict):
        return ""
    if said.get("quant_method") is None and any(said.get(name) is True for name in _BITSANDBYTES):
        return "bitsandbytes"
    method = said.get("quant_method")
    return method if isinstance(method, str) else ""


def not_unpacked(method: str, whose: str, *, known: bool = True, installed: bool = True) -> ModelUnavailable:
    """The sentence for packed weights that cannot be unpacked.

    known: whether the model library knows that way of packing; installed: whether what it then needs is installed.
    """
    if not known:
        why = "in a way that the model library does not know"
    else:
        why = "and cannot be unpacked on this machine" if installed else "and what unpacks them is not installed here"
    return ModelUnavailable(f"The weights of {whose} are packed by {method[:40]!r}, {why}: {_INSTEAD}")


def not_packed(method: str, whose: str) -> ModelUnavailable:
    """The sentence for a config that speaks of packed weights beside some that are not."""
    return ModelUnavailable(
        f"The {HF_FILE} of {whose} says that its weights are packed by {method[:40]!r}, and they are ordinary floating-point "
        f"numbers: take `{PACKING}` out of it."
    )


def without_scales(first: str, whose: str) -> ModelUnavailable:
    """The sentence for weights of eight bits whose scales, without which they are no weights, are not in the files."""
    return ModelUnavailable(f"The weights of {whose} are packed, and the scales that unpack {first} are missing: {_INSTEAD}")
