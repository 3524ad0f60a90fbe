"""From a subject to where its heads look: scores, patterns, and scores at other settings, each computed once for everybody.

Nothing here imports torch until something must really be computed.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from core.attention.example import SEQUENCES, WORDS, InductionExample
from core.attention.head_scores import HeadScores, OtherHalves
from core.attention.patterns import RowPatterns, grid_limit
from core.attention.rows import TokenRow, probe_row
from core.attention.scores import OF_WHOLE_ROWS, SECOND_STEP, table_digest
from core.attention.sensitivity import WHOLE, Extent, Sensitivity, assembled, sensitivity_settings
from core.attention.words import withheld_sentence
from core.errors import BadInput, Withheld
from core.heads import Head, check_head, missing_head, ranked
from core.models.catalogue import DEFAULT_MODEL
from core.probes.layout import Layout
from core.runtime.cache import cached, if_cached
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.settings.request import Request
from core.settings.subject import Subject, bind

PATTERN_VERSION = 3
_ARRAYS = ("placebo", "token_loss", "top1", "fresh_loss", "rotated_control", "windows")


def score_heads(asked: Subject | Request | str) -> HeadScores:
    """Every score of every head on repeated random tokens, every token's loss (nats), and whether the behaviour is there.

    Scores are shares of attention, of shape `[n_layers, n_heads]` each (Olsson et al. 2022); beside each its chance level, and
    induction also on fresh tokens, its control. Kept in steps: `first_scores`, what other orders of the tokens
    add, and on long sequences what needs whole rows.

    >>> from core import Head, Request, score_heads
    >>> scores = score_heads(Request("by-construction", length=50))
    >>> scores.mean("induction").shape
    (2, 4)
    >>> round(float(scores.mean("induction")[Head(1, 3)]), 2)
    0.99
    >>> scores.behaviour.state
    'present'

    Raises BadInput or ModelUnavailable with one clear sentence.
    """
    subject, control = bind(asked), current_control()
    with control.part(0, 2, "measuring every head"):
        found = scores_and_behaviour(subject)
    with control.part(1, 2, "measuring whole rows of attention"):
        return _with_whole_rows(subject, found)


def scores_and_behaviour(asked: Subject | Request | str) -> HeadScores:
    """`score_heads` for whoever needs no score of whole rows (`OF_WHOLE_ROWS`): those may be left for later. Raises as it."""
    subject, control = bind(asked), current_control()
    with control.part(0, 2, "measuring every head"):
        first = first_scores(subject)
    with control.part(1, 2, "measuring the behaviour"):
        return _with_behaviour(subject, first)


def first_scores(asked: Subject | Request | str) -> HeadScores:
    """The first step of `score_heads`: what the probe and its control give, without the behaviour. Raises as `score_heads`.

    Scores of whole rows are among them on short sequences only (`HeadScores.later`).
    """
    subject = bind(asked)

    def compute() -> Stored:
        from core.attention.score_pass import measure_first

        return _stored(measure_first(subject.load(), subject.probe))

    return _scores_from(cached(score_key(subject), compute))


def existing_heads(asked: Subject | Request | str) -> Bool[np.ndarray, "n_layers n_heads"]:
    """Which heads there are, as scores have it."""
    return first_scores(asked).exists


def check_existing(subject: Subject, head: Head) -> None:
    """Raises BadInput for a head that the model does not have, also in a layer that has none or fewer."""
    check_head(head, subject.card.n_layers, subject.card.n_heads)
    if not existing_heads(subject)[head]:
        raise BadInput(missing_head(head, subject.card.name))


def scores_having(asked: Subject | Request | str, name: str) -> HeadScores:
    """The scores in as few steps as give the score `name`. Raises as `score_heads`."""
    if name in SECOND_STEP:
        return scores_and_behaviour(asked)
    subject = bind(asked)
    first = first_scores(subject)
    return _with_whole_rows(subject, first) if name in OF_WHOLE_ROWS else first


def known_scores(subject: Subject, name: str) -> HeadScores | None:
    """All that is at hand without measuring anything; None where the score `name` is not. Raises as `score_heads`."""
    found = if_cached(partial(scores_having, subject, name))
    if found is not None:
        for complete in (_with_behaviour, _with_whole_rows):
            found = if_cached(partial(complete, subject, found)) or found
    return found


def _with_behaviour(subject: Subject, scores: HeadScores) -> HeadScores:
    """The scores with what other orders of the tokens give."""

    def compute() -> Stored:
        from core.attention.score_pass import measure_other_halves

        other = measure_other_halves(subject.load(), subject.probe)
        return Stored({} if other is None else {field.name: getattr(other, field.name) for field in fields(other)}, {})

    arrays = cached(behaviour_key(subject), compute).arrays
    return scores.completed(OtherHalves(**arrays) if arrays else None)


def _with_whole_rows(subject: Subject, scores: HeadScores) -> HeadScores:
    """The scores with those that were left for later."""
    if not scores.later:
        return scores

    def compute() -> Stored:
        from core.attention.score_pass import measure_whole_rows

        return Stored(dict(measure_whole_rows(subject.load(), subject.probe)), {})

    return scores.with_whole_rows(cached(subject.key("whole-rows", table=table_digest()), compute).arrays)


def score_key(subject: Subject) -> str:
    """The content key of `first_scores(subject)`."""
    return subject.key("scores", table=table_digest())


def behaviour_key(subject: Subject) -> str:
    """The content key of what `score_heads(subject)` adds to it."""
    return subject.key("behaviour", table=table_digest())


def row_patterns(subject: Subject, row: TokenRow) -> RowPatterns:
    """Every token's loss on `row`, and every head's pattern up to `grid_limit`.

    Raises BadInput if the attention overflows, ModelUnavailable if the model cannot be loaded.
    """

    def compute() -> Stored:
        from core.attention.pattern_pass import measure_losses, measure_patterns
        from core.transformer.passes.windows import layer_windows

        model = subject.load(row.n_tokens)
        windows = {"windows": layer_windows(model, row.n_tokens)}
        if row.n_tokens > grid_limit(model.card):
            return Stored(windows | {"token_loss": measure_losses(model, row.ids)}, {})
        quantised, token_loss = measure_patterns(model, row.ids)
        return Stored(windows | {"token_loss": token_loss, "quantised": quantised}, {})

    arrays = cached(_row_key(subject, "row_patterns", row), compute).arrays
    return RowPatterns(arrays["token_loss"], arrays.get("quantised"), arrays["windows"])


def head_pattern(subject: Subject, row: TokenRow, head: Head) -> Float[np.ndarray, "tokens tokens"]:
    """One head's exact pattern on `row` (float32; rows are queries).

    Raises BadInput for a head that the model lacks, ModelUnavailable if the model cannot be loaded.
    """
    check_head(head, subject.card.n_layers, subject.card.n_heads)

    def compute() -> Stored:
        from core.attention.pattern_pass import measure_head_pattern

        return Stored({"pattern": measure_head_pattern(subject.load(row.n_tokens), row.ids, head)}, {})

    return cached(_row_key(subject, "head_pattern", row, layer=head.layer, head=head.head), compute).arrays["pattern"]


def sensitivity(subject: Subject, score: str, extent: Extent = WHOLE) -> Sensitivity:
    """One score of every head at other lengths and seeds, and with the BOS changed; settings that are there cost nothing.

    A cancelled one goes on where it stopped, because each setting is kept by itself. Raises BadInput for given tokens,
    Withheld where the score is, at any setting.
    """
    settings, base = sensitivity_settings(subject, extent), scores_having(subject, score)
    if score in base.withheld:
        raise Withheld(withheld_sentence(base, score))
    control = current_control()
    found = []
    costs = [float(setting.subject.request.length) for setting in settings]
    for done, setting in enumerate(settings):
        with control.part(done, costs, f"{setting.factor} {setting.label}: {done + 1} of {len(settings)}"):
            found.append(scores_having(setting.subject, score))
        if score in found[-1].withheld:
            raise Withheld(f"At one of the settings, {setting.factor} {setting.label}: {withheld_sentence(found[-1], score)}")
    return assembled(score, base, settings, found)


def induction_example(model: str = DEFAULT_MODEL) -> InductionExample:
    """The example, from the same scores and patterns that the other pages show.

    Points at the token from which the head looks most clearly, the last one left out: nothing comes after it.
    Raises ModelUnavailable if the model cannot be loaded.
    """
    # Scored on sequences as short as the one that is shown: a head can be best at another length.
    subject = bind(Request(model, length=WORDS, sequences=SEQUENCES))
    best = ranked(first_scores(subject).mean("induction"))[0]
    row = probe_row(subject, 0)
    pattern = head_pattern(subject, row, best)
    queries, keys = row.cells
    clearest = int(np.argmax(pattern[queries[:-1], keys[:-1]]))
    assert row.layout is not None
    return InductionExample(
        model=model,
        head=best,
        tokens=tuple(subject.identity.token_text(i) for i in row.ids),
        pattern=pattern,
        layout=row.layout,
        position=int(queries[clearest]),
    )


def _row_key(subject: Subject, kind: str, row: TokenRow, **parts: int) -> str:
    return subject.model_key(kind, ids=list(row.ids), pattern_version=PATTERN_VERSION, **parts)


def _stored(scores: HeadScores) -> Stored:
    arrays = {f"score.{name}": array for name, array in scores.per_sequence.items()}
    arrays |= {name: array for name in _ARRAYS if (array := getattr(scores, name)) is not None}
    return Stored(arrays, {"layout": asdict(scores.layout), "engine": scores.engine})


def _scores_from(stored: Stored) -> HeadScores:
    arrays = stored.arrays
    return HeadScores(
        per_sequence={k.removeprefix("score."): v for k, v in arrays.items() if k.startswith("score.")},
        placebo=arrays["placebo"],
        token_loss=arrays["token_loss"],
        layout=Layout(**stored.meta["layout"]),
        engine=stored.meta["engine"],
        top1=arrays["top1"],
        fresh_loss=arrays.get("fresh_loss"),
        rotated_control=arrays.get("rotated_control"),
        windows=arrays["windows"],
    )
