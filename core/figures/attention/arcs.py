"""A strip of tokens with arcs from each token of the second copy to where a head looks: induction in one picture."""

from __future__ import annotations

import plotly.graph_objects as go

from core.attention.example import InductionExample
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.figures.base.token_text import numbered_labels, visible_token
from core.numbers import share

# Weaker looks are left out: they would be a haze of hairlines.
_FAINTEST = 0.15
# Half the height of the tokens' boxes; on a narrow screen words stand upright in them.
_HALF, _HALF_UPRIGHT = 0.3, 0.8


def induction_arcs(example: InductionExample, look: Look) -> go.Figure:
    """Arcs as thick as the attention weight; the one that the text speaks of stands out, with an arrow."""
    figure = go.Figure()
    second_copy = range(example.layout.length + example.layout.b, len(example.tokens))
    looks = [(q, k) for q in second_copy for k in range(q) if example.pattern[q, k] >= _FAINTEST]
    for query, key in looks:
        chosen = (query, key) == (example.position, example.target)
        _arc(figure, query, key, float(example.pattern[query, key]), chosen, look)
    _boxes(figure, example, look)
    half = _half(look)
    tall = half + _top(max(query - key for query, key in looks)) + 0.3
    # Between narrow and wide the browser turns words that would not fit.
    meta = {"upright": not look.narrow}
    styled(figure, look, height=look.px(320 if look.narrow else 260), margin={"l": 8, "r": 8, "t": 8, "b": 8}, meta=meta)
    figure.update_xaxes(visible=False, range=[-0.6, len(example.tokens) - 0.4])
    figure.update_yaxes(visible=False, range=[-half - 0.9, tall])
    return figure


def describe_arcs(example: InductionExample) -> str:
    """The picture in words."""
    weight = example.pattern[example.position, example.target]
    return (
        f"The tokens {' '.join(visible_token(token) for token in example.tokens)} in a row, with arcs to where head "
        f"{example.head.name} of {example.model} looks. From the second {_word(example, example.position)} an arrow "
        f"goes back to {_word(example, example.target)}, the word after the first one, with weight {weight:.2f}."
    )


def explain_arcs(example: InductionExample) -> str:
    """What there is to see, in one sentence."""
    weight = example.pattern[example.position, example.target]
    return (
        f"Head {example.head.name} of {example.model} reads “{_word(example, example.position)}” for the second time "
        f"and gives {share(float(weight))} of its attention to “{_word(example, example.target)}”, the word that came after it "
        "the first time, and so the word to predict."
    )


def _arc(figure: go.Figure, query: int, key: int, weight: float, chosen: bool, look: Look) -> None:
    colour = look.accent if chosen else look.second
    # Arcs stand on the tokens' boxes. The control points of a cubic curve stand a third above its top.
    base = _half(look) + 0.02
    control = base + _top(query - key) * 4 / 3
    figure.add_shape(
        type="path",
        path=f"M {query},{base} C {query},{control} {key},{control} {key},{base}",
        line={"color": colour, "width": look.px(1 + 5 * weight) if chosen else look.px(1 + 2 * weight)},
        opacity=1.0 if chosen else 0.35,
        layer="above" if chosen else "below",
    )
    if chosen:
        figure.add_annotation(
            x=key,
            y=base - 0.02,
            ax=key,
            ay=base + 0.3,
            xref="x",
            yref="y",
            axref="x",
            ayref="y",
            text="",
            showarrow=True,
            arrowhead=2,
            arrowsize=1.1,
            arrowwidth=look.px(4),
            arrowcolor=colour,
        )


def _half(look: Look) -> float:
    return _HALF_UPRIGHT if look.narrow else _HALF


def _top(distance: int) -> float:
    """How high an arc over so many tokens rises."""
    return 0.4 * distance


def _boxes(figure: go.Figure, example: InductionExample, look: Look) -> None:
    """The tokens, and a bracket under each copy."""
    half = _half(look)
    for position, token in enumerate(example.tokens):
        named = position in (example.position, example.target)
        figure.add_shape(
            type="rect",
            x0=position - 0.46,
            x1=position + 0.46,
            y0=-half,
            y1=half,
            line={"color": look.accent if named else look.muted, "width": look.px(3 if named else 1)},
            fillcolor=look.paper,
        )
        figure.add_annotation(
            x=position,
            y=0,
            text=numbered_labels([token])[0].partition(": ")[2],
            textangle=-90 if look.narrow else 0,
            showarrow=False,
            font={"size": look.px(13), "color": look.ink},
        )
    for start, words in ((example.layout.b, "first copy"), (example.layout.b + example.layout.length, "second copy")):
        end = start + example.layout.length - 1
        under, line = -half - 0.2, {"color": look.muted, "width": look.px(2)}
        figure.add_shape(type="line", x0=start - 0.4, x1=end + 0.4, y0=under, y1=under, line=line)
        figure.add_annotation(
            x=(start + end) / 2, y=-half - 0.5, text=words, showarrow=False, font={"size": look.px(14), "color": look.ink}
        )


def _word(example: InductionExample, position: int) -> str:
    return visible_token(example.tokens[position].strip())
