"""Measures on text: the circuit by construction, the model library's eager attention by loops, and the usual mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from core.models.built_in.circuit_spec import CircuitSpec, PlantedHead
from core.models.built_in.construction import build
from core.models.in_memory import adopt
from core.runtime.jobs import JobControl, running
from core.stats import student_intervals
from core.text import cells, text_pass
from core.text.natural_scores import _OF_LIFT, LAGS, NaturalScores, _measured, _smallest, in_context_score
from core.text.text_pass import measure_text
from core.text.words import so_far_sentence
from core.transformer.passes.fused import can_fuse

BASE: dict[str, Any] = dict(
    num_hidden_layers=3,
    num_attention_heads=4,
    hidden_size=64,
    intermediate_size=96,
    vocab_size=64,
    max_position_embeddings=128,
    initializer_range=0.3,
)
GROUPED = BASE | {"num_key_value_heads": 2}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: transformers.GPT2Config(
        n_layer=3, n_head=4, n_embd=64, vocab_size=64, n_positions=128, initializer_range=0.3
    ),
    "grouped": lambda: transformers.LlamaConfig(**GROUPED),
    "windowed": lambda: transformers.MistralConfig(**GROUPED, sliding_window=9),
    "hybrid": lambda: transformers.Lfm2Config(
        **(GROUPED | {"num_hidden_layers": 4}), layer_types=["conv", "full_attention"] * 2
    ),
}
UNKNOWN, SPECIAL = 3, 2
UNCOUNTED = frozenset({UNKNOWN, SPECIAL})


@cache
def made(name: str) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(MODELS[name](), attn_implementation="eager").eval()


def text_like(windows: int, n_tokens: int, seed: int = 0) -> np.ndarray:
    """Ids with many repeats, of words that stand twice in a row, too, and of a special token between documents."""
    random = np.random.default_rng(seed)
    rows = random.choice(14, size=(windows, n_tokens), p=np.arange(14, 0, -1) / 105)
    rows[:, 10:14] = rows[:, 3:7]
    rows[:, 20] = rows[:, 19]
    rows[:, 0] = 0
    return rows.astype(np.int64)


def brute_force(pattern: np.ndarray, ids: list[int], b: int, norms: np.ndarray | None) -> dict[str, float]:
    """Science section 7 spelled out as loops over one head's pattern of one window; shares no code with the project."""
    n = len(ids)

    def word(place: int) -> bool:
        return place >= b and ids[place] not in (UNKNOWN, SPECIAL)

    def occurrences(q: int, longer: int = 1) -> list[int]:
        """Earlier places at which the last `longer` tokens are those at `q`."""
        return [
            p
            for p in range(b, q)
            if all(p - i >= b and word(p - i) and word(q - i) and ids[p - i] == ids[q - i] for i in range(longer))
        ]

    def mean_of_sums(of: Callable[[int], list[float]]) -> float:
        sums = [sum(found) for found in map(of, range(b, n)) if found]
        return float(np.mean(sums)) if sums else math.nan

    def nearest(q: int, allowed: Callable[[int], bool]) -> int | None:
        found = [other for other in range(b, n) if other != q and allowed(other)]
        return min(found, key=lambda other: (abs(other - q), other), default=None)

    def controls(q: int, p: int) -> tuple[int, int] | None:
        back = q - (p + 1)
        distance = nearest(q, lambda o: o - back - 1 >= b and ids[o - back - 1] != ids[o])
        key = nearest(q, lambda o: o > p + 1 and ids[o] != ids[p])
        return None if distance is None or key is None else (distance, key)

    def paired(value: Callable[[int, int, int, int], float]) -> float:
        def of(q: int) -> list[float]:
            found = [(p, controls(q, p)) for p in occurrences(q) if p + 1 < q]
            return [value(q, p, *both) for p, both in found if both is not None]

        return mean_of_sums(of)

    def exactly(longer: int) -> float:
        return mean_of_sums(
            lambda q: [pattern[q, p + 1] for p in occurrences(q, longer) if p + 1 < q and p not in occurrences(q, longer + 1)]
        )

    def matching(longer: int) -> float:
        return mean_of_sums(lambda q: [pattern[q, p + 1] for p in occurrences(q, longer) if p + 1 < q])

    rows = pattern / pattern.sum(-1, keepdims=True)
    found = {
        "natural_induction": matching(1),
        "paired": paired(lambda q, p, distance, key: pattern[q, p + 1]),
        "distance_control": paired(lambda q, p, distance, key: pattern[distance, distance - (q - p - 1)]),
        "key_control": paired(lambda q, p, distance, key: pattern[key, p + 1]),
        "previous_token": float(np.mean([pattern[q, q - 1] for q in range(b + 1, n)])),
        "duplicate_token": mean_of_sums(lambda q: [pattern[q, p] for p in occurrences(q)]),
        "headvis": mean_of_sums(lambda q: [pattern[q, p + 1] * (pattern[q, p + 1] >= 0.01) for p in occurrences(q)]),
        "match_2": matching(2),
        "match_3": matching(3),
        "shorter_2": exactly(1),
        "shorter_3": exactly(2),
        "sink": float(np.mean([pattern[q, 0] for q in range(1, n)])),
        "distance": float(np.mean([sum(rows[q, k] * (q - k) for k in range(q + 1)) for q in range(1, n)])),
        "entropy": float(
            np.mean([-sum(a * math.log(a) for a in rows[q, : q + 1] if a > 0) / math.log(q + 1) for q in range(1, n)])
        ),
    }
    if norms is not None:
        found["value_weighted"] = mean_of_sums(
            lambda q: [pattern[q, p + 1] * norms[p + 1] / float(np.dot(pattern[q], norms)) for p in occurrences(q) if p + 1 < q]
        )
    return found


