"""The report as one standalone page: published numbers beside a live run, with live figures."""

from __future__ import annotations

from core.documents.standalone import Picture, Section, standalone_page
from core.figures.ablation.sweep import describe_sweep, sweep_curve
from core.figures.base.style import Look
from core.figures.replication import correction_steps, describe_steps, describe_values, value_map
from core.replication.published import COUNTED_THRESHOLDS, reported_models
from core.replication.run import ReportRun
from core.replication.tables import size_notes, size_rows, step_rows, table_rows
from core.replication.words import (
    QUESTIONS,
    answers,
    behaviour_of_the_report,
    questions_note,
    recipe_words,
    steps_note,
    steps_words,
)
from core.settings.modes import Mode
from core.settings.provenance import measured_on
from core.transformer.checks import conformance_sentence
from core.verdicts.conformance import conformance


def report_page(run: ReportRun, threshold: float, mode: Mode) -> str:
    """The whole page as HTML; `threshold` puts rings on the maps, `mode` is the one of the sweep and of pruning."""
    look = Look()
    own, best, name = run.steps[0], run.steps[-1], run.subject.card.name
    said = answers(run, mode)
    checked = conformance_sentence(conformance(run.subject))
    ours = f"Measured on {measured_on(run.subject)}; {mode} ablation. {checked}"
    recipe = f"Measured on {recipe_words(own.recipe)}."
    varied = f"Measured on {steps_words(run.steps)}."
    maps = [
        Picture(value_map(values, title, threshold, look), describe_values(values, title, threshold))
        for title, values in [
            *((f"{found.title}, recorded", found.induction) for found in reported_models().values()),
            (f"{name}, live, the report's convention", own.scores),
            (f"{name}, live, corrected", best.scores),
        ]
    ]
    previous = [
        Picture(value_map(values, title, threshold, look), describe_values(values, title, threshold))
        for title, values in [
            *((f"{found.title}, recorded, previous token", found.previous_token) for found in reported_models().values()),
            (f"{name}, live, previous token", own.measured.previous),
        ]
    ]
    counts = [
        {"threshold": f"{t:.2f}"}
        | {found.title: found.counts()[t] for found in reported_models().values()}
        | {name: int((own.scores > t).sum())}
        for t in COUNTED_THRESHOLDS
    ]
    steps = Picture(correction_steps(run.steps, look), describe_steps(run.steps))
    curve = Picture(sweep_curve(run.sweep, mode, threshold, look), describe_sweep(run.sweep, mode))
    sections = [
        Section("Induction scores", ("Recorded heat maps, and the same from a live run.",), pictures=maps, notes=(varied,)),
        Section("Previous-token scores", pictures=previous, notes=("Recorded: on one English paragraph. Live: " + recipe,)),
        Section("Heads strictly above a threshold, in the report's convention", rows=counts, notes=own.recipe.notes),
        Section("The table", (behaviour_of_the_report(),), rows=table_rows(own, best, name), notes=(varied,)),
        Section(
            "What each correction changes",
            rows=step_rows(run.steps),
            pictures=(steps,),
            notes=(varied, steps_note(), *best.baseline_notes),
        ),
        Section("Its open questions", (questions_note(run.subject),)),
        Section(QUESTIONS["sweep"], (said["sweep"],), pictures=(curve,), notes=(ours,)),
        *(Section(QUESTIONS[key], (said[key],)) for key in ("pruning", "detector")),
        Section(QUESTIONS["scale"], (said["scale"],), rows=size_rows(run.models), notes=size_notes(run.models)),
    ]
    return standalone_page(f"Induction heads: the report beside {name}", sections)
