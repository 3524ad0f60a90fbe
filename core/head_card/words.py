"""A head's card in sentences that a person can repeat."""

from __future__ import annotations

import math

from core.ablation.baselines import LEFT_OUT, p_value, range_of, smallest_p
from core.ablation.outcomes import Baselines
from core.ablation.words import p_words, so_many_others
from core.attention.scores import ALL_SCORES
from core.attention.sensitivity import FACTORS, movement
from core.attention.words import withheld_reasons
from core.circuits.circuit import Edge
from core.circuits.words import MORE_SEQUENCES, SMALL_DROP, lost_interval
from core.head_card.card import HeadCard, Removal
from core.heads import Head
from core.numbers import beside, counted, digits_beside, digits_that_add_up, interval, signed, signed_interval, unsigned
from core.text.words import value_sentence
from core.verdicts.labels import MATCHING
from core.verdicts.roles import DELTA
from core.verdicts.significance import SIGNIFICANCE
from core.verdicts.text_words import head_on_text
from core.verdicts.words import effect_sentence, effects_words, lengths_words, reasons_not_matching, why_no_gain

# Below this many sequences an interval is wide for want of sequences, and not because they differ.
FEW_SEQUENCES = 16
# Costs that are written with the same digits are told as equal.
_SAME = 0.005


def call_sentence(card: HeadCard) -> str:
    """Why the head matches or not; empty while it is not judged."""
    verdict, judged = card.verdict, card.judged
    if verdict is None or judged is None:
        return ""
    where = f"over {counted(judged.sequences, 'sequence')} of {lengths_words(judged.lengths)}"
    if verdict.label not in MATCHING:
        return f"Does not match, {where}: {'; '.join(reasons_not_matching(verdict, judged))}."
    return (
        f"Matches, {where}: both contrasts lie wholly above the contrast floor {judged.floor:.2f}, it looks at that token more "
        f"than beside it, q = {beside(verdict.q, SIGNIFICANCE, digits=4)}, below {SIGNIFICANCE}. {effects_words(judged)}"
    )


def unmatched_sentence(card: HeadCard) -> str:
    """That a head matters which does not match, as Verdicts lists it; empty where it does match, or does not surely matter."""
    effect = card.own_effect
    if card.verdict is None or effect is None or card.verdict.label != "none":
        return ""
    if not (effect.low > DELTA or effect.high < -DELTA):
        return ""
    return f"It matters, though it does not match. {effect_sentence(effect)}."


def looks_note(card: HeadCard) -> str:
    """Why some of its scores have no number; empty where all have, or are still to be measured."""
    return " ".join(withheld_reasons(card.scores).values())


def text_sentence(card: HeadCard) -> str:
    """What the head is on real text, with its numbers; empty while that is not measured."""
    if card.on_text is None:
        return ""
    said = head_on_text(card.on_text.judged, card.head)
    return (
        f"{said} This lift is of the half of the windows on which heads are judged; the table has that of all of them, "
        f"{card.on_text.windows}. {value_sentence(card.on_text.natural)}"
    ).strip()


def writing_note(card: HeadCard) -> str:
    """Why what the head writes has no number, where it has none; empty where it has, or while the head is not judged."""
    verdict, judged = card.verdict, card.judged
    if verdict is None or judged is None:
        return ""
    said = []
    if math.isnan(judged.gain.value):
        said.append(
            f"Its total and direct effect have no number: {why_no_gain(judged)}, so there is no gain to measure them in."
        )
    elif math.isnan(verdict.direct_effect.value):
        said.append(f"Its direct effect has no number. {judged.withheld or 'It cannot be told from this model.'}")
    if math.isnan(verdict.copying):
        said.append("Its copying has no number: this model's weights do not show it.")
    return " ".join(said)


def interval_note(card: HeadCard) -> str:
    """What the columns are, and how far the intervals can be trusted."""
    count = card.scores.token_loss.shape[0]
    few = f"; so few make it wide, {FEW_SEQUENCES} or more give a closer one" if count < FEW_SEQUENCES else ""
    said = (
        f"Interval: 95 % over {counted(count, 'sequence')} (Student's t{few})"
        if count > 1
        else "One sequence alone gives no interval"
    )
    judged, others = card.judged, ""
    if judged is not None:
        which = "sequence" if judged.picked_on_the_same else "other sequence"
        others = f" Effects are over {counted(judged.effect_sequences, which)}."
    windows = "" if card.on_text is None else " Text is over its windows."
    return (
        f"{said}.{others}{windows} Control: the same cells on fresh tokens; on text, the larger of two; of costs, others. "
        "Chance: attention to all tokens equally. Place: 1 is the highest (total effect: of those that match)."
    )


def alone_sentence(card: HeadCard) -> str:
    """What taking the head away alone costs, against other heads; empty while it is not measured."""
    if card.alone is None:
        return ""
    said = f"Taking {card.name} away alone costs {signed(card.alone.cost)} nats"
    return f"{said}{_against(card, card.alone, card.alone_baselines, 'other heads')}."


def in_set_sentence(card: HeadCard) -> str:
    """What its set costs, and the head's share in it; empty while it is not measured."""
    if card.in_set is None:
        return ""
    whole, rest, share = card.in_set.whole, card.in_set.rest, card.in_set.share
    if rest is None or share is None:
        return f"No other head is in the set that is taken away, so the set is {card.name} alone."
    digits = digits_that_add_up(rest.cost, share.cost, whole.cost)
    said = f"Its set of {len(whole.heads)} costs {signed(whole.cost, digits)} nats"
    others = "the other head costs" if len(rest.heads) == 1 else f"the other {len(rest.heads)} cost"
    return (
        f"{said}{_against(card, whole, card.in_set_baselines, f'other sets of {len(whole.heads)}')}. Without {card.name} "
        f"{others} {signed(rest.cost, digits)}, so its share of the set is {signed(share.cost, digits)}."
    )


