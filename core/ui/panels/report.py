"""The parts of the report page: recorded beside live, the table with its switches, and the open questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.ablation.sweep import DEFAULT_GRID, Sweep
from core.ablation.tables import sweep_rows
from core.attention.tables import Row
from core.figures.ablation.sweep import describe_sweep, sweep_curve, sweep_overlay
from core.figures.base.memo import drawn
from core.figures.replication import Matrix, correction_steps, describe_steps, describe_values, value_map, value_overlay
from core.heads import Head, names
from core.numbers import unsigned
from core.replication.cached import prune_top, reproduce, step_by_step
from core.replication.published import COUNTED_THRESHOLDS, ReportedModel, reported_models, reported_table
from core.replication.reproduction import Reproduction
from core.replication.run import REPORT_MODE, TopPruning
from core.replication.tables import step_rows, steps_facts, table_rows
from core.replication.words import (
    behaviour_of_the_report,
    detector_answer,
    pruning_answer,
    questions_note,
    recipe_words,
    row_name,
    steps_note,
    steps_words,
    sweep_answer,
    table_note,
)
from core.settings.provenance import measured_on
from core.settings.view import RECORDED_MODELS, Corrections
from core.sharing.address import CORRECTION_PARAMETERS
from core.sharing.commands import call_command, circuit_command, report_command, sweep_command
from core.sharing.facts import sweep_facts
from core.ui.components.behaviour import warn_of
from core.ui.components.figure_overlay import figure_overlay
from core.ui.components.figure_panel import FIGURE_CONFIG, Source, figure_panel
from core.ui.components.fitting_table import fitting_table
from core.ui.components.folded import TABLE, folded
from core.ui.components.results import judged_of, sweep_of
from core.ui.frame.navigation import SWEEP, VERDICTS
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import held
from core.ui.frame.theme import current_look
from core.ui.frame.waiting import await_result, job_key, scores_of
from core.verdicts.judgement import Judgement
from core.verdicts.words import effects_words, judged_on, sentence

_SWITCHES = {
    "sign": ("Loss in nats", "A loss is positive and lower is better; the report's “loss” was a log-probability."),
    "rows": (
        "Second-copy queries only",
        "The whole diagonal has entries that are not induction, so a perfect head stays below 1.",
    ),
    "bos": ("BOS in front", "Most models never saw a text without one."),
    "baselines": ("Other heads beside it", "Other sets of the same size, matched by layer."),
}
_KINDS = {"induction": "induction", "previous_token": "previous token"}
_PREVIOUS_NOTE = (
    "The report measured previous-token scores on one English paragraph; the live ones are on the recipe's random tokens."
)


def reproduction_of(page: Page, corrections: Corrections) -> Reproduction | None:
    """The recipe under `corrections` on the chosen model; None, with progress shown, while it is not there."""
    work = partial(reproduce, page.subject, corrections)
    return await_result(job_key(page.subject, "reproduction", corrections), work, "Running the report's recipe")


def switches() -> None:
    """One switch a correction; all off is the report's own recipe."""
    with st.container(horizontal=True):
        for parameter, name in CORRECTION_PARAMETERS.items():
            label, why = _SWITCHES[name]
            st.toggle(label, held(parameter), key=parameter, help=why)


def pick_recorded() -> None:
    """Which of its two models to set beside the live run."""
    st.segmented_control("Recorded model", list(RECORDED_MODELS), default=held("recorded"), key="recorded")


def heat_maps(page: Page, recorded: ReportedModel, live: Reproduction | None, kind: str) -> None:
    """One score: recorded on the left, live on the right once it is there."""
    threshold, name, title = page.view.threshold, page.name, _KINDS[kind]
    left, right = _two_columns()
    with left:
        _map(getattr(recorded, kind), f"{recorded.title}, {title}, as recorded", f"{kind}-recorded", threshold)
    if live is None:
        return
    with right:
        values = live.scores if kind == "induction" else live.measured.previous
        _map(values, f"{name}, {title}, live", f"{kind}-live", threshold, page.view.head)
    notes = [_PREVIOUS_NOTE] if kind == "previous_token" else []
    st.caption(verbatim(" ".join([f"Live: measured on {recipe_words(live.recipe)}.", *notes, *live.recipe.notes])))


def recorded_maps(recorded: ReportedModel, threshold: float) -> None:
    """Both recorded maps beside each other, without anything live."""
    for column, (kind, title) in zip(_two_columns(), _KINDS.items(), strict=True):
        with column:
            _map(getattr(recorded, kind), f"{recorded.title}, {title}, as recorded", f"{recorded.name}-{kind}", threshold)


