"""Where a model's parts are: found by watching one tiny pass, never by the names that a family gives them.

An attention module is one whose output holds a pattern `[batch, heads, tokens, tokens]`; its output projection is the last
linear map that runs inside it; the blocks are the list that holds the attention modules; what runs between the last block and
the unembedding leads to the logits. A model in which this is not so is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from core.errors import ModelUnavailable
from core.transformer.said import said

BATCH, TOKENS = 2, 7
# What modules raise when they want more than ids, or ids of another kind.
_CANNOT_RUN = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError)
# What is read of a pass in its order would be put down to other layers, and a mean ablation would end before its layer has run.
OUT_OF_ORDER = "does not run each of its layers once and in the order of their numbers, so its heads cannot be numbered."


@dataclass(frozen=True, eq=False)
class Attention:
    """One layer's attention, by the names of its modules.

    projection: the output projection, which reads `z` of all heads side by side (`n_heads * d_head`).
    input_norm: the norm whose output it reads; None where it reads the residual stream itself.
    """

    name: str
    projection: str
    n_heads: int
    d_head: int
    input_norm: str | None


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A causal model's parts by name.

    blocks: every layer, with attention or without. attention: by layer; layers without have none.
    ending: what runs between the last block and the unembedding, in order.
    flagged: whether patterns are given only when they are asked for.
    """

    blocks: tuple[str, ...]
    attention: dict[int, Attention]
    ending: tuple[str, ...]
    unembedding: str
    flagged: bool
    d_model: int

    @property
    def n_heads(self) -> int:
        """The most heads that a layer has."""
        return max(part.n_heads for part in self.attention.values())

    def heads_in(self, layer: int) -> int:
        """How many heads a layer has; 0 for one without attention."""
        return self.attention[layer].n_heads if layer in self.attention else 0


def run_module(
    module: nn.Module, tokens: Int[Tensor, "batch tokens"], *, patterns: bool = False, first_position: int = 0
) -> Tensor:
    """The module's own forward pass; returns its logits. first_position: where the first of `tokens` stands."""
    more: dict[str, Any] = {}
    if first_position:
        places = torch.arange(first_position, first_position + tokens.shape[1], device=tokens.device)
        more["position_ids"] = places.expand(len(tokens), -1)
    if not hasattr(module, "config"):
        found: Any = module(tokens, **more)
    else:
        found = module(input_ids=tokens, use_cache=False, **more, **({"output_attentions": True} if patterns else {}))
    logits: Tensor = found if isinstance(found, Tensor) else found.logits if hasattr(found, "logits") else found[0]
    return logits


def trial_ids(d_vocab: int, batch: int = BATCH, count: int = TOKENS) -> Int[Tensor, "batch tokens"]:
    """A few ids, spread over the vocabulary."""
    return torch.arange(batch * count).view(batch, count) * 7 % d_vocab


def anatomy_of(module: nn.Module, whose: str, d_vocab: int) -> Anatomy:
    """The parts of `module`, found by running it on a few ids.

    Raises ModelUnavailable, with the reason, for a model that cannot be run, is not causal, or has no attention to show.
    """
    device = next(module.parameters()).device
    tokens = trial_ids(d_vocab).to(device)
    built = _kinds(module)
    try:
        seen, flagged = _Watch(module, tokens, patterns=False), False
        if not seen.patterns:
            seen, flagged = _Watch(module, tokens, patterns=True), True
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        AssertionError,
        NotImplementedError,
    ) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise ModelUnavailable(f"{whose} cannot be run on token ids alone: {reason}.") from error
    if _kinds(module) != built:
        raise ModelUnavailable(
            f"{whose} puts another attention in the place of its own when it reads few tokens, and keeps it: what is measured "
            "on few does not hold on many, so nothing is measured."
        )
    if not seen.patterns:
        raise ModelUnavailable(
            f"{whose} has no attention that shows which token looks at which: there are no heads here to measure."
        )
    if seen.logits.shape[-1] != d_vocab:
        raise ModelUnavailable(
            f"{whose} gives {seen.logits.shape[-1]} numbers for each token, not one logit for each of {d_vocab} ids."
        )
    found = _assemble(module, seen, whose, flagged)
    _check_causal(module, tokens, seen.logits, whose, patterns=flagged)
    return found


def _kinds(module: nn.Module) -> dict[str, type]:
    """What each part of a module is."""
    return {name: type(part) for name, part in module.named_modules()}


