"""The fast pass: the module with its attention replaced, no pattern where attention is a causal softmax, no unembedding.

It is believed only after it was held, at the length that is asked for, to the model library's own module run eagerly: the same
patterns and the same end. Where they differ the eager module is believed, and the result says that it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.transformer.anatomy import trial_ids
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused_attention import ExplicitAttention, NotFused, Seen, each_layer
from core.transformer.passes.hooks import Hook, hooks_attached, pattern_hook, run_body
from core.transformer.passes.prefix import Prefix, continuing, remembering

Engine = Literal["fused", "hooks"]
# Rows of the pattern that are compared, the last always among them.
ROWS = 8
# Beyond so many tokens whole patterns take gigabytes: cells are then compared at this length, and at the full length the end,
# with the model library's own module on the library's own kernel, which makes no pattern.
LONG = 4096


@dataclass(frozen=True)
class Agreement:
    """How the fast pass compares with the eager one at one length; `worst` is the largest difference of a cell.

    explicit: whether some layer made its pattern after all (a window, a soft cap, sinks), which needs memory for it.
    kept_bytes: what is kept of each token of the first half, for passes over second halves alone; 0 where such a pass does not
        give what the whole one gives.
    """

    agrees: bool
    worst: float
    explicit: bool = False
    reason: str = ""
    kept_bytes: int = 0

    @property
    def continues(self) -> bool:
        """Whether second halves may be run by themselves, after what was kept of the first."""
        return self.kept_bytes > 0


def fused_body(
    model: LoadedModel,
    tokens: Int[Tensor, "batch tokens"],
    see: Callable[[Seen], Tensor | None] | None,
    hooks: Sequence[Hook] = (),
    *,
    keep: Prefix | None = None,
    after: Prefix | None = None,
    makes_way: bool = False,
) -> Float[Tensor, "batch tokens d_model"]:
    """One pass over the fast body, of which `see` gets every layer's attention, first to last. Returns the unembedding's input.

    hooks: attached to it, as for `run_body`. keep: where the first tokens are left for other passes. after: what `tokens` come
    after; `see` then gets attention to both. makes_way: as for `run_body`.
    """
    assert model.bare is not None
    first = 0 if after is None else after.n_tokens
    with torch.no_grad(), each_layer(see), remembering(keep), continuing(after):
        return run_body(model, tokens, hooks, module=model.bare, first_position=first, makes_way=makes_way).final


def first_half(n_tokens: int) -> int:
    """How many tokens of a probe come before its second half."""
    return n_tokens - n_tokens // 2


def can_fuse(model: LoadedModel, n_tokens: int) -> bool:
    """Whether the fast pass gives what the model's own eager attention gives on sequences of `n_tokens`."""
    return agreement(model, n_tokens).agrees


@dataclass(frozen=True)
class Way:
    """How passes of some length are made. patterns: whether whole patterns are made. continues: as of `Agreement`."""

    engine: Engine
    patterns: bool
    continues: bool


def way_of(model: LoadedModel, n_tokens: int, engine: Engine | None = None) -> Way:
    """The fast way where it was found to agree with the other; inside attached hooks the other, for only that sees them.

    engine: which one is asked for, whatever was found.
    """
    found = None if engine == "hooks" or hooks_attached() else agreement(model, n_tokens)
    fused = engine == "fused" or (found is not None and found.agrees)
    if not fused or found is None:
        return Way("fused" if fused else "hooks", patterns=not fused, continues=False)
    return Way("fused", found.explicit, found.continues)


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
        own = fused_body(model, tokens, see, makes_way=True)
    except NotFused:
        return Agreement(False, 0.0, reason="its attention takes more than queries, keys, values and a mask")
    except (RuntimeError, TypeError, AttributeError, ValueError, KeyError) as error:
        return Agreement(False, 0.0, reason=type(error).__name__)
    final = _end_without_patterns(model, tokens) if n_tokens > LONG else None
    if final is not None:
        short = agreement(model, LONG)
        if not short.agrees:
            return short
        worst = short.worst
    else:
        with torch.no_grad():
            hooks = [(pattern_hook(layer), keep) for layer in model.anatomy.attention]
            final = run_body(model, tokens, hooks, makes_way=True).final
        if len(fused) != len(model.anatomy.attention) or len(eager) != len(fused):
            return Agreement(False, 0.0, reason="not every layer showed its attention")
        if any(a.shape != b.shape for a, b in zip(eager, fused, strict=True)):
            return Agreement(False, 1.0, reason="the heads are counted differently")
        worst = max(float((a - b).abs().nan_to_num().max()) for a, b in zip(eager, fused, strict=True))
    tolerance = cell_tolerance(model)
    same_end = torch.allclose(final, own, atol=tolerance * float(final.abs().nan_to_num().max()), rtol=0, equal_nan=True)
    agrees = worst <= tolerance and same_end
    kept = _kept_bytes(model, tokens, own, fused, (queries, keys)) if agrees and not any(explicit) else 0
    return Agreement(agrees, worst, any(explicit), "" if same_end else "the passes end differently", kept)


def _end_without_patterns(model: LoadedModel, tokens: Tensor) -> Tensor | None:
    """The unembedding's input by the library's own module on its own kernel; None where it has none."""
    module = model.module
    if not hasattr(module, "set_attn_implementation"):
        return None
    with torch.no_grad(), model.lock:
        try:
            module.set_attn_implementation("sdpa")
            return run_body(model, tokens).final
        except (ValueError, ImportError, NotImplementedError, TypeError, AttributeError, RuntimeError):
            return None
        finally:
            module.set_attn_implementation("eager")


def _kept_bytes(model: LoadedModel, tokens: Tensor, whole: Tensor, cells: list[Tensor], places: tuple[Tensor, Tensor]) -> int:
    """What is kept of each token of the first half; 0 where going on from it does not give what the whole pass gives.

    That is: the end, and of each layer's `cells` those of later queries. The first half is gone through by itself, as other
    passes do it: some families choose their positions' angles by how long the whole sequence is.
    """
    prefix = Prefix(first_half(tokens.shape[1]))
    later = places[0] >= prefix.n_tokens
    queries, keys = places[0][later], places[1][later]
    found: list[Tensor] = []
    try:
        fused_body(model, tokens[:, : prefix.n_tokens], None, keep=prefix, makes_way=True)
        end = fused_body(
            model, tokens[:, prefix.n_tokens :], lambda attention: found.append(attention.cells(queries, keys)), after=prefix
        )
    except (NotFused, RuntimeError, TypeError, AttributeError, ValueError, LookupError):
        return 0
    wanted = [each[..., later] for each in cells]
    loose = cell_tolerance(model)
    same_cells = len(found) == len(wanted) and all(
        torch.allclose(one, two, atol=loose, rtol=0) for one, two in zip(found, wanted, strict=True)
    )
    rest = whole[:, prefix.n_tokens :]
    same_end = torch.allclose(end, rest, atol=loose * float(rest.abs().nan_to_num().max()), rtol=0)
    return prefix.bytes_per_token if same_cells and same_end else 0
