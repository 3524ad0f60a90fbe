"""What a page shows: the whole state of a page, and how it is fitted to a model's sizes.

How an address says it is in `core.sharing.address`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from core.heads import Head, named
from core.probes.vocabulary import candidate_ids, longest_length
from core.settings.experiment import Experiment
from core.settings.request import Request
from core.settings.text_choice import MAX_WINDOW_LENGTH, MIN_WINDOW_LENGTH, TextChoice
from core.settings.tour_progress import TourProgress
from core.transformer.card import ModelIdentity

DEFAULT_THRESHOLD = 0.5
# The names of the sliders that something in a picture follows.
THRESHOLD_SLIDER = "Threshold"
FLOOR_SLIDER = "Contrast floor"
_MAX_NAMED = 4
RowKind = Literal["repeated", "control", "text"]
ROW_KINDS: tuple[RowKind, ...] = ("repeated", "control", "text")
# The two models that the report recorded.
RECORDED_MODELS = ("solu-8l-old", "gpt2-small")
# Words that the bundled models know, too.
EXAMPLE_TEXT = "quick brown fox jump over lake quick brown fox jump over lake"
MAX_TEXT_CHARACTERS = 1000


@dataclass(frozen=True)
class RowChoice:
    """Which tokens are looked at: the kind of row, which sequence of the probe, and the typed text (empty: an example)."""

    kind: RowKind = "repeated"
    sequence: int = 0
    text: str = ""


@dataclass(frozen=True)
class Corrections:
    """What is done differently from the report that started this project; all off is its own recipe.

    sign: a loss in nats instead of a log-probability.
    rows: second-copy queries only, instead of the whole diagonal.
    bos: a BOS in front, where the model has one.
    baselines: the same ablation of random heads, matched by layer, beside it.
    """

    sign: bool = False
    rows: bool = False
    bos: bool = False
    baselines: bool = False


@dataclass(frozen=True)
class Axes:
    """Which two quantities of heads are beside each other, and which is the colour (empty: none), by their names."""

    x: str = "induction"
    y: str = "previous_token"
    colour: str = ""


OWN_RECIPE = Corrections()
CORRECTIONS = tuple(field.name for field in fields(Corrections))


@dataclass(frozen=True)
class View:
    """What a page shows.

    request: whose scores, on what. score: which one. threshold: on it, 0 to 1. head: the picked one. experiment: what is
    taken away. row: which tokens the attention page looks at. corrections: of the report. recorded: which of the report's
    models stands beside. axes: which quantities of heads are compared. text: which text heads are measured
    on, beside random tokens. tour: how far the person is in the tour.
    """

    request: Request = Request()
    score: str = "induction"
    threshold: float = DEFAULT_THRESHOLD
    head: Head | None = None
    experiment: Experiment = Experiment()
    row: RowChoice = RowChoice()
    corrections: Corrections = Corrections()
    recorded: str = RECORDED_MODELS[0]
    axes: Axes = Axes()
    text: TextChoice = TextChoice()
    tour: TourProgress = TourProgress()


def fit_view(view: View, identity: ModelIdentity) -> tuple[View, list[str]]:
    """`view` with what does not fit the model's sizes corrected, and one sentence for each correction."""
    notes: list[str] = []
    vocabulary, card, request = identity.vocabulary, identity.card, view.request
    if request.bos == "always" and vocabulary.bos_token_id is None:
        notes.append(f"{card.name} has no BOS token, so the BOS policy is now auto instead of always.")
        request = replace(request, bos="auto")
    if request.token_range is not None and not _range_fits(request.token_range, identity):
        low, high = request.token_range
        notes.append(
            f"The token range {low}:{high} does not fit the {vocabulary.size} tokens of {card.name}, "
            "so tokens are drawn from its whole vocabulary."
        )
        request = replace(request, token_range=None)
    room = min(longest_length(vocabulary, request.bos), len(candidate_ids(vocabulary, request.token_range)))
    # A model with no room for two tokens twice is left to the probe, which says so.
    longest = max(2, room)
    if request.length > longest:
        notes.append(f"Length {request.length} does not fit {card.name}: it is now {longest}, the longest that does.")
        request = replace(request, length=longest)
    text, room = view.text, min(MAX_WINDOW_LENGTH, vocabulary.n_ctx - 1)
    # Nobody has asked for the default: where windows are made, it is as long as fits.
    if text.length > room >= MIN_WINDOW_LENGTH and text.length != TextChoice().length:
        notes.append(f"Windows of {text.length} tokens do not fit {card.name}: they now have {room}.")
        text = replace(text, length=room)
    row = view.row
    if row.sequence >= request.sequences:
        notes.append(f"There is no sequence {row.sequence}: it is now {request.sequences - 1}, the last one.")
        row = replace(row, sequence=request.sequences - 1)
    head = view.head
    if head is not None and not _has(identity, head):
        notes.append(
            f"{card.name} has no head {head.name}: its layers are 0 to {card.n_layers - 1} and its heads "
            f"0 to {card.n_heads - 1}, so no head is picked."
        )
        head = None
    experiment, missing = _fitting_heads(view.experiment, identity)
    if missing:
        notes.append(f"{card.name} has no {missing}: taken out of the heads that were picked by hand.")
    return replace(view, request=request, head=head, experiment=experiment, row=row, text=text), notes


def _has(identity: ModelIdentity, head: Head) -> bool:
    return head.layer < identity.card.n_layers and head.head < identity.card.n_heads


def _fitting_heads(experiment: Experiment, identity: ModelIdentity) -> tuple[Experiment, str]:
    """`experiment` with only those picked heads that the model has, and the names of the others."""
    fitting = tuple(head for head in experiment.heads if _has(identity, head))
    missing = [head for head in experiment.heads if head not in fitting]
    return replace(experiment, heads=fitting), named(missing[:_MAX_NAMED]) + (" and more" if len(missing) > _MAX_NAMED else "")


def _range_fits(token_range: tuple[int, int], identity: ModelIdentity) -> bool:
    low, high = token_range
    if not 0 <= low < high <= identity.vocabulary.size:
        return False
    return len(candidate_ids(identity.vocabulary, token_range)) >= 2