class _Watch:
    """What was seen in one pass: patterns, linear maps, norms, in the order in which they were done."""

    def __init__(self, module: nn.Module, tokens: Tensor, *, patterns: bool) -> None:
        self.patterns: dict[str, list[int]] = {}
        self.linear: list[tuple[str, int, int]] = []
        self.order: list[tuple[str, Tensor | None, Tensor | None]] = []
        self.calls: dict[str, int] = {}
        handles = [
            part.register_forward_hook(self._keep(name), with_kwargs=True) for name, part in module.named_modules() if name
        ]
        try:
            with torch.no_grad():
                self.logits = run_module(module, tokens, patterns=patterns).float()
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
            self.calls[name] = self.calls.get(name, 0) + 1
            given = arguments[0] if arguments else keywords.get("hidden_states")
            if isinstance(output, (tuple, list)):
                for part in output:
                    if (
                        isinstance(part, Tensor)
                        and part.ndim == 4
                        and part.shape[0] == BATCH
                        and part.shape[2:] == (TOKENS,) * 2
                    ):
                        self.patterns[name] = list(part.shape)
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            given, first = (part if isinstance(part, Tensor) else None for part in (given, first))
            self.order.append((name, given, first))
            if given is not None and first is not None and is_linear(module):
                self.linear.append((name, given.shape[-1], first.shape[-1]))

        return hook


def is_linear(module: nn.Module) -> bool:
    """Whether a module is one linear map, in whatever format its weights are kept."""
    kind = type(module).__name__
    return hasattr(module, "in_features") or kind == "Conv1D"


