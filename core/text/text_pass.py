"""One streaming pass over windows of a text gives every measure of every head, every token's loss, and a few edges a head.

A layer's pattern is reduced inside the pass and thrown away: what stays is a few numbers for each head and window. A batch of
windows is a step between two checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import ModelUnavailable
from core.runtime.jobs import current_control
from core.text.cells import (
    CELL_MEASURES,
    WeightedCells,
    occurrences,
    paired_share,
    repeat_targets,
    uniform_levels,
    weighted_cells,
)
from core.text.natural_scores import LAGS, MEASURES, Edges, NaturalScores
from core.text.reduce import EdgeKeeper, TextReducer, explicit_pattern, layered, places_of
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import even_passes, rows_per_pass
from core.transformer.passes.fused import Engine, fused_body, way_of
from core.transformer.passes.fused_attention import ExplicitAttention, Seen
from core.transformer.passes.hooks import Hook, check_finite, pattern_hook, run_body
from core.transformer.passes.readout import over_targets
from core.transformer.passes.windows import layer_windows

# Windows after which what there is so far is shown.
PARTIAL_EVERY = 8


@torch.no_grad()
def measure_text(
    model: LoadedModel,
    tokens: Int[np.ndarray, "windows tokens"],
    *,
    b: int,
    uncounted: frozenset[int] = frozenset(),
    engine: Engine | None = None,
    seed: int = 0,
) -> NaturalScores:
    """Every measure on `tokens`, used as they are.

    b: 1 where a BOS is in front. uncounted: ids that are never repeats.
    engine: as for `measure_heads`.

    Raises ModelUnavailable for undefined numbers, too little memory, or a layer that shows no attention.
    """
    n_windows, n_tokens = tokens.shape
    reading = _Reading(model, n_tokens, b, uncounted, way_of(model, n_tokens, engine).engine, seed)
    control = current_control()
    shown = 0
    step = rows_per_pass(model, n_tokens, makes_way=True)
    for rows in even_passes(n_windows, step):
        control.checkpoint()
        reading.add(tokens[rows])
        control.progress(reading.windows / n_windows, "reading windows of text")
        if shown + PARTIAL_EVERY <= reading.windows < n_windows:
            shown = reading.windows
            control.partial(reading.scores())
    return reading.scores()


class _Reading:
    """What has been read so far: a few numbers for each head and window, and a few edges a head."""

    def __init__(self, model: LoadedModel, n_tokens: int, b: int, uncounted: frozenset[int], engine: Engine, seed: int) -> None:
        self._model, self._n_tokens, self._b, self._uncounted, self._engine = model, n_tokens, b, uncounted, engine
        self._layers = list(model.anatomy.attention)
        self._keepers: dict[int, EdgeKeeper] = {}
        self._reduced: dict[str, dict[int, list[Tensor]]] = {name: {layer: [] for layer in self._layers} for name in MEASURES}
        self._losses: list[np.ndarray] = []
        self._lags: list[np.ndarray] = []
        self._repeats: list[np.ndarray] = []
        self._paired: list[float] = []
        self._levels = _Levels(model, n_tokens)
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def windows(self) -> int:
        """How many windows have been read."""
        return len(self._repeats)

    def add(self, rows: Int[np.ndarray, "batch tokens"]) -> None:
        """Run a few windows."""
        device, b, uncounted, start = self._model.device, self._b, self._uncounted, self.windows
        cells = [weighted_cells(row, b, uncounted) for row in rows]
        reduce = TextReducer(cells, self._n_tokens, b, device)
        same = np.stack([occurrences(row, b, uncounted) for row in rows])
        follows = torch.zeros(same.shape, dtype=torch.bool)
        follows[:, :, 1:] = torch.from_numpy(same[:, :, :-1])
        follows = follows.to(device)
        # Above 0: that is what an edge has that is not there.
        lots = (torch.rand(len(rows), self._n_tokens, generator=self._generator) * 0.999 + 0.001).to(device)

        def read(layer: int, pattern: Tensor, norms: Tensor | None, logs: Tensor | None) -> None:
            for name, values in reduce(pattern, norms, logs).items():
                self._reduced[name][layer].append(values)
            keeper = self._keepers.setdefault(layer, EdgeKeeper(pattern.shape[1], pattern.device))
            keeper.add(pattern, follows, start, lots)

        batch = torch.from_numpy(np.array(rows))
        final = self._run(batch, read)
        check_finite(self._model, final, batch)
        loss, profile = predictions(self._model, final, batch, same, b)
        self._losses.append(loss)
        self._lags.append(profile)
        self._levels.add(cells)
        self._repeats += [repeat_targets(row, b, uncounted) for row in rows]
        self._paired += [paired_share(row, b, uncounted) for row in rows]

    def _run(self, batch: Tensor, read: Callable[[int, Tensor, Tensor | None, Tensor | None], None]) -> Tensor:
        """One pass in which `read` gets every layer's pattern."""
        if self._engine == "hooks":

            def hook(layer: int) -> Hook:
                return pattern_hook(layer), lambda pattern: read(layer, pattern, None, None)

            return run_body(self._model, batch, [hook(layer) for layer in self._layers], makes_way=True).final
        order = iter(self._layers)

        def see(attention: Seen) -> None:
            norms = attention.value.float().norm(dim=-1)
            if isinstance(attention, ExplicitAttention):
                read(next(order), attention.pattern, norms, None)
            else:
                pattern, logs = explicit_pattern(attention)
                read(next(order), pattern, norms, logs)

        return fused_body(self._model, batch, see, makes_way=True)

    def scores(self) -> NaturalScores:
        """What the windows that were read come to."""
        card, kept = self._model.card, self._keepers
        if set(kept) != set(self._layers):
            raise ModelUnavailable(f"Not every layer of {card.name} shows its attention, so no head can be scored.")
        shape = (card.n_layers, card.n_heads)
        per_window = {
            name: layered({layer: torch.cat(parts).T for layer, parts in found.items()}, *shape, np.nan)
            for name, found in self._reduced.items()
        }
        shares = np.array(self._paired)
        known = shares[~np.isnan(shares)]
        best = {layer: (keeper.best, keeper.best_at) for layer, keeper in kept.items()}
        sampled = {layer: (keeper.sampled, keeper.sampled_at) for layer, keeper in kept.items()}
        return NaturalScores(
            per_window=per_window,
            token_loss=np.concatenate(self._losses),
            repeat=np.stack(self._repeats),
            lags=np.concatenate(self._lags),
            chance=self._levels.means(),
            paired=float(known.mean()) if len(known) else float("nan"),
            edges=_edges(best, shape, self._n_tokens),
            tenths=_edges(sampled, shape, self._n_tokens),
            tenth_counts=layered({layer: keeper.counts for layer, keeper in kept.items()}, *shape, 0),
            engine=self._engine,
        )


