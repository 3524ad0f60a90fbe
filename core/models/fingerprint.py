"""What tells one model in memory from another: its weights, and what beside them decides what it computes.

A module in memory is Python: a number on a layer, another activation function or a method put in place of its own change every
result and no weight. All that can be named is in the digest; of what cannot, the logits that the module gives on a row of ids,
to the bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import CellType, CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from core.transformer.anatomy import run_module, trial_ids

# What a change does is often seen only later in a row: in a window, in what is cached, in a scale by position.
_TOKENS = 64
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
            if attribute not in _OF_TORCH:
                hasher.update(attribute.encode())
                _add(hasher, value)
    _add(hasher, _behaviour(twin, config))
    return hasher.hexdigest()


def weights_stamp(module: nn.Module) -> tuple[int, ...]:
    """Numbers that change with the weights in place: versions, and sums of all bits along and across.

    `.data` raises no version, and moving weights about changes no sum over all of them.
    """
    found = []
    for parameter in module.parameters():
        # Those made where no gradient ever will be have no version; the sums watch them, too.
        found.append(0 if parameter.is_inference() else parameter._version)
        bits = _BITS.get(parameter.element_size())
        whole = parameter.detach()
        if bits and type(whole) in (Tensor, nn.Parameter):
            # One row a first index, also of what has no axis or no number.
            rows = torch.atleast_1d(whole.contiguous().view(bits))[:, None].flatten(1)
            sums = torch.cat([rows.sum(0, dtype=torch.int64), rows.sum(1, dtype=torch.int64)])
            found.append(hash(sums.cpu().numpy().tobytes()))
    return tuple(found)


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _add(hasher: Any, value: Any, inside: tuple[int, ...] = ()) -> None:
    """Whatever of `value` can be named; `inside`: what it is part of, for a function may hold itself."""
    if id(value) in inside:
        return
    parts: list[Any] = []
    if isinstance(value, Tensor):
        hasher.update(f"{value.dtype} {tuple(value.shape)}".encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)):
        hasher.update(repr(value).encode())
    elif isinstance(value, Mapping):
        parts = [part for pair in value.items() for part in pair]
    elif isinstance(value, (tuple, list)):
        parts = list(value)
    elif isinstance(value, CellType):
        # Empty while the function around it is still being made.
        with suppress(ValueError):
            parts = [value.cell_contents]
    elif isinstance(value, CodeType):
        parts = [value.co_code, value.co_names, value.co_consts]
    elif isinstance(value, FunctionType):
        parts = [
            value.__module__,
            value.__qualname__,
            value.__code__,
            value.__defaults__,
            value.__kwdefaults__,
            value.__closure__,
        ]
    elif isinstance(value, partial):
        parts = [value.func, value.args, value.keywords]
    # Where one ends and the next begins: (1, 23) is not (12, 3).
    hasher.update(f" {type(value).__name__} {len(parts)} ".encode())
    for part in parts:
        _add(hasher, part, (*inside, id(value)))


@torch.no_grad()
def _behaviour(twin: nn.Module, config: dict[str, Any]) -> Tensor | None:
    """The logits on a row of ids; None for a module that does not run so."""
    d_vocab = config.get("vocab_size")
    if not isinstance(d_vocab, int) or d_vocab < 2:
        return None
    device = next(twin.parameters()).device
    for tokens in (trial_ids(d_vocab, count=_TOKENS), trial_ids(d_vocab)):
        try:
            return run_module(twin, tokens.to(device))
        except Exception:  # shorter may do; what is wrong with it is said, with its reason, where its parts are looked for
            continue
    return None


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
