"""Each token's loss coloured on the text itself: the second copy of a repeated sequence pales where induction works."""

from __future__ import annotations

import html
import math

import numpy as np
from jaxtyping import Float

from core.figures.base.pattern_colours import mixed, pattern_colours, readable_on
from core.figures.base.style import Look
from core.figures.base.token_text import visible_token
from core.probes.layout import Layout

_STYLE = """<style>
.token-loss { line-height: 1; margin: 0 0 .5rem; }
.token-loss h3 { margin: .5rem 0 .25rem; padding: 0; font-size: .9rem; font-weight: 600; }
.token-loss .token { display: inline-block; margin: 0 2px 4px 0; padding: 3px 5px; border-radius: 3px;
  border: 1px solid var(--token-line); text-align: center; font-family: monospace; font-size: .85rem; }
.token-loss .token small { display: block; margin-top: 3px; font-size: .7rem; }
.token-loss .legend { display: inline-block; width: 8rem; height: .8rem; vertical-align: middle;
  border: 1px solid var(--token-line); }
</style>"""


def token_loss_html(
    tokens: list[str], losses: Float[np.ndarray, " tokens"], uniform: float, look: Look, layout: Layout | None = None
) -> str:
    """The tokens with their losses in nats (by target position, NaN for the first) as colour and as number, escaped.

    uniform: the loss of a uniform guess, `ln` of the vocabulary's size: the scale's upper end.
    layout: where the copies are, so that each gets its own lines.
    """
    if losses.shape != (len(tokens),):
        raise ValueError(f"{len(tokens)} tokens cannot have losses of shape {losses.shape}")
    colours = pattern_colours(look.dark)
    blocks = "".join(
        (f"<h3>{name}</h3>" if name else "")
        + "<p>"
        + "".join(_token(position, tokens[position], float(losses[position]), uniform, look) for position in positions)
        + "</p>"
        for name, positions in _parts(len(tokens), layout)
    )
    legend = (
        f'<p>loss 0 <span class="legend" style="background:linear-gradient(to right,{colours.none},{colours.stripe})"></span> '
        f"{uniform:.2f} nats and more (a uniform guess)</p>"
    )
    return f'{_STYLE}<div class="token-loss" style="--token-line:{look.faint}">{legend}{blocks}</div>'


def token_loss_table(
    tokens: list[str], losses: Float[np.ndarray, " tokens"], layout: Layout | None = None
) -> list[dict[str, str | int | float | None]]:
    """One row for each token: position, text, part of the sequence, loss in nats (None for the first)."""
    return [
        {
            "position": position,
            "token": visible_token(tokens[position]),
            "part": name,
            "loss (nats)": round(float(losses[position]), 4) if math.isfinite(losses[position]) else None,
        }
        for name, positions in _parts(len(tokens), layout)
        for position in positions
    ]


def _parts(n_tokens: int, layout: Layout | None) -> list[tuple[str, range]]:
    if layout is None:
        return [("", range(n_tokens))]
    second = layout.b + layout.length
    parts = [("Start", range(layout.b))] if layout.b else []
    return [*parts, ("First half", range(layout.b, second)), ("Second half", range(second, n_tokens))]


def _token(position: int, text: str, loss: float, uniform: float, look: Look) -> str:
    colours = pattern_colours(look.dark)
    known = math.isfinite(loss)
    background = mixed(colours.none, colours.stripe, loss / uniform if known else 0.0)
    said = f"{loss:.2f}" if known else "–"
    hover = f"token {position}: {loss:.4f} nats" if known else f"token {position}: nothing predicts it"
    return (
        f'<span class="token" title="{hover}" style="background:{background};color:{readable_on(background)}">'
        f"{html.escape(visible_token(text))}<small>{said}</small></span>"
    )
