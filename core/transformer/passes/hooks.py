"""Forward passes with hooks: the whole body, and the body again from one layer on.

Two points of each layer's attention: its `pattern` `[batch, heads, query, key]`, and `z` `[batch, tokens, heads, d_head]`, each
head's output before `W_O`: the input of the output projection. Hooks sit on the model library's own module, run eagerly.
Every pass stops before the unembedding, which for a small model is a quarter of all work
(`core.transformer.passes.readout`).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from core.errors import BadInput, ModelUnavailable
from core.runtime.jobs import current_control
from core.transformer.anatomy import run_module
from core.transformer.loaded import LoadedModel
from core.transformer.passes.beside import check_beside
from core.transformer.passes.trials import closeness, trial_tokens

Hidden = Float[Tensor, "batch tokens d_model"]
# Inside how many `attached` this thread is, and how many of these, counted from outside, are silent.
_depth: ContextVar[int] = ContextVar("_depth", default=0)
_silent: ContextVar[int] = ContextVar("_silent", default=0)


class Point(NamedTuple):
    """A place in a layer's attention where an activation can be seen and replaced."""

    kind: Literal["pattern", "z"]
    layer: int


Hook = tuple[Point, Callable[[Tensor], Tensor | None]]


def pattern_hook(layer: int) -> Point:
    """A layer's attention pattern, after the softmax."""
    return Point("pattern", layer)


def z_hook(layer: int) -> Point:
    """A layer's head outputs before `W_O`."""
    return Point("z", layer)


@contextmanager
def attached(
    model: LoadedModel, hooks: Sequence[Hook], module: nn.Module | None = None, *, elsewhere: str = ""
) -> Iterator[None]:
    """Hold the model and run with `hooks` attached; every hook is gone afterwards, whatever was raised inside.

    A hook is a function of the activation; what it returns replaces the activation, `None` leaves it. The model is held, and a
    hook acts in this thread alone, so two people who use one loaded model never see each other's. module: the eager one by
    default. elsewhere: the sentence with which a pass of another thread, which would not see the hooks, is refused; such a pass
    is not one of those that hold the model.
    """
    place = model.module if module is None else module
    with model.lock.passing(), ExitStack() as stack:
        depth = _depth.set(_depth.get() + bool(hooks))
        try:
            for (kind, layer), function in hooks:
                if layer in model.anatomy.attention:
                    put = _on_z if kind == "z" else _on_pattern
                    stack.enter_context(put(model, place, layer, function))
            if elsewhere:
                stack.enter_context(_in_this_thread(model, place, elsewhere))
            yield
        finally:
            _depth.reset(depth)


@contextmanager
def _in_this_thread(model: LoadedModel, module: nn.Module, why_not: str) -> Iterator[None]:
    def refuse(*_: Any) -> None:
        if not model.lock.mine:
            raise BadInput(why_not)

    handle = module.register_forward_pre_hook(refuse)
    try:
        yield
    finally:
        handle.remove()


def hooks_attached() -> bool:
    """Whether this thread is inside `attached`: a pass over the other module would miss what was put there."""
    return _depth.get() > _silent.get()


@contextmanager
def untouched() -> Iterator[None]:
    """Inside, what is attached so far does nothing in this thread: for what is tried once and kept for the model itself."""
    token = _silent.set(_depth.get())
    try:
        yield
    finally:
        _silent.reset(token)


def _acts(own: int, depth: int) -> bool:
    """Whether a hook of the thread `own`, attached at that depth, acts in the pass that is made now."""
    return threading.get_ident() == own and depth > _silent.get()


