"""Figures that are drawn once and shown often: at a slider's move, and to everybody who looks at the same, not again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import ParamSpec

import plotly.graph_objects as go

from core.runtime.lru import Lru

MOST_REMEMBERED = 128
P = ParamSpec("P")
_figures: Lru[tuple[str, str, bytes], go.Figure] = Lru(MOST_REMEMBERED)


def drawn(draw: Callable[P, go.Figure], *values: P.args, **named: P.kwargs) -> go.Figure:
    """What `draw` makes of these values, drawn if it was not; by their content, so that equal results of two sessions are one.

    `draw` must look at nothing else; the values must be such as can be pickled. Nobody may change the figure. The last
    `MOST_REMEMBERED` that were asked for stay, for everybody.
    """
    content = blake2b(pickle.dumps((values, named)), digest_size=16).digest()
    return _figures.get_or_make((draw.__module__, draw.__qualname__, content), partial(draw, *values, **named))
