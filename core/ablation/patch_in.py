"""Patching in: are these heads enough to make the right token likelier where nothing else could?

Background: removing heads shows that they are needed. The opposite question puts their outputs from the run on `[BOS] + r + r`
into a run on `[BOS] + r' + r`, which has no earlier copy of `r` to look at, and reads how much likelier the right tokens get.
References: Feucht et al. 2025 (The dual-route model of induction).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from core.ablation.ablator import Ablator
from core.errors import BadInput
from core.heads import HeadSet
from core.probes.probe import Probe
from core.transformer.loaded import LoadedModel


def patched_losses(
    model: LoadedModel, probe: Probe, heads: HeadSet, on_share: Callable[[float], None] | None = None
) -> tuple[Float[np.ndarray, " sequences"], Float[np.ndarray, " sequences"]]:
    """The mean second-half loss (nats) of each sequence without an earlier copy: as it is, and with `heads` patched in.

    Raises BadInput where the probe has no fresh tokens.
    """
    targets = probe.layout.second_copy_targets
    before, after = [], []
    for index, (clean, corrupted) in enumerate(zip(probe.tokens, without_earlier_copy(probe), strict=True)):
        # The mean over one reference sequence is the head's own output on it, at every position.
        ablator = Ablator(model, corrupted[None], clean[None])
        before.append(ablator.clean[0, targets].mean(dtype=np.float64))
        after.append(ablator.token_loss([heads], "mean", targets=targets)[0, 0].mean(dtype=np.float64))
        if on_share is not None:
            on_share((index + 1) / probe.n_sequences)
    return np.array(before), np.array(after)


def without_earlier_copy(probe: Probe) -> Int[np.ndarray, "sequences tokens"]:
    """`[BOS] + r' + r`: the same second half after fresh tokens. Raises BadInput where the probe has none."""
    if probe.control is None:
        raise BadInput("These tokens leave too few others for a run without an earlier copy.")
    middle = probe.bos_tokens + probe.length
    return np.concatenate([probe.tokens[:, : probe.bos_tokens], probe.control[:, middle:], probe.tokens[:, middle:]], axis=1)
