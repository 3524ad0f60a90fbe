"""What heads do to the logit of the right token, by whatever route: the total effect.

Background: the loss saturates, and logits differ in size between families (36-fold), so neither nats nor logits compare heads
of two models. The total effect `T` is the right token's logit less the mean over the vocabulary, before any soft cap, clean
minus ablated. Its unit is the model's own gain `G`: how much that same logit gains from there being an earlier copy at all.
References: McGrath et al. 2023 (total and direct effects); McDougall et al. 2023 (copy suppression).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from core.ablation.ablator import Ablator
from core.errors import BadInput
from core.heads import HeadSet
from core.probes.probe import Probe
from core.settings.modes import Mode


def total_effects(
    ablator: Ablator,
    sets: Sequence[HeadSet],
    mode: Mode,
    targets: Int[np.ndarray, " targets"],
    on_share: Callable[[float], None] | None = None,
) -> Float[np.ndarray, "sets sequences"]:
    """`T` of each of `sets`, in logits, averaged over `targets`: positive where the right token loses by the ablation.

    Raises BadInput as `Ablator.token_loss`.
    """
    found = ablator.centred_logit([(), *sets], mode, targets, on_share).mean(-1, dtype=np.float64)
    effects: Float[np.ndarray, "sets sequences"] = found[0] - found[1:]
    return effects


def gain_in_logits(ablator: Ablator, probe: Probe) -> Float[np.ndarray, " sequences"]:
    """`G`, in logits: the centred logit of the right token on the second copy, less the same on fresh tokens.

    ablator: of the probe. Raises BadInput where the probe has no fresh second half.
    """
    if probe.control is None:
        raise BadInput("These tokens leave too few others for a fresh second half, so there is no gain to measure effects in.")
    targets = probe.layout.second_copy_targets
    [repeated] = ablator.centred_logit([()], "zero", targets)
    fresh = ablator.centred_logit_after(probe.control, targets)
    gain: Float[np.ndarray, " sequences"] = repeated.mean(-1, dtype=np.float64) - fresh.mean(-1, dtype=np.float64)
    return gain
