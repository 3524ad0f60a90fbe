"""One streaming pass over windows of a text gives every measure of every head, every token's loss, and a few edges a head.

A layer's pattern is reduced inside the pass and thrown away: what stays is a few numbers for each head and window. A batch of
windows is a step between two checkpoints.
"""

from __future__ import annotations

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
from core.transformer.passes.batching import rows_per_pass
from core.transformer.passes.blocks import Engine
from core.transformer.passes.fused import can_fuse, fused_body
from core.transformer.passes.fused_attention import ExplicitAttention, Seen
from core.transformer.passes.hooks import Hook, check_finite, hooks_attached, pattern_hook, run_body
from core.transformer.passes.readout import over_targets
from core.transformer.passes.windows import layer_windows


@torch.no_grad()
def measure_text(
    model: LoadedModel,
    tokens: Int[np.ndarray, "windows tokens"],
    *,
    b: int,
    unknown: int | None = None,
    engine: Engine | None = None,
    seed: int = 0,
) -> NaturalScores:
    """Every measure on `tokens`, used as they are.

    b: 1 where a BOS is in front. unknown: the id that stands for every word outside the vocabulary, which is never a repeat.
    engine: as for `measure_heads`.

    Raises ModelUnavailable for undefined numbers, too little memory, or a layer that shows no attention.
    """
    n_windows, n_tokens = tokens.shape
    chosen: Engine = engine or ("fused" if not hooks_attached() and can_fuse(model, n_tokens) else "hooks")
    step = rows_per_pass(model, n_tokens)
    layers = list(model.anatomy.attention)
    keepers: dict[int, EdgeKeeper] = {}
    reduced: dict[str, dict[int, list[Tensor]]] = {name: {layer: [] for layer in layers} for name in MEASURES}
    losses, lags, control = [], [], current_control()
    generator = torch.Generator().manual_seed(seed)
    levels = _Levels(model, n_tokens)
    for start in range(0, n_windows, step):
        control.checkpoint()
        rows = tokens[start : start + step]
        cells = [weighted_cells(row, b, unknown) for row in rows]
        levels.add(cells)
        reduce = TextReducer(cells, n_tokens, b, model.device)
        same = np.stack([occurrences(row, b, unknown) for row in rows])
        follows = torch.zeros(same.shape, dtype=torch.bool)
        follows[:, :, 1:] = torch.from_numpy(same[:, :, :-1])
        follows = follows.to(model.device)
        lots = (torch.rand(len(rows), n_tokens, generator=generator) * 0.999 + 0.001).to(model.device)

        def read(
            layer: int,
            pattern: Tensor,
            norms: Tensor | None,
            logs: Tensor | None,
            *,
            reduce: TextReducer = reduce,
            follows: Tensor = follows,
            start: int = start,
            lots: Tensor = lots,
        ) -> None:
            for name, values in reduce(pattern, norms, logs).items():
                reduced[name][layer].append(values)
            keepers.setdefault(layer, EdgeKeeper(pattern.shape[1], pattern.device)).add(pattern, follows, start, lots)

        batch = torch.from_numpy(np.array(rows))
        if chosen == "fused":
            order = iter(layers)

            def see(attention: Seen, order: object = order) -> None:
                layer = next(order)  # type: ignore[call-overload]
                norms = attention.value.float().norm(dim=-1)
                if isinstance(attention, ExplicitAttention):
                    read(layer, attention.pattern, norms, None)
                else:
                    pattern, logs = explicit_pattern(attention)
                    read(layer, pattern, norms, logs)

            final = fused_body(model, batch, see)
        else:

            def hook(layer: int) -> Hook:
                return pattern_hook(layer), lambda pattern: read(layer, pattern, None, None)

            final = run_body(model, batch, [hook(layer) for layer in layers]).final
        check_finite(model, final, batch)
        loss, profile = predictions(model, final, batch, same, b)
        losses.append(loss)
        lags.append(profile)
        control.progress((start + len(rows)) / n_windows, "reading windows of text")
    if set(keepers) != set(layers):
        raise ModelUnavailable(f"Not every layer of {model.card.name} shows its attention, so no head can be scored.")
    shape = (model.card.n_layers, model.card.n_heads)
    per_window = {
        name: layered({layer: torch.cat(parts).T for layer, parts in found.items()}, *shape, np.nan)
        for name, found in reduced.items()
    }
    return NaturalScores(
        per_window=per_window,
        token_loss=np.concatenate(losses),
        repeat=np.stack([repeat_targets(row, b, unknown) for row in tokens]),
        lags=np.concatenate(lags),
        chance=levels.means(),
        paired=_mean_share(tokens, b, unknown),
        edges=_edges({layer: (kept.best, kept.best_at) for layer, kept in keepers.items()}, shape, n_tokens),
        tenths=_edges({layer: (kept.sampled, kept.sampled_at) for layer, kept in keepers.items()}, shape, n_tokens),
        tenth_counts=layered({layer: kept.counts for layer, kept in keepers.items()}, *shape, 0),
        engine=chosen,
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


def _mean_share(tokens: Int[np.ndarray, "windows tokens"], b: int, unknown: int | None) -> float:
    shares = np.array([paired_share(row, b, unknown) for row in tokens])
    return float(shares[~np.isnan(shares)].mean()) if not np.isnan(shares).all() else float("nan")


def _edges(found: dict[int, tuple[Tensor, Tensor]], shape: tuple[int, int], n_tokens: int) -> Edges:
    strength = layered({layer: kept for layer, (kept, _) in found.items()}, *shape, 0.0)
    at = layered({layer: numbers for layer, (_, numbers) in found.items()}, *shape, 0)
    return Edges(strength, *places_of(at, n_tokens))
