"""Two quantities of every head as rows and JSON facts, for the screen and for files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from core.attention.tables import Row
from core.heads import Head, every_head, names
from core.quantities.comparison import Axis, Comparison, ranks


def comparison_rows(found: Comparison) -> list[Row]:
    """One row a head that has both numbers, the highest on the x axis first; None where there is no number."""
    axes = [found.x, found.y, *([] if found.colour is None else [found.colour])]
    both = ~(np.isnan(found.x.values) | np.isnan(found.y.values))
    across, up = (ranks(np.where(both, axis.values, np.nan)) for axis in (found.x, found.y))
    heads = [head for head in every_head(*both.shape) if both[head]]
    rows = []
    for head in sorted(heads, key=lambda head: (across[head], head)):
        row: Row = {"name": head.name, "layer": head.layer, "head": head.head}
        for axis in axes:
            row |= _columns(axis, head)
        row |= {"x_rank": float(across[head]), "y_rank": float(up[head]), "among": _among(found, head)}
        rows.append(row)
    return rows


def comparison_facts(found: Comparison) -> dict[str, Any]:
    """The correlation, the overlap, who falls out, and every number of every head."""
    overlap = found.overlap
    return {
        "x": _axis_facts(found.x),
        "y": _axis_facts(found.y),
        "colour": None if found.colour is None else _axis_facts(found.colour),
        "rank_correlation": {
            "value": found.agreement.rho,
            "low": found.agreement.low,
            "high": found.agreement.high,
            "n_heads": found.agreement.n_heads,
        },
        "top": None
        if overlap is None
        else {"k": overlap.k, "shared": names(overlap.shared), "expected": overlap.expected, "p": overlap.p},
        "x_only": names(found.x_only),
        "y_only": names(found.y_only),
        "withheld": found.withheld or None,
    }


def _axis_facts(axis: Axis) -> dict[str, Any]:
    quantity = axis.quantity
    return {
        "name": quantity.name,
        "title": axis.words,
        "unit": quantity.unit,
        "values": axis.values,
        "low": axis.low,
        "high": axis.high,
        "chance": None if np.isnan(axis.chance).all() else axis.chance,
    }


def _columns(axis: Axis, head: Head) -> Row:
    columns: Row = {axis.name: _known(axis.values[head])}
    if not np.isnan(axis.low).all():
        columns |= {f"{axis.name}_low": _known(axis.low[head]), f"{axis.name}_high": _known(axis.high[head])}
    return columns


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _among(found: Comparison, head: Head) -> str:
    """Which group of the highest a head is in; empty for none."""
    if found.overlap is not None and head in found.overlap.shared:
        return "highest of both"
    return "x only" if head in found.x_only else "y only" if head in found.y_only else ""
