"""What a model by construction contains, and what it must then score: the exact answers. Imports no torch.

The residual stream has five blocks: `tok | pos | prev | out | const`. A previous-token head writes each token's
predecessor into `prev`; an induction head looks for keys whose `prev` is the current token and copies their `tok` into
`out`; the unembedding reads `out` times `LOGIT_SCALE`. Everything follows from the attention strengths (science:
"Known answers, by construction").
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

HeadKind = Literal["previous_token", "induction", "positional", "duplicate_token", "sink"]
LOGIT_SCALE = 10.0
CONSTRUCTION_VERSION = 1
BOS_ID = 0


@dataclass(frozen=True)
class PlantedHead:
    """One head with a known job.

    strength: the score (before the softmax) of the key it looks for; `beta` in the closed forms.
    copying: what an induction-like head writes of the attended token into `out`: 1 copies, 0 nothing, -1 suppresses.
    offset: how far back a positional head looks, in tokens.
    """

    layer: int
    head: int
    kind: HeadKind
    strength: float
    copying: float = 0.0
    offset: int = 0


@dataclass(frozen=True)
class CircuitSpec:
    """A model by construction: its sizes and its planted heads; every other head attends uniformly and writes nothing."""

    planted: tuple[PlantedHead, ...]
    n_layers: int = 2
    n_heads: int = 4
    d_vocab: int = 128
    n_ctx: int = 208

    def __post_init__(self) -> None:
        places = [(head.layer, head.head) for head in self.planted]
        if len(set(places)) != len(places):
            raise ValueError("two planted heads share a place")
        if any(not (0 <= layer < self.n_layers and 0 <= head < self.n_heads) for layer, head in places):
            raise ValueError("a planted head lies outside the model")

    @property
    def d_model(self) -> int:
        """Width of `tok | pos | prev | out | const`."""
        return 3 * self.d_vocab + self.n_ctx + 1

    @property
    def d_head(self) -> int:
        """Enough for a head that matches tokens and positions at once."""
        return self.d_vocab + self.n_ctx

    def of_kind(self, kind: HeadKind) -> tuple[PlantedHead, ...]:
        """The planted heads of one kind."""
        return tuple(head for head in self.planted if head.kind == kind)

    def digest(self) -> str:
        """What identifies the weights: they are a function of this specification alone."""
        text = json.dumps([CONSTRUCTION_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def standard_spec(seed: int = 0, *, beta: float = 10.0, positional_offset: int = 49) -> CircuitSpec:
    """The circuit of the self-check: one previous-token head, one induction head, and impostors in places chosen by `seed`.

    The impostors are a positional head that always looks `positional_offset` back (`L - 1` for the default length 50), a
    duplicate-token head and a sink. They write nothing, so the circuit's answers stay exact.
    """
    random = np.random.default_rng(seed)
    first, second = random.permutation(4), random.permutation(4)
    return CircuitSpec(
        planted=(
            PlantedHead(0, int(first[0]), "previous_token", strength=60.0),
            PlantedHead(0, int(first[1]), "duplicate_token", strength=beta),
            PlantedHead(1, int(second[0]), "induction", strength=beta, copying=1.0),
            PlantedHead(1, int(second[1]), "positional", strength=beta, offset=positional_offset),
            PlantedHead(1, int(second[2]), "sink", strength=beta),
        )
    )


def expected_induction_pattern(length: int, b: int, beta: float) -> Float[np.ndarray, " length"]:
    """`A[q, q-L+1]` of an induction head for each second-copy query: `e^beta / (e^beta + e^(beta/2) + q - 1)`.

    Without a BOS no key has strength `beta / 2`; and the very first token, which has only itself to look back at, counts
    as its own predecessor, so the first query finds two matches.
    """
    return math.exp(beta) / _partition(length, b, beta)


def expected_prefix_matching(length: int, b: int, beta: float) -> float:
    """The induction score of the induction head, in closed form."""
    return float(expected_induction_pattern(length, b, beta).mean())


def expected_second_copy_loss(length: int, b: int, beta: float, d_vocab: int) -> float:
    """The second-copy loss of the whole circuit in nats, in closed form.

    At position `i` of the second copy, tokens `0..i` have been seen twice, the correct one and the later ones once, and
    each key adds its attention weight times `LOGIT_SCALE` to its own token's logit.
    """
    i = np.arange(length - 1, dtype=np.float64)
    unit = LOGIT_SCALE / _partition(length, b, beta)[:-1]
    correct = math.exp(beta) * unit
    total = np.exp(correct) + (i + 1) * np.exp(2 * unit) + (length - i - 2) * np.exp(unit)
    total += b * np.exp(math.exp(beta / 2) * unit) + (d_vocab - length - b)
    if not b:
        total[0] += np.exp((math.exp(beta) + 1) * unit[0]) - np.exp(2 * unit[0])
    return float((np.log(total) - correct).mean())


def _partition(length: int, b: int, beta: float) -> Float[np.ndarray, " length"]:
    """The softmax's denominator for each second-copy query: the matches, a BOS if there is one, other keys at score 0."""
    queries = np.arange(length + b, 2 * length + b, dtype=np.float64)
    partition = math.exp(beta) + b * math.exp(beta / 2) + (queries - b)
    if not b:
        partition[0] += math.exp(beta) - 1
    return partition
