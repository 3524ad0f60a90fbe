"""Which text a person chose to measure on: the part of a view that the Text page and the head card share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEFAULT_CORPUS = "builtin"
PASTED = "pasted"
# Texts of the server's own folder are named like this in an address.
OFFERED = "texts/"
DEFAULT_WINDOWS, DEFAULT_WINDOW_LENGTH = 64, 128
MIN_WINDOWS, MAX_WINDOWS = 2, 1024
MIN_WINDOW_LENGTH, MAX_WINDOW_LENGTH = 8, 1024
MAX_PASTED = 4000
# Heads that are taken away on text where a person names none: those with the largest lift.
TAKEN_AWAY = 5
MAX_CORPUS_NAME = 200
ShownEdges = Literal["repeats", "others", "tenths"]
SHOWN_EDGES: tuple[ShownEdges, ...] = ("repeats", "others", "tenths")


@dataclass(frozen=True)
class TextChoice:
    """corpus: a built-in text, `pasted`, or `texts/NAME`; column: of a table of texts, which holds them; pasted: that text.

    windows, length: how many windows, of how many tokens of text. Seed and BOS policy are the request's. edges:
    which of a head's edges are drawn on the text.
    """

    corpus: str = DEFAULT_CORPUS
    column: str = "text"
    pasted: str = ""
    windows: int = DEFAULT_WINDOWS
    length: int = DEFAULT_WINDOW_LENGTH
    edges: ShownEdges = "repeats"
