"""A circuit and a pruning as rows, for the screen and for files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.ablation.outcomes import Pruning
from core.attention.tables import Row
from core.circuits.circuit import KINDS, Circuit, Edge
from core.heads import Head, HeadSet, every_head, ranked


def edge_facts(edge: Edge) -> dict[str, Any]:
    """One edge as JSON values."""
    return {
        "previous": edge.previous.name,
        "induction": edge.induction.name,
        "k_composition": edge.k_composition,
        "rank": edge.rank,
        "earlier_heads": edge.earlier,
        "path_patch_drop": edge.drop,
        "low": edge.low,
        "high": edge.high,
        "prefix_matching": {"clean": edge.clean, "patched": edge.patched},
        "q_composition": edge.q_composition,
        "v_composition": edge.v_composition,
        "random_composition": edge.baseline,
    }


def edge_rows(edges: Sequence[Edge]) -> list[Row]:
    """One row an edge: its facts, flat, and how far its K-composition is above that of random matrices."""
    rows = []
    for edge in edges:
        facts = edge_facts(edge)
        matching = facts.pop("prefix_matching")
        rows.append(facts | matching | {"above_random": edge.k_composition - edge.baseline})
    return rows


def composition_rows(circuit: Circuit, receiver: Head) -> list[Row]:
    """One row an earlier head: K-, Q- and V-composition with `receiver`, each also above random, highest K first."""
    found = circuit.composition[circuit.induction.index(receiver)]
    rows: list[Row] = [
        {"earlier": head.name, "induction": receiver.name, "previous_token_head": head in circuit.previous}
        | {f"{kind}_composition": float(values[head]) for kind, values in zip(KINDS, found, strict=True)}
        | {f"{kind}_above_random": float(values[head]) - circuit.baseline for kind, values in zip(KINDS, found, strict=True)}
        | {"random_composition": circuit.baseline}
        for head in every_head(receiver.layer, found.shape[-1])
        if circuit.exists[head]
    ]
    # What is withheld comes last: it compares with nothing.
    return sorted(rows, key=lambda row: (math.isnan(row["k_composition"]), -row["k_composition"]))


def pruning_rows(prunings: Sequence[Pruning], called: HeadSet) -> list[Row]:
    """Every head's prefix matching before, and without each pruned head, the strongest first.

    low, high: the 95 % interval, over sequences, of what it loses.
    """
    before = prunings[0].before
    return [
        {"head": head.name, "called": head in called, "before": float(before[head])}
        | {
            key: value
            for pruning in prunings
            for key, value in (
                (f"without {pruning.head.name}", float(pruning.after[head])),
                (f"lost without {pruning.head.name}, low", float(pruning.lost_interval[0][head])),
                (f"lost without {pruning.head.name}, high", float(pruning.lost_interval[1][head])),
            )
        }
        for head in ranked(before)
    ]
