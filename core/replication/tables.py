"""The report's tables as rows: its own numbers beside a live run's, and what each correction changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.attention.scores import head_name
from core.attention.tables import Row
from core.figures.replication import row_name, step_labels
from core.numbers import short_count
from core.replication.published import reported_table
from core.replication.recipe import ReproducedRow, Reproduction
from core.replication.size import SizedModel, scale_request

_NAMES_SHOWN = 6


def table_rows(own: Reproduction, chosen: Reproduction, model: str) -> list[Row]:
    """The report's table: recorded, this model by its recipe, and this model under the chosen corrections."""
    unit = "loss (nats)" if chosen.corrections.sign else "log-probability"
    rows = []
    for recorded, plain, corrected in zip(reported_table(), own.rows, chosen.rows, strict=True):
        row: Row = {
            "taken away": row_name(recorded.threshold),
            "recorded (SoLU-8l-old), log-probability": f"{recorded.log_probability:.3f}",
            "recorded, in nats": f"{recorded.loss:.3f}",
            "recorded heads": _names(recorded.heads),
            f"{model}, its recipe, log-probability": f"{plain.value:.3f}",
        }
        if chosen.corrections != own.corrections:
            row[f"{model}, corrected, {unit}"] = f"{corrected.value:.3f}"
            if chosen.corrections.controls:
                row["random heads, 95 % band"] = _band(corrected)
        row[f"heads of {model}"] = _names(corrected.heads)
        rows.append(row)
    return rows


def step_rows(steps: Sequence[Reproduction]) -> list[Row]:
    """One row a correction, each added to the ones before it."""
    rows = []
    for label, step in zip(step_labels(steps), steps, strict=True):
        row: Row = {"correction": label.replace("<br>", " "), "unit": "nats" if step.corrections.sign else "log-probability"}
        for found in step.rows:
            name = row_name(found.threshold)
            row[name] = f"{found.value:.3f}" + (f" ({len(found.heads)})" if found.threshold is not None else "")
        row["random heads, 95 % band"] = "; ".join(_band(found) for found in step.rows if len(found.controls)) or "–"
        row["highest score"] = f"{step.scores.max():.3f}"
        rows.append(row)
    return rows


def scale_rows(models: Sequence[SizedModel]) -> list[Row]:
    """One row a model, the smallest first, as text; what is not measured is said to be."""
    return [_scale_row(model) for model in models]


def scale_notes(models: Sequence[SizedModel]) -> list[str]:
    """What the rows rest on, and why some could not be measured."""
    options = scale_request("").options
    bound = next((f" (ln L = {model.losses.ln_length:.2f} to beat)" for model in models if model.losses is not None), "")
    said = (
        f"Every model on the default probe: {options.sequences} sequences of length {options.length}, repeated once, tokens "
        f"drawn from its whole vocabulary, BOS as its tokenizer does, seed {options.seed}{bound}. Second-copy queries only, "
        "not the report's convention. A contrast near 0 under a high score is a head that looks at a position, not at a copy."
    )
    return [said, *(f"{model.name}: {model.problem}" for model in models if model.problem)]


def _scale_row(model: SizedModel) -> Row:
    losses, top = model.losses, model.top
    return {
        "model": model.name if model.trained else f"{model.name} (set by hand)",
        "weights": short_count(model.n_params) if model.n_params else "–",
        "layers × heads": f"{model.n_layers} × {model.n_heads}" if model.n_layers else "–",
        "behaviour": ("cannot be measured" if model.problem else "not measured yet") if losses is None else losses.behaviour,
        "second-copy loss (nats)": "–" if losses is None else f"{losses.second_copy:.2f}",
        "highest induction score": "–" if top is None else f"{top[1]:.2f}",
        "its head": "–" if top is None else head_name(*top[0]),
        "that head's contrast": "–" if model.top_contrast is None else f"{round(model.top_contrast, 2) + 0.0:.2f}",
    }


def _band(row: ReproducedRow) -> str:
    low, high, _ = row.band
    return "–" if math.isnan(low) else f"{low:.2f} to {high:.2f}"


def _names(heads: Sequence[tuple[int, int]]) -> str:
    more = len(heads) - _NAMES_SHOWN
    return (", ".join(head_name(*head) for head in heads[:_NAMES_SHOWN]) or "none") + (f" and {more} more" if more > 0 else "")
