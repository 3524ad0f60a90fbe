"""The report's tables as rows: its own numbers beside a live run's, and what each correction changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.figures.reported import row_name, step_labels
from core.reported import reported_table
from core.reproduction import ReproducedRow, Reproduction
from core.scores import head_name
from core.tables import Row

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


def _band(row: ReproducedRow) -> str:
    low, high, _ = row.band
    return "–" if math.isnan(low) else f"{low:.2f} to {high:.2f}"


def _names(heads: Sequence[tuple[int, int]]) -> str:
    more = len(heads) - _NAMES_SHOWN
    return (", ".join(head_name(*head) for head in heads[:_NAMES_SHOWN]) or "none") + (f" and {more} more" if more > 0 else "")
