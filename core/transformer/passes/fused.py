"""The fast pass: the module with its attention replaced, no pattern where attention is a causal softmax, no unembedding.

It is believed only after it was held, at the length that is asked for, to the model library's own module run eagerly: the same
patterns and the same end. Where they differ the eager module is believed, and the result says that it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.transformer.anatomy import trial_ids
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused_attention import ExplicitAttention, NotFused, Seen, each_layer
from core.transformer.passes.hooks import pattern_hook, run_body

# Rows of the pattern that are compared, the last always among them.
ROWS = 8


@dataclass(frozen=True)
class Agreement:
    """How the fast pass compares with the eager one at one length; `worst` is the largest difference of a cell.

    explicit: whether some layer made its pattern after all (a window, a soft cap, sinks), which needs memory for it.
    """

    agrees: bool
    worst: float
    explicit: bool = False
    reason: str = ""


def fused_body(
    model: LoadedModel, tokens: Int[Tensor, "batch tokens"], see: Callable[[Seen], Tensor | None]
) -> Float[Tensor, "batch tokens d_model"]:
    """One pass over the fast body; `see` gets every layer's attention, first to last. Returns the unembedding's input."""
    assert model.bare is not None
    with torch.no_grad(), model.lock, each_layer(see):
        return run_body(model, tokens, module=model.bare).final


def can_fuse(model: LoadedModel, n_tokens: int) -> bool:
    """Whether the fast pass gives what the model's own eager attention gives on sequences of `n_tokens`."""
    return agreement(model, n_tokens).agrees


def agreement(model: LoadedModel, n_tokens: int) -> Agreement:
    """How the two passes compare at a length; tried once for each model and length."""
    known = _KNOWN.setdefault(model, {})
    if n_tokens not in known:
        known[n_tokens] = _compare(model, n_tokens) if model.bare is not None else Agreement(False, 0.0, reason="no twin")
    return known[n_tokens]


_KNOWN: weakref.WeakKeyDictionary[LoadedModel, dict[int, Agreement]] = weakref.WeakKeyDictionary()


def cell_tolerance(model: LoadedModel) -> float:
    """How far a cell of a pattern may be from the eager one by rounding alone."""
    return 1e-5 if model.dtype == torch.float32 else 3e-2


def _compare(model: LoadedModel, n_tokens: int) -> Agreement:
    tokens = trial_ids(model.card.d_vocab, 1 if n_tokens > 64 else 2, n_tokens).to(model.device)
    rows = torch.linspace(1, n_tokens - 1, min(ROWS, n_tokens - 1)).long().unique()
    queries = rows.repeat_interleave(n_tokens)
    keys = torch.arange(n_tokens).repeat(len(rows))
    inside = keys <= queries
    queries, keys = queries[inside].to(model.device), keys[inside].to(model.device)
    eager: list[Tensor] = []
    fused: list[Tensor] = []
    explicit: list[bool] = []

    def keep(pattern: Tensor) -> None:
        eager.append(pattern[:, :, queries, keys].float())

    def see(attention: Seen) -> None:
        fused.append(attention.cells(queries, keys))
        explicit.append(isinstance(attention, ExplicitAttention))

    try:
        own = fused_body(model, tokens, see)
    except NotFused:
        return Agreement(False, 0.0, reason="its attention takes more than queries, keys, values and a mask")
    except (RuntimeError, TypeError, AttributeError, ValueError, KeyError) as error:
        return Agreement(False, 0.0, reason=type(error).__name__)
    with torch.no_grad():
        final = run_body(model, tokens, [(pattern_hook(layer), keep) for layer in model.anatomy.attention]).final
    if len(fused) != len(model.anatomy.attention) or len(eager) != len(fused):
        return Agreement(False, 0.0, reason="not every layer showed its attention")
    if any(a.shape != b.shape for a, b in zip(eager, fused, strict=True)):
        return Agreement(False, 1.0, reason="the heads are counted differently")
    worst = max(float((a - b).abs().nan_to_num().max()) for a, b in zip(eager, fused, strict=True))
    tolerance = cell_tolerance(model)
    same_end = torch.allclose(final, own, atol=tolerance * float(final.abs().nan_to_num().max()), rtol=0, equal_nan=True)
    return Agreement(worst <= tolerance and same_end, worst, any(explicit), "" if same_end else "the passes end differently")