def baselines_note(card: HeadCard) -> str:
    """What to know of the other heads: how they were matched, and which of them match."""
    both = {"Beside it alone": card.alone_baselines, "Beside its set": card.in_set_baselines}
    notes = {what: baselines.note for what, baselines in both.items() if baselines is not None and baselines.note}
    said = list(notes.values())[:1]
    if len({*notes.values()}) > 1:
        # What both say is said once.
        said = [f"{what}: {note.removesuffix(LEFT_OUT).rstrip()}" for what, note in notes.items()]
        said += [LEFT_OUT] if any(note.endswith(LEFT_OUT) for note in notes.values()) else []
    if card.called_among_random:
        names = ", ".join(head.name for head in card.called_among_random)
        said.append(f"The other heads include some that match, too: {names}.")
    return " ".join(said)


def edges_sentence(card: HeadCard) -> str:
    """What comes in and what goes out, strongest first; empty while it is not measured."""
    if card.edges is None:
        return ""
    into, out = card.edges.into, card.edges.out
    if not into and not out:
        return f"No edge of {card.name} was found: no previous-token head lies before it and no induction head after it."
    parts = []
    if into:
        before = Head(*into[0].previous).name
        through = f"what it looks for through {before}"
        parts.append(_strongest(into[0], card.name, "find", through, "into it", f"{before} → {card.name}"))
    if out:
        after = Head(*out[0].induction).name
        parts.append(_strongest(out[0], card.name, "feed", after, "out of it", f"{card.name} → {after}"))
    return " ".join(parts)


def movement_sentence(card: HeadCard, threshold: float) -> str:
    """How far the score moves with each factor, and whether it crosses the threshold; empty while it is not measured."""
    found = card.own_movement
    if found is None:
        return ""
    moved, still = [], []
    for factor in FACTORS:
        spreads = found.of(card.head, factor)
        if len(spreads) > 1:
            means = [spread.mean for spread in spreads]
            word = "the BOS" if factor == "bos" else factor
            if movement(spreads) < _SAME:
                still.append(f"with {word}")
            else:
                low, high, apart = min(means), max(means), movement(spreads)
                digits = digits_that_add_up(low, apart, high, digits_beside((low, high), (threshold,)))
                moved.append(f"with {word} by {unsigned(apart, digits)} ({interval(low, high, digits)})")
    title = ALL_SCORES[found.score].title
    moves = f"{title}, here over {counted(found.sequences, 'sequence')}, "
    moves += f"moves {', '.join(moved)}" if moved else "does not move"
    if still:
        moves += f"{', not ' if moved else ' '}{' or '.join(still)}"
    if card.own_threshold(threshold) is None:
        return f"{moves}."
    every = found.means()[:, card.head.layer, card.head.head]
    above = int((every > threshold).sum())
    side = "above it at every setting" if above == len(every) else f"above it at {above} of {len(every)} settings"
    return f"{moves}. With the threshold at {threshold:.2f}, {card.name} is {side}."


def _against(card: HeadCard, removal: Removal, baselines: Baselines | None, what: str) -> str:
    random = card.random_costs(baselines)
    if not len(random):
        return ""
    low, high, _ = range_of(random)
    count, p = len(random), p_value(removal.cost, random)
    less, equal = removal.cost < low - _SAME, removal.cost <= low + _SAME
    more = removal.cost > high + _SAME or (p < SIGNIFICANCE and not equal)
    between, said = signed_interval(low, high), p_words(p, smallest_p(count), count)
    if more or less:
        beyond = int((random < removal.cost).sum()) if more else count
        unsure = ", too few to be sure" if more and p >= SIGNIFICANCE else ""
        return f", {'more' if more else 'less'} than {so_many_others(beyond, count, what)} ({between}{unsure}; {said})"
    sets = counted(count, "set")
    return f", {'no more than' if equal else 'within the range of'} {what} ({between}, {sets}; {said})"


def _lost(edge: Edge) -> str:
    return "" if math.isnan(edge.low) else f" (95 % interval of the loss {lost_interval(edge.low, edge.high)})"


def _strongest(edge: Edge, name: str, does: str, what: str, way: str, heads: str) -> str:
    numbers = f"prefix matching {unsigned(edge.clean)} with that path, {unsigned(edge.patched)} without it{_lost(edge)}"
    sure = edge.lost.surely_beside(SMALL_DROP)
    if edge.drop > SMALL_DROP:
        return f"{name} {f'{does}s' if sure else f'seems to {does}'} {what}: {numbers}.{'' if sure else MORE_SEQUENCES}"
    return f"No path {way} {'matters' if sure else 'is shown to matter'} by itself; the strongest is {heads}, {numbers}."


def sentences(card: HeadCard, threshold: float) -> list[str]:
    """All that is said beside the verdict's sentence, in the order of the card; of what is not measured nothing."""
    said = (
        looks_note(card),
        unmatched_sentence(card),
        call_sentence(card),
        writing_note(card),
        text_sentence(card),
        alone_sentence(card),
        in_set_sentence(card),
        edges_sentence(card),
        movement_sentence(card, threshold),
    )
    return [sentence for sentence in said if sentence]