def value_norms(model: Any, tokens: torch.Tensor) -> dict[int, np.ndarray]:
    """`[windows, heads, tokens]` by layer, off the library's own value projections."""
    found: dict[int, np.ndarray] = {}
    handles = []
    for layer, block in enumerate(model.model.layers):
        if not hasattr(block, "self_attn"):
            continue

        def keep(module: Any, given: Any, output: torch.Tensor, layer: int = layer) -> None:
            shared = output.unflatten(-1, (2, -1)).norm(dim=-1)
            found[layer] = shared.repeat_interleave(2, dim=-1).transpose(1, 2).double().numpy()

        handles.append(block.self_attn.v_proj.register_forward_hook(keep))
    with torch.no_grad():
        model(tokens)
    for handle in handles:
        handle.remove()
    return found


@cache
def expected(name: str, b: int, windows: int = 3) -> dict[str, np.ndarray]:
    model, tokens = made(name), torch.from_numpy(text_like(windows, 40))
    with torch.no_grad():
        output = model(tokens, output_attentions=True, use_cache=False)
    patterns = [None if p is None or p.ndim != 4 else p.double().numpy() for p in output.attentions]
    layers = range(len(patterns)) if name != "hybrid" else (1, 3)
    attending = [p for p in patterns if p is not None]
    norms = value_norms(model, tokens) if name in ("grouped", "windowed") else {}
    found: dict[str, np.ndarray] = {}
    for layer, pattern in zip(layers, attending, strict=True):
        for row in range(windows):
            for head in range(4):
                own = norms[layer][row, head] if norms else None
                for measure, value in brute_force(pattern[row, head], tokens[row].tolist(), b, own).items():
                    found.setdefault(measure, np.full((model.config.num_hidden_layers, 4, windows), np.nan))
                    found[measure][layer, head, row] = value
    return found


def worst(measured: NaturalScores, wanted: dict[str, np.ndarray]) -> float:
    """The largest difference of any measure; infinite where only one side has a number."""
    differences = [0.0]
    for name, values in wanted.items():
        own = measured.per_window[name]
        if (np.isnan(own) != np.isnan(values)).any():
            return math.inf
        # Distances are in tokens.
        differences.append(float(np.nanmax(np.abs(own - values) / (40 if name == "distance" else 1))))
    return max(differences)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("b", [1, 0])
def test_every_measure_equals_loops_over_the_librarys_eager_attention(name: str, b: int) -> None:
    loaded, tokens = adopt(made(name)), text_like(3, 40)
    wanted = expected(name, b)
    assert np.isfinite(wanted["match_3"]).any() and np.isfinite(wanted["shorter_3"]).any()
    for engine in ("fused", "hooks"):
        measured = measure_text(loaded, tokens, b=b, uncounted=UNCOUNTED, engine=engine)
        seen = {k: v for k, v in wanted.items() if engine == "fused" or k != "value_weighted"}
        assert worst(measured, seen) < 1e-5


