"""The parts of the report page: recorded beside live, the table with its switches, and the open questions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.ablation.baselines import DEFAULT_CONTROLS
from core.ablation.cached import stored_causal_map
from core.ablation.sweep import DEFAULT_GRID
from core.ablation.tables import page_json, sweep_rows
from core.attention.cached import score_key
from core.attention.scores import head_name
from core.attention.tables import Row
from core.figures.ablation.sweep import describe_sweep, sweep_curve, sweep_marks
from core.figures.replication import Matrix, correction_steps, describe_steps, describe_values, row_name, value_map
from core.heads import Head
from core.replication.published import COUNTED_THRESHOLDS, ReportedModel, reported_models, reported_table
from core.replication.recipe import CORRECTIONS, Corrections, Reproduction, reproduce, step_by_step
from core.replication.report import (
    REPORT_MODE,
    TopPruning,
    behaviour_of_the_report,
    detector_answer,
    prune_top,
    pruning_answer,
    sweep_answer,
)
from core.replication.tables import step_rows, table_rows
from core.runtime.cache import at_hand
from core.settings.view import command_line, measured_on
from core.ui.components.behaviour import absent_banner
from core.ui.components.experiments import sweep_of
from core.ui.components.figure_panel import FIGURE_CONFIG, Source, figure_panel
from core.ui.frame.page import Page
from core.ui.frame.sentences import plain
from core.ui.frame.state import link_to
from core.ui.frame.theme import current_look
from core.ui.frame.waiting import awaited, scores_of
from core.verdicts.cached import call_heads
from core.verdicts.tables import call_command, judged_on, sentence

T = TypeVar("T")
_SWITCHES = {
    "sign": ("Loss in nats", "A loss is positive and lower is better; the report's “loss” was a log-probability."),
    "targets": ("Leave out the first repeated token", "Nothing in the text says that the repetition starts now."),
    "rows": (
        "Second-copy queries only",
        "The whole diagonal has entries that are not induction, so a perfect head stays below 1.",
    ),
    "bos": ("BOS in front", "Most models never saw a text without one."),
    "controls": ("Random heads beside it", "Random sets of the same size, matched by layer."),
}
_KINDS = {"induction": "induction", "previous_token": "previous token"}
_PREVIOUS_NOTE = (
    "The report measured previous-token scores on one English paragraph; the live ones are on the recipe's random tokens."
)


def reproduction_of(page: Page, corrections: Corrections) -> Reproduction | None:
    """The recipe under `corrections` on the chosen model; None, with progress shown, while it is not there."""
    work = partial(reproduce, page.view.request, corrections)
    return _result(page, f"reproduction {corrections}", work, "Running the report's recipe")


def switches() -> Corrections:
    """One switch a correction; all off is the report's own recipe."""
    chosen = Corrections()
    with st.container(horizontal=True):
        for name in CORRECTIONS:
            label, why = _SWITCHES[name]
            if st.toggle(label, key=f"correct_{name}", help=why, bind="query-params"):
                chosen = replace(chosen, **{name: True})
    return chosen


def pick_recorded() -> ReportedModel:
    """Which of its two models to set beside the live run."""
    models = reported_models()
    name = st.segmented_control(
        "Recorded model",
        list(models),
        default=next(iter(models)),
        key="recorded",
        bind="query-params",
    )
    return models[name or next(iter(models))]


def heat_maps(page: Page, recorded: ReportedModel, live: Reproduction | None) -> None:
    """Recorded on the left, live on the right once it is there."""
    threshold, name = page.view.threshold, page.identity.card.name
    for kind, title in _KINDS.items():
        left, right = _two_columns()
        with left:
            _map(getattr(recorded, kind), f"{recorded.title}, {title}, as recorded", threshold)
        if live is not None:
            with right:
                values = live.scores if kind == "induction" else live.measured.previous
                _map(values, f"{name}, {title}, live", threshold, page.view.head)
    if live is not None:
        st.caption(plain(f"Live: measured on {measured_on(live.recipe.probe, page.identity)}. {_PREVIOUS_NOTE}"))
        for note in live.recipe.notes:
            st.caption(plain(note))


def recorded_maps(recorded: ReportedModel, threshold: float) -> None:
    """Both recorded maps beside each other, without anything live."""
    for column, (kind, title) in zip(_two_columns(), _KINDS.items(), strict=True):
        with column:
            _map(getattr(recorded, kind), f"{recorded.title}, {title}, as recorded", threshold)


