"""Heads that only look like induction heads, and induction heads that hardly look like it, planted at random places.

As `tests.helpers.planted`, with heads that no bundled model has. What earlier heads hand on beyond a token's predecessor (the
token before that, and whether a token came before at all) is written where positions that never occur have their dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch

from core.heads import Head
from core.models.built_in import construction
from core.models.built_in.circuit_spec import BOS_ID, CircuitSpec, PlantedHead
from core.probes.given import given_probe
from core.probes.probe import Probe
from core.transformer.loaded import LoadedModel
from core.verdicts.labels import Label
from tests.helpers.judging import EACH, probes_for

LENGTH = 16
D_VOCAB = 36
USED = 2 * LENGTH + 1
# Scratch dimensions, after those of the positions that occur.
_BEFORE_LAST, _REPEATS = USED, USED + D_VOCAB
_N_CTX = USED + D_VOCAB + 1
LEAK = 0.27
RARE, VERY_RARE = 0.5, 0.1
WINDOW = 3


@dataclass(frozen=True)
class HardCase:
    """One kind of head and what it must be called. offset, as a planted head's, says more where a kind needs it."""

    name: str
    kind: str
    label: Label
    copying: float = 0.0
    offset: int = 0
    lengths: tuple[int, ...] = (8, LENGTH)
    duplicated: bool = False


HARD_CASES = (
    HardCase("fixed offset behind a repeated token", "gated_offset", "none", copying=1.0, offset=LENGTH - 1, lengths=(LENGTH,)),
    HardCase("duplicate head that leaks to the successor", "leak", "duplicate token"),
    HardCase("smear over the copy and the two after it", "smear", "none", copying=1.0),
    HardCase("the token after the successor", "two_after", "none", copying=1.0),
    HardCase("first token of the second copy", "absolute", "none", offset=LENGTH + 1, lengths=(LENGTH,)),
    HardCase("duplicated keys", "induction", "induction", copying=1.0, lengths=(12, LENGTH), duplicated=True),
    HardCase("half of the tokens", "some_tokens", "induction", copying=1.0, offset=round(RARE * D_VOCAB)),
    HardCase("rare tokens", "some_tokens", "sink", copying=1.0, offset=round(VERY_RARE * D_VOCAB)),
    HardCase("positional copier", "positional", "positional impostor", copying=1.0, offset=LENGTH - 1, lengths=(LENGTH,)),
    HardCase("positional window", "window", "positional impostor", offset=LENGTH - 1, lengths=(LENGTH,)),
    HardCase("two-token prefix", "prefix", "induction", copying=1.0),
)


def hard_model(case: HardCase, seed: int) -> tuple[LoadedModel, Head]:
    """A model with the case's head and a true induction head at random places, and the former's place."""
    random = np.random.default_rng(seed)
    n_layers, n_heads = int(random.integers(2, 4)), int(random.integers(4, 7))
    first = [int(head) for head in random.permutation(n_heads)]
    later = [(layer, head) for layer in range(1, n_layers) for head in range(n_heads)]
    random.shuffle(later)
    place, true = later.pop(), later.pop()

    def strength() -> float:
        return float(random.uniform(10.0, 14.0))

    spec = CircuitSpec(
        planted=(
            PlantedHead(0, first.pop(), "previous_token", 60.0),
            PlantedHead(0, first.pop(), "two_back", 60.0),  # type: ignore[arg-type]
            PlantedHead(0, first.pop(), "repeats", 40.0),  # type: ignore[arg-type]
            PlantedHead(*true, "induction", strength(), copying=1.0),
            PlantedHead(*place, case.kind, strength(), case.copying, case.offset),  # type: ignore[arg-type]
        ),
        n_layers=n_layers,
        n_heads=n_heads,
        d_vocab=D_VOCAB,
        n_ctx=_N_CTX,
    )
    usual = construction._plant
    with mock.patch.object(construction, "_plant", lambda *given: _plant(usual, *given)):
        return construction.build(spec), Head(*place)


