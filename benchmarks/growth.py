"""How cost grows: score pass and exact map against tokens, heads, sequences and model size, with the exponent.

The exponent is the slope of log time against log size. 1 is linear. Attention's own work is quadratic in tokens, so its
share shows as an exponent above 1 there; nothing else should.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from transformers import LlamaConfig

from benchmarks.rows import Row, report
from benchmarks.score_pass import bare_body
from benchmarks.shapes import model_of, repeated_tokens
from benchmarks.timing import medians
from core.ablation.ablator import Ablator
from core.ablation.causal import single_losses
from core.attention.score_pass import measure_heads
from core.heads import Head
from core.probes.given import given_probe
from core.probes.layout import Layout
from core.transformer.loaded import LoadedModel

WORK = ("score pass", "exact map", "bare body")


@dataclass(frozen=True)
class Setting:
    """One point: a small Llama and a probe."""

    tokens: int = 201
    heads: int = 8
    sequences: int = 4
    layers: int = 6

    def config(self) -> LlamaConfig:
        """Heads of 32 numbers each; the width does not follow their number, so that heads alone vary."""
        return LlamaConfig(
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            head_dim=32,
            hidden_size=256,
            intermediate_size=768,
            vocab_size=4096,
            max_position_embeddings=8192,
        )


SERIES: dict[str, tuple[tuple[int, ...], Callable[[int], Setting]]] = {
    "tokens": ((201, 401, 801), lambda n: Setting(tokens=n, sequences=1)),
    "heads": ((4, 8, 16), lambda n: Setting(heads=n)),
    "sequences": ((2, 4, 8), lambda n: Setting(sequences=n)),
    "layers": ((3, 6, 12), lambda n: Setting(layers=n)),
}
# What the arithmetic itself needs: the map removes every head of every layer, and re-runs half of the layers on average.
EXPECTED = {
    "score pass": {"tokens": 1.0, "heads": 1.0, "sequences": 1.0, "layers": 1.0},
    "exact map": {"tokens": 1.0, "heads": 2.0, "sequences": 1.0, "layers": 2.0},
}
SLACK = 0.25


def seconds(setting: Setting, repeats: int) -> dict[str, float]:
    """Median seconds of each kind of work."""
    model = model_of(setting.config(), "small Llama")
    layout = Layout((setting.tokens - 1) // 2, 1)
    tokens = repeated_tokens(model, setting.sequences, layout)
    probe = given_probe(model.vocabulary, tuple(map(tuple, tokens.tolist())), layout.length)
    ablator = Ablator(model, tokens.numpy())
    work = {
        "score pass": lambda: measure_heads(model, probe),
        "exact map": lambda: _whole_map(model, ablator, layout),
        "bare body": lambda: bare_body(model, tokens),
    }
    return medians(work, repeats)


def _whole_map(model: LoadedModel, ablator: Ablator, layout: Layout) -> None:
    for layer in range(model.card.n_layers):
        single_losses(ablator, tuple(Head(layer, head) for head in range(model.card.n_heads)), "zero", layout)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of log time against log size."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def plot(found: dict[str, dict[str, list[float]]]) -> go.Figure:
    """Time against size, both on logarithmic axes, one panel a series."""
    figure = make_subplots(1, len(SERIES), subplot_titles=[f"against {name}" for name in SERIES])
    colours = dict(zip(WORK, ("#c75000", "#0b5cad", "#7a8294"), strict=True))
    for column, (name, (sizes, _)) in enumerate(SERIES.items(), start=1):
        for work in WORK:
            line = go.Scatter(
                x=list(sizes), y=found[name][work], name=work, line={"color": colours[work]}, showlegend=column == 1
            )
            figure.add_trace(line, row=1, col=column)
        figure.update_xaxes(type="log", title=name, tickvals=list(sizes), row=1, col=column)
        figure.update_yaxes(type="log", title="seconds" if column == 1 else None, row=1, col=column)
    return figure.update_layout(width=1300, height=420, template="plotly_white", legend={"orientation": "h", "y": -0.25})


def main(arguments: list[str] | None = None) -> list[Row]:
    """The table, and with `--html FILE` the plot as a page that stands alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--html", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args(arguments)
    found: dict[str, dict[str, list[float]]] = {}
    rows = []
    for name, (sizes, setting) in SERIES.items():
        times = [seconds(setting(size), options.repeats) for size in sizes]
        found[name] = {work: [at[work] for at in times] for work in WORK}
        floor = exponent(sizes, found[name]["bare body"])
        for work, expected in EXPECTED.items():
            slope = exponent(sizes, found[name][work])
            # Where attention is quadratic, so is the bare body: what it needs is no fault of ours.
            goal = max(expected[name], floor + expected[name] - 1.0) + SLACK
            series = f"{sizes[0]} to {sizes[-1]}: {found[name][work][0]:.2f} to {found[name][work][-1]:.2f} s"
            rows.append(Row(f"{work} against {name}", slope, goal, unit="(exponent)", beside=f"{series}; body {floor:.2f}"))
    if options.html is not None:
        options.html.write_text(plot(found).to_html(include_plotlyjs=True), encoding="utf-8")
    return report("How cost grows (small Llama, one probe, 2 threads)", rows)


if __name__ == "__main__":
    main()
