"""Pruning one head: what it costs, and what every other head's prefix matching becomes without it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.ablation.ablator import Ablator
from core.attention.head_scores import HeadScores
from core.attention.score_pass import measure_heads
from core.heads import Head
from core.probes.probe import Probe
from core.settings.modes import Mode
from core.transformer.passes.hooks import attached, z_hook


def scores_without(ablator: Ablator, probe: Probe, head: Head, mode: Mode) -> HeadScores:
    """Every score and loss on `probe` with `head` replaced by nothing (`zero`) or its mean (`mean`), for every position."""
    ablator.model.check_heads([head])
    layer, place = head
    stand_in = ablator.stand_in(mode, layer)

    def prune(z: Tensor) -> Tensor:
        changed = z.clone()
        changed[:, :, place] = 0.0 if stand_in is None else stand_in[:, :, place].to(z.dtype)
        return changed

    # Inside, the scores are measured the hooked way: the fast one would miss this hook.
    with torch.no_grad(), attached(ablator.model, [(z_hook(layer), prune)]):
        return measure_heads(ablator.model, replace(probe, control=None))
