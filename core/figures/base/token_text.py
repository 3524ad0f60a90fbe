"""Tokens as a person can read them: spaces and line breaks made visible, nothing that hides or reorders its neighbours."""

from __future__ import annotations

import html
import unicodedata

_VISIBLE = {" ": "·", "\u00a0": "·", "\n": "↵", "\r": "↵", "\t": "→"}
# Other, format and surrogate characters: zero-width ones would vanish, right-to-left marks would reorder the line.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
MAX_CHARACTERS = 16


def visible_token(text: str) -> str:
    """`text` with white space shown as a sign and invisible characters as their code point, cut at 16 characters.

    Not escaped: whoever puts it into HTML escapes it there.
    """
    shown = "".join(_visible(character) for character in text[: MAX_CHARACTERS + 1])
    return shown if len(shown) <= MAX_CHARACTERS else shown[: MAX_CHARACTERS - 1] + "…"


def visible_tokens(texts: list[str]) -> list[str]:
    """`visible_token` of each."""
    return [visible_token(text) for text in texts]


def numbered_labels(texts: list[str]) -> list[str]:
    """A different label for each position, `17: word`, safe where a plotting library reads labels as HTML."""
    return [f"{position}: {html.escape(visible_token(text))}" for position, text in enumerate(texts)]


def _visible(character: str) -> str:
    if character in _VISIBLE:
        return _VISIBLE[character]
    if unicodedata.category(character) in _HIDDEN:
        return f"⟨{ord(character):x}⟩"
    return character