def causal_tolerance(module: nn.Module) -> float:
    """By how much of the logits' size another last token may change earlier ones, by rounding alone.

    Quantised maps round by the largest number in the whole batch, so that a later token moves earlier ones a little; a model
    that looks ahead moves them by their whole size.
    """
    weights = [getattr(part, "weight", None) for part in module.modules() if is_linear(part)]
    if not all(isinstance(weight, Tensor) and weight.is_floating_point() for weight in weights):
        return 0.3
    return 1e-4 if all(weight.dtype == torch.float32 for weight in weights) else 5e-2  # type: ignore[union-attr]


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm: what it gives does not depend on the size of what it is given.

    By behaviour, not by name: LayerNorm, RMSNorm with or without gain, stored as it is or less one.
    """
    weights = [weight for weight in module.parameters() if weight.ndim == 1]
    kind = type(module).__name__.lower()
    return "norm" in kind and len(list(module.parameters())) == len(weights)


def _assemble(module: nn.Module, seen: _Watch, whose: str, flagged: bool) -> Anatomy:
    names = [name for name in seen.patterns if not any(other.startswith(f"{name}.") for other in seen.patterns)]
    if any(seen.calls[name] > 1 for name in names):
        raise ModelUnavailable(f"{whose} uses the same attention in several layers, so a head has no layer of its own.")
    holder = _list_of_blocks(module, names)
    if holder is None:
        raise ModelUnavailable(f"{whose} does not keep its layers in one list, so its heads cannot be numbered.")
    count = len(module.get_submodule(holder))  # type: ignore[arg-type]
    blocks = tuple(f"{holder}.{index}" for index in range(count))
    if any(name in blocks and output is None for name, _, output in seen.order):
        raise ModelUnavailable(f"A layer of {whose} gives no single residual stream, so it cannot be measured layer by layer.")
    if [name for name, _, _ in seen.order if name in blocks] != list(blocks):
        raise ModelUnavailable(f"{whose} {OUT_OF_ORDER}")
    unembedding = _unembedding(module, seen, whose)
    attention: dict[int, Attention] = {}
    for name in names:
        layer = int(name[len(holder) + 1 :].split(".")[0])
        if layer in attention:
            raise ModelUnavailable(f"Layer {layer} of {whose} has more than one attention, so its heads cannot be numbered.")
        attention[layer] = _attention(module, seen, name, whose)
    done = [name for name, _, _ in seen.order]
    last = done.index(blocks[-1]) if blocks[-1] in done else len(done)
    return Anatomy(
        blocks=blocks,
        attention=dict(sorted(attention.items())),
        ending=_ending(seen, last, unembedding),
        unembedding=unembedding,
        flagged=flagged,
        d_model=next(width for name, _, width in seen.linear if name == next(iter(attention.values())).projection),
    )


def _list_of_blocks(module: nn.Module, names: list[str]) -> str | None:
    pieces = names[0].split(".")
    around = [".".join(pieces[:depth]) for depth in range(1, len(pieces))]
    holders = {name: module.get_submodule(name) for name in around if all(other.startswith(f"{name}.") for other in names)}
    # A sequence of modules may be a layer's own, too: it holds the layers where no list does.
    for kind in (nn.ModuleList, nn.Sequential):
        for name, holder in holders.items():
            if isinstance(holder, kind) and pieces[name.count(".") + 1].isdigit():
                return name
    return None


def _attention(module: nn.Module, seen: _Watch, name: str, whose: str) -> Attention:
    n_heads = seen.patterns[name][1]
    given, output = next((given, output) for done, given, output in seen.order if done == name)
    inside = [entry for entry in seen.linear if entry[0].startswith(f"{name}.")]
    if inside and given is not None and _reads(seen, inside[-1][0], given):
        # The last one inside makes values: the heads' outputs are projected by whoever reads what the attention gives.
        inside = [entry for entry in seen.linear if output is not None and _reads(seen, entry[0], output)][:1]
    if not inside or inside[-1][1] % n_heads:
        raise ModelUnavailable(
            f"The attention {name} of {whose} does not end in a linear map of its heads' outputs, so no head can be told apart."
        )
    projection, width, _ = inside[-1]
    norms = [
        done
        for done, _, output in seen.order
        if output is not None and given is not None and _same(output, given) and is_norm(module.get_submodule(done))
    ]
    return Attention(name, projection, n_heads, width // n_heads, norms[0] if norms else None)


def _reads(seen: _Watch, name: str, value: Tensor) -> bool:
    return any(given is not None and done == name and _same(given, value) for done, given, _ in seen.order)


def _unembedding(module: nn.Module, seen: _Watch, whose: str) -> str:
    """The last linear map that gives the logits; where something is done to these, the last one that gives as many numbers."""
    linear = {name for name, _, width in seen.linear if width == seen.logits.shape[-1]}
    found = [(name, output) for name, _, output in seen.order if name in linear and output is not None]
    if not found:
        raise ModelUnavailable(f"{whose} makes its logits in a way that is not one linear map, so no loss can be read off.")
    # Others may run after it, which say what comes later.
    alike = [(name, output) for name, output in found if output.shape == seen.logits.shape]
    own = [(name, output) for name, output in alike if torch.equal(output.float(), seen.logits)]
    return (own or alike or found)[-1][0]


def _ending(seen: _Watch, last: int, unembedding: str) -> tuple[str, ...]:
    """The chain of modules from the last block's output to the unembedding's input, each fed by the one before."""
    wanted = next(given for name, given, _ in seen.order if name == unembedding)
    chain: list[str] = []
    for name, given, output in reversed(seen.order[last + 1 :]):
        if name == unembedding or wanted is None or output is None or given is None or not given.is_floating_point():
            continue
        # A slice of all positions is a new tensor over the same numbers; a dropout gives back what it was given.
        if _same(output, wanted) and not _same(given, output):
            chain.insert(0, name)
            wanted = given
    return tuple(chain)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


@torch.no_grad()
def _check_causal(module: nn.Module, tokens: Tensor, logits: Tensor, whose: str, *, patterns: bool) -> None:
    cuts = range(1, tokens.shape[1])
    rows = tokens[:1].repeat(len(cuts), 1)
    for row, cut in enumerate(cuts):
        rows[row, cut:] = (rows[row, cut:] + 1) % logits.shape[-1]
    if not torch.isfinite(logits).all():
        return
    may_be = said(logits)
    logits = logits[..., may_be]
    loose = causal_tolerance(module) * float(logits.abs().max())

    def differs(found: Tensor, row: int, base: Tensor) -> bool:
        return float((found[: cuts[row]] - base[: cuts[row]]).abs().max()) > loose

    def run(ids: Tensor) -> Tensor:
        return run_module(module, ids, patterns=patterns).float()[..., may_be]

    together = run(rows)
    if not any(differs(together[row], row, logits[0]) for row in range(len(cuts))):
        return
    again = run(tokens)
    if float((again - logits).abs().max()) > loose:
        raise ModelUnavailable(
            f"{whose} says something else each time that it reads the same tokens, as with a dropout that is never off: no "
            "number of it can be told from chance."
        )
    base, *alone = (run(each[None])[0] for each in (tokens[0], *rows))
    if any(differs(found, row, base) for row, found in enumerate(alone)):
        raise ModelUnavailable(f"{whose} sees later tokens: other ones change what it says of earlier ones. It is not causal.")
    raise ModelUnavailable(
        f"{whose} says something else of a row when others are read beside it, as with experts that take only so many tokens: "
        "no number of it would be of one text."
    )
