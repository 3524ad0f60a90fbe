"""From a subject to where its heads look: scores, patterns, and scores at other settings, each computed once for everybody.

Nothing here imports torch until something must really be computed.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from jaxtyping import Float

from core.attention.example import SEQUENCES, WORDS, InductionExample
from core.attention.head_scores import HeadScores
from core.attention.patterns import RowPatterns, grid_limit
from core.attention.rows import TokenRow, probe_row
from core.attention.scores import table_digest
from core.attention.sensitivity import Sensitivity, assembled, sensitivity_settings
from core.heads import Head, check_head, ranked
from core.models.catalogue import DEFAULT_MODEL
from core.probes.layout import Layout
from core.runtime.cache import cached
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.settings.request import Request
from core.settings.subject import Subject, bind

PATTERN_VERSION = 2


def score_heads(asked: Subject | Request | str) -> HeadScores:
    """Every score of every head on repeated random tokens, and every token's loss (nats).

    Scores are shares of attention, of shape `[n_layers, n_heads]` each (Olsson et al. 2022); beside each its chance level, and
    induction also on fresh tokens, its control.

    >>> from core import Head, Request, score_heads
    >>> scores = score_heads(Request("by-construction", length=50))
    >>> scores.mean("induction").shape
    (2, 4)
    >>> round(float(scores.mean("induction")[Head(1, 3)]), 2)
    0.99

    Raises BadInput or ModelUnavailable with one clear sentence.
    """
    subject = bind(asked)

    def compute() -> Stored:
        from core.attention.score_pass import measure_heads

        return _stored(measure_heads(subject.load(), subject.probe))

    return _scores_from(cached(score_key(subject), compute))


def score_key(subject: Subject) -> str:
    """The content key of `score_heads(subject)`."""
    return subject.key("scores", table=table_digest())


def row_patterns(subject: Subject, row: TokenRow) -> RowPatterns:
    """Every token's loss on `row`, and every head's pattern up to `grid_limit`.

    Raises BadInput if the attention overflows, ModelUnavailable if the model cannot be loaded.
    """

    def compute() -> Stored:
        from core.attention.pattern_pass import measure_losses, measure_patterns

        model = subject.load()
        if row.n_tokens > grid_limit(model.card):
            return Stored({"token_loss": measure_losses(model, row.ids)}, {})
        quantised, token_loss = measure_patterns(model, row.ids)
        return Stored({"token_loss": token_loss, "quantised": quantised}, {})

    arrays = cached(_row_key(subject, "row_patterns", row), compute).arrays
    return RowPatterns(arrays["token_loss"], arrays.get("quantised"))


def head_pattern(subject: Subject, row: TokenRow, head: Head) -> Float[np.ndarray, "tokens tokens"]:
    """One head's exact pattern on `row` (float32; rows are queries).

    Raises BadInput for a head that the model lacks, ModelUnavailable if the model cannot be loaded.
    """
    check_head(head, subject.card.n_layers, subject.card.n_heads)

    def compute() -> Stored:
        from core.attention.pattern_pass import measure_head_pattern

        return Stored({"pattern": measure_head_pattern(subject.load(), row.ids, head)}, {})

    return cached(_row_key(subject, "head_pattern", row, layer=head.layer, head=head.head), compute).arrays["pattern"]


def sensitivity(subject: Subject, score: str) -> Sensitivity:
    """One score of every head at other lengths and seeds, and with the BOS changed; settings that are there cost nothing.

    A cancelled one goes on where it stopped, because each setting is kept by itself. Raises BadInput for given tokens.
    """
    settings = sensitivity_settings(subject)
    control = current_control()
    found = []
    for done, setting in enumerate(settings):
        with control.part(done, len(settings), f"{setting.factor} {setting.label}: {done + 1} of {len(settings)}"):
            found.append(score_heads(setting.subject))
    return assembled(score, score_heads(subject), settings, found)


def induction_example(model: str = DEFAULT_MODEL) -> InductionExample:
    """The example, from the same scores and patterns that the other pages show.

    Points at the token from which the head looks most clearly, the last one left out: nothing comes after it.
    Raises ModelUnavailable if the model cannot be loaded.
    """
    # Scored on sequences as short as the one that is shown: a head can be best at another length.
    subject = bind(Request(model, length=WORDS, sequences=SEQUENCES))
    best = ranked(score_heads(subject).mean("induction"))[0]
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
    arrays |= {"placebo": scores.placebo, "token_loss": scores.token_loss}
    return Stored(arrays, {"layout": asdict(scores.layout), "engine": scores.engine})


def _scores_from(stored: Stored) -> HeadScores:
    return HeadScores(
        per_sequence={k.removeprefix("score."): v for k, v in stored.arrays.items() if k.startswith("score.")},
        placebo=stored.arrays["placebo"],
        token_loss=stored.arrays["token_loss"],
        layout=Layout(**stored.meta["layout"]),
        engine=stored.meta["engine"],
    )