def _two_columns() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Large text needs the whole width."""
    if current_look().large:
        return st.container(), st.container()
    left, right = st.columns(2, gap="large")
    return left, right


def _map(values: Matrix, title: str, key: str, threshold: float, picked: Head | None = None) -> None:
    panel = f"panel-{key}"
    with st.container(key=panel, gap=None):
        st.plotly_chart(
            drawn(value_map, values, title, None, current_look(), picked),
            key=f"map {title}",
            theme=None,
            alt=describe_values(values, title),
            config=FIGURE_CONFIG,
        )
        figure_overlay(panel, value_overlay(values, threshold, current_look()))


def counts_table(live: Reproduction | None, name: str) -> None:
    """Heads strictly above each threshold, recorded and live."""
    rows: list[Row] = [
        {"heads above": found.title} | {f"{t:.2f}": str(count) for t, count in found.counts().items()}
        for found in reported_models().values()
    ]
    if live is not None:
        rows.append({"heads above": f"{name}, live"} | {f"{t:.2f}": str((live.scores > t).sum()) for t in COUNTED_THRESHOLDS})
    fitting_table(rows, current_look())


def report_table(page: Page, own: Reproduction, chosen: Reproduction) -> None:
    """Its table, recorded and live; and whether the behaviour was there at all."""
    fitting_table(table_rows(own, chosen, page.name), page.look)
    st.caption(verbatim(f"Measured on {steps_words((own, chosen))}. {table_note(chosen)}"))
    _baseline_notes(chosen)
    st.markdown(f"**What its numbers say.** {behaviour_of_the_report()}")
    warn_of(chosen.behaviour)


def _baseline_notes(found: Reproduction) -> None:
    """How other sets were found, or why there are none."""
    for note in found.baseline_notes:
        st.caption(verbatim(f"Other heads beside it: {note}"))


def recorded_table() -> None:
    """Its table without anything beside it."""
    rows: list[Row] = [
        {
            "taken away": row_name(row.threshold),
            "heads": ", ".join(names(row.heads)) or "none",
            "log-probability": unsigned(row.log_probability, 3),
            "loss (nats)": unsigned(row.loss, 3),
        }
        for row in reported_table()
    ]
    fitting_table(rows, current_look())
    st.markdown(f"**What its numbers say.** {behaviour_of_the_report()}")


def corrections_panel(page: Page) -> None:
    """The corrections one after the other, as a picture and its table."""
    work = partial(step_by_step, page.subject)
    steps = await_result(job_key(page.subject, "report steps"), work, "Making one correction after the other")
    if steps is None:
        return
    folded("What each correction changes", "steps", partial(_steps, page, steps))


def _steps(page: Page, steps: Sequence[Reproduction]) -> None:
    facts = partial(steps_facts, page.subject, steps)
    st.caption(steps_note())
    source = Source(steps_words(steps), report_command(page.view), facts, f"{page.stem}-report")
    figure_panel(
        drawn(correction_steps, steps, page.look),
        key="steps",
        alt=describe_steps(steps),
        rows=partial(step_rows, steps),
        source=source,
        on_pick=None,
    )
    _baseline_notes(steps[-1])


def questions_header(page: Page) -> None:
    """The open questions, and which probe their answers are measured on."""
    st.header("Its open questions", anchor=False)
    st.markdown(verbatim(questions_note(page.subject)))


def sweep_question(page: Page) -> None:
    """Is a sweep needed?"""
    sweep = sweep_of(page.subject, DEFAULT_GRID, REPORT_MODE, "induction")
    if sweep is None:
        return
    st.markdown(verbatim(sweep_answer(sweep, REPORT_MODE)))
    folded("The curve of this sweep", "sweep", partial(_sweep_curve, page, sweep))
    SWEEP.link("Open the sweep, with other ways to take heads away")


def _sweep_curve(page: Page, sweep: Sweep) -> None:
    view, mode = page.view, REPORT_MODE
    facts = partial(sweep_facts, page.subject, mode, "induction", sweep)
    # Whatever the sweep page's own controls say.
    asked = replace(view, score="induction", experiment=replace(view.experiment, mode=mode, curves="one"))
    source = Source(measured_on(page.subject), sweep_command(asked), facts, f"{page.stem}-report-sweep")
    figure_panel(
        drawn(sweep_curve, sweep, mode, None, page.look),
        key="report-sweep",
        alt=describe_sweep(sweep, mode),
        rows=partial(sweep_rows, sweep),
        source=source,
        overlay=sweep_overlay(view.threshold, page.look),
        on_pick=None,
    )


def pruning_question(page: Page) -> None:
    """What pruning the top previous-token head does: the report's cell that crashed."""
    scores = scores_of(page.subject)
    work = partial(prune_top, page.subject)
    found = await_result(job_key(page.subject, "report pruning"), work, "Pruning the previous-token head")
    if found is None:
        return
    st.markdown(verbatim(pruning_answer(found, scores)))
    folded("What it does to the loss and to other heads", "pruning", partial(_pruned, page, found), TABLE)


def _pruned(page: Page, found: TopPruning) -> None:
    result = found.result
    rows: list[Row] = [
        {
            "head": f"without {result.head.name}",
            "second-copy loss, before (nats)": f"{result.clean.second_copy:.2f}",
            "after (nats)": f"{result.pruned.second_copy:.2f}",
            "other heads of its layers, range": "–" if math.isnan(found.baselines.range[0]) else _range(found),
        }
    ]
    st.table(rows, border="horizontal", hide_index=True)
    moved: list[Row] = [
        {
            "head": head.name,
            "prefix matching, before": f"{result.before[head]:.2f}",
            "after": f"{result.after[head]:.2f}",
        }
        for head in found.downstream()
    ]
    if moved:
        st.table(moved, border="horizontal", hide_index=True)
    st.caption(verbatim(f"Zero ablation, measured on {measured_on(page.subject)}."))
    st.code(
        circuit_command(page.view, REPORT_MODE, [result.head]),
        language=None,
        wrap_lines=True,
    )


def _range(found: TopPruning) -> str:
    low, high, _ = found.baselines.range
    return f"{low:.2f} to {high:.2f}"


def detector_question(page: Page) -> None:
    """What test, interval and label say."""
    judged = judged_of(page.subject, page.view.experiment.effect_floor)
    if judged is None:
        return
    st.markdown(verbatim(detector_answer(judged)))
    folded("Each head that matches, and why", "called", partial(_called, page, judged), ":material/gavel:")
    VERDICTS.link("Open the verdicts, with what each rests on")


def _called(page: Page, judged: Judgement) -> None:
    for verdict in judged.called:
        st.markdown(f"- {verbatim(sentence(verdict, judged))}")
    st.caption(verbatim(f"Measured on {judged_on(judged, page.subject)}. {effects_words(judged)}"))
    st.code(call_command(page.view), language=None, wrap_lines=True)
