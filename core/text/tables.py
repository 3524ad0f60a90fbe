"""Measures on text as rows of names and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from core.attention.tables import Row
from core.heads import Head, every_head
from core.stats import SHARE, SIZE, UNKNOWN, Number, estimate
from core.text.cells import PREFIXES
from core.text.natural_scores import LAGS, SHOWN, Edges, Measured, NaturalScores, in_context_score
from core.text.windows import TextWindows

CONTEXT = 6


def head_measures(found: NaturalScores, head: Head) -> dict[str, Number]:
    """Every measure of one head, with its interval over windows."""
    return {name: at(found.measured(name), head) for name in SHOWN} | {
        f"prefix_{n}": at(found.prefix(n), head) for n in PREFIXES
    }


def at(found: Measured, head: Head) -> Number:
    """One head's number."""
    return Number(float(found.value[head]), float(found.low[head]), float(found.high[head]))


def natural_rows(found: NaturalScores) -> list[Row]:
    """One row a head that exists, the largest lift first; shares of attention, distance in tokens."""
    measures = {name: found.measured(name) for name in SHOWN}
    prefixes = {f"prefix_{n}": found.prefix(n) for n in PREFIXES[1:]}
    lift = found.lift
    rows: list[Row] = []
    for head in every_head(*lift.value.shape):
        if math.isnan(found.mean("sink")[head]):
            continue
        row: Row = {"name": head.name, "layer": head.layer, "head": head.head}
        row |= {name: known(values.value[head]) for name, values in (measures | prefixes).items()}
        rows.append(row | {"lift_low": known(lift.low[head]), "lift_high": known(lift.high[head])})
    return sorted(rows, key=lambda row: -(row["lift"] if row["lift"] is not None else -math.inf))


def loss_numbers(found: NaturalScores, b: int) -> dict[str, Number]:
    """The mean loss over repeat tokens and over all others, by window."""
    others = ~found.repeat & (np.arange(found.repeat.shape[1]) > b)
    return {name: _mean_of_windows(found.token_loss, mask) for name, mask in (("repeat", found.repeat), ("other", others))}


def icl_number(found: NaturalScores, b: int) -> Number:
    """The in-context-learning score."""
    return estimate(in_context_score(found.token_loss, b))


def lag_numbers(found: NaturalScores) -> dict[int, Number]:
    """The lag profile."""
    return {lag: _probability(found.lags[:, place]) for place, lag in enumerate(LAGS)}


def lag_rows(found: NaturalScores) -> list[Row]:
    """One row a lag."""
    return [{"lag": lag} | number._asdict() for lag, number in lag_numbers(found).items()]


def edge_rows(edges: Edges, head: Head, kind: int, windows: TextWindows, text: Callable[[int], str]) -> list[Row]:
    """A head's kept edges of one kind: strength, source and destination with the text around them; strongest first."""
    rows: list[Row] = []
    kept = [getattr(edges, name)[head][kind] for name in ("strength", "window", "query", "key")]
    for strength, window, query, key in zip(*kept, strict=True):
        if strength > 0:
            ids = windows.tokens[window]
            rows.append(
                {
                    "strength": float(strength),
                    "window": int(window),
                    "query": int(query),
                    "key": int(key),
                    "from": text(int(ids[query])),
                    "to": text(int(ids[key])),
                    "context": _around(ids, int(query), int(key), text),
                }
            )
    return rows


def _around(ids: Sequence[int], query: int, key: int, text: Callable[[int], str]) -> list[tuple[str, str]]:
    """The tokens from a little before the key to a little after the query, each with its part: `key`, `query`, gap or none."""
    wanted = sorted(
        {p for place in (key, query) for p in range(max(0, place - CONTEXT), min(len(ids), place + CONTEXT // 2 + 1))}
    )
    found: list[tuple[str, str]] = []
    for before, place in zip([wanted[0] - 1, *wanted], wanted, strict=False):
        if place > before + 1:
            found.append((" … ", "gap"))
        found.append((text(int(ids[place])), "key" if place == key else "query" if place == query else ""))
    return found


def known(value: float) -> float | None:
    """A number for a file: NaN is no JSON."""
    return None if math.isnan(value) else float(value)


def _mean_of_windows(values: np.ndarray, mask: np.ndarray) -> Number:
    some = mask.any(-1)
    if not some.any():
        return UNKNOWN
    return estimate(np.where(mask, values, 0.0)[some].sum(-1, dtype=np.float64) / mask[some].sum(-1), SIZE)


def _probability(values: np.ndarray) -> Number:
    return estimate(values[~np.isnan(values)].astype(np.float64), SHARE)
