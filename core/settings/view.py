"""What a page shows, and the address that shows it again.

A `View` is the whole state of a page. `view_from` reads it from the parameters of an address, which anybody can forge:
whatever cannot be used is replaced, with one sentence that says so. `params_of` is its inverse and leaves defaults out,
so that `view_from(params_of(view))` is `view` again. `fit_view` then fits it to a model's sizes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from core.attention.cached import ScoreRequest
from core.attention.scores import ALL_SCORES, head_name
from core.heads import MODES, HeadSet, Mode
from core.models.catalogue import DEFAULT_MODEL
from core.probes.repeated import (
    BOS_POLICIES,
    MAX_LENGTH,
    MAX_SEQUENCES,
    BosPolicy,
    Probe,
    ProbeOptions,
    candidate_ids,
    longest_length,
)
from core.settings.experiment import (
    CURVES,
    MAX_EFFECT_FLOOR,
    MAX_FLOOR,
    MAX_PARAGRAPH,
    SOURCES,
    Curves,
    Experiment,
    Source,
    named,
)
from core.transformer.card import ModelIdentity

EXPERIMENT_PARAMETERS = ("mode", "set", "heads", "floor", "effect_floor", "first", "second", "curves", "paragraph")
PARAMETERS = (
    *("model", "length", "sequences", "seed", "bos", "tokens", "score", "threshold", "head"),
    *EXPERIMENT_PARAMETERS,
)
MAX_SEED = 2**31 - 1
DEFAULT_THRESHOLD = 0.5
MAX_PICKED = 512
_MAX_SHOWN = 40
_MAX_NAMED = 4
T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """What a page shows: whose scores on what, which score, the threshold on it (0 to 1), the picked head, what is ablated."""

    request: ScoreRequest = ScoreRequest(model=DEFAULT_MODEL)
    score: str = "induction"
    threshold: float = DEFAULT_THRESHOLD
    head: tuple[int, int] | None = None
    experiment: Experiment = Experiment()

    @property
    def options(self) -> ProbeOptions:
        """The probe's options."""
        return self.request.options


def view_from(params: Mapping[str, str]) -> tuple[View, list[str]]:
    """The view of an address's parameters, and one sentence for each that had to be corrected. Never raises."""
    read = _Reader(params)
    options = ProbeOptions(
        length=read.whole("length", 2, MAX_LENGTH, ProbeOptions.length),
        sequences=read.whole("sequences", 1, MAX_SEQUENCES, ProbeOptions.sequences),
        seed=read.whole("seed", 0, MAX_SEED, ProbeOptions.seed),
        bos=cast(BosPolicy, read.one_of("bos", BOS_POLICIES, ProbeOptions.bos)),
        token_range=read.token_range("tokens"),
    )
    view = View(
        request=ScoreRequest(model=read.model("model"), options=options),
        score=read.one_of("score", tuple(ALL_SCORES), "induction"),
        threshold=read.fraction("threshold", DEFAULT_THRESHOLD),
        head=read.head("head"),
        experiment=Experiment(
            mode=cast(Mode, read.one_of("mode", MODES, Experiment.mode)),
            source=cast(Source, read.one_of("set", SOURCES, Experiment.source)),
            heads=read.heads("heads"),
            floor=read.fraction("floor", Experiment.floor, MAX_FLOOR),
            effect_floor=read.fraction("effect_floor", Experiment.effect_floor, MAX_EFFECT_FLOOR),
            first=read.fraction("first", Experiment.first),
            second=read.fraction("second", Experiment.second),
            curves=cast(Curves, read.one_of("curves", CURVES, Experiment.curves)),
            paragraph=read.paragraph("paragraph"),
        ),
    )
    return view, read.notes


def params_of(view: View) -> dict[str, str]:
    """The address's parameters that show `view` again; what is at its default is left out."""
    values = all_params_of(view)
    defaults = all_params_of(View())
    return {name: value for name, value in values.items() if value != defaults[name]}