def predictions(
    model: LoadedModel,
    final: Float[Tensor, "batch tokens d_model"],
    batch: Int[Tensor, "batch tokens"],
    same: np.ndarray,
    b: int,
) -> tuple[Float[np.ndarray, "batch tokens"], Float[np.ndarray, "batch lags"]]:
    """Each token's loss (nats; NaN at position 0), and the lag profile, from the same logits.

    The profile is the mean probability, over queries with a pair, of the token `k` places from the latest occurrence whose
    successor lies before the query, for each lag `k` whose place is in the window and not behind the query; else NaN.

    same: `occurrences` of each row.
    """
    n_tokens = batch.shape[1]
    latest = _latest(same)
    places = latest[:, :, None] + np.array(LAGS)
    seen = (latest[:, :, None] >= 0) & (places >= b) & (places <= np.arange(n_tokens)[None, :, None])
    ids = np.take_along_axis(batch.numpy(), np.clip(places, 0, n_tokens - 1).reshape(len(batch), -1), 1).reshape(places.shape)
    targets = torch.arange(1, n_tokens)
    wanted = torch.from_numpy(ids[:, :-1]).flatten(0, 1).to(final.device)
    done = 0

    def look(logits: Tensor, right: Tensor) -> Tensor:
        nonlocal done
        total = logits.logsumexp(-1, keepdim=True)
        some = wanted[done : done + len(logits)]
        done += len(logits)
        return torch.cat([total - logits.gather(-1, right[:, None]), (logits.gather(-1, some) - total).exp()], -1)

    found = over_targets(model, final, batch, targets, look).cpu().numpy()
    loss = np.concatenate([np.full((len(batch), 1), np.nan, np.float32), found[:, :, 0]], 1)
    probability, valid = found[:, :, 1:].astype(np.float64), seen[:, :-1]
    count = valid.sum(1)
    with np.errstate(invalid="ignore"):
        profile = np.where(valid, probability, 0.0).sum(1) / np.where(count, count, np.nan)
    return loss, profile.astype(np.float32)


def _latest(same: np.ndarray) -> Int[np.ndarray, "batch tokens"]:
    """For each query its latest occurrence whose successor lies before it; -1 for none."""
    pairs = np.tril(same, k=-2)
    n_tokens = same.shape[-1]
    return np.where(pairs.any(-1), n_tokens - 1 - np.argmax(pairs[:, :, ::-1], -1), -1)


class _Levels:
    """What uniform attention gives each measure, layer by layer, over all windows."""

    def __init__(self, model: LoadedModel, n_tokens: int) -> None:
        self._windows = layer_windows(model, n_tokens)
        self._found: dict[int, list[Float[np.ndarray, " measures"]]] = {int(window): [] for window in set(self._windows)}

    def add(self, cells: list[WeightedCells]) -> None:
        for window, levels in self._found.items():
            # An irregular layer's sight is not known, so neither is chance in it.
            levels += [uniform_levels(each, window) if window >= 0 else np.full(len(CELL_MEASURES), np.nan) for each in cells]

    def means(self) -> dict[str, Float[np.ndarray, " n_layers"]]:
        by_window = {window: _mean_of_known(np.array(levels)) for window, levels in self._found.items()}
        return {
            name: np.array([by_window[int(window)][place] for window in self._windows])
            for place, name in enumerate(CELL_MEASURES)
        }


def _mean_of_known(values: Float[np.ndarray, "windows measures"]) -> Float[np.ndarray, " measures"]:
    known = ~np.isnan(values)
    count = known.sum(0)
    with np.errstate(invalid="ignore"):
        found: Float[np.ndarray, " measures"] = np.where(known, values, 0.0).sum(0) / np.where(count, count, np.nan)
    return found


def _edges(found: dict[int, tuple[Tensor, Tensor]], shape: tuple[int, int], n_tokens: int) -> Edges:
    strength = layered({layer: kept for layer, (kept, _) in found.items()}, *shape, 0.0)
    at = layered({layer: numbers for layer, (_, numbers) in found.items()}, *shape, 0)
    return Edges(strength, *places_of(at, n_tokens))
