"""Calling a head: from evidence to a verdict, as a pure function (science: "calling a head").

A head is called where it matches (`core.verdicts.matching`), and what it is called is its role (`core.verdicts.roles`): looking
where an induction head looks is one thing, doing something with it another. Copying is shown and never decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.behaviour import State
from core.heads import Head, every_head
from core.stats import SHARE, Number, estimate
from core.verdicts.estimate import Estimates, estimates
from core.verdicts.evidence import LOOKS, Effects, Evidence
from core.verdicts.labels import Label, label_without_match
from core.verdicts.matching import Matching, matching
from core.verdicts.roles import Role, Route, Shares, roles, shares_of_gain


@dataclass(frozen=True)
class Verdict:
    """One head's label and the numbers that gave it, each with its interval.

    q: of the contrast. total_effect, direct_effect: shares of the model's gain; unknown where they are not measured or
    withheld. role_q: of the role, NaN for a head that does not match. copying: by the weights, NaN where it cannot be read.
    chance: of the scores in `LOOKS`, by name. last_layer: no later layer follows.
    """

    head: Head
    label: Label
    induction: Number
    contrast: Number
    rotation_contrast: Number
    specificity: Number
    q: float
    total_effect: Number
    direct_effect: Number
    role_route: Route | None
    role_q: float
    copying: float
    previous_token: Number
    duplicate_token: Number
    sink: Number
    chance: dict[str, float]
    last_layer: bool

    @property
    def name(self) -> str:
        """`L5H7`."""
        return self.head.name


def judge_heads(
    evidence: Evidence,
    effects: Effects,
    behaviour: State | None,
    floor: float,
    *,
    q: Float[np.ndarray, "n_layers n_heads"] | None = None,
    copying: Float[np.ndarray, "n_layers n_heads"] | None = None,
) -> tuple[Verdict, ...]:
    """A verdict on every head that exists, in layer order.

    Needs the total effect of heads that match alone: where it is missing, such a head stays undecided. q: q-values at hand are
    not computed again. copying: shown beside the rest.
    """
    found = matching(evidence, q)
    shares = shares_of_gain(effects, behaviour)
    role_of = roles(shares, found.above(floor))
    looks = {name: estimates(getattr(evidence, name), SHARE) for name in LOOKS}
    levels = evidence.chance.mean(-1)
    chance = [dict(zip(LOOKS, levels[:, layer].tolist(), strict=True)) for layer in range(levels.shape[1])]
    return tuple(
        _verdict(head, found, role_of.get(head), shares, looks, chance[head.layer], floor, copying)
        for head in every_head(*evidence.exists.shape)
        if evidence.exists[head]
    )


def _verdict(
    head: Head,
    found: Matching,
    role: Role | None,
    shares: Shares,
    looks: dict[str, Estimates],
    chance: dict[str, float],
    floor: float,
    copying: Float[np.ndarray, "n_layers n_heads"] | None,
) -> Verdict:
    contrast = found.contrast.of(head)
    above_chance = {name: look.of(head).value - chance[name] for name, look in looks.items()}
    return Verdict(
        head=head,
        label=label_without_match(above_chance, contrast, floor) if role is None else role.label,
        induction=looks["induction"].of(head),
        contrast=contrast,
        rotation_contrast=found.rotation_contrast.of(head),
        specificity=found.specificity.of(head),
        q=float(found.q[head]),
        total_effect=estimate(shares.total[head]),
        direct_effect=estimate(shares.direct[head]),
        role_route=None if role is None else role.route,
        role_q=float("nan") if role is None else role.q,
        copying=float("nan") if copying is None else float(copying[head]),
        previous_token=looks["previous_token"].of(head),
        duplicate_token=looks["duplicate_token"].of(head),
        sink=looks["sink"].of(head),
        chance=chance,
        last_layer=head.layer == len(found.q) - 1,
    )
