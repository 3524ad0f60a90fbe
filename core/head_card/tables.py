"""A head's card in numbers: rows with interval, control and chance, and everything as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from core.ablation.baselines import p_value, range_of, smallest_p
from core.ablation.outcomes import Baselines
from core.attention.scores import ALL_SCORES
from core.attention.tables import Row, spread_rows
from core.attention.words import withheld_reasons
from core.circuits.tables import edge_facts
from core.circuits.tables import edge_rows as circuit_edge_rows
from core.head_card.card import HeadCard, HeadEdges, HeadOnText, Removal, ScoreLine, place_of
from core.head_card.words import sentences
from core.heads import HeadSet, names
from core.numbers import NOTHING, interval, signed, signed_interval, unsigned
from core.settings.subject import Subject
from core.settings.view import View
from core.sharing.facts import Facts, behaviour_facts, envelope, loss_facts, verdict_facts
from core.stats import Number
from core.text.measures import TITLES
from core.text.tables import at, head_measures
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement

LOOKS = "Where it looks (share of its attention)"
WRITES = "What it writes (effects: share of what the repeat is worth to the model)"
TEXT = "Where it looks on real text (share of its attention; in brackets: on random tokens)"
COSTS = "What taking it away costs (nats of loss on the second copy)"
# What a table's line has room for.
_SHORTER = {
    "induction": "the token after the earlier copy of the current one",
    "previous_token": "the token just before",
    "duplicate_token": "the earlier copy of the current token",
    "current_token": "the current token itself",
    "sink": "the first token, whatever it is",
    "entropy": "how spread out: 0 one token, 1 all equally",
    "contrast": "induction less its control on fresh tokens",
    "rotation_contrast": "the same where the copy begins elsewhere",
    "specificity": "rotation contrast less that of its best neighbour",
    "value_weighted": "induction, by the size of what it brings",
}
_EFFECTS = {
    "total_effect": ("Total effect", "what the right token loses without it, by whatever route"),
    "direct_effect": ("Direct effect", "what it writes for the right token itself"),
}

# One line each beside six columns of numbers.
_ON_TEXT_SHORTER = {
    "natural_induction": "the tokens after earlier copies of the current one",
    "lift": "natural induction less the larger control",
    "value_weighted": "natural induction, by the size of what it brings",
    "previous_token": "the token just before",
    "duplicate_token": "earlier copies of the current token",
    "sink": "the first token of the window",
    "entropy": "how spread out: 0 one token, 1 all equally",
}
# Each measure on text and its twin on random tokens.
_ON_TEXT = {
    "natural_induction": "induction",
    "lift": "contrast",
    "value_weighted": "value_weighted",
    "previous_token": "previous_token",
    "duplicate_token": "duplicate_token",
    "sink": "sink",
    "entropy": "entropy",
}

COLUMNS = {
    "value": "value",
    "interval": "95 % interval",
    "control": "control",
    "chance": "chance",
    "place": "place",
}


def score_rows(card: HeadCard) -> list[Row]:
    """The scores: what each asks, its value, interval, control, chance, and its place among all heads; dashes if withheld."""
    lines = {line.score: line for line in card.score_lines}
    return [_score_row(score, lines.get(score)) for score in ALL_SCORES if score in lines or score in card.scores.withheld]


def _score_row(score: str, line: ScoreLine | None) -> Row:
    meaning = _SHORTER.get(score, ALL_SCORES[score].meaning)
    row = _row(LOOKS, ALL_SCORES[score].title.partition(" (")[0], meaning, NOTHING)
    if line is None:
        return row
    return row | {
        "value": unsigned(line.mean),
        "interval": interval(line.low, line.high),
        "control": NOTHING if line.control is None else unsigned(line.control),
        "chance": unsigned(line.chance),
        "place": _written_place(line.place, line.among),
    }


def text_rows(card: HeadCard) -> list[Row]:
    """The head on text, each measure beside what it scores on random tokens; empty while that is not measured."""
    if card.on_text is None:
        return []
    found, random = card.on_text.natural, {line.score: line.mean for line in card.score_lines}
    rows = []
    for name, twin in _ON_TEXT.items():
        measured = found.measured(name)
        number = at(measured, card.head)
        what = f"{twin} " if name == "lift" else ""
        meaning = f"{_ON_TEXT_SHORTER[name]} ({what}{unsigned(random.get(twin, math.nan))})"
        row = _row(TEXT, TITLES[name], meaning, unsigned(number.value), interval(number.low, number.high))
        if name == "natural_induction":
            controls = [float(found.mean(control)[card.head]) for control in ("distance_control", "key_control")]
            row["control"] = unsigned(max(controls))
        if name in found.chance:
            row["chance"] = unsigned(float(found.chance[name][card.head.layer]))
        row["place"] = _place(number.value, measured.value.ravel())
        rows.append(row)
    return rows


def writing_rows(card: HeadCard) -> list[Row]:
    """Total and direct effect as shares of the gain, and copying; empty while the head is not judged.

    A number that is withheld or was not measured is a dash; copying is of the weights, which do not vary.
    """
    if card.judged is None or card.verdict is None:
        return []
    rows = []
    for name, (what, meaning) in _EFFECTS.items():
        found: Number = getattr(card.verdict, name)
        if name == "total_effect" and math.isnan(found.value) and card.own_effect is not None:
            # Of a head that does not match it is in no ranking.
            found = card.own_effect
        values = [getattr(other, name).value for other in card.judged.verdicts]
        row = _row(WRITES, what, meaning, _known(found.value), signed_interval(found.low, found.high, 3), chance="0.000")
        rows.append(row | {"place": _place(found.value, values) if found.value in values else NOTHING})
    copying = card.verdict.copying
    meaning = "by the weights; +1: looking at a token raises it, −1: lowers it"
    row = _row(WRITES, "Copying", meaning, NOTHING if math.isnan(copying) else signed(copying), chance="0.00")
    return [*rows, row | {"place": _place(copying, [other.copying for other in card.judged.verdicts])}]


def cost_rows(card: HeadCard) -> list[Row]:
    """The head alone, its set, and its share of what the set costs: nats, beside the range of other heads."""
    rows = []
    if card.alone is not None:
        meaning = f"{card.name} taken away; control: other heads"
        rows.append(_cost_row(card, "Alone", meaning, card.alone, card.alone_baselines))
    if card.in_set is not None and card.in_set.share is not None:
        whole = card.in_set.whole
        meaning = f"{_names(whole.heads)} taken away; control: other sets"
        rows.append(_cost_row(card, f"Its set of {len(whole.heads)}", meaning, whole, card.in_set_baselines))
        meaning = f"what the set costs with {card.name}, less what it costs without"
        rows.append(_cost_row(card, "Its share of the set", meaning, card.in_set.share, None))
    return rows


def card_rows(card: HeadCard) -> list[Row]:
    """Every number with its interval, control and chance, in groups."""
    return [*score_rows(card), *text_rows(card), *writing_rows(card), *cost_rows(card)]


def edge_rows(card: HeadCard) -> list[Row]:
    """One row an edge, edges in first, the largest drop first."""
    if card.edges is None:
        return []
    both = (("in", card.edges.into), ("out", card.edges.out))
    return [{"direction": direction} | row for direction, edges in both for row in circuit_edge_rows(edges)]


def movement_rows(card: HeadCard, threshold: float) -> list[Row]:
    """One row a setting; empty while they are not measured."""
    return [] if card.own_movement is None else spread_rows(card.own_movement, [card.head], card.own_threshold(threshold))


def card_facts(subject: Subject, card: HeadCard, view: View) -> Facts:
    """Every number of the card as JSON values; losses and costs in nats, None for what is not measured."""
    losses, verdict, judged = card.scores.losses(), card.verdict, card.judged
    return envelope(subject) | {
        "head": card.name,
        "behaviour": behaviour_facts(card.scores.behaviour),
        "loss": loss_facts(losses),
        "verdict": None if verdict is None or judged is None else _label_facts(verdict, judged),
        "judged_on": None if judged is None else _judged_on(judged),
        "sentence": card.sentence,
        "sentences": sentences(card, view.threshold),
        "own_total_effect": None if card.own_effect is None else card.own_effect._asdict(),
        "scores": {line.score: _score_facts(line) for line in card.score_lines},
        "withheld": withheld_reasons(card.scores),
        "mode": view.experiment.mode,
        "alone": None if card.alone is None else _removal_facts(card, card.alone, card.alone_baselines),
        "in_set": None if card.in_set is None else _in_set_facts(card),
        "edges": None if card.edges is None else _edges_facts(card.edges),
        "movement": None if card.own_movement is None else movement_rows(card, view.threshold),
        "on_text": None if card.on_text is None else _text_facts(card, card.on_text),
        "missing": dict(card.missing),
    }


def _judged_on(judged: Judgement) -> Facts:
    """On what the verdict and the head's own total effect rest; `mode` is theirs, whatever the costs were measured in."""
    names = ("lengths", "sequences", "floor", "mode", "effect_sequences")
    return {name: getattr(judged, name) for name in names} | {"gain": judged.gain._asdict()}


