"""One small, real example of induction, for the first page: a bundled model's best induction head on a few words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.attention.cached import Progress, ScoreRequest, head_scores
from core.attention.patterns import head_pattern
from core.attention.rows import probe_row
from core.attention.scores import Layout, heads_above
from core.models.catalogue import DEFAULT_MODEL
from core.models.identity import model_identity
from core.probes.repeated import ProbeOptions

WORDS = 4
SEQUENCES = 16


@dataclass(frozen=True)
class InductionExample:
    """A head's pattern on `[BOS] + r + r`, and the tokens' texts.

    position: the second-copy token to point at; induction looks from it to `position - length + 1`.
    """

    model: str
    head: tuple[int, int]
    tokens: tuple[str, ...]
    pattern: Float[np.ndarray, "tokens tokens"]
    layout: Layout
    position: int

    @property
    def target(self) -> int:
        """The token after the earlier copy: where induction looks."""
        return self.position - self.layout.length + 1


def induction_example(model: str = DEFAULT_MODEL, progress: Progress | None = None) -> InductionExample:
    """The example, from the same scores and patterns that the other pages show.

    Points at the token from which the head looks most clearly, the last one left out: nothing comes after it.
    Raises ModelUnavailable if the model cannot be loaded.
    """
    identity = model_identity(model)
    # Scored on sequences as short as the one that is shown: a head can be best at another length.
    request = ScoreRequest(model, ProbeOptions(length=WORDS, sequences=SEQUENCES))
    best = heads_above(head_scores(request, progress).mean("induction"), -1.0)[0]
    row = probe_row(request, 0)
    pattern = head_pattern(request, row, *best, progress)
    queries, keys = row.cells
    clearest = int(np.argmax(pattern[queries[:-1], keys[:-1]]))
    assert row.layout is not None
    return InductionExample(
        model=model,
        head=best,
        tokens=tuple(identity.token_text(i) for i in row.ids),
        pattern=pattern,
        layout=row.layout,
        position=int(queries[clearest]),
    )
