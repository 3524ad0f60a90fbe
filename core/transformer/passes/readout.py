"""From the end of a pass to losses: unembeds what is wanted and nothing else, a few positions at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import ModelUnavailable
from core.runtime.jobs import current_control
from core.transformer.anatomy import run_module
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Hidden, run_body, undefined, untouched
from core.transformer.passes.trials import closeness, trial_tokens

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
    ModelUnavailable as `check_readout`.
    """
    check_readout(model)
    if targets is None:
        losses = token_losses(model, final, tokens, torch.arange(1, tokens.shape[1]))
        return torch.nn.functional.pad(losses, (1, 0), value=float("nan"))
    return over_targets(model, final, tokens, targets, cross_entropies)


def centred_logits(
    model: LoadedModel,
    final: Hidden,
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
) -> Float[Tensor, "batch targets"]:
    """The logit of the tokens at `targets` less the mean logit over the vocabulary, before any soft cap; chunked likewise.

    What all tokens gain alike cancels, and so does whatever a head adds to every logit. Where the unembedding is a plain
    matrix, its mean row stands for the mean over the vocabulary, which then need not be gone through. Raises ModelUnavailable
    as `check_readout`.
    """
    plain = _plain_unembedding(model)
    if plain is not None:
        check_readout(model)
        weight, bias = plain
        rows = tokens[:, targets.to(tokens.device)].to(final.device)
        ends = final[:, (targets - 1).to(final.device)]
        found = (ends * weight[rows]).sum(-1) - ends @ mean_row(model, weight)
        if bias is not None:
            found = found + bias[rows] - bias.mean()
        return found * _READOUT[model].multiplier

    def centred(logits: Logits, right: Ids) -> Float[Tensor, " positions"]:
        return logits.gather(-1, right[:, None])[:, 0] - logits.mean(-1)

    return over_targets(model, final, tokens, targets, centred, capped=False)


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
    raise ModelUnavailable(f"{model.card.name} changes its logits after the unembedding in a way that is not supported here.")


def _multiplier(own: Tensor, plain: Tensor, cap: float) -> float:
    own, plain = own.double().nan_to_num(), plain.double().nan_to_num()
    if cap:
        inside = own.abs() < 0.9 * cap
        own, plain = cap * torch.atanh(own[inside] / cap), plain[inside]
    size = float((plain * plain).sum())
    found = float((own * plain).sum()) / size if size > 0 else 1.0
    return 1.0 if abs(found - 1.0) < 1e-4 else found
