"""The table of scores: what each is called, which cells of the pattern it averages, and what chance would give.

A score is one function (`core.attention.cells`) and one row here; a new one then appears in the sidebar, the command line and
the tables, and results that were stored without it are measured again, because their key holds this table's digest
(docs/add-a-score.md). Most scores are a mean of single cells `A[q, k]`; entropy and value-weighted matching need whole rows.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.attention.cells import (
    Cells,
    current_token_cells,
    duplicate_token_cells,
    induction_cells,
    normalised_entropy,
    previous_token_cells,
    sink_cells,
    uniform_share,
)
from core.probes.layout import Layout
from core.stats import DIFFERENCE_OF_SHARES, SHARE, Range

# For changes of the pass itself, which the table's digest cannot see.
SCORE_VERSION = 7
PLACEBO_SHIFTS = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)
# Neighbours of the successor that specificity compares it with.
SPECIFICITY_OFFSETS = (-3, -2, -1, 1, 2, 3)
SUCCESSOR_SHIFTS = (0, *SPECIFICITY_OFFSETS)
_SEEN_AT = (Layout(4, 0), Layout(4, 1), Layout(7, 1))


@dataclass(frozen=True)
class Score:
    """One row of the table: exactly one of `cells` and `rows` says how the score is read off a pattern.

    `title` and `meaning` are for a reader; `uniform` is what a head that attends uniformly gets where that is not the
    mean of `1 / (q + 1)` over the same queries. `by_value`: of attention weighted by the size of the values it brings.
    `signed`: a difference, from -1 to 1; everything else is a share, from 0 to 1.
    """

    name: str
    title: str
    meaning: str
    formula: str
    cells: Callable[[Layout], Cells] | None = None
    rows: Callable[[Any], Any] | None = None
    uniform: float | None = None
    by_value: bool = False
    signed: bool = False

    @property
    def possible(self) -> Range:
        """Where it can lie."""
        return DIFFERENCE_OF_SHARES if self.signed else SHARE

    def chance(self, layout: Layout, window: int = 0) -> float:
        """What a head gets that attends uniformly to all tokens it sees: the last `window`, or (0) all earlier ones."""
        if self.cells is None:
            return float(self.uniform if self.uniform is not None else math.nan)
        return uniform_share(self.cells(layout), window)


SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score(
            "induction",
            "Induction (prefix matching)",
            "looks at the token that came after the earlier copy of the current token",
            "mean of A[q, q-L+1] over the second copy",
            cells=induction_cells,
        ),
        Score(
            "previous_token",
            "Previous token",
            "looks at the token just before",
            "mean of A[q, q-1], without the query whose key is the BOS",
            cells=previous_token_cells,
        ),
        Score(
            "duplicate_token",
            "Duplicate token",
            "looks at the earlier copy of the current token itself",
            "mean of A[q, q-L] over the second copy",
            cells=duplicate_token_cells,
        ),
        Score(
            "current_token",
            "Current token",
            "looks at the current token itself",
            "mean of A[q, q], without the first query",
            cells=current_token_cells,
        ),
        Score(
            "sink",
            "First token (sink)",
            "looks at the first token of the sequence, whatever it is",
            "mean of A[q, 0], without the first query",
            cells=sink_cells,
        ),
        Score(
            "entropy",
            "Entropy",
            "how spread out the attention is: 0 is one token, 1 is all tokens equally",
            "mean of -sum A ln A / ln(q+1), each row divided by its sum, without the first query",
            rows=normalised_entropy,
            uniform=1.0,
        ),
        Score(
            "value_weighted",
            "Value-weighted matching",
            "induction, each weight times the size of the value that it brings: use, as against resting on a token",
            "mean of A[q, q-L+1] |v| / sum of A[q, k] |v[k]| over the second copy",
            cells=induction_cells,
            by_value=True,
        ),
    )
}

# Differences of attention on two kinds of sequences, which no one pattern gives.
DIFFERENCES: dict[str, Score] = {
    score.name: score
    for score in (
        Score(
            "contrast",
            "Contrast",
            "induction less what the same head scores at the same positions when the second half is fresh tokens",
            "induction on [BOS, r, r] minus the same cells on [BOS, r, r']",
            uniform=0.0,
            signed=True,
        ),
        Score(
            "rotation_contrast",
            "Rotation contrast",
            "looks at the successor of an earlier copy, wherever that is, less the same cells on fresh tokens",
            "A[q, successor of x_q in r] on [BOS, r, r[k:], r[:k]] minus the same cells on [BOS, r, r']",
            uniform=0.0,
            signed=True,
        ),
        Score(
            "specificity",
            "Specificity",
            "rotation contrast less the same at the neighbour of the successor that the head looks at most",
            "smallest difference of the rotation contrast and the same with the key shifted by 1, 2 or 3 either way",
            uniform=0.0,
            signed=True,
        ),
    )
}
ALL_SCORES: dict[str, Score] = {**SCORES, **DIFFERENCES}
# What the probe and its control alone do not give.
SECOND_STEP = ("rotation_contrast", "specificity")
# What a fused pass does not give by the way: all of a row must be made for it.
OF_WHOLE_ROWS = tuple(score.name for score in SCORES.values() if score.rows is not None or score.by_value)
# On sequences of more tokens these cost more than the rest of the scores together, and are measured when somebody looks.
WHOLE_ROWS_WITHIN_TOKENS = 256


@lru_cache
def table_digest() -> str:
    """What identifies the table: names, cells (as they come out on a few layouts), and the code of scores of whole rows.

    Words may change without anything being measured again.
    """
    table = [
        [
            score.name,
            None if score.cells is None else [[part.tolist() for part in score.cells(layout)] for layout in _SEEN_AT],
            None if score.rows is None else _code_of(score.rows),
            score.by_value,
        ]
        for score in SCORES.values()
    ]
    return hashlib.sha256(json.dumps([SCORE_VERSION, PLACEBO_SHIFTS, SPECIFICITY_OFFSETS, table]).encode()).hexdigest()


def _code_of(function: Callable[..., Any]) -> str:
    """A function's code without comments and docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
