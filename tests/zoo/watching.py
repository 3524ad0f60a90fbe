"""Watching the model library's module run: where each layer's attention is, seen from outside, whatever the family calls it.

A pass is watched for softmaxes over keys. The module in which one happens is the attention; the first linear map after it whose
input changes when the pattern is changed is its output projection. Nothing here knows a family's names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SOFTMAXES = (torch.softmax, Tensor.softmax, nn.functional.softmax)
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Seen:
    """One attention that ran: its module's name and the layer's, the pattern it reported (or its softmax), linear maps after it."""

    name: str
    place: str
    pattern: Tensor
    after: tuple[nn.Module, ...]

    @property
    def number(self) -> int:
        """The first number in the layer's name: the layer's, unless a layer has several attentions."""
        return int(re.findall(r"\.(\d+)(?:\.|$)", self.place)[0])


class Patterns(TorchFunctionMode):
    """Sees every softmax over keys `[batch, n_heads, tokens, keys]`, and may change what one of them gives."""

    def __init__(self, n_heads: int, n_tokens: int, change: dict[int, Change] | None = None) -> None:
        super().__init__()
        self.n_heads, self.n_tokens, self.change = n_heads, n_tokens, change or {}
        self.count = 0
        self.on_softmax: Callable[[Tensor], None] = lambda pattern: None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func not in _SOFTMAXES or result.dim() != 4 or result.shape[1:3] != (self.n_heads, self.n_tokens):
            return result
        # A softmax may be written in terms of another one, and routers have some; only those over keys count, once each.
        if result.shape[-1] < self.n_tokens:
            return result
        with torch._C.DisableTorchFunction():
            self.on_softmax(result)
            if self.count in self.change:
                result = self.change[self.count](result.clone())
        self.count += 1
        return result


def attentions(model: nn.Module, run: Callable[[], Any], n_heads: int, n_tokens: int) -> list[Seen]:
    """Every attention of one pass, in the order in which they ran."""
    names = {module: name for name, module in model.named_modules()}
    inside: list[nn.Module] = []
    found: list[tuple[nn.Module, str, list[Tensor], list[nn.Module]]] = []

    def softmax_here(pattern: Tensor) -> None:
        numbered = [module for module in inside if re.search(r"\.\d+(\.|$)", names[module])]
        if numbered:
            found.append((numbered[-1], names[numbered[0]], [pattern], []))

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        inside.pop()
        if found and is_linear(module):
            found[-1][3].append(module)
        for owner, _, patterns, _ in found[-1:]:
            if owner is module and isinstance(result, tuple):
                patterns += [part for part in result[1:] if _is_pattern(part, n_heads, n_tokens)]

    mode = Patterns(n_heads, n_tokens)
    mode.on_softmax = softmax_here
    with hooked(list(names), before=lambda module, args: inside.append(module), after=leave), mode:
        run()
    return [Seen(names[owner], place, patterns[-1], tuple(after)) for owner, place, patterns, after in found]


def is_linear(module: nn.Module) -> bool:
    """A matrix of weights applied to the last axis: `Linear`, GPT-2's `Conv1D`, a family's own."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and not isinstance(module, nn.Embedding)


@contextmanager
def hooked(modules: list[nn.Module], *, before: Callable[..., Any] | None = None, after: Callable[..., Any] | None = None):  # type: ignore[no-untyped-def]
    """Hooks on all of `modules`, removed whatever happens. `before(module, args)`, `after(module, args, result)`."""
    handles = []
    for module in modules:
        if before is not None:
            handles.append(module.register_forward_pre_hook(before))
        if after is not None:
            handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def inputs_of(modules: list[nn.Module], run: Callable[[], Any]) -> dict[nn.Module, Tensor]:
    """What each of `modules` was given first in one pass; those that did not run are not there."""
    kept: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: Any) -> None:
        if args:
            kept.setdefault(module, args[0].detach().clone())

    with hooked(modules, before=keep):
        run()
    return kept


def _is_pattern(part: Any, n_heads: int, n_tokens: int) -> bool:
    return isinstance(part, Tensor) and part.dim() == 4 and part.shape[1:3] == (n_heads, n_tokens)
