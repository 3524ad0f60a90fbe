"""How each quantity is obtained: one function a source, each of them a front door of the topic that measures it.

A page takes what is there (`if_cached`) and offers to compute the rest; a command computes what it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from core.ablation.cached_copying import concept_copying, copying_seconds, token_copying, words_of
from core.ablation.cached_map import causal_map, estimated_map
from core.ablation.outcomes import CausalMap, PatchedCopying
from core.ablation.subjects import heads_of, pruning_mode
from core.attention.cached import existing_heads, first_scores, scores_and_behaviour, scores_having, sensitivity
from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.sensitivity import Sensitivity
from core.attention.words import by_value_sentence, withheld_sentence
from core.circuits.cached import circuit
from core.circuits.circuit import KINDS, Circuit
from core.errors import BadInput, Withheld
from core.heads import Head, HeadSet, missing_head, ranked
from core.numbers import counted
from core.quantities.comparison import Axis
from core.quantities.imported import Imported
from core.quantities.table import ON_TEXT, QUANTITIES, Quantity
from core.settings.cost import PASSES_OF_ONE_SET, PASSES_OF_SENSITIVITY, expected_seconds
from core.settings.experiment import EFFECT_FLOOR
from core.settings.modes import Mode
from core.settings.subject import Subject
from core.settings.text_choice import TextChoice
from core.stats import SHARE, UNKNOWN, Number, student_intervals
from core.text.cached import chosen_corpus, chosen_windows_of, natural_scores, text_seconds
from core.text.natural_scores import NaturalScores
from core.text.uncommon_words import UNCOMMON_WORDS
from core.text.windows import TextWindows
from core.verdicts.cached import judge, verdict_seconds
from core.verdicts.judgement import Judgement
from core.verdicts.words import why_no_gain

Matrix = Float[np.ndarray, "n_layers n_heads"]
# Numbers of a verdict that are shares of the model's gain.
_EFFECTS = ("direct_effect", "total_effect")


@dataclass(frozen=True)
class Asked:
    """What quantities are asked of: a subject, how its heads are taken away, where a call begins, a person's own numbers.

    reader: the head that reads what the others wrote; None for the one of the later layers with the highest induction score.
    text: where the measures on text, and the words that are copied, are from.
    """

    subject: Subject
    mode: Mode = "mean"
    floor: float = EFFECT_FLOOR
    imported: Imported | None = None
    reader: Head | None = None
    text: TextChoice = TextChoice()


@dataclass(frozen=True)
class Source:
    """One piece of work that gives some quantities.

    work: computes it, or takes it from the store. read: one quantity's numbers from that. doing: what is being done, in words.
    seconds: how long it is expected to take. offered: whether a page begins it only when a person says so.
    """

    work: Callable[[Asked], Any]
    read: Callable[[Quantity, Any, Asked], Axis]
    doing: str
    seconds: Callable[[Asked], float]
    offered: bool = True


def obtained(name: str, asked: Asked) -> Axis:
    """One quantity's numbers, computed if need be; inside `if_cached` only if all that they rest on is there.

    Raises BadInput for a name that there is not, Withheld where the numbers cannot be shown to be right on this model.
    """
    quantity = quantity_of(name)
    source = SOURCES[quantity.source]
    return source.read(quantity, source.work(asked), asked)


def quantity_of(name: str) -> Quantity:
    """The quantity of this name; raises BadInput where there is none."""
    if name not in QUANTITIES:
        raise BadInput(f"A quantity is one of {', '.join(QUANTITIES)}, not {name!r}.")
    return QUANTITIES[name]


def source_of(name: str) -> Source:
    """How a quantity is obtained; raises as `quantity_of`."""
    return SOURCES[quantity_of(name).source]


def _axis(
    quantity: Quantity,
    values: Matrix,
    interval: tuple[Matrix, Matrix] | None = None,
    chance: Float[np.ndarray, " n_layers"] | None = None,
    *,
    picked: str = "",
    title: str = "",
) -> Axis:
    nothing = np.full(values.shape, np.nan)
    low, high = interval or (nothing, nothing)
    levels = np.full(len(values), np.nan) if chance is None else chance
    values, low, high, levels = (part.astype(np.float64) for part in (values, low, high, levels))
    return Axis(quantity, values, low, high, levels, picked, title)


def _read_scores(quantity: Quantity, scores: HeadScores, asked: Asked) -> Axis:
    name = quantity.name
    if name == "chance":
        levels = scores.chance("induction")
        return _axis(quantity, np.where(scores.exists, levels[:, None], np.nan))
    if name == "induction_control":
        if not scores.has_control:
            raise Withheld(f"{quantity.title} is withheld: these tokens leave no fresh second half.")
        by_sequence = scores.per_sequence["induction_control"]
        return _axis(quantity, by_sequence.mean(-1), student_intervals(by_sequence, SHARE), scores.chance("induction"))
    if name not in scores.names:
        raise Withheld(withheld_sentence(scores, name))
    by_sequence = scores.sequences(name)
    interval = student_intervals(by_sequence, ALL_SCORES[name].possible)
    return _axis(quantity, by_sequence.mean(-1), interval, scores.chance(name))


def _read_map(quantity: Quantity, found: CausalMap, asked: Asked) -> Axis:
    low, high = found.interval
    if quantity.name == "effect":
        return _axis(quantity, found.effect, (low, high))
    if np.isnan(low).all():
        raise Withheld("One sequence gives an effect no interval: choose at least 2 sequences.")
    return _axis(quantity, low if quantity.name == "effect_low" else high)


def _read_verdicts(quantity: Quantity, judged: Judgement, asked: Asked) -> Axis:
    card = asked.subject.card
    values, low, high = (np.full((card.n_layers, card.n_heads), np.nan) for _ in range(3))
    for verdict in judged.verdicts:
        found = getattr(verdict, quantity.name)
        number = found if isinstance(found, Number) else UNKNOWN._replace(value=float(found))
        values[verdict.head], low[verdict.head], high[verdict.head] = number
    measured = int((~np.isnan(values)).sum())
    if not measured:
        raise Withheld(judged.withheld or _why_none(quantity, judged, card.name))
    picked = ""
    if quantity.name == "total_effect" and measured < len(judged.verdicts):
        match = "matches" if measured == 1 else "match"
        picked = (
            f"The total effect is measured of the {counted(measured, 'head')} that {match} alone, of {len(judged.verdicts)}: "
            "nothing is concluded from heads that another number picked."
        )
    return _axis(quantity, values, (low, high), picked=picked)


def _why_none(quantity: Quantity, judged: Judgement, model: str) -> str:
    """Why a number of the verdict is known of no head."""
    if quantity.name in _EFFECTS and np.isnan(judged.gain.value):
        return f"{quantity.title} is a share of what the repeat is worth to the model, and {why_no_gain(judged)}."
    if quantity.name == "total_effect":
        return f"{quantity.title} is measured of the heads that match, and none of {model} does."
    return f"{quantity.title} is known of no head of {model}."


def _read_movement(quantity: Quantity, found: Sensitivity, asked: Asked) -> Axis:
    means = found.means()
    return _axis(quantity, means.max(0) - means.min(0))


def _read_copying(quantity: Quantity, found: PatchedCopying, asked: Asked) -> Axis:
    """Token copying is of the next token, concept copying of the later ones; over prompts, not sequences."""
    part = "first" if quantity.source == "token_copying" else "later"
    changes = getattr(found, f"{part}_control" if quantity.name.endswith("_control") else part)
    title = "" if quantity.source == "token_copying" else _word_list(asked).words
    return _axis(quantity, changes.mean(-1), student_intervals(changes), title=title)


class _WordList(NamedTuple):
    """A text whose words are copied, and what it is called."""

    text: str
    words: str


def _word_list(asked: Asked) -> _WordList:
    """The words of the chosen text, or where too few of them are several tokens a list of uncommon ones.

    Raises Withheld where there are too few of both.
    """
    corpus = chosen_corpus(asked.subject, asked.text)
    text = "\n\n".join(corpus.documents)
    try:
        words_of(asked.subject, text)
    except Withheld:
        words_of(asked.subject, UNCOMMON_WORDS)
        return _WordList(UNCOMMON_WORDS, "a list of uncommon words")
    return _WordList(text, f"words of {corpus.name}")


def text_windows_of(asked: Asked) -> TextWindows:
    """The windows of the chosen text; raises BadInput where there are none."""
    return chosen_windows_of(asked.subject, asked.text)


def text_digest(asked: Asked) -> str:
    """What identifies the chosen text, how it is read, and how it is cut into windows."""
    subject, text = asked.subject, asked.text
    return f"{subject.identity.reading} {chosen_corpus(subject, text).digest} {text.windows} {text.length}"


def _read_text(quantity: Quantity, found: NaturalScores, asked: Asked) -> Axis:
    name = quantity.name.removeprefix(ON_TEXT)
    measured = found.measured(name)
    if np.isnan(measured.value).all():
        by_value = name == "value_weighted" and not np.isnan(found.mean("natural_induction")).all()
        lacking = f"{quantity.title} is withheld: no token of these windows comes back as it takes."
        raise Withheld(by_value_sentence(quantity.title) if by_value else lacking)
    return _axis(quantity, measured.value, (measured.low, measured.high), found.chance.get(name))


def _read_place(quantity: Quantity, scores: HeadScores, asked: Asked) -> Axis:
    return _axis(quantity, np.where(scores.exists, np.arange(scores.n_layers)[:, None], np.nan))


def _own_numbers(asked: Asked) -> Imported:
    if asked.imported is None:
        raise BadInput("There are no imported numbers: paste them on the page, or give the command a file with --import FILE.")
    extra = np.argwhere(~np.isnan(asked.imported.values) & ~existing_heads(asked.subject))
    if len(extra):
        raise BadInput(f"{missing_head(Head(*map(int, extra[0])), asked.subject.card.name)} Leave its number out.")
    return asked.imported


def _read_imported(quantity: Quantity, found: Imported, asked: Asked) -> Axis:
    return replace(_axis(quantity, found.values, title=found.title), among=int(existing_heads(asked.subject).sum()))


def reading_head(asked: Asked) -> Head:
    """The head whose reading is meant; raises Withheld where no head is in an earlier layer."""
    first = heads_of(asked.subject)[0].layer
    reader = asked.reader
    if reader is None:
        later = [head for head in ranked(first_scores(asked.subject).mean("induction")) if head.layer > first]
        if not later:
            raise Withheld(f"{asked.subject.card.name} has one layer of heads: none reads what another wrote.")
        return later[0]
    if reader.layer <= first:
        raise Withheld(f"{reader.name} is in the first layer: it reads what no head wrote. Pick a head of a later layer.")
    return reader


def _writers(asked: Asked) -> HeadSet:
    """Every head of an earlier layer than the one that reads."""
    reader = reading_head(asked)
    return tuple(head for head in heads_of(asked.subject) if head.layer < reader.layer)


def _circuit(asked: Asked, writers: HeadSet) -> Circuit:
    return circuit(asked.subject, pruning_mode(asked.mode), previous=writers, induction=(reading_head(asked),))


def _read_compositions(quantity: Quantity, found: Circuit, asked: Asked) -> Axis:
    values = found.composition[0][KINDS.index(quantity.name[0])]
    if np.isnan(values).all():
        raise Withheld(found.withheld or f"{quantity.title} is known of no head of {asked.subject.card.name}.")
    levels = np.where(np.isnan(values).all(axis=1), np.nan, found.baseline)
    return _axis(quantity, values, chance=levels, title=f"read by {found.induction[0].name}")


def _read_path_patching(quantity: Quantity, found: Circuit, asked: Asked) -> Axis:
    reader = found.induction[0]
    values, low, high = (np.full(found.clean.shape[:2], np.nan) for _ in range(3))
    for place, writer in enumerate(found.previous):
        values[writer], low[writer], high[writer] = found.lost(place, reader)
    return _axis(quantity, values, (low, high), title=f"of {reader.name}, {found.mode} in its place")


def _whole_map_seconds(asked: Asked) -> float:
    card = asked.subject.card
    return expected_seconds(asked.subject, PASSES_OF_ONE_SET * card.n_layers * card.n_heads)


def _passes(count: float) -> Callable[[Asked], float]:
    return lambda asked: expected_seconds(asked.subject, count)


SOURCES: dict[str, Source] = {
    "first_scores": Source(
        lambda asked: first_scores(asked.subject), _read_scores, "Measuring every head", _passes(1.8), offered=False
    ),
    "scores": Source(
        lambda asked: scores_and_behaviour(asked.subject), _read_scores, "Measuring every head", _passes(3.5), offered=False
    ),
    "whole_rows": Source(
        lambda asked: scores_having(asked.subject, "entropy"),
        _read_scores,
        "Measuring every head",
        _passes(3.5),
        offered=False,
    ),
    "place": Source(
        lambda asked: first_scores(asked.subject), _read_place, "Measuring every head", _passes(1.8), offered=False
    ),
    "import": Source(_own_numbers, _read_imported, "Reading your numbers", lambda asked: 0.0, offered=False),
    "sensitivity": Source(
        lambda asked: sensitivity(asked.subject, "induction"),
        _read_movement,
        "Measuring every head at other lengths and seeds, and with the BOS changed",
        _passes(PASSES_OF_SENSITIVITY),
    ),
    "causal_map": Source(
        lambda asked: causal_map(asked.subject, asked.mode), _read_map, "Taking each head away alone", _whole_map_seconds
    ),
    "estimate": Source(
        lambda asked: estimated_map(asked.subject, asked.mode),
        lambda quantity, found, asked: _axis(quantity, found),
        "Estimating every head's effect",
        _passes(4.0),
    ),
    "composition": Source(
        lambda asked: _circuit(asked, ()),
        _read_compositions,
        "Reading weights",
        _passes(2.0),
    ),
    "path_patching": Source(
        lambda asked: _circuit(asked, _writers(asked)),
        _read_path_patching,
        "Cutting the path from every earlier head",
        lambda asked: expected_seconds(asked.subject, 2.0 + len(_writers(asked)) / asked.subject.card.n_layers),
    ),
    "token_copying": Source(
        lambda asked: token_copying(asked.subject),
        _read_copying,
        "Putting single heads into runs with nothing to copy: random tokens",
        lambda asked: copying_seconds(asked.subject),
    ),
    "concept_copying": Source(
        lambda asked: concept_copying(asked.subject, _word_list(asked).text),
        _read_copying,
        "Putting single heads into runs with nothing to copy: words of several tokens",
        lambda asked: copying_seconds(asked.subject),
    ),
    "text": Source(
        lambda asked: natural_scores(asked.subject, text_windows_of(asked)),
        _read_text,
        "Reading windows of text",
        lambda asked: text_seconds(asked.subject, text_windows_of(asked)),
    ),
    "verdicts": Source(
        lambda asked: judge(asked.subject, floor=asked.floor, mode=asked.mode),
        _read_verdicts,
        "Testing every head on several lengths",
        lambda asked: verdict_seconds(asked.subject),
    ),
}
