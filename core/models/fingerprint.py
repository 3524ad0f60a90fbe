"""What tells one model in memory from another: its weights, and what beside them decides what it computes.

A module in memory is Python: a number on a layer, another activation function or a method put in place of its own change every
result and no weight. All that can be named is in the digest; of what cannot, the logits that the module gives on a row of ids,
to the bit.
"""

from __future__ import annotations

import dis
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from enum import Enum
from functools import cache, cached_property, partial
from pathlib import Path
from sysconfig import get_path
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from core.models.authorship import home_of, written_in
from core.models.formats.hf_config import text_config
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


# What a class has that says nothing of what it does.
_OF_EVERY_CLASS = frozenset({"__doc__", "__annotations__", "__dict__", "__weakref__", "__module__", "__firstlineno__"})
# Whose code is what it was when the process began.
_LIBRARIES = ("torch.", "transformers.", "transformer_lens.", "accelerate.", "builtins.", "typing.", "abc.")


def fingerprint(module: nn.Module, config: dict[str, Any], twin: nn.Module) -> str:
    """One sha256 over the kind of model, its config, every weight and buffer, what else its parts hold, and what it computes.

    twin: a module that shares the weights and is ready to run: `module` itself is left in peace.
    """
    about = [type(module).__qualname__, config]
    hasher = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    # What holds a part of the model holds that of the twin, or, where it was not copied (a function), the model's own.
    placed = {id(part): place for whole in (module, twin) for place, part in enumerate(whole.modules())}
    for name, value in sorted((dict(module.named_buffers()) | module.state_dict()).items()):
        for part in _flat(value):
            hasher.update(name.encode())
            _add(hasher, part)
    all_kinds = list(dict.fromkeys(kind for part in twin.modules() for kind in type(part).__mro__))
    kinds = [kind for kind in all_kinds if not _is_of_library(kind.__module__)]
    _add(hasher, _replaced(all_kinds), placed)
    before = _code(kinds, placed)
    for name, part in twin.named_modules():
        hasher.update(f"{name} {_name(type(part))}".encode())
        for attribute, value in _own_attributes(part, getattr(twin, "config", None)):
            hasher.update(attribute.encode())
            _add(hasher, value, placed)
    _add(hasher, _behaviour(twin, config))
    # What a pass changes is no setting: a counter would make another model of every look.
    for named, found in _code(kinds, placed).items():
        if before.get(named) == found:
            hasher.update(f"{named} {found}".encode())
    return hasher.hexdigest()


def _own_attributes(part: nn.Module, config: Any) -> list[tuple[str, Any]]:
    """What a part holds beside parameters, buffers and parts; its config only where it is another than the model's."""

    def is_own(attribute: str, value: Any) -> bool:
        return attribute not in _OF_TORCH or (attribute == "config" and _is_config(value) and value is not config)

    return sorted((attribute, value) for attribute, value in vars(part).items() if is_own(attribute, value))


def _code(kinds: list[type], placed: Mapping[int, int]) -> dict[str, str]:
    """A digest of each thing that a class holds and that decides what it does."""
    found = {}
    for place, kind in enumerate(kinds):
        for attribute, value in sorted(vars(kind).items()):
            if attribute not in _OF_EVERY_CLASS and not _is_collected(value):
                hasher = hashlib.sha256()
                _add(hasher, value, placed)
                found[f"{place} {_name(kind)}.{attribute}"] = hasher.hexdigest()
    return found


