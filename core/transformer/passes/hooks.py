"""Forward passes with hooks: the whole body, and the body again from one layer on.

Hook points are the model library's own: `hook_pattern` `[batch, heads, query, key]` after the softmax, and `hook_z`
`[batch, tokens, heads, d_head]`, each head's output before `W_O`. Every pass stops before the unembedding, which for a
small model is a quarter of all work (`core.transformer.passes.readout`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.transformer.loaded import LoadedModel
from core.transformer.passes.trials import closeness, trial_tokens

Hook = tuple[str, Callable[[Tensor], Tensor | None]]
Hidden = Float[Tensor, "batch tokens d_model"]
_depth: ContextVar[int] = ContextVar("_depth", default=0)


def pattern_hook(layer: int) -> str:
    """The name of a layer's attention-pattern hook point."""
    return f"blocks.{layer}.attn.hook_pattern"


def z_hook(layer: int) -> str:
    """The name of a layer's hook point on head outputs before `W_O`."""
    return f"blocks.{layer}.attn.hook_z"


@contextmanager
def attached(model: LoadedModel, hooks: Sequence[Hook]) -> Iterator[None]:
    """Hold the model and run with `hooks` attached; every hook is gone afterwards, whatever was raised inside.

    A hook is a function of the activation; what it returns replaces the activation, `None` leaves it. The model's lock is
    held, so two people who use one loaded model never see each other's hooks.
    """
    handles = []
    with model.lock:
        depth = _depth.set(_depth.get() + bool(hooks))
        try:
            for name, function in hooks:
                point = model.bridge.hook_dict[name]
                handles.append((point, point.add_hook(_without_hook_argument(function))))
            yield
        finally:
            _depth.reset(depth)
            for point, handle in handles:
                handle.hook.remove()
                point.fwd_hooks.remove(handle)


def hooks_attached() -> bool:
    """Whether this thread is inside `attached`: a pass that goes round the hook points would miss what was put there."""
    return _depth.get() > 0


def _without_hook_argument(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Tensor | None]:
    def call(activation: Tensor, hook: object) -> Tensor | None:
        return function(activation)

    return call


@dataclass(frozen=True)
class BlockCall:
    """How the model called one of its blocks: everything but the residual stream, for one sequence."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def run(self, block: torch.nn.Module, hidden: Hidden) -> Hidden:
        """The block's output for `hidden`, whatever its batch."""
        arguments = [_for_batch(value, len(hidden)) for value in self.arguments]
        keywords = {name: _for_batch(value, len(hidden)) for name, value in self.keywords.items()}
        if "hidden_states" in keywords:
            output = block(*arguments, **(keywords | {"hidden_states": hidden}))
        else:
            output = block(hidden, *arguments, **keywords)
        found: Hidden = output[0] if isinstance(output, tuple) else output
        return found


@dataclass(frozen=True)
class Body:
    """What a pass over the body leaves behind.

    final: the unembedding's input, after the final norm.
    inputs: each block's input (`resid_pre`), and calls: how each block was called; both only where they were asked for.
    """

    final: Hidden
    inputs: tuple[Hidden, ...] = ()
    calls: tuple[BlockCall, ...] = ()


class _Stop(Exception):
    """Ends a forward pass at the unembedding's door."""


