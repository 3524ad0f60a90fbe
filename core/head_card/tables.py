"""A head's card in numbers: rows with interval, control and chance, everything as JSON values, and the command for it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from core.ablation.cached import Controls
from core.ablation.sweep import band
from core.attention.scores import ALL_SCORES, head_name
from core.attention.sensitivity import spread_rows
from core.attention.tables import Row
from core.head_card.card import HeadCard, Reading, Removal
from core.heads import HeadSet
from core.numbers import interval, signed, unsigned
from core.settings.experiment import named
from core.settings.view import View, command_line

NOTHING = "–"
LOOKS, WRITES = "Where it looks (share of its attention)", "What it writes"
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
}
_MEANINGS = {
    "copying": ("Copying (weights)", "+1: looking at a token raises it, −1: lowers it"),
    "logit_copying": ("Copying (rank)", "that token among all: +1 first, 0 the middle, −1 last"),
    "attribution": ("Attribution", "what it adds to the logit of the right token"),
}


COLUMNS = {
    "value": "value",
    "interval": "95 % interval",
    "control": "control",
    "chance": "chance",
    "place": "place",
}


def reading_rows(card: HeadCard) -> list[Row]:
    """The scores: what each asks, its value, interval, control, chance, and its place among all heads."""
    count = card.scores.n_layers * card.scores.n_heads
    return [
        {
            "group": LOOKS,
            "what": ALL_SCORES[reading.score].title.partition(" (")[0],
            "meaning": _SHORTER.get(reading.score, ALL_SCORES[reading.score].meaning),
            "value": unsigned(reading.mean),
            "interval": interval(reading.low, reading.high),
            "control": NOTHING if reading.control is None else unsigned(reading.control),
            "chance": unsigned(reading.chance),
            "place": f"{reading.place} of {count}",
        }
        for reading in card.readings
    ]


def writing_rows(card: HeadCard) -> list[Row]:
    """Copying and attribution; empty while the head is not judged. They have no interval: weights do not vary."""
    if card.calls is None or card.verdict is None:
        return []
    rows = []
    for name, (what, meaning) in _MEANINGS.items():
        value = getattr(card.verdict, name)
        place = 1 + sum(getattr(other, name) > value + 1e-6 for other in card.calls.verdicts)
        rows.append(
            _row(WRITES, what, meaning, signed(value), chance="0.00") | {"place": f"{place} of {len(card.calls.verdicts)}"}
        )
    return rows


def cost_rows(card: HeadCard) -> list[Row]:
    """The head alone, its set, and its share of what the set costs: nats, beside the 95 % band of random heads."""
    rows = []
    if card.alone is not None:
        meaning = f"{card.name} taken away; control: random heads of its layer"
        rows.append(_cost_row(card, "Alone", meaning, card.alone, card.alone_controls))
    if card.in_set is not None and card.in_set.share is not None:
        whole = card.in_set.whole
        meaning = f"{_names(whole.heads)} taken away; control: random sets"
        rows.append(_cost_row(card, f"Its set of {len(whole.heads)}", meaning, whole, card.in_set_controls))
        meaning = f"what the set costs with {card.name}, less what it costs without"
        rows.append(_cost_row(card, "Its share of the set", meaning, card.in_set.share, None))
    return rows


def card_rows(card: HeadCard) -> list[Row]:
    """Every number with its interval, control and chance, in three groups."""
    return [*reading_rows(card), *writing_rows(card), *cost_rows(card)]


def edge_rows(card: HeadCard) -> list[Row]:
    """One row an edge, edges in first, the largest drop first."""
    if card.edges is None:
        return []
    return [
        {"direction": direction, "from": head_name(*edge.previous), "to": head_name(*edge.induction)}
        | {
            "prefix_matching": edge.clean,
            "without_the_path": edge.patched,
            "drop": edge.drop,
            "k_composition": edge.k_composition,
            "random": edge.baseline,
            "k_rank": edge.rank,
            "of_earlier_heads": edge.earlier,
        }
        for direction, edges in (("in", card.edges.into), ("out", card.edges.out))
        for edge in edges
    ]


def movement_rows(card: HeadCard, threshold: float) -> list[Row]:
    """One row a setting; empty while they are not measured."""
    return [] if card.own_movement is None else spread_rows(card.own_movement, [card.head], threshold)


def card_facts(card: HeadCard, view: View) -> dict[str, Any]:
    """Every number of the card as JSON values; losses and costs in nats, None for what is not measured."""
    losses, verdict = card.scores.losses(), card.verdict
    return {
        "head": card.name,
        "behaviour": losses.behaviour,
        "loss": {"first_copy": losses.first_copy, "second_copy": losses.second_copy, "ln_length": losses.ln_length},
        "label": None if verdict is None else verdict.label,
        "sentence": card.sentence,
        "call": None if card.calls is None or verdict is None else _call_facts(card),
        "scores": {reading.score: _reading_facts(reading) for reading in card.readings},
        "writes": None if verdict is None else {name: getattr(verdict, name) for name in _MEANINGS},
        "mode": view.experiment.mode,
        "alone": None if card.alone is None else _removal_facts(card, card.alone, card.alone_controls),
        "in_set": None if card.in_set is None else _in_set_facts(card),
        "edges": None if card.edges is None else {"mode": card.edges.mode, "rows": edge_rows(card)},
        "movement": None if card.own_movement is None else movement_rows(card, view.threshold),
        "missing": dict(card.missing),
    }


def card_command(card: HeadCard, view: View, *more: str) -> str:
    """The command that prints the same card."""
    experiment, default = view.experiment, View()
    words = ["--head", card.name, "--mode", experiment.mode, "--threshold", f"{view.threshold:.2f}"]
    if view.score != default.score:
        words += ["--score", view.score]
    if experiment.effect_floor != default.experiment.effect_floor:
        words += ["--floor", f"{experiment.effect_floor:.2f}"]
    if experiment.source != default.experiment.source and card.in_set is not None:
        words += ["--set", named(card.in_set.whole.heads)]
    return command_line(view, "card", *words, *more)


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


def _cost_row(card: HeadCard, what: str, meaning: str, removal: Removal, controls: Controls | None) -> Row:
    low, high = removal.interval
    row = _row(COSTS, what, meaning, signed(removal.cost), f"{signed(low)} to {signed(high)}")
    random = card.random_costs(controls)
    if len(random):
        least, most, _ = band(random)
        row["control"] = f"{signed(least)} to {signed(most)}"
    return row


def _names(heads: HeadSet, most: int = 6) -> str:
    names = [head_name(*head) for head in heads]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _call_facts(card: HeadCard) -> dict[str, Any]:
    verdict, calls = card.verdict, card.calls
    assert verdict is not None and calls is not None
    return {
        "contrast": verdict.contrast,
        "ci": [verdict.low, verdict.high],
        "q": verdict.q,
        "floor": calls.floor,
        "sequences": calls.sequences,
        "lengths": calls.lengths,
        "behaviour": calls.behaviour,
    }


def _reading_facts(reading: Reading) -> dict[str, Any]:
    facts = asdict(reading)
    return {
        "value": facts["mean"],
        "ci": [facts["low"], facts["high"]],
        "control": facts["control"],
        "chance": facts["chance"],
        "place": facts["place"],
    }


def _removal_facts(card: HeadCard, removal: Removal, controls: Controls | None) -> dict[str, Any]:
    random = card.random_costs(controls)
    low, high, mean = band(random)
    return {
        "heads": [head_name(*head) for head in removal.heads],
        "cost": removal.cost,
        "ci": list(removal.interval),
        "control": None if math.isnan(mean) else {"sets": len(random), "mean": mean, "low": low, "high": high},
    }


def _in_set_facts(card: HeadCard) -> dict[str, Any]:
    assert card.in_set is not None
    rest, share = card.in_set.rest, card.in_set.share
    return {
        "whole": _removal_facts(card, card.in_set.whole, card.in_set_controls),
        "rest": None if rest is None else _removal_facts(card, rest, None),
        "share": None if share is None else {"cost": share.cost, "ci": list(share.interval)},
    }