def _is_collected(value: Any) -> bool:
    """Whether code has put it there while it ran: masks for each length, as a rule. What they do is in the logits."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple, set)) else (value,)
    return any(isinstance(part, Tensor) for part in inside)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _replaced(kinds: list[type]) -> dict[str, Any]:
    """What somebody has put in the place of a library's own code: methods, functions, and ways to attend or to mask."""
    of_libraries = [kind for kind in kinds if _is_of_library(kind.__module__)]
    places: list[tuple[str, Mapping[str, Any]]] = [(_name(kind), vars(kind)) for kind in of_libraries]
    names = ["torch.nn.functional", *(kind.__module__ for kind in of_libraries)]
    places += [(name, vars(sys.modules[name])) for name in dict.fromkeys(names) if name in sys.modules]
    places += [("attention", _entries(ALL_ATTENTION_FUNCTIONS)), ("mask", _entries(ALL_MASK_ATTENTION_FUNCTIONS))]
    found = {}
    for place, held in places:
        for name, value in held.items():
            function = getattr(value, "__func__", value)
            if callable(function) and not isinstance(function, type) and not all(map(_is_installed, written_in(function))):
                found[f"{place}.{name}"] = function
    return dict(sorted(found.items()))


def _entries(registry: Any) -> dict[str, Any]:
    return {name: registry[name] for name in registry.valid_keys()}


def _is_of_library(module: str | None) -> bool:
    return f"{module}.".startswith(_LIBRARIES)


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


def settings_stamp(module: nn.Module) -> int:
    """A number that changes with what the parts of a module hold beside weights: modes, hooks, plain values, functions."""
    found: list[object] = [repr(getattr(module, "config", None))]
    for name, part in module.named_modules():
        held = sorted(vars(part).items())
        hooks = sum(len(value) for attribute, value in held if attribute.endswith("_hooks") and value)
        plain = [(key, value) for key, value in held if isinstance(value, (bool, int, float, str, type(None)))]
        functions = [(key, id(value)) for key, value in held if isinstance(value, (FunctionType, MethodType, partial))]
        found.append((name, hooks, tuple(plain), tuple(functions)))
    return hash(tuple(found))


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _add(
    hasher: Any,
    value: Any,
    placed: Mapping[int, int] = MappingProxyType({}),
    inside: tuple[int, ...] = (),
    known: dict[int, int] | None = None,
) -> None:
    """Whatever of `value` can be named.

    placed: where the model's own parts stand, each of which is taken in there. inside: what it is part of, for a list may
    hold itself. known: functions, classes and modules that were taken in already, each of which is from then on its number:
    they call each other in circles.
    """
    if id(value) in inside:
        return
    known = {} if known is None else known
    parts: list[Any] = []
    if not isinstance(value, _BUILT_IN):
        if id(value) in known:
            hasher.update(f" seen {known[id(value)]} ".encode())
            return
        known[id(value)] = len(known)
    if is_lazy(value):
        # Nobody knows yet how large it will be.
        parts = [_name(type(value))]
    elif isinstance(value, Tensor):
        hasher.update(f"{value.dtype} {tuple(value.shape)} {value.layout}".encode())
        if value.layout is torch.strided and not value.is_meta:
            plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
            hasher.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray):
        hasher.update(f"{value.dtype} {value.shape}".encode())
        if not value.dtype.hasobject:
            hasher.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, _PLAIN):
        hasher.update(repr(value).encode())
    elif isinstance(value, Mapping):
        parts = [part for pair in value.items() for part in pair]
    elif isinstance(value, (tuple, list)):
        parts = list(value)
    elif isinstance(value, (set, frozenset)):
        parts = sorted(value, key=repr)
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
            {} if _is_of_library(home_of(value)) else _globals(value),
        ]
    elif isinstance(value, (staticmethod, classmethod)):
        parts = [value.__func__]
    elif isinstance(value, property):
        parts = [value.fget]
    elif isinstance(value, cached_property):
        parts = [value.func]
    elif isinstance(value, type):
        own = {} if _is_of_library(value.__module__) else vars(value)
        parts = [_name(value), *(part for name, part in sorted(own.items()) if name not in _OF_EVERY_CLASS)]
    elif isinstance(value, partial):
        parts = [value.func, value.args, value.keywords]
    elif _is_around_a_function(value):
        parts = [value.__wrapped__]
    elif isinstance(value, np.generic):
        parts = [value.item()]
    elif isinstance(value, Enum):
        parts = [type(value), value.name, value.value]
    elif isinstance(value, nn.Module):
        # In a list, or in an object of somebody's own, a module is no part of the model, and decides as much.
        parts = [placed[id(value)]] if id(value) in placed else _held_by_a_module(value)
    elif isinstance(value, MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, ModuleType):
        own = {} if _is_installed(value.__name__) else vars(value)
        parts = [value.__name__, {name: held for name, held in sorted(own.items()) if isinstance(held, _PLAIN)}]
    elif _is_told(value):
        parts = [type(value), _held(value)]
    else:
        parts = [_name(type(value))]
    # Where one ends and the next begins: (1, 23) is not (12, 3).
    hasher.update(f" {type(value).__name__} {len(parts)} ".encode())
    for part in parts:
        _add(hasher, part, placed, (*inside, id(value)), known)


