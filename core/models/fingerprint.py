"""What tells one model in memory from another: its weights, and what beside them decides what it computes.

A module in memory is Python: a number on a layer, another activation function or a method put in place of its own change every
result and no weight. All that can be named is in the digest; of what cannot, the losses that the module gives on a few ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from core.transformer.anatomy import run_module, trial_ids

# Coarse, so that another machine's rounding makes no other model of the same.
_DECIMALS = 3
# What a module has beside its parameters, buffers and parts that decides nothing: kept by torch, or by who trains.
_OF_TORCH = frozenset(vars(nn.Module())) | {
    "config",
    "is_gradient_checkpointing",
    "gradient_checkpointing",
    "generation_config",
}


def fingerprint(module: nn.Module, config: dict[str, Any], twin: nn.Module) -> str:
    """One sha256 over the kind of model, its config, every weight and buffer, what else its parts hold, and what it computes.

    twin: a module that shares the weights and is ready to run: `module` itself is left in peace.
    """
    about = [type(module).__qualname__, config]
    hasher = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for name, value in sorted((dict(module.named_buffers()) | module.state_dict()).items()):
        for part in _flat(value):
            hasher.update(name.encode())
            _add(hasher, part)
    for name, part in twin.named_modules():
        hasher.update(f"{name} {type(part).__module__}.{type(part).__qualname__}".encode())
        for attribute, value in sorted(vars(part).items()):
            if attribute not in _OF_TORCH and isinstance(value, (bool, int, float, str, tuple, list, type(None), Tensor)):
                hasher.update(attribute.encode())
                _add(hasher, value)
    hasher.update(json.dumps(_behaviour(twin, config)).encode())
    return hasher.hexdigest()


def weights_stamp(module: nn.Module) -> tuple[int, ...]:
    """Numbers that change with the weights in place, whichever way they are written to: versions, and the sum of all bits."""
    found = []
    for parameter in module.parameters():
        found.append(parameter._version)
        bits = _BITS.get(parameter.element_size())
        whole = parameter.detach()
        found.append(int(whole.view(bits).sum(dtype=torch.int64)) if bits and type(whole) in (Tensor, nn.Parameter) else 0)
    return tuple(found)


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _add(hasher: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        hasher.update(f"{value.dtype} {tuple(value.shape)}".encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    else:
        hasher.update(repr(value).encode())


@torch.no_grad()
def _behaviour(twin: nn.Module, config: dict[str, Any]) -> list[float] | None:
    """The mean loss on a few ids, of the first and of the second half; None for a module that does not run so."""
    d_vocab = config.get("vocab_size")
    if not isinstance(d_vocab, int) or d_vocab < 2:
        return None
    tokens = trial_ids(d_vocab).to(next(twin.parameters()).device)
    try:
        logits = run_module(twin, tokens).float()
        losses = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    except Exception:  # what is wrong with it is said, with its reason, where its parts are looked for
        return None
    return [round(float(half.mean()), _DECIMALS) for half in losses.tensor_split(2, dim=1)]


def _flat(value: Any) -> Iterator[Any]:
    """A state's parts: quantised weights come in pairs and with scales."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, Tensor) and value.is_quantized:
        yield value.int_repr()
        yield from (
            (value.q_per_channel_scales(), value.q_per_channel_zero_points())
            if value.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
            else (value.q_scale(), value.q_zero_point())
        )
    else:
        yield value
