"""The address that shows a page again: one table of parameters, for every page.

`view_from` reads a view from an address, which anybody can forge: whatever cannot be used is replaced, with one sentence that
says so. `params_of` is its inverse and leaves defaults out, so that `view_from(params_of(view))` is `view` again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from core.attention.scores import ALL_SCORES
from core.heads import Head, HeadSet, named
from core.probes.probe import MAX_LENGTH, MAX_SEQUENCES
from core.probes.vocabulary import BOS_POLICIES
from core.quantities.table import QUANTITIES
from core.settings.experiment import CURVES, MAX_EFFECT_FLOOR, MAX_FLOOR, MAX_PARAGRAPH, SOURCES
from core.settings.modes import MODES
from core.settings.text_choice import (
    MAX_CORPUS_NAME,
    MAX_PASTED,
    MAX_WINDOW_LENGTH,
    MAX_WINDOWS,
    MIN_WINDOW_LENGTH,
    MIN_WINDOWS,
    SHOWN_EDGES,
)
from core.settings.tour_progress import STEPS
from core.settings.view import CORRECTIONS, MAX_TEXT_CHARACTERS, RECORDED_MODELS, ROW_KINDS, View

MAX_SEED = 2**31 - 1
# Twice what the longest address of this table takes; of a longer one nothing is read, kept or sent back.
MAX_ADDRESS_CHARACTERS = 20_000
MAX_PICKED = 512
_MAX_SHOWN = 40
_MAX_NAMED = 4
_MAX_MODEL = 300
# Addresses that were copied once stay right: random heads were called controls then.
CORRECTION_PARAMETERS = {"correct_controls" if name == "baselines" else f"correct_{name}": name for name in CORRECTIONS}


class _Unusable(Exception):
    """What a parameter must be, and what is used instead, for the sentence that says so."""

    def __init__(self, wanted: str, used: Any, shown: str | None = None, told: object = None) -> None:
        super().__init__(wanted)
        self.wanted, self.used, self.shown = wanted, used, shown
        self.told = used if told is None else told


# From an address's text, which is not empty, and the default to the value; raises _Unusable where it had to be corrected.
Reader = Callable[[str, Any], Any]


def _whole(low: int, high: int) -> Reader:
    def read(text: str, default: int) -> int:
        if not re.fullmatch(r"[+-]?\d{1,30}", text, flags=re.ASCII):
            raise _Unusable(f"a whole number from {low} to {high}", default)
        value = min(high, max(low, int(text)))
        if value != int(text):
            raise _Unusable(f"from {low} to {high}", value)
        return value

    return read


def _fraction(most: float = 1.0) -> Reader:
    def read(text: str, default: float) -> float:
        if not re.fullmatch(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})", text, flags=re.ASCII):
            raise _Unusable(f"a number from 0 to {most:g}", default)
        value = round(min(most, max(0.0, float(text))), 2)
        if not 0 <= float(text) <= most:
            raise _Unusable(f"from 0 to {most:g}", value)
        return value

    return read


def _one_of(choices: tuple[str, ...]) -> Reader:
    def read(text: str, default: str) -> str:
        if text not in choices:
            raise _Unusable(f"one of {', '.join(choices)}", default)
        return text

    return read


def _quantity(text: str, default: str) -> str:
    if text not in QUANTITIES:
        some = ", ".join(list(QUANTITIES)[:_MAX_NAMED])
        raise _Unusable(f"the name of a quantity, such as {some}", default, told=default or "none")
    return text


def _switch(text: str, default: bool) -> bool:
    if text.lower() not in ("true", "false"):
        raise _Unusable("true or false", default, told=_said_switch(default))
    return text.lower() == "true"


def _token_range(text: str, default: None) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})\s*:\s*(\d{1,9})", text, flags=re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        wanted = "two ids such as 1000:10000, the first one less than the second"
        raise _Unusable(wanted, default, told="the whole vocabulary")
    return int(match[1]), int(match[2])


def _head(text: str, default: None) -> Head:
    head = Head.parse(text)
    if head is None:
        raise _Unusable("a layer and a head such as L5H7", default, told="none")
    return head


def _heads(text: str, default: HeadSet) -> HeadSet:
    """Names between commas or spaces; those that are none are left out, and those beyond the most that there may be."""
    words = re.split(r"[\s,;]+", text.strip(",; "))
    found = {word: Head.parse(word) for word in words if word}
    wrong = [word for word, head in found.items() if head is None]
    every = sorted({head for head in found.values() if head is not None})
    heads = tuple(every[:MAX_PICKED])
    if len(every) > MAX_PICKED:
        wanted, shown = f"names such as L5H7,L6H0, at most {MAX_PICKED} of them", ", ".join(wrong) or None
        raise _Unusable(wanted, heads, shown, f"the first {MAX_PICKED} by layer and head")
    if wrong:
        raise _Unusable("names such as L5H7,L6H0", heads, ", ".join(wrong), named(heads[:_MAX_NAMED]) or "none")
    return heads


def _done(text: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Steps of the tour between commas or spaces; those that are none are left out."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    steps = tuple(step for step in range(1, STEPS + 1) if str(step) in words)
    wrong = [word for word in words if word not in map(str, steps)]
    if wrong:
        raise _Unusable(f"steps from 1 to {STEPS} such as 1,2", steps, ", ".join(wrong), _said_done(steps) or "none")
    return steps


def _text(most: int) -> Reader:
    def read(text: str, default: str) -> str:
        if len(text) > most:
            raise _Unusable(f"at most {most} characters", text[:most].strip(), told=f"its first {most}")
        return text

    return read


def _model(text: str, default: str) -> str:
    if not (text.isprintable() and len(text) <= _MAX_MODEL):
        raise _Unusable("a model's name or folder", default)
    return text


def _name(text: str, default: str) -> str:
    if not (text.isprintable() and len(text) <= MAX_CORPUS_NAME):
        raise _Unusable("a name", default)
    return text


def _said_range(token_range: tuple[int, int] | None) -> str:
    return "" if token_range is None else f"{token_range[0]}:{token_range[1]}"


def _said_head(head: Head | None) -> str:
    return "" if head is None else head.name


def _said_done(steps: tuple[int, ...]) -> str:
    return ",".join(map(str, steps))


def _two_digits(value: float) -> str:
    return f"{value:.2f}"


def _said_switch(on: bool) -> str:
    return "true" if on else "false"


@dataclass(frozen=True)
class Parameter:
    """One parameter of an address, and the part of a view that it says.

    part: where in a `View`, as `request.length`. read: from text to the value. write: from the value to text; an empty text
    stands for "none". control: what a page's control for it holds.
    """

    name: str
    part: str
    read: Reader
    write: Callable[[Any], str] = str
    control: type = str

    def of(self, view: View) -> str:
        """What an address says for `view`, defaults too."""
        return self.write(reduce(getattr, self.part.split("."), view))

    def control_value(self, text: str) -> Any:
        """What a control holds for this text."""
        return text == "true" if self.control is bool else self.control(text)


TABLE: tuple[Parameter, ...] = (
    Parameter("model", "request.model", _model),
    Parameter("length", "request.length", _whole(2, MAX_LENGTH), control=int),
    Parameter("sequences", "request.sequences", _whole(1, MAX_SEQUENCES), control=int),
    Parameter("seed", "request.seed", _whole(0, MAX_SEED), control=int),
    Parameter("bos", "request.bos", _one_of(BOS_POLICIES)),
    Parameter("tokens", "request.token_range", _token_range, _said_range),
    Parameter("score", "score", _one_of(tuple(ALL_SCORES))),
    Parameter("threshold", "threshold", _fraction(), _two_digits, float),
    Parameter("head", "head", _head, _said_head),
    Parameter("mode", "experiment.mode", _one_of(MODES)),
    Parameter("set", "experiment.source", _one_of(SOURCES)),
    Parameter("heads", "experiment.heads", _heads, named),
    Parameter("floor", "experiment.floor", _fraction(MAX_FLOOR), _two_digits, float),
    Parameter("effect_floor", "experiment.effect_floor", _fraction(MAX_EFFECT_FLOOR), _two_digits, float),
    Parameter("first", "experiment.first", _fraction(), _two_digits, float),
    Parameter("second", "experiment.second", _fraction(), _two_digits, float),
    Parameter("curves", "experiment.curves", _one_of(CURVES)),
    Parameter("paragraph", "experiment.paragraph", _text(MAX_PARAGRAPH)),
    Parameter("row", "row.kind", _one_of(ROW_KINDS)),
    Parameter("sequence", "row.sequence", _whole(0, MAX_SEQUENCES - 1), control=int),
    Parameter("text", "row.text", _text(MAX_TEXT_CHARACTERS)),
    *(
        Parameter(parameter, f"corrections.{name}", _switch, _said_switch, bool)
        for parameter, name in CORRECTION_PARAMETERS.items()
    ),
    Parameter("recorded", "recorded", _one_of(RECORDED_MODELS)),
    Parameter("x", "axes.x", _quantity),
    Parameter("y", "axes.y", _quantity),
    Parameter("colour", "axes.colour", _quantity),
    Parameter("corpus", "text.corpus", _name),
    Parameter("column", "text.column", _name),
    Parameter("pasted", "text.pasted", _text(MAX_PASTED)),
    Parameter("windows", "text.windows", _whole(MIN_WINDOWS, MAX_WINDOWS), control=int),
    Parameter("window_length", "text.length", _whole(MIN_WINDOW_LENGTH, MAX_WINDOW_LENGTH), control=int),
    Parameter("edges", "text.edges", _one_of(SHOWN_EDGES)),
    Parameter("step", "tour.step", _whole(0, STEPS), control=int),
    Parameter("done", "tour.done", _done, _said_done),
)
PARAMETERS = tuple(parameter.name for parameter in TABLE)
_BY_NAME = {parameter.name: parameter for parameter in TABLE}
_DEFAULT = View()


def view_from(params: Mapping[str, str]) -> tuple[View, list[str]]:
    """The view of an address's parameters, and one sentence for each that had to be corrected. Never raises."""
    if too_long(params):
        return _DEFAULT, [f"An address has at most {MAX_ADDRESS_CHARACTERS:,} characters: of this one nothing was read."]
    view, notes = _DEFAULT, []
    for parameter in TABLE:
        text = str(params.get(parameter.name, "")).strip()
        if not text:
            continue
        default = reduce(getattr, parameter.part.split("."), _DEFAULT)
        try:
            value = parameter.read(text, default)
        except _Unusable as wrong:
            value = wrong.used
            notes.append(
                f"{parameter.name} must be {wrong.wanted}, not {_shortened(wrong.shown or text)}: it is now {wrong.told}."
            )
        view = _with(view, parameter.part, value)
    return view, notes


