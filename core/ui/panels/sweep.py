"""The parts of the sweep page: the curve beside other heads, its table, and two thresholds compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import streamlit as st

from core.ablation.cached import random_baselines
from core.ablation.sweep import DEFAULT_GRID, Sweep, SweepRow
from core.ablation.tables import sweep_row, sweep_rows
from core.ablation.words import gain_lost_words
from core.attention.tables import Row
from core.figures.ablation.beside_baselines import BesideRow, beside_baselines, describe_beside
from core.figures.ablation.sweep import describe_sweep, sweep_curve, sweep_overlay
from core.figures.base.memo import drawn
from core.figures.base.style import Look
from core.heads import listed
from core.numbers import NOTHING, counted, signed, signed_with_interval
from core.runtime.cache import if_cached
from core.settings.modes import MODES, Mode
from core.settings.provenance import measured_on
from core.sharing.commands import sweep_command
from core.sharing.facts import sweep_facts
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.results import sweep_of
from core.ui.frame.page import Page

# Of the heads that a threshold takes away, in the table of two.
MOST_NAMED = 8
_TITLES = {
    "threshold": "threshold",
    "heads": "heads",
    "second_copy": "second copy (nats)",
    "change": "rise (nats, 95 % interval)",
    "step": "step (nats)",
    "gain_lost": "gain lost",
    "others": "as many other heads",
    "p": "p",
    "names": "which heads",
}


def other_modes(page: Page, score: str) -> dict[Mode, Sweep]:
    """Sweeps of the other modes, without other sets, when the person asked for them; as many as are there."""
    experiment = page.view.experiment
    if experiment.curves == "one":
        return {}
    found: dict[Mode, Sweep] = {}
    for mode in MODES:
        if mode != experiment.mode:
            sweep = sweep_of(page.subject, DEFAULT_GRID, mode, score, count=0)
            if sweep is None:
                # One at a time: a second progress bar would say nothing more.
                break
            found[mode] = sweep
    return found


def curve(page: Page, sweep: Sweep, others: Mapping[Mode, Sweep], source: Source) -> None:
    """The loss at every threshold, with the slider's threshold as a line."""
    mode = page.view.experiment.mode
    figure_panel(
        drawn(sweep_curve, sweep, mode, None, page.look, others),
        key="sweep",
        alt=describe_sweep(sweep, mode),
        rows=partial(sweep_rows, sweep, others),
        source=source,
        overlay=sweep_overlay(page.view.threshold, page.look),
        on_pick=None,
    )
    notes = ["One sequence gives no interval."] if sweep.n_sequences < 2 else []
    if any(row.others for row in sweep.rows):
        notes.insert(0, "A ring is the other sets' average, the band their range.")
    if notes:
        st.caption(" ".join(notes))


def sweep_table(sweep: Sweep, look: Look) -> None:
    """One row a threshold, in words and numbers; the knee is marked."""
    rows = [_written(row, sweep.knee, look.narrow) for row in sweep.rows]
    if look.large:
        st.table([{name: text for name, text in row.items() if name != "which heads"} for row in rows], hide_index=True)
    else:
        st.dataframe(rows, hide_index=True, height="content", placeholder=NOTHING)


def comparison(page: Page, sweep: Sweep, source: Source) -> None:
    """Two thresholds beside each other, each beside other heads."""
    rows = list(sweep.rows)
    beside = [
        BesideRow(f"{row.threshold:.2f}: {counted(row.n_heads, 'head')}", row.second_copy, _baseline_losses(page, row))
        for row in rows
    ]
    # A column each: on a telephone nothing of it lies beyond the edge.
    columns = {f"above {row.threshold:.2f}": _compared(row, sweep) for row in rows}
    names = list(next(iter(columns.values())))
    st.table(
        [{"threshold": name} | {title: column[name] for title, column in columns.items()} for name in names],
        border="horizontal",
        hide_index=True,
    )
    figure_panel(
        drawn(beside_baselines, beside, sweep.clean, page.look),
        key="comparison",
        alt=describe_beside(beside, sweep.clean),
        rows=partial(sweep_rows, sweep),
        source=source,
        on_pick=None,
    )


def source_of(page: Page, sweep: Sweep, others: Mapping[Mode, Sweep], thresholds: str | None = None) -> Source:
    """What the files of this page say; `thresholds`: as a command writes them, where they are not the usual ones."""
    view = page.view
    facts = partial(sweep_facts, page.subject, view.experiment.mode, view.score, sweep, others)
    return Source(measured_on(page.subject), sweep_command(view, thresholds), facts, f"{page.stem}-sweep")


def _baseline_losses(page: Page, row: SweepRow) -> np.ndarray:
    """Each other set's loss, as far as it is known."""
    if not row.heads:
        return np.empty(0)
    found = if_cached(partial(random_baselines, page.subject, row.heads, page.view.experiment.mode))
    return np.empty(0) if found is None else found.second_copy


def _compared(row: SweepRow, sweep: Sweep) -> Row:
    return {
        "heads taken away": str(row.n_heads),
        "which heads": listed(row.heads, MOST_NAMED) or NOTHING,
        "second copy before (nats)": f"{sweep.clean.second_copy:.2f}",
        "second copy after (nats)": f"{row.second_copy:.2f}",
        "rise (nats, 95 % interval)": signed_with_interval(*row.change),
        "gain lost": gain_lost_words(row.gain_lost),
        "as many other heads (nats)": _range(row),
        "p": _p(row),
    }


def _written(row: SweepRow, knee: float | None, narrow: bool) -> Row:
    values = sweep_row(row)
    knee_mark = " (knee)" if row.threshold == knee else ""
    values |= {
        "threshold": f"{row.threshold:.2f}{knee_mark}",
        "second_copy": f"{row.second_copy:.2f}",
        "change": signed_with_interval(*row.change),
        "step": signed(row.step),
        "gain_lost": gain_lost_words(row.gain_lost),
        "others": _range(row),
        "p": _p(row),
        "names": values["names"] or NOTHING,
    }
    # On a telephone the last columns are out of sight: what a threshold takes away stands beside it.
    order = ("threshold", "names", *(name for name in _TITLES if name not in ("threshold", "names"))) if narrow else _TITLES
    return {_TITLES[name]: values[name] for name in order}


def _p(row: SweepRow) -> str:
    return NOTHING if np.isnan(row.p) else f"{row.p:.3f}"


def _range(row: SweepRow) -> str:
    return NOTHING if np.isnan(row.baseline_low) else f"{row.baseline_low:.2f} to {row.baseline_high:.2f}"
