"""One small, real example of induction, for the first page: a bundled model's best induction head on a few words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.heads import Head
from core.probes.layout import Layout

WORDS = 4
SEQUENCES = 16


@dataclass(frozen=True)
class InductionExample:
    """A head's pattern on `[BOS] + r + r`, and the tokens' texts.

    position: the second-copy token to point at; induction looks from it to `position - length + 1`.
    """

    model: str
    head: Head
    tokens: tuple[str, ...]
    pattern: Float[np.ndarray, "tokens tokens"]
    layout: Layout
    position: int

    @property
    def target(self) -> int:
        """The token after the earlier copy: where induction looks."""
        return self.position - self.layout.length + 1