def hard_probes(case: HardCase, model: LoadedModel, seed: int) -> list[Probe]:
    """The case's probes: drawn ones, or given ones in which every third token of a copy occurs twice in it."""
    if not case.duplicated:
        return probes_for(model, seed, case.lengths, EACH * (2 // len(case.lengths)))
    random = np.random.default_rng(seed)
    found = []
    for length in case.lengths:
        rows = []
        for _ in range(EACH):
            drawn = random.permutation(np.arange(2, D_VOCAB))[: 3 * length // 4]
            r = random.permutation(np.concatenate([drawn, drawn[: length // 4]]))
            rows.append([BOS_ID, *map(int, r), *map(int, r)])
        found.append(given_probe(model.vocabulary, rows, length))
    return found


def _plant(usual: Callable[..., None], attention: Any, planted: PlantedHead, spec: CircuitSpec) -> None:
    """As the construction plants the heads that it knows; the others by the table below."""
    known = ("previous_token", "induction")
    if planted.kind in known:
        usual(attention, planted, spec)
        return
    at = construction._starts(spec.d_vocab, spec.n_ctx)
    rows = slice(planted.head * spec.d_head, (planted.head + 1) * spec.d_head)
    parts = [module.weight[rows] for module in (attention.q, attention.k, attention.v)]
    head = _Weights(*parts, attention.o.weight[:, rows], at, planted.strength * math.sqrt(spec.d_head))
    _KINDS[planted.kind](head, planted.offset)
    if planted.copying:
        head.hands_on(at["tok"], at["out"], planted.copying)


@dataclass(frozen=True)
class _Weights:
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    output: torch.Tensor
    at: dict[str, int]
    strength: float

    def looks_back(self, offset: int, share: float = 1.0, row: int = 0) -> None:
        """At the key `offset` before the query."""
        positions = torch.arange(USED)
        self.query[row + positions[: USED - offset], self.at["pos"] + positions[offset:]] = share * self.strength
        self.key[row + positions, self.at["pos"] + positions] = 1.0

    def looks_for(
        self, of_query: int, of_key: int, share: float = 1.0, tokens: torch.Tensor | None = None, row: int = 0
    ) -> None:
        """At keys whose block `of_key` holds the token in the query's block `of_query`."""
        tokens = torch.arange(D_VOCAB) if tokens is None else tokens
        self.query[row + tokens, of_query + tokens] = self.strength
        self.key[row + tokens, of_key + tokens] += share

    def not_at_itself(self) -> None:
        """Takes away what a query's own token would match."""
        rows, positions = 2 * D_VOCAB, torch.arange(USED)
        self.query[rows + positions, self.at["pos"] + positions] = -self.strength
        self.key[rows + positions, self.at["pos"] + positions] = 1.0

    def rests(self, share: float, unless: int | None = None) -> None:
        """At the BOS, with `share` of the strength; not where the query's dimension `unless` is 1."""
        self.query[-1, self.at["const"]] = share * self.strength
        if unless is not None:
            self.query[-1, unless] = -share * self.strength
        self.key[-1, self.at["tok"] + BOS_ID] = 1.0

    def hands_on(self, source: int, target: int, share: float = 1.0) -> None:
        """Writes the token in the key's block `source` into the block `target`."""
        tokens = torch.arange(D_VOCAB)
        self.value[tokens, source + tokens] = 1.0
        self.output[target + tokens, tokens] = share


def _two_back(head: _Weights, offset: int) -> None:
    head.looks_back(2)
    head.hands_on(head.at["tok"], head.at["pos"] + _BEFORE_LAST)


def _repeats(head: _Weights, offset: int) -> None:
    """Writes 1 where the current token came before: at the earlier copy it reads the constant, at the BOS nothing."""
    head.looks_for(head.at["tok"], head.at["tok"])
    head.not_at_itself()
    head.rests(0.5)
    head.value[0, head.at["const"]], head.value[0, head.at["tok"] + BOS_ID] = 1.0, -1.0
    head.output[head.at["pos"] + _REPEATS, 0] = 1.0


def _gated_offset(head: _Weights, offset: int) -> None:
    head.looks_back(offset)
    head.rests(1.5, unless=head.at["pos"] + _REPEATS)


def _leak(head: _Weights, offset: int) -> None:
    head.looks_for(head.at["tok"], head.at["tok"])
    less = 1 + math.sqrt(head.query.shape[0]) * math.log(LEAK / (1 - LEAK)) / head.strength
    head.looks_for(head.at["tok"], head.at["prev"], less)
    head.not_at_itself()


def _smear(head: _Weights, offset: int) -> None:
    for block in (head.at["tok"], head.at["prev"], head.at["pos"] + _BEFORE_LAST):
        head.looks_for(head.at["tok"], block)
    head.not_at_itself()


def _two_after(head: _Weights, offset: int) -> None:
    head.looks_for(head.at["tok"], head.at["pos"] + _BEFORE_LAST)


def _absolute(head: _Weights, offset: int) -> None:
    head.query[0, head.at["const"]] = head.strength
    head.key[0, head.at["pos"] + offset] = 1.0


def _some_tokens(head: _Weights, offset: int) -> None:
    head.looks_for(head.at["tok"], head.at["prev"], tokens=torch.arange(2, 2 + offset))
    head.rests(0.5)


def _window(head: _Weights, offset: int) -> None:
    """The tokens `offset - 1` to `offset + 1` back alike."""
    positions = torch.arange(USED)
    for back in range(offset - WINDOW // 2, offset + WINDOW // 2 + 1):
        head.query[positions[: USED - back], head.at["pos"] + positions[back:]] = head.strength
    head.key[positions, head.at["pos"] + positions] = 1.0


def _prefix(head: _Weights, offset: int) -> None:
    """Where both the token before and the one before that are the query's own last two."""
    head.looks_for(head.at["tok"], head.at["prev"], 0.5)
    head.looks_for(head.at["prev"], head.at["pos"] + _BEFORE_LAST, 0.5, row=D_VOCAB)
    head.rests(0.75)


_KINDS: dict[str, Callable[[_Weights, int], None]] = {
    "two_back": _two_back,
    "repeats": _repeats,
    "gated_offset": _gated_offset,
    "leak": _leak,
    "smear": _smear,
    "two_after": _two_after,
    "absolute": _absolute,
    "some_tokens": _some_tokens,
    "positional": lambda head, offset: head.looks_back(offset),
    "window": _window,
    "prefix": _prefix,
}
