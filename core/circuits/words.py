"""What a circuit and a pruning say: rows, sentences and commands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.attention.scores import HeadScores, head_name
from core.attention.tables import Row
from core.circuits.cached import Circuit, Pruning
from core.circuits.composition import KINDS
from core.heads import Head, HeadSet, Mode
from core.numbers import signed
from core.settings.view import View, command_line

# A loss of prefix matching below this is told as none.
SMALL_DROP = 0.05
# Heads whose prefix matching is above this are shown whether they are called or not.
WORTH_SHOWING = 0.2
MOST_SHOWN = 12


def edge_rows(circuit: Circuit) -> list[Row]:
    """One row an edge, the largest drop first."""
    return [
        {
            "previous": head_name(*edge.previous),
            "induction": head_name(*edge.induction),
            "drop": edge.drop,
            "clean": edge.clean,
            "patched": edge.patched,
            "k_composition": edge.k_composition,
            "baseline": edge.baseline,
            "above_baseline": edge.k_composition - edge.baseline,
            "k_rank": edge.rank,
            "earlier_heads": edge.earlier,
            "q_composition": edge.q_composition,
            "v_composition": edge.v_composition,
        }
        for edge in circuit.edges
    ]


def composition_rows(circuit: Circuit, receiver: Head) -> list[Row]:
    """One row an earlier head: K-, Q- and V-composition with `receiver`, each also above random, highest K first."""
    found = circuit.composition[circuit.induction.index(receiver)]
    rows: list[Row] = [
        {"earlier": head_name(*head), "induction": head_name(*receiver), "previous_token_head": head in circuit.previous}
        | {f"{kind}_composition": float(values[head]) for kind, values in zip(KINDS, found, strict=True)}
        | {f"{kind}_above_random": float(values[head]) - circuit.baseline for kind, values in zip(KINDS, found, strict=True)}
        | {"baseline": circuit.baseline}
        for head in ((layer, head) for layer in range(receiver[0]) for head in range(found.shape[-1]))
    ]
    return sorted(rows, key=lambda row: -row["k_composition"])


def composition_sentence(circuit: Circuit, receiver: Head) -> str:
    """From which earlier head the keys, queries and values of `receiver` read most, above random."""
    rows = composition_rows(circuit, receiver)
    said = []
    for kind, name in zip(KINDS, ("keys", "queries", "values"), strict=True):
        best = max(rows, key=lambda row: row[f"{kind}_above_random"])
        above = best[f"{kind}_above_random"]
        said.append(f"its {name} from {best['earlier']} ({signed(above, 3)})" if above > 0 else f"its {name} from none")
    return (
        f"What {head_name(*receiver)} reads most of, among {len(rows)} earlier heads and by the weights, above random: "
        f"{'; '.join(said)}. Random matrices of these shapes have {circuit.baseline:.3f}, which is subtracted."
    )


def circuit_sentence(circuit: Circuit) -> str:
    """The strongest edge in words, and how many matter at all."""
    if not circuit.induction:
        return "No head is called an induction head here, so there is no circuit to draw."
    if not circuit.edges:
        return "No previous-token head (score above 0.4) lies in a layer before a called induction head: there is no edge."
    best = circuit.edges[0]
    count = sum(edge.drop > SMALL_DROP for edge in circuit.edges)
    if not count:
        return (
            f"None of the {len(circuit.edges)} edges carries the circuit by itself: cutting the strongest costs "
            f"{best.drop:.2f} of prefix matching. The keys may be built by several heads together, or by a longer path."
        )
    total = len(circuit.edges)
    of = f" {count} of {total} edges cost more than {SMALL_DROP:.2f}." if total > 1 else ""
    return (
        f"**{head_name(*best.induction)} finds its keys through {head_name(*best.previous)}:** when its keys are read without "
        f"that head, its prefix matching falls from {best.clean:.2f} to {best.patched:.2f}. Among {best.earlier} earlier heads "
        f"{head_name(*best.previous)} has rank {best.rank} by K-composition.{of}"
    )


def shown_heads(before: np.ndarray, called: HeadSet) -> HeadSet:
    """The heads whose prefix matching is followed: called ones, then others that match, the strongest first."""
    order = [divmod(int(i), before.shape[1]) for i in np.argsort(-before, axis=None, kind="stable")]
    chosen = [head for head in order if head in called] + [
        head for head in order if head not in called and before[head] > WORTH_SHOWING
    ]
    return tuple(chosen[:MOST_SHOWN])


def pruning_sentence(prunings: Sequence[Pruning], scores: HeadScores, called: HeadSet) -> str:
    """What pruning the first head does, and what the others, whose score is the nearest, do."""
    first, *others = prunings
    previous = scores.mean("previous_token")

    def told(pruning: Pruning) -> str:
        name = f"{head_name(*pruning.head)} (previous-token score {previous[pruning.head]:.2f})"
        change = signed(pruning.pruned.second_copy - pruning.clean.second_copy)
        return f"{name}: {change} nats" + _matching_told(pruning, called)

    collapses = first.recovered_fraction > 0.5 or _mean_drop(first, called) > 0.3
    beside = f" Beside it, {'; '.join(told(pruning) for pruning in others)}." if others else ""
    verdict = "collapses" if collapses else "goes on"
    return f"**Without {head_name(*first.head)} the circuit {verdict}.** {told(first)}.{beside}"


def pruning_rows(prunings: Sequence[Pruning], called: HeadSet) -> list[Row]:
    """Every head's prefix matching before, and without each pruned head, the strongest first."""
    before = prunings[0].before
    order = [divmod(int(i), before.shape[1]) for i in np.argsort(-before, axis=None, kind="stable")]
    return [
        {"head": head_name(*head), "called": head in called, "before": float(before[head])}
        | {f"without {head_name(*pruning.head)}": float(pruning.after[head]) for pruning in prunings}
        for head in order
    ]


def circuit_command(view: View, mode: Mode, prune: Head | None = None) -> str:
    """The command that prints the same edges, or the same pruning."""
    more = [] if prune is None else ["--prune", head_name(*prune)]
    return command_line(view, "circuit", "--mode", mode, *more)


def _mean_drop(pruning: Pruning, called: HeadSet) -> float:
    after = [head for head in called if head[0] > pruning.head[0]]
    return float(np.mean([pruning.before[head] - pruning.after[head] for head in after])) if after else 0.0


def _matching_told(pruning: Pruning, called: HeadSet) -> str:
    after = [head for head in called if head[0] > pruning.head[0]]
    if not after:
        return ", and no called head comes after it"
    before_mean = np.mean([pruning.before[head] for head in after])
    after_mean = np.mean([pruning.after[head] for head in after])
    heads = "the called head" if len(after) == 1 else f"the {len(after)} called heads"
    return f", prefix matching of {heads} after it {before_mean:.2f} → {after_mean:.2f}"
