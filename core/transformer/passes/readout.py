"""From the end of a pass to losses: unembeds what is wanted and nothing else, a few positions at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import BadInput, ModelUnavailable
from core.runtime.jobs import current_control
from core.transformer.anatomy import run_module
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Hidden, run_body, undefined, untouched
from core.transformer.passes.trials import closeness, trial_tokens
from core.transformer.said import said

# How many logits may exist at once while losses are read off: 64 Mi numbers are 256 MB in float32.
LOGITS_AT_ONCE = 1 << 26
Logits = Float[Tensor, "positions d_vocab"]
Ids = Int[Tensor, " positions"]
# What families call the soft cap of their logits.
_CAPS = ("final_logit_softcapping", "output_logits_soft_cap", "logits_soft_cap", "logit_softcapping")


class Readout(NamedTuple):
    """What a model does to its unembedding's output; a `soft_cap` of 0 is none."""

    multiplier: float
    soft_cap: float


_READOUT: weakref.WeakKeyDictionary[LoadedModel, Readout] = weakref.WeakKeyDictionary()
# The unembedding's mean row, with which version of the weights it is of: to go through all rows takes as long as a layer.
_MEAN_ROW: weakref.WeakKeyDictionary[LoadedModel, tuple[int, int, Tensor]] = weakref.WeakKeyDictionary()


def logits_from(
    model: LoadedModel, final: Float[Tensor, "... d_model"], *, capped: bool = True
) -> Float[Tensor, "... d_vocab"]:
    """Logits in float32 for some positions of a pass, with the model's own multiplier and, if `capped`, its soft cap.

    Raises ModelUnavailable as `check_readout`.
    """
    check_readout(model)
    return _logits(model, final, _READOUT[model], capped)


def _logits(model: LoadedModel, final: Tensor, readout: Readout, capped: bool = True) -> Tensor:
    # Another person's pass may hang a hook on this very module: see `attached`.
    with model.lock:
        logits: Tensor = model.module.get_submodule(model.anatomy.unembedding)(final).float()
    # Hardly a model has one, and the logits are many: a product with 1 took a fifth of the time of a loss.
    if readout.multiplier != 1.0:
        logits = logits * readout.multiplier
    return readout.soft_cap * torch.tanh(logits / readout.soft_cap) if capped and readout.soft_cap else logits


def token_losses(
    model: LoadedModel,
    final: Hidden,
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"] | None = None,
) -> Float[Tensor, "batch targets"]:
    """Cross-entropy in nats of the tokens at `targets`, or of every token; NaN at position 0, which nothing predicts.

    Unembeds what is wanted and nothing else, a few positions at a time: `[batch, tokens, d_vocab]` never exists. Raises
    ModelUnavailable as `check_readout`, BadInput for a token that the model can never say.
    """
    check_readout(model)
    if targets is None:
        losses = token_losses(model, final, tokens, torch.arange(1, tokens.shape[1]))
        return torch.nn.functional.pad(losses, (1, 0), value=float("nan"))
    _check_said(model, tokens[:, targets.to(tokens.device)])
    return over_targets(model, final, tokens, targets, cross_entropies)


def centred_logits(
    model: LoadedModel,
    final: Hidden,
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
) -> Float[Tensor, "batch targets"]:
    """The logit of the tokens at `targets` less the mean logit over the vocabulary, before any soft cap; chunked likewise.

    What all tokens gain alike cancels, and so does whatever a head adds to every logit. Where the unembedding is a plain
    matrix, its mean row stands for the mean over the vocabulary, which then need not be gone through; of its bias, a constant
    that cancels in every difference, the mean is over the tokens that it does not rule out. Raises as `token_losses`.
    """
    check_readout(model)
    multiplier = _READOUT[model].multiplier
    ends, rows = final[:, (targets - 1).to(final.device)], tokens[:, targets.to(tokens.device)].to(final.device)
    _check_said(model, rows)
    plain = _plain_unembedding(model)
    if plain is not None:
        weight, bias = plain
        found = ((ends * weight[rows]).sum(-1) - ends @ mean_row(model, weight)) * multiplier
        return found if bias is None else found + less_the_mean(bias * multiplier, rows)
    masked = _masking_unembedding(model)
    if masked is not None:
        # Beside what rules tokens out no digit of a mean over all logits is left.
        weight, bias = masked
        own = over_targets(model, final, tokens, targets, _of_the_right, capped=False)
        others = ends.float() @ weight.mean(0, dtype=torch.float32) * multiplier
        return own - others - _mean_said(bias * multiplier)

    def centred(logits: Logits, right: Ids) -> Float[Tensor, " positions"]:
        return _of_the_right(logits, right) - logits.mean(-1)

    return over_targets(model, final, tokens, targets, centred, capped=False)


def _of_the_right(logits: Logits, right: Ids) -> Float[Tensor, " positions"]:
    return logits.gather(-1, right[:, None])[:, 0]


