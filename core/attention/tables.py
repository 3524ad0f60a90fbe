"""The table behind every picture: plain rows of names and numbers, for the screen and for files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from core.attention.scores import ALL_SCORES, HeadScores, head_name, heads_above
from core.probes.repeated import Probe
from core.settings.view import View
from core.transformer.card import ModelIdentity

Row = dict[str, Any]
BIN_WIDTH = 0.05


def value_range(score: str) -> tuple[float, float]:
    """The fixed scale of a score: a contrast can be negative, everything else lies between 0 and 1."""
    return (-1.0, 1.0) if score == "contrast" else (0.0, 1.0)


def head_rows(scores: HeadScores, score: str, threshold: float) -> list[Row]:
    """One row a head, the highest `score` first: name, layer, head, every score, and whether it is above the threshold."""
    return _rows(scores, score, threshold, heads_above(scores.mean(score), -2.0))


def rows_above(scores: HeadScores, score: str, threshold: float) -> list[Row]:
    """The rows of heads above the threshold."""
    return _rows(scores, score, threshold, heads_above(scores.mean(score), threshold))


def _rows(scores: HeadScores, score: str, threshold: float, heads: Sequence[tuple[int, int]]) -> list[Row]:
    means = {name: scores.mean(name) for name in scores.names}
    return [
        {"name": head_name(*head), "layer": head[0], "head": head[1]}
        | {name: float(means[name][head]) for name in _columns(scores, score)}
        | {"above_threshold": bool(means[score][head] > threshold)}
        for head in heads
    ]


def score_bins(
    values: Float[np.ndarray, "n_layers n_heads"], score: str, threshold: float
) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " bins"], Int[np.ndarray, " bins"]]:
    """Edges of bins over the score's fixed scale, and the heads in each: those not above the threshold, those above."""
    low, high = value_range(score)
    edges = np.round(np.linspace(low, high, round((high - low) / BIN_WIDTH) + 1), 6)
    # Float noise can put a score a hair outside its scale.
    flat = np.clip(values.astype(np.float64).ravel(), low, high)
    above = values.ravel() > threshold
    return edges, np.histogram(flat[~above], edges)[0], np.histogram(flat[above], edges)[0]


def bin_rows(scores: HeadScores, score: str, threshold: float) -> list[Row]:
    """One row a bar of the distribution: where it starts and ends, and its heads above and not above the threshold."""
    edges, below, above = score_bins(scores.mean(score), score, threshold)
    return [
        {"from": float(edges[i]), "to": float(edges[i + 1]), "above_threshold": int(above[i]), "others": int(below[i])}
        for i in range(len(below))
    ]


def scores_json(scores: HeadScores, view: View, probe: Probe, identity: ModelIdentity) -> str:
    """Every score with what it was measured on, as one JSON object; matrices are `[layer][head]`, losses nats."""
    losses = scores.losses()
    card = identity.card
    return json.dumps(
        {
            "model": {
                "name": card.name,
                "n_layers": card.n_layers,
                "n_heads": card.n_heads,
                "d_model": card.d_model,
                "weights_digest": identity.weights_digest,
            },
            "probe": {
                "length": probe.length,
                "sequences": probe.n_sequences,
                "seed": probe.options.seed,
                "bos": probe.options.bos,
                "has_bos": probe.has_bos,
                "token_range": list(probe.token_range),
                "n_tokens": probe.n_tokens,
            },
            "loss": {
                "first_copy": losses.first_copy,
                "second_copy": losses.second_copy,
                "gain": losses.gain,
                "ln_length": losses.ln_length,
            },
            "behaviour": losses.behaviour,
            "score": view.score,
            "threshold": view.threshold,
            "heads_above": [head_name(*head) for head in heads_above(scores.mean(view.score), view.threshold)],
            "scores": {name: scores.mean(name).tolist() for name in scores.names},
            "chance": {name: ALL_SCORES[name].chance(scores.layout) for name in scores.names},
        },
        indent=1,
    )


def csv_text(rows: list[Row]) -> str:
    """Rows as comma-separated text with a header; numbers in full."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _columns(scores: HeadScores, score: str) -> list[str]:
    """The score in question first and contrast beside it, then the others in the table's order."""
    first = [score, *(["contrast"] if scores.has_control and score != "contrast" else [])]
    return first + [name for name in scores.names if name not in first]