def _two_columns() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Large text needs the whole width."""
    if current_look().large:
        return st.container(), st.container()
    left, right = st.columns(2, gap="large")
    return left, right


def _map(values: Matrix, title: str, threshold: float, picked: Head | None = None) -> None:
    st.plotly_chart(
        value_map(values, title, threshold, current_look(), picked),
        key=f"map {title}",
        theme=None,
        alt=describe_values(values, title, threshold),
        config=FIGURE_CONFIG,
    )


def counts_table(live: Reproduction | None, name: str) -> None:
    """Heads strictly above each threshold, recorded and live."""
    rows: list[Row] = [
        {"heads above": found.title} | {f"{t:.2f}": str(count) for t, count in found.counts().items()}
        for found in reported_models().values()
    ]
    if live is not None:
        rows.append({"heads above": f"{name}, live"} | {f"{t:.2f}": str((live.scores > t).sum()) for t in COUNTED_THRESHOLDS})
    st.table(rows, border="horizontal", hide_index=True)


def report_table(page: Page, own: Reproduction, chosen: Reproduction) -> None:
    """Its table, recorded and live; and whether the behaviour was there at all."""
    st.table(table_rows(own, chosen, page.identity.card.name), border="horizontal", hide_index=True)
    for note in chosen.control_notes:
        st.caption(plain(note))
    st.markdown(f"**What the report did not notice.** {behaviour_of_the_report()}")
    absent_banner(chosen.losses)


def recorded_table() -> None:
    """Its table without anything beside it."""
    rows: list[Row] = [
        {
            "taken away": row_name(row.threshold),
            "heads": ", ".join(head_name(*head) for head in row.heads) or "none",
            "log-probability": f"{row.log_probability:.3f}",
            "loss (nats)": f"{row.loss:.3f}",
        }
        for row in reported_table()
    ]
    st.table(rows, border="horizontal", hide_index=True)
    st.markdown(f"**What the report did not notice.** {behaviour_of_the_report()}")


def corrections_panel(page: Page) -> None:
    """The corrections one after the other, as a picture and its table."""
    steps = _result(page, "report steps", partial(step_by_step, page.view.request), "Making one correction after the other")
    if steps is None:
        return
    rows = step_rows(steps)
    source = _source(page, "report", measured_on(steps[0].recipe.probe, page.identity), steps=rows)
    figure_panel(
        correction_steps(steps, page.look), key="steps", alt=describe_steps(steps), rows=rows, source=source, on_pick=None
    )


def sweep_question(page: Page) -> None:
    """Is a sweep needed?"""
    view = page.view
    mode = REPORT_MODE
    sweep = sweep_of(view.request, DEFAULT_GRID, mode, "induction", controls=DEFAULT_CONTROLS)
    if sweep is None:
        return
    st.markdown(plain(sweep_answer(sweep)))
    rows = sweep_rows(sweep)
    source = _source(page, "report-sweep", measured_on(view.request.probe(page.identity), page.identity), rows=rows)
    figure_panel(
        sweep_curve(sweep, mode, None, page.look),
        key="report-sweep",
        alt=describe_sweep(sweep, mode),
        rows=rows,
        source=source,
        marks=sweep_marks(view.threshold, page.look),
        on_pick=None,
    )
    link_to("pages/5_Sweep.py", "Open the sweep, with other ways to take heads away", ":material/insights:")


def pruning_question(page: Page) -> None:
    """What pruning the top previous-token head does: the report's cell that crashed."""
    request = page.view.request
    scores = scores_of(request)
    found = _result(page, "report pruning", partial(prune_top, request), "Pruning the previous-token head")
    if found is None:
        return
    st.markdown(plain(pruning_answer(found, scores)))
    result = found.result
    rows: list[Row] = [
        {
            "": f"without {head_name(*result.head)}",
            "second-copy loss, before (nats)": f"{result.clean.second_copy:.2f}",
            "after (nats)": f"{result.pruned.second_copy:.2f}",
            "random head of its layer, 95 % band": "–" if math.isnan(found.controls.band[0]) else _band(found),
        }
    ]
    st.table(rows, border="horizontal", hide_index=True)
    moved: list[Row] = [
        {
            "head": head_name(*head),
            "prefix matching, before": f"{result.before[head]:.2f}",
            "after": f"{result.after[head]:.2f}",
        }
        for head in found.downstream()
    ]
    if moved:
        st.table(moved, border="horizontal", hide_index=True)
    st.caption(plain(f"Zero ablation, measured on {measured_on(request.probe(page.identity), page.identity)}."))
    st.code(
        command_line(page.view, "circuit", "--prune", head_name(*result.head), "--mode", "zero"),
        language="bash",
        wrap_lines=True,
    )


def _band(found: TopPruning) -> str:
    low, high, _ = found.controls.band
    return f"{low:.2f} to {high:.2f}"


def detector_question(page: Page) -> None:
    """What test, interval and label say."""
    floor = page.view.experiment.effect_floor
    work = partial(call_heads, page.view.request, floor=floor)
    calls = _result(page, f"report call {floor}", work, "Judging every head over several lengths")
    if calls is None:
        return
    st.markdown(plain(detector_answer(calls)))
    # What the Verdicts page has measured; this page does not make anybody wait for it.
    effects = stored_causal_map(page.view.request, page.view.experiment.mode)
    for verdict in calls.called:
        st.markdown(f"- {plain(sentence(verdict, calls, effects))}")
    mode = "" if effects is None else f" Costs: {page.view.experiment.mode} ablation of one head alone."
    st.caption(plain(f"Measured on {judged_on(calls, page.view, page.identity)}.{mode}"))
    st.code(call_command(page.view), language="bash", wrap_lines=True)
    link_to("pages/6_Verdicts.py", "Open the verdicts, with what each rests on", ":material/gavel:")


def _source(page: Page, kind: str, measured: str, **numbers: object) -> Source:
    stem = f"headscope-{page.identity.card.name.replace('/', '--')}-{kind}"
    return Source(measured, command_line(page.view, "report"), page_json(page.view, page.identity, **numbers), stem)


def _result(page: Page, key: str, work: Callable[[], T], doing: str) -> T | None:
    known = at_hand(work)
    if known is not None:
        return known
    return awaited(f"{key} {score_key(page.view.request)}", lambda _: work(), doing)