def all_params_of(view: View) -> dict[str, str]:
    """Every parameter as text, defaults too; an empty text stands for "none"."""
    options, experiment = view.options, view.experiment
    return {
        "model": view.request.model,
        "length": str(options.length),
        "sequences": str(options.sequences),
        "seed": str(options.seed),
        "bos": options.bos,
        "tokens": "" if options.token_range is None else f"{options.token_range[0]}:{options.token_range[1]}",
        "score": view.score,
        "threshold": f"{view.threshold:.2f}",
        "head": "" if view.head is None else head_name(*view.head),
        "mode": experiment.mode,
        "set": experiment.source,
        "heads": named(experiment.heads),
        "floor": f"{experiment.floor:.2f}",
        "effect_floor": f"{experiment.effect_floor:.2f}",
        "first": f"{experiment.first:.2f}",
        "second": f"{experiment.second:.2f}",
        "curves": experiment.curves,
        "paragraph": experiment.paragraph,
    }


def fit_view(view: View, identity: ModelIdentity) -> tuple[View, list[str]]:
    """`view` with what does not fit the model's sizes corrected, and one sentence for each correction."""
    notes: list[str] = []
    vocabulary, card, options = identity.vocabulary, identity.card, view.options
    if options.bos == "always" and vocabulary.bos_token_id is None:
        notes.append(f"{card.name} has no BOS token, so the BOS policy is now auto instead of always.")
        options = replace(options, bos="auto")
    if options.token_range is not None and not _range_fits(options.token_range, identity):
        low, high = options.token_range
        notes.append(
            f"The token range {low}:{high} does not fit the {vocabulary.size} tokens of {card.name}, "
            "so tokens are drawn from its whole vocabulary."
        )
        options = replace(options, token_range=None)
    room = min(longest_length(vocabulary, options.bos), len(candidate_ids(vocabulary, options.token_range)))
    # A model with no room for two tokens twice is left to the probe, which says so.
    longest = max(2, room)
    if options.length > longest:
        notes.append(f"Length {options.length} does not fit {card.name}: it is now {longest}, the longest that does.")
        options = replace(options, length=longest)
    head = view.head
    if head is not None and not (head[0] < card.n_layers and head[1] < card.n_heads):
        notes.append(
            f"{card.name} has no head {head_name(*head)}: its layers are 0 to {card.n_layers - 1} and its heads "
            f"0 to {card.n_heads - 1}, so no head is picked."
        )
        head = None
    experiment, missing = _fitting_heads(view.experiment, identity)
    if missing:
        notes.append(f"{card.name} has no {missing}: taken out of the heads that were picked by hand.")
    return replace(view, request=replace(view.request, options=options), head=head, experiment=experiment), notes


def measured_on(probe: Probe, identity: ModelIdentity) -> str:
    """What numbers were measured on, to stand beside them."""
    low, high = probe.token_range
    whole = (low, high) == (0, identity.card.d_vocab)
    drawn = f"the whole vocabulary ({high:,} tokens)" if whole else f"ids {low:,} to {high - 1:,}"
    count = f"{probe.n_sequences} sequence{'s' if probe.n_sequences > 1 else ''}"
    bos = "BOS in front" if probe.has_bos else "no BOS"
    return f"tokens drawn from {drawn}, {count} of length {probe.length} repeated once, {bos}, seed {probe.options.seed}"


def score_command(view: View) -> str:
    """The command that prints the same scores without a browser."""
    return command_line(view, "score")


def command_line(view: View, command: str, *more: str) -> str:
    """`command` on the same model and probe, without a browser; `more` are its own options."""
    options = view.options
    words = ["python", "-m", "core", command, "--model", view.request.model]
    words += ["--length", str(options.length), "--sequences", str(options.sequences), "--seed", str(options.seed)]
    words += ["--bos", options.bos]
    if options.token_range is not None:
        words += ["--token-range", f"{options.token_range[0]}:{options.token_range[1]}"]
    return shlex.join([*words, *more, "--json"])


def parse_head(text: str) -> tuple[int, int] | None:
    """`(5, 7)` for `L5H7`, None for anything else."""
    match = re.fullmatch(r"L(\d{1,4})H(\d{1,4})", text, flags=re.ASCII | re.IGNORECASE)
    return (int(match[1]), int(match[2])) if match else None