def _label_facts(verdict: Verdict, judged: Judgement) -> Facts:
    """The label and what gave it; the sentence stands by itself."""
    return {name: value for name, value in verdict_facts(verdict, judged).items() if name != "sentence"}


def _text_facts(card: HeadCard, found: HeadOnText) -> Facts:
    return {
        "measured_on": found.windows,
        "label": found.judged.label(card.head),
        "judged_lift": at(found.judged.judged, card.head)._asdict(),
        "measures": {name: number._asdict() for name, number in head_measures(found.natural, card.head).items()},
    }


def _known(value: float) -> str:
    """A share of the gain; a dash for what is not known."""
    return NOTHING if math.isnan(value) else signed(value, 3)


def _place(value: float, values: Iterable[float]) -> str:
    return _written_place(*place_of(value, np.array(list(values))))


def _written_place(place: int | None, among: int) -> str:
    """`3 of 8`, of the heads of which it is known."""
    return NOTHING if place is None else f"{place} of {among}"


def _row(group: str, what: str, meaning: str, value: str, interval: str = NOTHING, chance: str = NOTHING) -> Row:
    return {
        "group": group,
        "what": what,
        "meaning": meaning,
        "value": value,
        "interval": interval,
        "control": NOTHING,
        "chance": chance,
        "place": NOTHING,
    }


