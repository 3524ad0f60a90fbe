"""Rows as a file that any spreadsheet opens."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

# How a cell begins that a spreadsheet runs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Rows as comma-separated text with a header; numbers in full."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Nothing for a number that there is not.

    A text that a spreadsheet would take for a formula, as text: names of models and tokens are other people's.
    """
    if isinstance(value, float) and math.isnan(value):
        return None
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