def _shifted_successor(ids: np.ndarray, b: int, uncounted: frozenset[int] = frozenset()) -> cells.WeightedCells:
    found = _ORIGINAL(ids, b, uncounted)
    return cells.WeightedCells(found.queries, np.maximum(found.keys - 1, 0), found.weights, found.headvis, found.known)


_ORIGINAL = cells.weighted_cells
_NEAREST = cells._nearest


def _other_distance(ids: np.ndarray, b: int, pairs: cells.Pairs) -> np.ndarray:
    return np.maximum(b + 1, cells.key_controls(ids, pairs) - 1)


MISTAKES: dict[str, tuple[Any, str, Any]] = {
    "the copy instead of its successor": (text_pass, "weighted_cells", _shifted_successor),
    "A A counted": (cells, "pairs_of", lambda same: np.nonzero(np.tril(same, k=-1))),
    "control at other distances": (cells, "distance_controls", _other_distance),
    "the window's first token left out": (text_pass, "weighted_cells", lambda ids, b, u: _ORIGINAL(ids, 1, u)),
    "the BOS counted as a repeat": (text_pass, "weighted_cells", lambda ids, b, u: _ORIGINAL(ids, 0, u)),
    "unknown words taken for one word": (text_pass, "weighted_cells", lambda ids, b, u: _ORIGINAL(ids, b, u - {UNKNOWN})),
    "a special token taken for a word": (text_pass, "weighted_cells", lambda ids, b, u: _ORIGINAL(ids, b, u - {SPECIAL})),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_usual_mistakes_are_seen(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    b = 0 if "first token" in mistake else 1
    monkeypatch.setattr(*MISTAKES[mistake])
    measured = measure_text(adopt(made("grouped")), text_like(3, 40), b=b, uncounted=UNCOUNTED)
    assert worst(measured, expected("grouped", b)) > 1e-3


def test_losses_and_the_lag_profile_equal_the_librarys_own_logits() -> None:
    model, tokens, b = made("grouped"), text_like(3, 40), 1
    measured = measure_text(adopt(model), tokens, b=b, uncounted=UNCOUNTED)
    with torch.no_grad():
        chance = torch.log_softmax(model(torch.from_numpy(tokens)).logits.double(), -1).numpy()
    for row, ids in enumerate(tokens.tolist()):
        loss = [-chance[row, t - 1, ids[t]] for t in range(1, 40)]
        assert np.allclose(measured.token_loss[row, 1:], loss, atol=1e-5)
        repeats = [
            any(ids[p : p + 2] == ids[t - 1 : t + 1] and not UNCOUNTED & {*ids[p : p + 2]} for p in range(b, t - 1))
            and t - 1 >= b
            for t in range(40)
        ]
        assert measured.repeat[row].tolist() == repeats
        for place, lag in enumerate(LAGS):
            found = []
            for q in range(b, 39):
                earlier = [p for p in range(b, q - 1) if ids[p] == ids[q] and ids[q] not in UNCOUNTED]
                if earlier and b <= earlier[-1] + lag <= q:
                    found.append(math.exp(chance[row, q, ids[earlier[-1] + lag]]))
            assert measured.lags[row, place] == pytest.approx(np.mean(found), abs=1e-6)
    late, early = measured.token_loss[:, -9:].mean(-1), measured.token_loss[:, 2:11].mean(-1)
    assert np.allclose(in_context_score(measured.token_loss, b), late - early)


def test_the_circuit_by_construction_is_exact_on_text_whose_repeats_are_known() -> None:
    beta = 6.0
    spec = CircuitSpec(
        planted=(
            PlantedHead(0, 1, "previous_token", strength=60.0),
            PlantedHead(0, 2, "duplicate_token", strength=beta),
            PlantedHead(1, 0, "induction", strength=beta, copying=1.0),
            PlantedHead(1, 2, "sink", strength=beta),
        )
    )
    # One bigram again, one of its tokens a third time, everything else once; the sequence is not periodic.
    ids = np.array([[0, 5, 9, 7, 11, 5, 13, 9, 20, 21, 5, 22, 23, 24]])
    found = measure_text(build(spec), ids, b=1)

    def matched(q: int, matches: int) -> float:
        total = matches * math.exp(beta) + math.exp(beta / 2) + (q + 1 - matches - 1)
        return matches * math.exp(beta) / total

    wanted = np.mean([matched(5, 1), matched(7, 1), matched(10, 2)])
    assert found.mean("natural_induction")[1, 0] == pytest.approx(wanted, abs=1e-6)
    # No control cell is a successor of an earlier copy: each has score 0 beside the BOS, and the query's own matches.
    assert found.mean("distance_control")[1, 0] < 0.1 and found.mean("key_control")[1, 0] < 0.1
    others = [found.lift.value[place] for place in ((0, 1), (0, 2), (1, 2))]
    assert found.lift.value[1, 0] > 0.85 and max(others) < 0.05
    best = found.edges
    assert best.strength[1, 0, 0, 0] == pytest.approx(max(matched(5, 1), matched(7, 1)), abs=1e-6)
    assert (best.query[1, 0, 0, 0], best.key[1, 0, 0, 0]) in {(5, 2), (7, 3)}
    assert int(found.tenth_counts[1, 0].sum()) == 12


def test_strongest_edges_and_samples_do_not_depend_on_how_windows_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, tokens = adopt(made("grouped")), text_like(9, 40)
    whole = measure_text(loaded, tokens, b=1)
    monkeypatch.setattr(text_pass, "rows_per_pass", lambda *given, **more: 2)
    parts = measure_text(loaded, tokens, b=1)
    for name in ("strength", "window", "query", "key"):
        assert np.allclose(getattr(whole.edges, name), getattr(parts.edges, name), atol=1e-6)
    assert (whole.tenth_counts == parts.tenth_counts).all()
    with torch.no_grad():
        patterns = made("grouped")(torch.from_numpy(tokens), output_attentions=True, use_cache=False).attentions
    edges = whole.edges
    for head in range(4):
        for kept in range(12):
            window, query, key = (getattr(edges, name)[2, head, 1, kept] for name in ("window", "query", "key"))
            strength = float(patterns[2][window, head, query, key])
            assert edges.strength[2, head, 1, kept] == pytest.approx(strength, abs=1e-5)
            assert strength == pytest.approx(float(patterns[2][window, head, query, 1:].max()), abs=1e-5)


def test_what_there_is_so_far_is_shown_and_work_yields_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watching(JobControl):
        def __init__(self) -> None:
            super().__init__()
            self.steps, self.shown = 0, []

        def checkpoint(self) -> None:
            self.steps += 1

        def partial(self, value: NaturalScores) -> None:
            self.shown.append(value)

    monkeypatch.setattr(text_pass, "rows_per_pass", lambda *given, **more: 2)
    control, tokens, model = Watching(), text_like(20, 40), adopt(made("grouped"))
    # Tried once for each model and length, with steps of its own, by whoever comes first.
    assert can_fuse(model, tokens.shape[1])
    with running(control):
        whole = measure_text(model, tokens, b=1)
    # Ten batches: one step at the beginning of each, and one at each of its blocks.
    assert control.steps == 10 * (1 + model.card.n_layers) and [found.n_windows for found in control.shown] == [8, 16]
    for found in control.shown:
        part = whole.of(np.arange(found.n_windows))
        assert np.allclose(found.lift.value, part.lift.value, equal_nan=True)
        assert so_far_sentence(found).startswith(f"After {found.n_windows} windows the largest lifts are L")


def test_the_lifts_interval_covers_by_simulation() -> None:
    random, hits, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        # Windows differ much, and the two controls hardly: the larger of the true ones is .10.
        difficulty = random.beta(2, 5, size=(40, 1))
        score, distance, key = (
            level + 0.1 * (difficulty - 2 / 7) + random.normal(0, 0.05, (40, 1)) for level in (0.3, 0.1, 0.09)
        )
        parts = [_measured((score - control).T[None], _OF_LIFT) for control in (distance, key)]
        lift = _smallest(parts)
        hits += bool(lift.low[0, 0] <= 0.2 <= lift.high[0, 0])
    assert 0.92 <= hits / trials <= 0.99
    low, high = student_intervals(np.zeros((1, 5)) + np.arange(5))
    assert low[0] < 2 < high[0]
