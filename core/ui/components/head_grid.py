"""The patterns of all heads as one canvas: a click or Enter on a head tells Python which.

Two components: one is sent the patterns (a byte a cell) and draws them; the other is sent only what is marked. A rerun
that picks a head or moves the threshold then sends a few hundred bytes, whatever the size of the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float, UInt8

from core.figures.base.pattern_colours import DARK, LIGHT
from core.heads import Head

_FOLDER = Path(__file__).parent


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


_grid = st.components.v2.component(
    "headscope_head_grid",
    html=_asset("head_grid.html"),
    css=_asset("head_grid.css"),
    js=_asset("head_grid.js").replace("$PALETTES", json.dumps({"light": asdict(LIGHT), "dark": asdict(DARK)})),
)
_marks = st.components.v2.component("headscope_head_grid_state", js=_asset("head_grid_state.js"))


def head_grid(
    quantised: UInt8[np.ndarray, "n_layers n_heads cells"],
    scores: Float[np.ndarray, "n_layers n_heads"],
    exists: Bool[np.ndarray, "n_layers n_heads"],
    *,
    title: str,
    picked: Head | None,
    threshold: float,
    on_pick: Callable[[Head], None],
    key: str,
) -> None:
    """Show every head's pattern; `on_pick` is called before the rerun that a click starts.

    quantised: each head's lower triangle, row by row, 255 = all attention.
    scores: what a head's hover and a screen reader say, under the name `title`; NaN is left out.
    exists: which heads there are: on the places of others nothing is hovered or picked.
    picked: the head that is outlined. threshold: heads whose score is above it have a ring.

    At most one grid a page: its state belongs to the page, not to a grid.
    """
    n_layers, n_heads, _ = quantised.shape
    if scores.shape != (n_layers, n_heads):
        raise ValueError(f"scores of shape {scores.shape} do not fit {n_layers} layers of {n_heads} heads")

    def take_pick() -> None:
        head = picked_head(st.session_state[key].get("picked"), n_layers, n_heads)
        if head is not None:
            on_pick(head)

    with st.container(gap=None):
        _marks(data=grid_state(scores, exists, title, picked, threshold), key=f"{key}-overlay", height=1)
        _grid(data=grid_bytes(quantised), key=key, on_picked_change=take_pick)


def grid_bytes(quantised: UInt8[np.ndarray, "n_layers n_heads cells"]) -> bytes:
    """What the grid draws: layers, heads and tokens as little-endian uint32, then the patterns."""
    n_layers, n_heads, cells = quantised.shape
    tokens = (int(np.sqrt(8 * cells + 1)) - 1) // 2
    if quantised.dtype != np.uint8 or tokens * (tokens + 1) // 2 != cells:
        raise ValueError(f"{quantised.dtype} {quantised.shape} is no set of lower triangles")
    return np.array([n_layers, n_heads, tokens], dtype="<u4").tobytes() + np.ascontiguousarray(quantised).tobytes()


def grid_state(
    scores: Float[np.ndarray, "n_layers n_heads"],
    exists: Bool[np.ndarray, "n_layers n_heads"],
    title: str,
    picked: Head | None,
    threshold: float,
) -> dict[str, object]:
    """What the grid marks, as JSON; a score that is not a number becomes null."""
    flat = scores.astype(np.float64).ravel()
    return {
        "title": title,
        "picked": None if picked is None else list(picked),
        "threshold": threshold,
        "exists": exists.ravel().tolist(),
        "values": [float(value) if np.isfinite(value) else None for value in flat],
    }


def picked_head(value: object, n_layers: int, n_heads: int) -> Head | None:
    """The head that the browser says was picked, or None if what it says is no head of this model."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(part) is int for part in value):
        return None
    layer, head = value
    return Head(layer, head) if 0 <= layer < n_layers and 0 <= head < n_heads else None
