"""From the end of a pass to losses: unembeds what is wanted and nothing else, a few positions at a time."""

from __future__ import annotations

import weakref

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import ModelUnavailable
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Hidden, run_body
from core.transformer.passes.trials import closeness, trial_tokens

# How many logits may exist at once while losses are read off: 64 Mi numbers are 256 MB in float32.
LOGITS_AT_ONCE = 1 << 26
_CHECKED: weakref.WeakKeyDictionary[LoadedModel, bool] = weakref.WeakKeyDictionary()


def logits_from(
    model: LoadedModel, final: Float[Tensor, "... d_model"], *, capped: bool = True
) -> Float[Tensor, "... d_vocab"]:
    """Logits in float32 for some positions of a pass, with the model's own scale and, if `capped`, its own soft cap."""
    # Another person's pass may hang a hook on this very module: see `attached`.
    with model.lock:
        logits = model.bridge.unembed(final).float()
    cap = float(getattr(model.bridge.cfg, "output_logits_soft_cap", 0.0) or 0.0)
    if capped and cap > 0:
        logits = cap * torch.tanh(logits / cap)
    scale = _logit_scale(model)
    # Hardly a model has one, and the logits are many: a product with 1 took a fifth of the time of a loss.
    found: Float[Tensor, "... d_vocab"] = logits if scale == 1.0 else logits * scale
    return found


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
    flat = final[:, (targets - 1).to(final.device)].flatten(0, 1)
    wanted = tokens[:, targets.to(tokens.device)].flatten().to(final.device)
    step = max(1, LOGITS_AT_ONCE // model.card.d_vocab)
    parts = [
        torch.nn.functional.cross_entropy(logits_from(model, flat[at : at + step]), wanted[at : at + step], reduction="none")
        for at in range(0, len(flat), step)
    ]
    return torch.cat(parts).view(len(tokens), -1)


def centred_logits(
    model: LoadedModel,
    final: Hidden,
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
) -> Float[Tensor, "batch targets"]:
    """The logit of the tokens at `targets` less the mean logit over the vocabulary, before any soft cap; chunked likewise.

    What all tokens gain alike cancels, and so does whatever a head adds to every logit. Raises ModelUnavailable as
    `check_readout`.
    """
    check_readout(model)
    flat = final[:, (targets - 1).to(final.device)].flatten(0, 1)
    wanted = tokens[:, targets.to(tokens.device)].flatten().to(final.device)
    step = max(1, LOGITS_AT_ONCE // model.card.d_vocab)
    parts = []
    for at in range(0, len(flat), step):
        logits = logits_from(model, flat[at : at + step], capped=False)
        parts.append(logits.gather(-1, wanted[at : at + step, None])[:, 0] - logits.mean(-1))
    return torch.cat(parts).view(len(tokens), -1)


def check_readout(model: LoadedModel) -> None:
    """Make sure, once for each model, that losses are read off as the model itself would.

    Raises ModelUnavailable for an architecture whose logits are not those of its unembedding, cap and scale.
    """
    if model in _CHECKED:
        return
    tokens = trial_tokens(model)
    with torch.no_grad(), model.lock:
        own = model.bridge(tokens, return_type="logits", use_cache=False).float()
        ours = logits_from(model, run_body(model, tokens).final)
    # Equal NaN: a broken device is for the self-check to find, not for this.
    if not torch.allclose(own, ours, atol=closeness(model, own), rtol=0, equal_nan=True):
        raise ModelUnavailable(
            f"{model.card.name} changes its logits after the unembedding in a way that is not supported here."
        )
    _CHECKED[model] = True


def _logit_scale(model: LoadedModel) -> float:
    config = getattr(model.bridge.original_model, "config", None)
    divisor = getattr(config, "logits_scaling", None)
    if divisor:
        return 1.0 / float(divisor)
    return float(getattr(config, "logit_scale", None) or 1.0)