@contextmanager
def _on_z(model: LoadedModel, module: nn.Module, layer: int, function: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    part, own, depth = model.anatomy.attention[layer], threading.get_ident(), _depth.get()

    def hook(projection: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not _acts(own, depth):
            return None
        given: Tensor = arguments[0]
        changed = function(given.reshape(*given.shape[:2], part.n_heads, part.d_head))
        return None if changed is None else (changed.reshape(given.shape), *arguments[1:])

    handle = module.get_submodule(part.projection).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _on_pattern(
    model: LoadedModel, module: nn.Module, layer: int, function: Callable[[Tensor], Tensor | None]
) -> Iterator[None]:
    """Shows the pattern as it leaves the softmax, before it is used, so that a change has its effect."""
    part, own, depth = model.anatomy.attention[layer], threading.get_ident(), _depth.get()
    place = module.get_submodule(part.name)
    modes: list[_Softmax] = []

    def enter(*_: Any) -> None:
        if _acts(own, depth):
            modes.append(_Softmax(part.n_heads, function))
            modes[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        if _acts(own, depth):
            modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    handles = [place.register_forward_pre_hook(enter), place.register_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        while modes:
            modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]


class _Softmax(TorchFunctionMode):
    """Shows every softmax over keys that is made inside, and puts in its place what it is given."""

    def __init__(self, n_heads: int, function: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__()
        self._n_heads, self._function = n_heads, function

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func not in _SOFTMAX or output.ndim < 3 or output.shape[-2] < 2:
            return output
        queries = output.shape[-2]
        if output[..., 0, 0].numel() % self._n_heads:
            # Not of every head: another choice that the attention makes on the way.
            return output
        pattern = output[..., :queries].reshape(-1, self._n_heads, queries, min(queries, output.shape[-1]))
        if pattern.shape[-1] != queries:
            return output
        changed = self._function(pattern)
        if changed is None:
            return output
        return torch.cat([changed.reshape(*output.shape[:-1], queries).to(output.dtype), output[..., queries:]], -1)


_SOFTMAX = (torch.nn.functional.softmax, torch.softmax, Tensor.softmax)


@dataclass(frozen=True)
class BlockCall:
    """How the model called one of its blocks: everything but the residual stream, for one sequence."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def run(self, block: torch.nn.Module, hidden: Hidden) -> Hidden:
        """The block's output for `hidden`, whatever its batch."""
        arguments = [for_batch(value, len(hidden)) for value in self.arguments]
        keywords = {name: for_batch(value, len(hidden)) for name, value in self.keywords.items()}
        if "hidden_states" in keywords:
            output = block(*arguments, **(keywords | {"hidden_states": hidden}))
        else:
            output = block(hidden, *arguments, **keywords)
        found: Hidden = output[0] if isinstance(output, tuple) else output
        return found

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, in the order in which they were given."""
        found, waiting = list[Tensor](), [self.keywords, self.arguments]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Tensor):
                found.append(value)
            elif isinstance(value, (dict, tuple, list)):
                waiting += value.values() if isinstance(value, dict) else value
        return found


@dataclass(frozen=True)
class Body:
    """What a pass over the body leaves behind.

    final: the unembedding's input, after the final norm; of a pass that ended at a block, that block's.
    inputs: each block's input (`resid_pre`), and calls: how each block was called; both only where they were asked for.
    """

    # As wide as the unembedding reads, which need not be as wide as the stream.
    final: Float[Tensor, "batch tokens d_unembedded"]
    inputs: tuple[Hidden, ...] = ()
    calls: tuple[BlockCall, ...] = ()


class _Stop(Exception):
    """Ends a forward pass at the unembedding's door."""


def run_body(
    model: LoadedModel,
    tokens: Int[Tensor, "batch tokens"],
    hooks: Sequence[Hook] = (),
    *,
    keep_inputs: bool = False,
    module: nn.Module | None = None,
    until: int | None = None,
    first_position: int = 0,
    makes_way: bool = False,
) -> Body:
    """One pass up to the unembedding, or up to block `until`, with `hooks` attached.

    With `keep_inputs` the residual stream before each block stays, so that `run_block` can go on from there. module: the
    eager one by default. first_position: where the first of `tokens` stands. makes_way: whether the job that this is a part of
    can stop, or let more urgent work go first, between two blocks; not where the caller holds the model.
    """
    place, own = model.module if module is None else module, threading.get_ident()
    check_rows(model, place, tokens)
    final: list[Hidden] = []

    def stop(module: torch.nn.Module, *given: Any) -> None:
        if threading.get_ident() != own:
            return
        arguments, keywords = given
        final.append(arguments[0] if arguments else keywords["hidden_states"])
        raise _Stop

    blocks = model.blocks(place) if keep_inputs else []
    with (
        attached(model, hooks, place),
        recorded(model, blocks, tokens) as (inputs, calls),
        _making_way(model, place, makes_way),
    ):
        door = model.anatomy.unembedding if until is None else model.anatomy.blocks[until]
        handle = place.get_submodule(door).register_forward_pre_hook(stop, with_kwargs=True)
        try:
            run_module(place, tokens.to(model.device), first_position=first_position)
        except _Stop:
            pass
        finally:
            handle.remove()
    return Body(final=final[0], inputs=tuple(inputs), calls=tuple(calls))


def check_rows(model: LoadedModel, module: nn.Module, tokens: Int[Tensor, "batch tokens"]) -> None:
    """Raises ModelUnavailable where what `module` says of these rows depends on how many are read at once: `check_beside`."""
    attached_outside = _depth.get()

    def clean(rows: Tensor) -> Tensor:
        _silent.set(attached_outside)
        with torch.no_grad():
            return run_body(model, rows, module=module).final

    # In a context of its own: nothing that is attached acts, and nothing is kept of a first half or gone on from.
    check_beside(model, module, tokens, lambda rows: Context().run(clean, rows))


@contextmanager
def _making_way(model: LoadedModel, place: nn.Module, makes_way: bool) -> Iterator[None]:
    """Between the blocks of the pass that is made inside, the job of this thread comes to a checkpoint."""
    own, checkpoint = threading.get_ident(), current_control().checkpoint

    def between(*_: Any) -> None:
        if threading.get_ident() == own:
            checkpoint()

    handles = [block.register_forward_pre_hook(between) for block in model.blocks(place)] if makes_way else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded(
    model: LoadedModel, blocks: Sequence[torch.nn.Module], tokens: Int[Tensor, "batch tokens"]
) -> Iterator[tuple[list[Hidden], list[BlockCall]]]:
    """Each block's input, and how it was called, of the one pass over `tokens` that is made inside.

    What another person's pass gives to these blocks, meanwhile or while this one makes way, is not taken for one's own.
    """
    inputs: list[Hidden] = []
    calls: list[BlockCall] = []
    own = threading.get_ident()

    def keep(module: torch.nn.Module, *given: Any) -> None:
        # A pass that stood in this very place meanwhile calls it once more after its removal, and then without keywords.
        if threading.get_ident() != own:
            return
        arguments, keywords = given
        inputs.append(arguments[0] if arguments else keywords["hidden_states"])
        calls.append(_one_sequence_call(arguments, keywords, len(tokens), model.card.n_heads))

    with model.lock.passing():
        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
        try:
            yield inputs, calls
        finally:
            for handle in handles:
                handle.remove()


def finished(model: LoadedModel, hidden: Hidden, module: nn.Module | None = None) -> Hidden:
    """From the last block's output to the unembedding's input."""
    place = model.module if module is None else module
    with model.lock:
        for name in model.anatomy.ending:
            hidden = place.get_submodule(name)(hidden)
    return hidden


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
    blocks = model.blocks(model.module)
    with torch.no_grad(), untouched():
        try:
            # Another stream than that of the recorded calls: what a family carries past its blocks would stay behind.
            with model.lock:
                handle = blocks[0].register_forward_pre_hook(_moved, with_kwargs=True)
                try:
                    whole = run_body(model, tokens, keep_inputs=True)
                finally:
                    handle.remove()
            # As would what a part keeps by itself for those after it: it is another pass's by now, and the last block is the
            # first to be run again.
            body = run_body(model, tokens[:1], keep_inputs=True)
            ends = [*whole.inputs[1:], whole.final]
            for layer in reversed(range(len(blocks))):
                again = body.calls[layer].run(blocks[layer], whole.inputs[layer])
                again = finished(model, again) if layer == len(blocks) - 1 else again
                if not isinstance(again, Tensor) or not _are_close(model, again, ends[layer]):
                    return False
        except (RuntimeError, TypeError, AttributeError, ValueError, IndexError, KeyError):
            return False
    return True


def _are_close(model: LoadedModel, one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return bool(torch.allclose(one, other, atol=closeness(model, other), rtol=0, equal_nan=True))


_MOVED_BY = 1.5


def _moved(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    if arguments:
        return (arguments[0] * _MOVED_BY, *arguments[1:]), keywords
    return arguments, keywords | {"hidden_states": keywords["hidden_states"] * _MOVED_BY}


def check_finite(
    model: LoadedModel, final: Float[Tensor, "batch _read d_unembedded"], tokens: Int[Tensor, "batch tokens"]
) -> None:
    """Raises ModelUnavailable, with the first layer to blame, where a pass over `tokens` came out as infinite or no number.

    final: the end of that pass, or of a part of it.
    """
    if torch.isfinite(final).all():
        return
    bad: list[int] = []

    def look(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            found = output[0] if isinstance(output, tuple) else output
            if isinstance(found, Tensor) and not torch.isfinite(found).all():
                bad.append(layer)

        return hook

    with model.lock:
        handles = [block.register_forward_hook(look(layer)) for layer, block in enumerate(model.blocks(model.module))]
        try:
            run_body(model, tokens)
        finally:
            for handle in handles:
                handle.remove()
    raise undefined(model, f"layer {bad[0]}" if bad else "the final norm")


def undefined(model: LoadedModel, where: str) -> ModelUnavailable:
    """The sentence for a model that gives infinite or undefined numbers from somewhere on, with what would help."""
    # In float16 an infinite weight is as a rule one that the file holds well.
    wrong = torch.isnan if model.dtype == torch.float16 else lambda weight: ~torch.isfinite(weight)
    broken = [name for name, weight in model.module.named_parameters() if wrong(weight).any()]
    if broken:
        advice = f"its weights hold values that are no numbers, the first in {broken[0]}: get the file again"
    elif model.dtype == torch.float16:
        advice = "float16 cannot hold numbers that large: choose bfloat16 or float32"
    else:
        advice = "choose float32" if model.dtype != torch.float32 else "its weights make numbers larger than float32 holds"
    return ModelUnavailable(f"{model.card.name} gives numbers that are infinite or undefined from {where} on: {advice}.")


def _one_sequence_call(arguments: tuple[Any, ...], keywords: dict[str, Any], batch: int, n_heads: int) -> BlockCall:
    """A block's call cut down to one sequence: sequences are never padded, so masks and positions are the same for all.

    What is not the same along its first axis is no matter of sequences, though it may be as long: the slopes of as many heads,
    the positions of as many tokens.
    """

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cut(item) for name, item in value.items()}
        if isinstance(value, (tuple, list)):
            return type(value)(cut(item) for item in value)
        if not isinstance(value, Tensor) or value.ndim == 0:
            return value
        return value[:1] if value.shape[0] == batch and torch.equal(value, value[:1].expand_as(value)) else value

    cut_keywords = {name: None if name == "hidden_states" else cut(value) for name, value in keywords.items()}
    # The one argument with batch and heads in a single axis.
    if isinstance(keywords.get("alibi"), Tensor):
        cut_keywords["alibi"] = _PerHead(keywords["alibi"][:n_heads])
    return BlockCall(arguments=tuple(cut(value) for value in arguments[1:]), keywords=cut_keywords)


@dataclass(frozen=True)
class _PerHead:
    """A bias `[n_heads, ...]` that the model wants as `[batch * n_heads, ...]` (ALiBi)."""

    bias: Tensor


def for_batch(value: Any, batch: int) -> Any:
    """An argument of one sequence's call, for `batch` sequences."""
    if isinstance(value, _PerHead):
        return value.bias.repeat(batch, 1, 1)
    # Some families hold their mask to the batch, though it is the same for all.
    return value.expand(batch, -1, -1, -1) if isinstance(value, Tensor) and value.ndim == 4 and len(value) == 1 else value