def run_body(
    model: LoadedModel, tokens: Int[Tensor, "batch tokens"], hooks: Sequence[Hook] = (), *, keep_inputs: bool = False
) -> Body:
    """One pass up to the unembedding, with `hooks` attached.

    With `keep_inputs` the residual stream before each block stays, so that `run_block` can go on from there.
    """
    final: list[Hidden] = []

    def stop(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        final.append(arguments[0])
        raise _Stop

    blocks = list(model.bridge.blocks) if keep_inputs else []
    with attached(model, hooks), recorded(model, blocks, tokens) as (inputs, calls):
        handle = model.bridge.unembed.register_forward_pre_hook(stop)
        try:
            model.bridge(tokens.to(model.device), return_type="logits", use_cache=False)
        except _Stop:
            pass
        finally:
            handle.remove()
    return Body(final=final[0], inputs=tuple(inputs), calls=tuple(calls))


@contextmanager
def recorded(
    model: LoadedModel, blocks: Sequence[torch.nn.Module], tokens: Int[Tensor, "batch tokens"]
) -> Iterator[tuple[list[Hidden], list[BlockCall]]]:
    """Each block's input, and how it was called, of the one pass over `tokens` that is made inside.

    The model's lock is held: what another person's pass gives to these blocks must not be taken for one's own.
    """
    inputs: list[Hidden] = []
    calls: list[BlockCall] = []

    def keep(module: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        inputs.append(arguments[0] if arguments else keywords["hidden_states"])
        calls.append(_one_sequence_call(arguments, keywords, len(tokens), model.card.n_heads))

    with model.lock:
        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
        try:
            yield inputs, calls
        finally:
            for handle in handles:
                handle.remove()


def run_block(model: LoadedModel, body: Body, layer: int, hidden: Hidden, hooks: Sequence[Hook] = ()) -> Hidden:
    """What block `layer` makes of `hidden`, with `hooks` attached.

    `body` is a pass over sequences of the same length, made with `keep_inputs`; `hidden` may have any batch. Only for
    models that `can_resume`.
    """
    with attached(model, hooks):
        return body.calls[layer].run(model.bridge.blocks[layer], hidden)


def can_resume(model: LoadedModel) -> bool:
    """Whether running the blocks one by one gives what the model's own forward gives, tried once for each model.

    Some architectures do more between their blocks or after the last one than this project knows of; for these, callers
    make whole passes instead.
    """
    if model not in _RESUMABLE:
        _RESUMABLE[model] = _try_resuming(model)
    return _RESUMABLE[model]


_RESUMABLE: weakref.WeakKeyDictionary[LoadedModel, bool] = weakref.WeakKeyDictionary()


def _try_resuming(model: LoadedModel) -> bool:
    tokens = trial_tokens(model)
    with torch.no_grad():
        try:
            body = run_body(model, tokens[:1], keep_inputs=True)
            both = run_body(model, tokens, keep_inputs=True)
            start = min(1, model.card.n_layers - 1)
            again = both.inputs[start]
            for layer in range(start, model.card.n_layers):
                again = run_block(model, body, layer, again)
            again = model.bridge.ln_final(again)
        except (RuntimeError, TypeError, AttributeError, ValueError, IndexError):
            return False
    return bool(torch.allclose(again, both.final, atol=closeness(model, both.final), rtol=0))


def _one_sequence_call(arguments: tuple[Any, ...], keywords: dict[str, Any], batch: int, n_heads: int) -> BlockCall:
    """A block's call cut down to one sequence: sequences are never padded, so masks and positions are the same for all."""

    def cut(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(cut(item) for item in value)
        if not isinstance(value, Tensor) or value.ndim == 0:
            return value
        return value[:1] if value.shape[0] == batch else value

    cut_keywords = {name: None if name == "hidden_states" else cut(value) for name, value in keywords.items()}
    # The one argument with batch and heads in a single axis.
    if isinstance(keywords.get("alibi"), Tensor):
        cut_keywords["alibi"] = _PerHead(keywords["alibi"][:n_heads])
    return BlockCall(arguments=tuple(cut(value) for value in arguments[1:]), keywords=cut_keywords)


@dataclass(frozen=True)
class _PerHead:
    """A bias `[n_heads, ...]` that the model wants as `[batch * n_heads, ...]` (ALiBi)."""

    bias: Tensor


def _for_batch(value: Any, batch: int) -> Any:
    return value.bias.repeat(batch, 1, 1) if isinstance(value, _PerHead) else value
