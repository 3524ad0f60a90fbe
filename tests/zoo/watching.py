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
    """One attention that ran: its module's name and its layer's, and the pattern that it reported, or its softmax.

    softmaxes: which ones of the pass were its. after: the linear maps that ran between them and the next attention's.
    """

    name: str
    place: str
    pattern: Tensor
    softmaxes: tuple[int, ...]
    after: tuple[nn.Module, ...]

    @property
    def number(self) -> int:
        """The first number in the layer's name: the layer's, unless a layer has several attentions."""
        return int(re.findall(r"\.(\d+)(?:\.|$)", self.place)[0])


class Patterns(TorchFunctionMode):
    """Sees every softmax over keys, as `[batch, n_heads, tokens, keys]`, and may change what some of them, by number, give."""

    def __init__(self, n_heads: int, n_tokens: int, change: dict[int, Change] | None = None) -> None:
        super().__init__()
        self.n_heads, self.n_tokens, self.change = n_heads, n_tokens, change or {}
        self.count = 0
        self.on_softmax: Callable[[int, Tensor], None] = lambda number, pattern: None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        pattern = self._pattern(result) if func in _SOFTMAXES else None
        if pattern is None:
            return result
        self.on_softmax(self.count, pattern)
        if self.count in self.change:
            result = self.change[self.count](pattern.clone()).reshape(result.shape)
        self.count += 1
        return result

    def _pattern(self, result: Tensor) -> Tensor | None:
        """The result seen as a pattern: some families keep batch and heads in one axis; a router's softmax is none."""
        if result.dim() == 3 and result.shape[1] == self.n_tokens and result.shape[0] % max(self.n_heads, 1) == 0:
            result = result.unflatten(0, (-1, max(self.n_heads, 1)))
        fits = result.dim() == 4 and result.shape[1:3] == (self.n_heads, self.n_tokens) and result.shape[3] >= self.n_tokens
        return result if fits else None


@dataclass
class _Attention:
    owner: nn.Module
    place: str
    patterns: list[Tensor]
    softmaxes: list[int]
    after: list[nn.Module]


def attentions(model: nn.Module, run: Callable[[], Any], n_heads: int, n_tokens: int) -> list[Seen]:
    """Every attention of one pass, in the order in which they ran."""
    names = {module: name for name, module in model.named_modules()}
    inside: list[nn.Module] = []
    found: list[_Attention] = []

    def softmax_here(number: int, pattern: Tensor) -> None:
        numbered = [module for module in inside if re.search(r"\.\d+(\.|$)", names[module])]
        if not numbered:
            return
        if found and found[-1].owner is numbered[-1] and numbered[-1] in inside and not found[-1].after:
            # One module, several softmaxes: what it reports counts.
            found[-1].softmaxes.append(number)
        else:
            found.append(_Attention(numbered[-1], names[numbered[0]], [pattern], [number], []))

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        inside.pop()
        if found and is_linear(module):
            found[-1].after.append(module)
        if found and found[-1].owner is module and isinstance(result, tuple):
            found[-1].patterns += [part for part in result[1:] if _is_pattern(part, n_heads, n_tokens)]

    mode = Patterns(n_heads, n_tokens)
    mode.on_softmax = softmax_here
    with hooked(list(names), before=lambda module, args: inside.append(module), after=leave), mode:
        run()
    return [Seen(names[a.owner], a.place, a.patterns[-1], tuple(a.softmaxes), tuple(a.after)) for a in found]


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
