"""What a circuit and a pruning say, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from core.ablation.outcomes import Pruning
from core.attention.head_scores import HeadScores
from core.circuits.circuit import KINDS, PREVIOUS_TOKEN_FLOOR, Circuit, Edge
from core.circuits.tables import composition_rows
from core.heads import Head, HeadSet, listed, ranked
from core.numbers import counted, digits_beside, interval, signed, signed_interval, unsigned

# A loss of prefix matching below this is told as none.
SMALL_DROP = 0.05
# Heads whose prefix matching is above this are shown whether they are called or not.
WORTH_SHOWING = 0.2
# After what only seems to be so.
MORE_SEQUENCES = " More sequences would tell."
# Without a head the circuit is gone: this share of the gain or of the prefix matching after it, or so much of the latter.
_SHARE_GONE, _MATCHING_GONE = 0.5, 0.3
MOST_SHOWN = 12
_NAMED = 6


def composition_sentence(circuit: Circuit, receiver: Head) -> str:
    """From which earlier head the keys, queries and values of `receiver` read most, above random; empty if all is withheld."""
    rows, said, count = composition_rows(circuit, receiver), [], 0
    for kind, name in zip(KINDS, ("keys", "queries", "values"), strict=True):
        known = [row for row in rows if not np.isnan(row[f"{kind}_composition"])]
        if not known:
            continue
        count = max(count, len(known))
        best = max(known, key=lambda row: row[f"{kind}_above_random"])
        above = best[f"{kind}_above_random"]
        said.append(f"its {name} from {best['earlier']} ({signed(above, 3)})" if above > 0 else f"its {name} from none")
    if not said:
        return ""
    return (
        f"What {receiver.name} reads most of, among {counted(count, 'earlier head')} and by the weights, above random: "
        f"{'; '.join(said)}. Random matrices of these shapes have {circuit.baseline:.3f}, which is subtracted."
    )


def circuit_sentence(circuit: Circuit) -> str:
    """The strongest edge in words, and how many matter at all."""
    if not circuit.induction:
        return "No head is shown to be an induction head here, so there is no circuit to draw."
    if not circuit.edges:
        return no_edge_sentence(circuit.previous, circuit.induction)
    best = circuit.edges[0]
    between = _between(best, circuit.n_sequences)
    total = len(circuit.edges)
    count = sum(edge.drop > SMALL_DROP for edge in circuit.edges)
    surely = sum(edge.lost.surely_beside(SMALL_DROP) for edge in circuit.edges if edge.drop > SMALL_DROP)
    if not count:
        unsure = not all(edge.lost.surely_beside(SMALL_DROP) for edge in circuit.edges)
        if total == 1:
            none = f"The only edge {'is not shown to' if unsure else 'does not'} carry"
        else:
            none = f"None of the {counted(total, 'edge')} {'is shown to carry' if unsure else 'carries'}"
        return (
            f"{none} the circuit by itself: cutting {'it' if total == 1 else 'the strongest'} costs "
            f"{unsigned(best.drop)} of prefix matching{between}. The keys may be built by several heads together, or by a "
            "longer path."
        )
    sure = best.lost.surely_beside(SMALL_DROP)
    finds = "finds" if sure else "seems to find"
    costs = "costs" if count == 1 else "cost"
    told = "" if surely == count else f", {surely or 'none'} of them surely" if count > 1 else ", not surely"
    of = (
        f" {count} of {counted(total, 'edge')} {costs} more than {SMALL_DROP:.2f} of prefix matching{told}."
        if total > 1
        else ""
    )
    return (
        f"**{best.induction.name} {finds} its keys through {best.previous.name}:** when its keys are read without "
        f"that head, its prefix matching falls from {unsigned(best.clean)} to {unsigned(best.patched)}{between}."
        f"{'' if sure else MORE_SEQUENCES}{_ranked_by_weights(best)}{of}"
    )


def no_edge_sentence(previous: HeadSet, induction: HeadSet) -> str:
    """Why there is no edge between heads that would write and heads that would read."""
    if not previous:
        return f"No head is a previous-token head (score above {PREVIOUS_TOKEN_FLOOR:.1f}), so there is no edge."
    lies, that = "lies" if len(previous) == 1 else "lie", "that" if len(induction) == 1 else "those"
    return f"{listed(previous, _NAMED)} {lies} in no layer before {that} of {listed(induction, _NAMED)}: there is no edge."


def _between(edge: Edge, n_sequences: int) -> str:
    """The interval of what an edge costs, or why there is none."""
    if n_sequences < 2:
        return " (one sequence gives no interval)"
    return f" (95 % interval of the loss {lost_interval(edge.low, edge.high)}, {counted(n_sequences, 'sequence')})"


def lost_interval(low: float, high: float) -> str:
    """The interval of what an edge costs, with as many digits as tell it from nothing and from a small drop."""
    return interval(low, high, digits_beside((low, high), (0.0, SMALL_DROP)))


def withheld_sentence(circuit: Circuit) -> str:
    """Why some compositions are not given; empty where all are."""
    return "" if circuit.withheld is None else f"Some compositions are withheld. {circuit.withheld}"


def _ranked_by_weights(edge: Edge) -> str:
    if edge.rank is None:
        return ""
    return f" Among {counted(edge.earlier, 'earlier head')} {edge.previous.name} has rank {edge.rank} by K-composition."


def shown_heads(before: np.ndarray, called: HeadSet) -> HeadSet:
    """The heads whose prefix matching is followed: called ones, then others that match, the strongest first."""
    order = ranked(before)
    chosen = [head for head in order if head in called] + [
        head for head in order if head not in called and before[head] > WORTH_SHOWING
    ]
    return tuple(chosen[:MOST_SHOWN])


def pruning_sentence(prunings: Sequence[Pruning], scores: HeadScores, called: HeadSet) -> str:
    """What pruning the first head does, and what the others, whose score is the nearest, do."""
    first, *others = prunings
    previous = scores.mean("previous_token")

    def said(pruning: Pruning) -> str:
        name = f"{pruning.head.name} (previous-token score {previous[pruning.head]:.2f})"
        change, low, high = pruning.change
        return f"{name}: {signed(change)} nats{_ends(low, high)}" + _matching_words(pruning, called)

    verdict, unsure = _outcome(first, called)
    beside = f" Beside it, {'; '.join(said(pruning) for pruning in others)}." if others else ""
    count = first.n_sequences
    brackets = "One sequence gives no interval." if count < 2 else f"In brackets: 95 % intervals over {count} sequences."
    return f"**Without {first.head.name} the circuit {verdict}.** {said(first)}.{beside}{unsure} {brackets}"


def _outcome(pruning: Pruning, called: HeadSet) -> tuple[str, str]:
    """Whether the circuit goes on, and what would tell where the sequences do not."""
    told = []
    if pruning.clean.has_gain:
        told.append((pruning.change, _SHARE_GONE * pruning.clean.gain))
    if after := _heads_after(pruning, called):
        matching = float(np.mean([pruning.before[head] for head in after]))
        # Of heads that match weakly all is gone before as much is lost as strong ones may lose.
        told.append((pruning.lost(after), min(_MATCHING_GONE, _SHARE_GONE * matching)))
    if any(number.value > level for number, level in told):
        if any(number.value > level and number.surely_beside(level) for number, level in told):
            return "collapses", ""
        return "seems to collapse", MORE_SEQUENCES
    if told and all(number.surely_beside(level) for number, level in told):
        return "goes on", ""
    return "seems to go on", MORE_SEQUENCES


def _heads_after(pruning: Pruning, called: HeadSet) -> HeadSet:
    return tuple(head for head in called if head.layer > pruning.head.layer)


def _matching_words(pruning: Pruning, called: HeadSet) -> str:
    after = _heads_after(pruning, called)
    if not after:
        return ", and no induction head comes after it"
    before_mean = np.mean([pruning.before[head] for head in after])
    after_mean = np.mean([pruning.after[head] for head in after])
    heads = "the induction head" if len(after) == 1 else f"the {len(after)} induction heads"
    _, low, high = pruning.lost(after)
    return f", prefix matching of {heads} after it {before_mean:.2f} → {after_mean:.2f}{_ends(-high, -low)}"


def _ends(low: float, high: float) -> str:
    """An interval in brackets, with as many digits as show on which side of zero it lies; nothing where there is none."""
    return "" if math.isnan(low) else f" ({signed_interval(low, high, digits_beside((low, high), (0.0,)))})"
