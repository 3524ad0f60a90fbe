"""What a matching head does with what it sees: by how much of the model's own gain goes when it is taken away.

The unit is the model's gain `G` on the same sequences, for logits differ 36-fold between families. A head helps where its total
effect is above `DELTA` of it, works against the copy where it is below minus that, does nothing where it is within; a head of
which none can be shown is undecided. Student's t over sequences, each of the three corrected over the matching heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from core.behaviour import State
from core.heads import Head, every_head
from core.stats import Number, estimate
from core.verdicts.evidence import Effects
from core.verdicts.significance import SIGNIFICANCE, benjamini_hochberg, student_p_above

DELTA = 0.01
RoleLabel = Literal["induction", "anti-induction", "matching, no effect", "undecided"]
Route = Literal["direct", "through later layers"]


@dataclass(frozen=True)
class Role:
    """A matching head's role, and what it rests on, in shares of the gain.

    q: of the role given; for an undecided head, the smallest of the three. route: by which way, where the role is one and the
    direct effect is not withheld.
    """

    label: RoleLabel
    total_effect: Number
    direct_effect: Number
    q: float
    route: Route | None


@dataclass(frozen=True)
class Shares:
    """Effects as shares of the gain at each sequence's length; of the sequences at whose length there is a gain.

    gain: in logits, over those sequences; unknown where no length has any.
    """

    total: Float[np.ndarray, "n_layers n_heads sequences"]
    direct: Float[np.ndarray, "n_layers n_heads sequences"]
    gain: Number

    @property
    def any(self) -> bool:
        """Whether there is a gain to have a share of."""
        return bool(self.total.shape[-1] > 0)


def shares_of_gain(effects: Effects, behaviour: State | None) -> Shares:
    """`effects` over the mean gain of the same length; a length whose gain's interval is not above zero has no share.

    Nothing has a share where the behaviour is absent: there is nothing that a head could help or hinder.
    """
    unit, usable = np.ones(effects.gain.shape), np.zeros(effects.gain.shape, dtype=bool)
    for length in np.unique(effects.lengths):
        here = effects.lengths == length
        gain = estimate(effects.gain[here])
        usable[here] = gain.low > 0 and behaviour != "absent"
        unit[here] = gain.value
    return Shares(
        total=effects.total[..., usable] / unit[usable],
        direct=effects.direct[..., usable] / unit[usable],
        gain=estimate(effects.gain[usable]),
    )


def roles(shares: Shares, matches: Bool[np.ndarray, "n_layers n_heads"]) -> dict[Head, Role]:
    """The role of every matching head."""
    heads = [head for head in every_head(*matches.shape) if matches[head]]
    if not heads:
        return {}
    total = shares.total[matches]
    above, below, within = (benjamini_hochberg(p) for p in _three_tests(total))
    found = {}
    for index, head in enumerate(heads):
        effect, direct = estimate(total[index]), estimate(shares.direct[head])
        if above[index] < SIGNIFICANCE:
            role = Role("induction", effect, direct, float(above[index]), _route(direct, 1))
        elif below[index] < SIGNIFICANCE:
            role = Role("anti-induction", effect, direct, float(below[index]), _route(direct, -1))
        elif within[index] < SIGNIFICANCE:
            role = Role("matching, no effect", effect, direct, float(within[index]), None)
        else:
            smallest = min(float(q[index]) for q in (above, below, within))
            role = Role("undecided", effect, direct, smallest, None)
        found[head] = role
    return found


def _three_tests(
    total: Float[np.ndarray, "heads sequences"],
) -> tuple[Float[np.ndarray, " heads"], Float[np.ndarray, " heads"], Float[np.ndarray, " heads"]]:
    """p of lying above `DELTA`, below minus it, and between: each below .05 exactly where the 95 % interval does."""
    if not total.shape[-1]:
        nothing = np.full(len(total), np.nan)
        return nothing, nothing, nothing
    over_delta, over_minus = student_p_above(total, DELTA), student_p_above(total, -DELTA)
    sides = (over_delta, 1 - over_minus, np.maximum(1 - over_delta, over_minus))
    above, below, within = (np.minimum(1.0, 2 * side) for side in sides)
    return above, below, within


def _route(direct: Number, sign: int) -> Route | None:
    if np.isnan(direct.value):
        return None
    surely = direct.low > 0 if sign > 0 else direct.high < 0
    return "direct" if surely else "through later layers"
