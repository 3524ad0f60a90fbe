"""One head's pattern drawn by CircuitsVis, offline, in an iframe.

CircuitsVis' own HTML loads its script from a CDN and lets a token close the script element, so the page around its
React component is written here: the script comes from this server, and every token is data, never markup.
The iframe can reach the page around it, which is why nothing in it may be left to a token's good will.
"""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from functools import cache
from html import escape
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from jaxtyping import Float

from core.attention.cells import Cells
from core.figures.base.pattern_colours import LIGHT, pattern_colours
from core.figures.base.token_text import visible_tokens
from core.runtime.app_root import app_root
from core.runtime.files import write_whole

# Streamlit serves the folder `static` beside the app, and refuses symbolic links in it: the script is copied there.
STATIC_FOLDER = app_root() / "static"
SCRIPT_NAME = "circuitsvis.iife.js"
# Relative to the page, so that a server with a base path finds it, too.
SCRIPT_URL = f"app/static/{SCRIPT_NAME}"
# Above this it takes seconds to draw and its tokens are too small to read.
MAX_TOKENS = 128
# Marked cells are never paler than this, so that the stripe can be seen on a head that does not look there.
MARK_FLOOR = 0.2
SIDE = 560

# The drawing is as high as it is wide; in a narrow column a fixed height would leave a gap below it.
_SQUARE = f"""<style>.st-key-circuitsvis :is(iframe, [data-testid=stElementContainer]:has(> iframe)) {{
flex: none; height: auto; max-width: {SIDE}px; aspect-ratio: 1; }}</style>"""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}"><style>
body {{ margin: 0; background: transparent; color: {foreground}; font: 14px sans-serif; }}
/* The library's rows reach 15 pixels beyond their container on both sides. */
#pattern {{ box-sizing: border-box; width: min(100%, {side}px); padding: 0 15px; }}
#pattern canvas {{ filter: {filter}; }}
#failed {{ display: none; padding: 1rem; }}
</style></head><body><div id="pattern" role="img" aria-label="{label}"></div>
<p id="failed">CircuitsVis could not be loaded from this server. The heat map beside it shows the same pattern.</p>
<script src="{url}"></script><script>{script}</script></body></html>"""
_SCRIPT = """
"use strict";
const given = {data};
for (const [query, key] of given.cells) {{
  const weight = given.attention[query][key];
  // A negative number is drawn in the second colour; the text is what the tooltip says.
  given.attention[query][key] = {{
    valueOf: () => -Math.max(weight, given.floor),
    toString: () => weight + " (induction stripe)",
  }};
}}
if (window.CircuitsVis) {{
  CircuitsVis.render("pattern", CircuitsVis.AttentionPattern, {{
    tokens: given.tokens, attention: given.attention, minValue: -1, maxValue: 1,
    positiveColor: given.colour, negativeColor: given.stripe, upperTriColor: given.unseen,
  }});
}} else {{
  document.getElementById("failed").style.display = "block";
}}
"""


def circuitsvis_pattern(
    tokens: list[str],
    pattern: Float[np.ndarray, "tokens tokens"],
    marked: Cells,
    *,
    dark: bool,
    label: str,
) -> None:
    """Show one head's pattern with token hover, the induction stripe in a second colour.

    `tokens` are the tokens' texts as they are; `label` says what the picture is to someone who cannot see it.
    """
    _installed_once()
    with st.container(key="circuitsvis", gap=None):
        st.html(_SQUARE)
        st.iframe(pattern_html(tokens, pattern, marked, dark=dark, label=label), height=SIDE, alt=label)


@cache
def _installed_once() -> None:
    # A folder that cannot be written to may hold the script all the same; if not, the frame itself says so.
    with suppress(OSError):
        install_script()


def pattern_html(
    tokens: list[str], pattern: Float[np.ndarray, "tokens tokens"], marked: Cells, *, dark: bool, label: str
) -> str:
    """The page inside the iframe: the same text for the same arguments, so that a rerun does not load it again.

    Raises ValueError if the pattern does not fit the tokens or has entries that are not numbers.
    """
    if pattern.shape != (len(tokens), len(tokens)):
        raise ValueError(f"{len(tokens)} tokens cannot have a pattern of shape {pattern.shape}")
    queries, keys = marked
    data = {
        "tokens": visible_tokens(tokens),
        # As float64: rounding a float32 leaves digits that make the text longer, not shorter.
        "attention": pattern.astype(np.float64).round(4).tolist(),
        "cells": [[int(query), int(key)] for query, key in zip(queries, keys, strict=True)],
        "floor": MARK_FLOOR,
        # The light theme's colours in both: the dark one turns the finished drawing around.
        "colour": LIGHT.full,
        "stripe": LIGHT.stripe,
        "unseen": "#dcdcdc" if dark else LIGHT.unseen,
    }
    script = _SCRIPT.format(data=script_json(data))
    return _PAGE.format(
        policy=_policy(script),
        script=script,
        url=SCRIPT_URL,
        label=escape(label, quote=True),
        side=SIDE,
        foreground=pattern_colours(dark).text,
        # The library mixes with white and writes dark grey, whatever the theme: in the dark one, turn lightness around.
        filter="invert(1) hue-rotate(180deg)" if dark else "none",
    )


def _policy(script: str) -> str:
    """A content security policy under which this script and this server's run, nothing else, and nothing is fetched."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'self' 'sha256-{digest}'"


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or the line.

    Raises ValueError for NaN and infinity, which are not JSON.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def install_script(folder: Path = STATIC_FOLDER) -> Path:
    """Copy CircuitsVis' script from the installed package to where this server serves it; returns the copy's path.

    Leaves a copy that is the same alone. The copy appears whole or not at all, however many processes start at once.
    """
    # By its place in the distribution: importing the package would import torch.
    wanted = Path(str(distribution("circuitsvis").locate_file("circuitsvis/dist/cdn/iife.js"))).read_bytes()
    target = folder / SCRIPT_NAME
    if target.is_file() and not target.is_symlink() and target.read_bytes() == wanted:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(target, wanted)
    return target
