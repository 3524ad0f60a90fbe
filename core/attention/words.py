"""What scores and their movement say, in sentences that a person can repeat."""

from __future__ import annotations

from collections.abc import Sequence

from core.attention.sensitivity import Sensitivity, movement
from core.heads import Head, named


def sensitivity_sentences(found: Sensitivity, heads: Sequence[Head], threshold: float) -> list[str]:
    """What it means for a threshold, in sentences that a person can repeat."""
    always, sometimes = found.steady(threshold)
    listed = named(sometimes[:8]).replace(",", ", ") + (" and more" if len(sometimes) > 8 else "")
    said = f"At {threshold:.2f}, {len(always)} of {found.base.n_layers * found.base.n_heads} heads are above at every setting"
    said += f"; {len(sometimes)} at some settings only: {listed}." if sometimes else ", and no other head at any."
    sentences = [said]
    lengths = {head: found.of(head, "length") for head in heads}
    head = max(heads, key=lambda place: movement(lengths[place]))
    points = lengths[head]
    if len(points) > 1:
        low, high = min(points, key=lambda spread: spread.mean), max(points, key=lambda spread: spread.mean)
        sentences.append(
            f"With length {head.name} moves most: {high.mean:.2f} at length {high.setting.label}, "
            f"{low.mean:.2f} at length {low.setting.label}."
        )
    seeds = max(movement(found.of(place, "seed")) for place in heads)
    sentences.append(f"Another seed moves none of these heads by more than {seeds:.2f}.")
    bos = [(place, found.of(place, "bos")) for place in heads]
    if all(len(points) == 2 for _, points in bos):
        place, points = max(bos, key=lambda pair: movement(pair[1]))
        sentences.append(
            f"{place.name} moves most with the BOS: {points[0].mean:.2f} {points[0].setting.label} it, "
            f"{points[1].mean:.2f} {points[1].setting.label} it."
        )
    else:
        sentences.append("This model has no BOS token, or no room for one, so nothing is said about it.")
    return sentences
