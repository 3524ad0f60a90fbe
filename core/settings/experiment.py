"""What a person chose to take away, and how: the part of a view that the ablation, causal map and sweep pages share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.heads import Head, HeadSet
from core.settings.modes import Mode

Source = Literal["threshold", "picked", "both"]
SOURCES: tuple[Source, ...] = ("threshold", "picked", "both")
Curves = Literal["one", "all"]
CURVES: tuple[Curves, ...] = ("one", "all")
DEFAULT_FLOOR = 0.1
MAX_FLOOR = 5.0
# A head matches only if its contrast's interval lies wholly above this.
EFFECT_FLOOR = 0.2
MAX_EFFECT_FLOOR = 0.9
MAX_PARAGRAPH = 1000
# The two thresholds of the report that started this project.
REPORT_THRESHOLDS = (0.5, 0.6)


@dataclass(frozen=True)
class Experiment:
    """The settings of an intervention.

    mode: what stands in for an ablated head.
    source: where the head set comes from: the threshold, `heads`, or both.
    heads: heads picked by hand.
    floor: nats from which a head is said to matter.
    effect_floor: contrast from which a head can be called.
    first, second: the two thresholds that are compared.
    curves: whether a sweep shows its own mode only, or all.
    paragraph: the text that specificity is measured on; empty for the built-in one.
    """

    mode: Mode = "mean"
    source: Source = "threshold"
    heads: HeadSet = ()
    floor: float = DEFAULT_FLOOR
    effect_floor: float = EFFECT_FLOOR
    first: float = REPORT_THRESHOLDS[0]
    second: float = REPORT_THRESHOLDS[1]
    curves: Curves = "one"
    paragraph: str = ""

    def chosen(self, above: Sequence[Head]) -> HeadSet:
        """The heads to take away, in layer order; `above` are those above the threshold."""
        from_threshold = set() if self.source == "picked" else set(above)
        by_hand = set() if self.source == "threshold" else set(self.heads)
        return tuple(sorted(from_threshold | by_hand))

    def toggled(self, head: Head, above: Sequence[Head]) -> Experiment:
        """After a click on `head`: added to the set if it was not in it, else taken out of it.

        The rest of the set stays as it is, so heads from the threshold become picked by hand when one of them goes.
        """
        chosen = self.chosen(above)
        if head not in chosen:
            picked = () if self.source == "threshold" else self.heads
            source: Source = "picked" if self.source == "picked" else "both"
            return replace(self, source=source, heads=tuple(sorted({*picked, head})))
        if self.source == "both" and head not in above:
            return replace(self, heads=tuple(place for place in self.heads if place != head))
        return replace(self, source="picked", heads=tuple(place for place in chosen if place != head))
