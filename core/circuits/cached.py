"""Circuits and pruning, from a request to a kept result: previous-token heads, the induction heads they serve, the edges.

Like `core.ablation.cached`: computed once for everybody, on the request's own probe; progress goes to the job that the work
runs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from core.ablation.cached import ABLATION_VERSION, bench_for
from core.ablation.sweep import recovered_fraction
from core.attention.cached import ScoreRequest, head_scores, run_key
from core.attention.scores import SCORE_VERSION, HeadScores, Layout, Losses, heads_above
from core.circuits.composition import KINDS
from core.errors import BadInput
from core.heads import Head, HeadSet, Mode, head_set
from core.models.load import model_identity
from core.probes.repeated import Probe
from core.runtime.cache import kept
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.settings.experiment import named
from core.transformer.card import ModelIdentity
from core.verdicts.cached import call_heads

CIRCUIT_VERSION = 1
# What can stand in for a head here. `resample` has no partner for a probe that is measured in parts, and holding patterns
# still would hide the very thing that is asked.
CIRCUIT_MODES: tuple[Mode, ...] = ("zero", "mean")
PREVIOUS_TOKEN_FLOOR = 0.4
MOST_HEADS = 8


@dataclass(frozen=True)
class Edge:
    """From a previous-token head to an induction head, both in two independent ways: weights, and what is lost without it.

    rank: the place of its K-composition among all `earlier` heads of the model, 1 the highest.
    clean, patched: the induction head's prefix matching, before and after its keys are read without the other head.
    """

    previous: Head
    induction: Head
    k_composition: float
    q_composition: float
    v_composition: float
    baseline: float
    rank: int
    earlier: int
    clean: float
    patched: float

    @property
    def drop(self) -> float:
        """What prefix matching loses."""
        return self.clean - self.patched


@dataclass(frozen=True)
class Circuit:
    """Previous-token heads, induction heads, and every edge between them."""

    previous: HeadSet
    induction: HeadSet
    mode: Mode
    composition: Float[np.ndarray, "induction kinds n_layers n_heads"]
    baseline: float
    clean: Float[np.ndarray, "n_layers n_heads"]
    patched: Float[np.ndarray, "previous n_layers n_heads"]

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """One for each previous-token head that lies in an earlier layer than an induction head, the largest drop first."""
        found = [
            self._edge(i, previous, j, induction)
            for i, previous in enumerate(self.previous)
            for j, induction in enumerate(self.induction)
            if previous[0] < induction[0]
        ]
        return tuple(sorted(found, key=lambda edge: -edge.drop))

    def _edge(self, i: int, previous: Head, j: int, induction: Head) -> Edge:
        k, q, v = (self.composition[j][KINDS.index(kind)] for kind in ("k", "q", "v"))
        return Edge(
            previous=previous,
            induction=induction,
            k_composition=float(k[previous]),
            q_composition=float(q[previous]),
            v_composition=float(v[previous]),
            baseline=self.baseline,
            rank=int((k > k[previous]).sum()) + 1,
            earlier=int((~np.isnan(k)).sum()),
            clean=float(self.clean[induction]),
            patched=float(self.patched[i][induction]),
        )


@dataclass(frozen=True)
class Pruning:
    """One head taken away: losses in nats, and prefix matching of every head before and after."""

    head: Head
    mode: Mode
    clean: Losses
    pruned: Losses
    before: Float[np.ndarray, "n_layers n_heads"]
    after: Float[np.ndarray, "n_layers n_heads"]

    @property
    def recovered_fraction(self) -> float:
        """The share of the gain on the second copy that is lost."""
        return recovered_fraction(self.pruned.second_copy, self.clean)


def circuit_heads(request: ScoreRequest) -> tuple[HeadSet, HeadSet]:
    """Previous-token heads (score above .4) and called induction heads, at most 8 each, the strongest first."""
    called = tuple((verdict.layer, verdict.head) for verdict in call_heads(request).called)[:MOST_HEADS]
    scores = head_scores(request).mean("previous_token")
    previous = [head for head in heads_above(scores, PREVIOUS_TOKEN_FLOOR) if head not in called]
    return tuple(previous[:MOST_HEADS]), called


def circuit(
    request: ScoreRequest, mode: Mode = "mean", *, previous: HeadSet | None = None, induction: HeadSet | None = None
) -> Circuit:
    """The edges between `previous` and `induction`, by default those of `circuit_heads`.

    Raises BadInput for a mode other than zero and mean, for heads the model does not have, or if it cannot be patched.
    """
    identity, probe = _checked(request, mode)
    if previous is None or induction is None:
        found = circuit_heads(request)
        previous, induction = found[0] if previous is None else previous, found[1] if induction is None else induction
    for heads in (previous, induction):
        head_set(heads, identity.card.n_layers, identity.card.n_heads)
    key = _key("circuit", identity, request, probe, mode, previous=named(previous), induction=named(induction))

    def compute() -> Stored:
        from core.circuits.composition import all_compositions, baseline
        from core.circuits.path_patching import path_patch

        control = current_control()
        control.progress(0.0, "reading weights")
        bench = bench_for(request, identity, probe)
        composition = all_compositions(bench.model, induction).numpy()
        control.checkpoint()
        patch = path_patch(bench, Layout.of(probe), previous, sorted({layer for layer, _ in induction}), mode)
        return Stored(
            {
                "composition": composition,
                "baseline": np.array(baseline(identity.card.d_model, identity.card.d_head)),
                "clean": patch.clean.numpy(),
                "patched": patch.patched.numpy(),
            },
            {},
        )

    arrays = kept(key, compute)
    return Circuit(
        previous,
        induction,
        mode,
        composition=arrays["composition"],
        baseline=float(arrays["baseline"]),
        clean=arrays["clean"],
        patched=arrays["patched"],
    )


def prune(request: ScoreRequest, head: Head, mode: Mode = "mean") -> Pruning:
    """Take one head away and measure everything again.

    Raises BadInput for a head that the model does not have, and a mode other than zero and mean.
    """
    identity, probe = _checked(request, mode)
    [place] = head_set([head], identity.card.n_layers, identity.card.n_heads)
    scores = head_scores(request)

    def compute() -> Stored:
        from core.ablation.pruning import scores_without

        without = scores_without(bench_for(request, identity, probe), probe, place, mode)
        return Stored({"after": without.mean("induction"), "token_loss": without.token_loss}, {})

    arrays = kept(_key("prune", identity, request, probe, mode, head=named([place])), compute)
    pruned = Losses.of(arrays["token_loss"], Layout.of(probe))
    return Pruning(place, mode, scores.losses(), pruned, scores.mean("induction"), arrays["after"])


def heads_to_prune(scores: HeadScores, edges: Sequence[Edge], picked: Head | None, called: HeadSet) -> HeadSet:
    """The head to look at (the picked one, else the one with the largest drop) and the two with the nearest previous-token
    score among all that are not called: if they do nothing, the score alone does not make a circuit."""
    previous = scores.mean("previous_token")
    others = [head for head in heads_above(previous, -1.0) if head not in called]
    first = picked or (edges[0].previous if edges else others[0])
    others = [head for head in others if head != first]
    nearest = sorted(others, key=lambda head: abs(float(previous[head] - previous[first])))[:2]
    return (first, *nearest)


def _checked(request: ScoreRequest, mode: Mode) -> tuple[ModelIdentity, Probe]:
    if mode not in CIRCUIT_MODES:
        raise BadInput(f"For circuits a head is replaced by zero or by its mean, not {mode!r}.")
    identity = model_identity(request.model)
    return identity, request.probe(identity)


def _key(kind: str, identity: ModelIdentity, request: ScoreRequest, probe: Probe, mode: str, **parts: object) -> str:
    versions = {"ablation": ABLATION_VERSION, "score": SCORE_VERSION, "circuit": CIRCUIT_VERSION}
    return run_key(kind, identity, request, probe=probe.digest(), mode=mode, versions=versions, **parts)