def too_long(params: Mapping[str, str]) -> bool:
    """Whether an address's parameters are longer together than any that this program writes."""
    return sum(len(name) + len(str(value)) for name, value in params.items()) > MAX_ADDRESS_CHARACTERS


def params_of(view: View) -> dict[str, str]:
    """The address's parameters that show `view` again; what is at its default is left out."""
    values = all_params_of(view)
    defaults = all_params_of(_DEFAULT)
    return {name: value for name, value in values.items() if value != defaults[name]}


def all_params_of(view: View) -> dict[str, str]:
    """Every parameter as text, defaults too; an empty text stands for "none"."""
    return {parameter.name: parameter.of(view) for parameter in TABLE}


def control_values(view: View) -> dict[str, Any]:
    """What each parameter's control holds for `view`."""
    return {name: _BY_NAME[name].control_value(text) for name, text in all_params_of(view).items()}


def said_by_controls(values: Mapping[str, Any]) -> dict[str, str]:
    """What controls hold, as an address would say it."""
    return {name: _said_by_control(values[name]) for name in PARAMETERS}


def _said_by_control(value: Any) -> str:
    """A control from which everything was deselected holds None."""
    if isinstance(value, bool):
        return _said_switch(value)
    return "" if value is None else str(value)


def _with(view: Any, part: str, value: Any) -> Any:
    """A copy of `view` with one part, as `request.length`, replaced."""
    first, _, rest = part.partition(".")
    return replace(view, **{first: _with(getattr(view, first), rest, value) if rest else value})


def _shortened(text: str) -> str:
    """In quotes, with what cannot be shown by its number, which is longer."""
    shown = repr(text)
    return shown if len(shown) <= _MAX_SHOWN + 2 else shown[:_MAX_SHOWN] + "…" + shown[0]