def _cost_row(card: HeadCard, what: str, meaning: str, removal: Removal, baselines: Baselines | None) -> Row:
    low, high = removal.interval
    row = _row(COSTS, what, meaning, signed(removal.cost), signed_interval(low, high))
    random = card.random_costs(baselines)
    if len(random):
        least, most, _ = range_of(random)
        row["control"] = signed_interval(least, most)
    return row


def _names(heads: HeadSet, most: int = 6) -> str:
    more = len(heads) - most
    return ", ".join(names(heads[:most])) + (f" and {more} more" if more > 0 else "")


def _score_facts(line: ScoreLine) -> Facts:
    return {
        "value": line.mean,
        "low": line.low,
        "high": line.high,
        "control": line.control,
        "chance": line.chance,
        "place": line.place,
        "among": line.among,
    }


def _edges_facts(edges: HeadEdges) -> Facts:
    return {
        "mode": edges.mode,
        "into": [edge_facts(edge) for edge in edges.into],
        "out": [edge_facts(edge) for edge in edges.out],
    }


def _cost_facts(removal: Removal) -> Facts:
    low, high = removal.interval
    return {"heads": names(removal.heads), "cost": {"value": removal.cost, "low": low, "high": high}}


def _removal_facts(card: HeadCard, removal: Removal, baselines: Baselines | None) -> Facts:
    random = card.random_costs(baselines)
    low, high, mean = range_of(random)
    beside = None
    if len(random):
        p, smallest = p_value(removal.cost, random), smallest_p(len(random))
        beside = {"sets": len(random), "mean": mean, "low": low, "high": high, "p": p, "smallest_p": smallest}
    return _cost_facts(removal) | {"baseline": beside}


def _in_set_facts(card: HeadCard) -> Facts:
    assert card.in_set is not None
    rest, share = card.in_set.rest, card.in_set.share
    return {
        "whole": _removal_facts(card, card.in_set.whole, card.in_set_baselines),
        "rest": None if rest is None else _cost_facts(rest),
        "share": None if share is None else _cost_facts(share),
    }