def _held_by_a_module(module: nn.Module) -> list[Any]:
    weights: dict[str, Any] = dict(module._buffers)
    module._save_to_state_dict(weights, "", keep_vars=False)
    return [type(module), module.training, list(_flat(tuple(weights.items()))), module._modules, _own_attributes(module, None)]


def _is_told(value: Any) -> bool:
    """Whether an object is settings, or somebody's own: of what a library made for its own ends only the kind is told."""
    is_settings = is_dataclass(value) or isinstance(value, SimpleNamespace) or _is_config(value)
    return is_settings or not _is_installed(type(value).__module__)


def _is_settings(value: Any) -> bool:
    """Whether a name of a module stands for what somebody has written there, and no library."""
    if isinstance(value, ModuleType):
        return not _is_installed(value.__name__)
    return isinstance(value, nn.Module) or _is_around_a_function(value) or _is_told(value)


def _is_config(value: Any) -> bool:
    return callable(getattr(value, "to_dict", None)) and hasattr(value, "model_type")


@cache
def _is_installed(module: str) -> bool:
    """Whether it came with Python or one of its packages, and not from somebody's notebook or file."""
    name = module.partition(".")[0]
    if name == "__main__":
        # A notebook's cells, though what runs them is a package.
        return False
    # What HeadScope itself puts beside a library's code is no change of the model.
    if name in sys.stdlib_module_names or name == __name__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and any(Path(file).is_relative_to(get_path(where)) for where in ("purelib", "platlib"))


def _held(value: Any) -> dict[str, Any]:
    """What an object holds under names."""
    if _is_config(value):
        return dict(value.to_dict())
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            with suppress(AttributeError):
                found[name] = getattr(value, name)
    return dict(sorted(found.items()))


def _is_around_a_function(value: Any) -> bool:
    """Such as what remembers a function's answers."""
    return isinstance(getattr(value, "__wrapped__", None), FunctionType)


def _globals(function: FunctionType) -> dict[str, Any]:
    """What a function reads of its module by name and can be told apart: numbers, words, settings, functions and classes."""
    names, codes = set[str](), [function.__code__]
    while codes:
        code = codes.pop()
        # Not all names of the code: those of attributes may be a notebook's variables, too.
        names |= {step.argval for step in dis.get_instructions(code) if step.opname in _BY_NAME}
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    found = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    told = {name: value for name, value in found.items() if isinstance(value, _TOLD_APART) or _is_settings(value)}
    return {name: value for name, value in told.items() if isinstance(value, Tensor) or not _is_collected(value)}


_BY_NAME = ("LOAD_GLOBAL", "LOAD_NAME")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_BUILT_IN = (*_PLAIN, Tensor, np.ndarray, Mapping, tuple, list, set, frozenset, CellType, CodeType)
_TOLD_APART = (*_PLAIN, tuple, frozenset, list, dict, Tensor, np.ndarray, FunctionType, type, partial)


@torch.no_grad()
def _behaviour(twin: nn.Module, config: dict[str, Any]) -> Tensor | None:
    """The logits on a row of ids; None for a module that does not run so."""
    d_vocab = text_config(config).get("vocab_size")
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