def _fitting_heads(experiment: Experiment, identity: ModelIdentity) -> tuple[Experiment, str]:
    """`experiment` with only those picked heads that the model has, and the names of the others."""
    card = identity.card
    fitting = tuple(place for place in experiment.heads if place[0] < card.n_layers and place[1] < card.n_heads)
    missing = [place for place in experiment.heads if place not in fitting]
    return replace(experiment, heads=fitting), named(missing[:_MAX_NAMED]) + (" and more" if len(missing) > _MAX_NAMED else "")


def _range_fits(token_range: tuple[int, int], identity: ModelIdentity) -> bool:
    low, high = token_range
    if not 0 <= low < high <= identity.vocabulary.size:
        return False
    return len(candidate_ids(identity.vocabulary, token_range)) >= 2


class _Reader:
    """Reads one parameter at a time and notes what it had to correct. A missing or empty one is its default."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self._params = params
        self.notes: list[str] = []

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        text = self._text(name)
        if not text:
            return default
        if not re.fullmatch(r"[+-]?\d{1,30}", text, flags=re.ASCII):
            return self._note(name, text, f"a whole number from {low} to {high}", default)
        value = min(high, max(low, int(text)))
        return value if value == int(text) else self._note(name, text, f"from {low} to {high}", value)

    def fraction(self, name: str, default: float, most: float = 1) -> float:
        text = self._text(name)
        if not text:
            return default
        if not re.fullmatch(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})", text, flags=re.ASCII):
            return self._note(name, text, f"a number from 0 to {most:g}", default)
        value = round(min(float(most), max(0.0, float(text))), 2)
        return value if 0 <= float(text) <= most else self._note(name, text, f"from 0 to {most:g}", value)

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        text = self._text(name)
        if not text or text in choices:
            return text or default
        return self._note(name, text, f"one of {', '.join(choices)}", default)

    def token_range(self, name: str) -> tuple[int, int] | None:
        text = self._text(name)
        if not text:
            return None
        match = re.fullmatch(r"(\d{1,9})\s*:\s*(\d{1,9})", text, flags=re.ASCII)
        if match is None or int(match[1]) >= int(match[2]):
            self._note(name, text, "two ids such as 1000:10000, the first one less than the second", "the whole vocabulary")
            return None
        return int(match[1]), int(match[2])

    def head(self, name: str) -> tuple[int, int] | None:
        text = self._text(name)
        found = parse_head(text)
        if text and found is None:
            self._note(name, text, "a layer and a head such as L5H7", "none")
        return found

    def heads(self, name: str) -> HeadSet:
        """Names between commas or spaces; those that are none are left out."""
        words = re.split(r"[\s,;]+", self._text(name).strip(",; "))
        found = {word: parse_head(word) for word in words if word}
        wrong = [word for word, head in found.items() if head is None]
        heads = tuple(sorted({head for head in found.values() if head is not None})[:MAX_PICKED])
        if wrong:
            self._note(name, ", ".join(wrong), "names such as L5H7,L6H0", named(heads[:_MAX_NAMED]) or "none")
        return heads

    def paragraph(self, name: str) -> str:
        text = self._text(name)
        if len(text) > MAX_PARAGRAPH:
            self._note(name, text, f"at most {MAX_PARAGRAPH} characters", f"its first {MAX_PARAGRAPH}")
        return text[:MAX_PARAGRAPH].strip() or Experiment.paragraph

    def model(self, name: str) -> str:
        text = self._text(name)
        if not text or (text.isprintable() and len(text) <= 300):
            return text or DEFAULT_MODEL
        return self._note(name, text, "a model's name or folder", DEFAULT_MODEL)

    def _text(self, name: str) -> str:
        return str(self._params.get(name, "")).strip()

    def _note(self, name: str, text: str, wanted: str, used: T) -> T:
        shown = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
        self.notes.append(f"{name} must be {wanted}, not {shown!r}: it is now {used}.")
        return used
