"""Random head sets of the same size, matched by layer: what an ablation is compared with.

Without them a large loss says nothing: ablating any five heads of a layer may cost as much.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from core.heads import Head, HeadSet

DEFAULT_BASELINES = 20


@dataclass(frozen=True)
class BaselineSets:
    """`sets` to ablate beside a head set, and how the match by layer had to be relaxed, in one sentence (or nothing)."""

    sets: tuple[HeadSet, ...]
    note: str


def baseline_sets(heads: HeadSet, n_layers: int, n_heads: int, count: int = DEFAULT_BASELINES, seed: int = 0) -> BaselineSets:
    """`count` random sets with as many heads in each layer as `heads` has, none of them in `heads`.

    Where a layer has too few other heads, all of them are taken and the rest comes from the nearest layers that have some
    to spare. Sets may repeat when there are few to choose from. The same seed gives the same sets.
    """
    random = np.random.default_rng(seed)
    wanted = Counter(layer for layer, _ in heads)
    others = {layer: [h for h in range(n_heads) if (layer, h) not in set(heads)] for layer in range(n_layers)}
    if not heads or sum(len(free) for free in others.values()) < len(heads):
        few = "Fewer heads are left over than the set holds, so there is no random set."
        return BaselineSets((), few if heads else "There is nothing to match.")
    short = sorted(layer for layer, size in wanted.items() if len(others[layer]) < size)
    sets = tuple(_one_set(wanted, others, random) for _ in range(count))
    if not short:
        return BaselineSets(sets, "")
    names = ", ".join(str(layer) for layer in short)
    return BaselineSets(
        sets, f"Layer {names} has too few other heads: the missing ones come from the nearest layers, so the match is relaxed."
    )


def _one_set(wanted: Counter[int], others: dict[int, list[int]], random: np.random.Generator) -> HeadSet:
    chosen: list[Head] = []
    missing: list[int] = []
    for layer, size in sorted(wanted.items()):
        free = others[layer]
        taken: list[int] = list(random.choice(free, size=min(size, len(free)), replace=False)) if free else []
        chosen += [Head(layer, int(head)) for head in taken]
        missing += [layer] * (size - len(taken))
    for layer in missing:
        spare = [Head(other, head) for other, free in others.items() for head in free if (other, head) not in set(chosen)]
        nearest = min(abs(head.layer - layer) for head in spare)
        candidates = [head for head in spare if abs(head.layer - layer) == nearest]
        chosen.append(candidates[int(random.integers(len(candidates)))])
    return tuple(sorted(chosen))