def less_the_mean(bias: Float[Tensor, " d_vocab"], rows: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """What a constant adds to the logits of some tokens, less its mean over the tokens that it does not rule out."""
    return bias[rows] - _mean_said(bias)


def _mean_said(bias: Float[Tensor, " d_vocab"]) -> Tensor:
    return bias[said(bias)].mean()


def mean_row(model: LoadedModel, weight: Float[Tensor, "d_vocab d_unembedded"]) -> Float[Tensor, " d_unembedded"]:
    """The mean over the vocabulary of the rows of the model's unembedding `weight`, in its number format."""
    version = 0 if weight.is_inference() else weight._version
    known = _MEAN_ROW.get(model)
    if known is None or known[:2] != (weight.data_ptr(), version):
        known = _MEAN_ROW[model] = (weight.data_ptr(), version, weight.mean(0))
    return known[2]


def _plain_unembedding(model: LoadedModel) -> tuple[Tensor, Tensor | None] | None:
    """The unembedding's matrix `[d_vocab, d_model]` and bias, where it is nothing but these and in full precision."""
    place = model.module.get_submodule(model.anatomy.unembedding)
    weight = getattr(place, "weight", None)
    if type(place) is not nn.Linear or weight is None or weight.dtype != torch.float32:
        return None
    return weight.detach(), None if place.bias is None else place.bias.detach()


def _masking_unembedding(model: LoadedModel) -> tuple[Tensor, Tensor] | None:
    """The matrix and bias of an unembedding whose bias rules tokens out; None for any other."""
    place = model.module.get_submodule(model.anatomy.unembedding)
    if type(place) is not nn.Linear or place.bias is None:
        return None
    bias = place.bias.detach().float()
    return None if bool(said(bias).all()) else (place.weight.detach(), bias)


def _check_said(model: LoadedModel, rows: Int[Tensor, "..."]) -> None:
    masked = _masking_unembedding(model)
    if masked is not None:
        never = ~said(masked[1])[rows.to(masked[1].device)]
        if bool(never.any()):
            first = int(rows[never.to(rows.device)][0])
            raise BadInput(
                f"{model.card.name} can never say token {first}, for its unembedding's bias rules it out, so a loss on it "
                "means nothing: draw tokens from a range without it, or give others."
            )


def over_targets(
    model: LoadedModel,
    final: Hidden,
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
    read: Callable[[Logits, Ids], Tensor],
    *,
    capped: bool = True,
) -> Float[Tensor, "batch targets *what"]:
    """What `read` makes of the logits that predict the tokens at `targets` and of those tokens, some positions at a time.

    Raises ModelUnavailable as `check_readout`.
    """
    flat = final[:, (targets - 1).to(final.device)].flatten(0, 1)
    wanted = tokens[:, targets.to(tokens.device)].flatten().to(final.device)
    step = max(1, LOGITS_AT_ONCE // model.card.d_vocab)
    checkpoint, parts = current_control().checkpoint, []
    for at in range(0, len(flat), step):
        if at:
            checkpoint()
        parts.append(read(logits_from(model, flat[at : at + step], capped=capped), wanted[at : at + step]))
    found: Float[Tensor, "batch targets *what"] = torch.cat(parts).unflatten(0, (len(tokens), -1))
    return found


def cross_entropies(logits: Logits, right: Ids) -> Float[Tensor, " positions"]:
    """The loss of each right token, in nats."""
    return torch.nn.functional.cross_entropy(logits, right, reduction="none")


def logit_multiplier(model: LoadedModel) -> float:
    """What the model multiplies the unembedding's output by."""
    check_readout(model)
    return _READOUT[model].multiplier


def check_readout(model: LoadedModel) -> None:
    """Make sure, once for each model, that losses are read off as the model itself would.

    Its multiplier is found from its own logits, whatever its config calls it. Raises ModelUnavailable for an architecture whose
    logits are not those of its unembedding, multiplied and soft-capped, and for an unembedding that holds no numbers.
    """
    if model in _READOUT:
        return
    tokens = trial_tokens(model)
    with torch.no_grad(), model.lock, untouched():
        own = run_module(model.module, tokens).float()
        plain = _logits(model, run_body(model, tokens).final, Readout(1.0, 0.0))
    door = model.module.get_submodule(model.anatomy.unembedding)
    if not all(torch.isfinite(weight).all() for weight in door.parameters()):
        raise undefined(model, "the unembedding")
    unlike = ModelUnavailable(
        f"{model.card.name} changes its logits after the unembedding in a way that is not supported here."
    )
    if own.shape != plain.shape:
        raise unlike
    may_be = said(own)
    own, plain = own[..., may_be], plain[..., may_be]
    config = getattr(model.module, "config", None) or getattr(model.module, "cfg", None)
    caps = [float(getattr(config, name, None) or 0.0) for name in _CAPS]
    for cap in (*(cap for cap in caps if cap), 0.0):
        readout = Readout(_multiplier(own, plain, cap), cap)
        ours = plain * readout.multiplier
        ours = cap * torch.tanh(ours / cap) if cap else ours
        # Equal NaN: a broken device is for the self-check to find, not for this.
        if torch.allclose(own, ours, atol=closeness(model, own), rtol=0, equal_nan=True):
            _READOUT[model] = readout
            return
    raise unlike


def _multiplier(own: Tensor, plain: Tensor, cap: float) -> float:
    own, plain = own.double().nan_to_num(), plain.double().nan_to_num()
    if cap:
        inside = own.abs() < 0.9 * cap
        own, plain = cap * torch.atanh(own[inside] / cap), plain[inside]
    size = float((plain * plain).sum())
    found = float((own * plain).sum()) / size if size > 0 else 1.0
    return 1.0 if abs(found - 1.0) < 1e-4 else found
