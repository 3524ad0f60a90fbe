"""The report's tables as rows: its own numbers beside a live run's, and what each correction changes."""

from __future__ import annotations

from collections.abc import Sequence

from core.attention.tables import Row
from core.attention.words import state_word
from core.heads import HeadSet, names
from core.numbers import NOTHING, counted, interval, short_count, unsigned, with_interval
from core.replication.published import COUNTED_THRESHOLDS, ReportedModel, reported_models, reported_table
from core.replication.reproduction import ReproducedRow, Reproduction
from core.replication.run import ReportRun
from core.replication.size import SizedModel
from core.replication.words import QUESTIONS, answers, questions_note, row_name, step_labels
from core.settings.modes import Mode
from core.settings.request import Request
from core.settings.subject import Subject
from core.settings.view import CORRECTIONS
from core.sharing.facts import Facts, behaviour_facts, envelope, loss_facts

_NAMES_SHOWN = 6


def table_rows(own: Reproduction, chosen: Reproduction, model: str) -> list[Row]:
    """The report's table: recorded, this model by its recipe, and this model under the chosen corrections."""
    unit = "loss (nats)" if chosen.corrections.sign else "log-probability"
    # What was taken away stands beside each number that it changed.
    apart = any(plain.heads != corrected.heads for plain, corrected in zip(own.rows, chosen.rows, strict=True))
    rows = []
    for recorded, plain, corrected in zip(reported_table(), own.rows, chosen.rows, strict=True):
        row: Row = {
            "taken away": row_name(recorded.threshold),
            "recorded (SoLU-8l-old), log-probability": unsigned(recorded.log_probability, 3),
            "recorded, in nats": unsigned(recorded.loss, 3),
            "recorded heads": _names(recorded.heads),
            f"{model}, its recipe, log-probability": _value(plain),
        }
        if apart:
            row[f"heads of {model}, its recipe"] = _names(plain.heads)
        if chosen.corrections != own.corrections:
            row[f"{model}, corrected, {unit}"] = _value(corrected)
            if chosen.corrections.baselines:
                row["other heads, range"] = _others(corrected)
        row[f"heads of {model}, corrected" if apart else f"heads of {model}"] = _names(corrected.heads)
        rows.append(row)
    return rows


def step_rows(steps: Sequence[Reproduction]) -> list[Row]:
    """One row a correction, each added to the ones before it."""
    rows = []
    for label, step in zip(step_labels(steps), steps, strict=True):
        row: Row = {"correction": label.replace("<br>", " "), "unit": "nats" if step.corrections.sign else "log-probability"}
        for found in step.rows:
            name = row_name(found.threshold)
            row[name] = _value(found)
            if found.threshold is not None:
                row[name] += f" (without {_names(found.heads)})" if found.heads else " (no head)"
        row["other heads, range"] = _others_of(step)
        row["highest score"] = unsigned(step.scores.max(), 3)
        rows.append(row)
    return rows


def size_rows(models: Sequence[SizedModel]) -> list[Row]:
    """One row a model, the smallest first, as text; what is not measured is said to be."""
    return [_size_row(model) for model in models]


def size_notes(models: Sequence[SizedModel]) -> list[str]:
    """What the rows rest on, and why some could not be measured."""
    options = Request("").options
    said = (
        f"Every model on the default probe: {counted(options.sequences, 'sequence')} of length "
        f"{options.length}, repeated once, tokens "
        f"drawn from its whole vocabulary, BOS as its tokenizer does, seed {options.seed}. Second-copy queries only, "
        "not the report's convention. A contrast near 0 under a high score is a head that looks at a position, not at a copy."
    )
    return [said, *(f"{model.name}: {model.problem}" for model in models if model.problem)]


def _size_row(model: SizedModel) -> Row:
    losses, top = model.losses, model.top
    return {
        "model": model.name if model.trained else f"{model.name} (set by hand)",
        "weights": short_count(model.n_params) if model.n_params else "–",
        "layers × heads": f"{model.n_layers} × {model.n_heads}" if model.n_layers else "–",
        "behaviour": ("cannot be measured" if model.problem else "not measured yet")
        if losses is None
        else state_word(model.state),
        "second-copy loss (nats)": "–" if losses is None else f"{losses.second_copy:.2f}",
        "highest induction score": "–" if top is None else f"{top[1]:.2f}",
        "its head": "–" if top is None else top[0].name,
        "that head's contrast": "–" if model.top_contrast is None else unsigned(model.top_contrast),
    }


def _value(row: ReproducedRow) -> str:
    """With its interval over sequences, which one sequence does not have."""
    return with_interval(row.value, row.low, row.high, digits=3)


def _others_of(step: Reproduction) -> str:
    """The other sets' range at each threshold."""
    if not step.corrections.baselines:
        return f"{NOTHING} (none drawn)"
    return "; ".join(f"above {row.threshold:.1f}: {_others(row)}" for row in step.rows if row.threshold is not None)


def _others(row: ReproducedRow) -> str:
    """The other sets' range, or why there is none."""
    if len(row.baselines):
        low, high, _ = row.range
        return interval(low, high)
    if not row.heads:
        return f"{NOTHING} (nothing is taken away)"
    why = row.note.rstrip(".") or "none drawn"
    return f"{NOTHING} ({why[0].lower()}{why[1:]})"


def _names(heads: HeadSet) -> str:
    more = len(heads) - _NAMES_SHOWN
    return (", ".join(names(heads[:_NAMES_SHOWN])) or "none") + (f" and {more} more" if more > 0 else "")


def report_facts(run: ReportRun, mode: Mode) -> Facts:
    """The published numbers beside this run's; `mode` is the one of the sweep and of pruning."""
    return envelope(run.subject) | {
        "mode": mode,
        "published": {
            "models": {name: _published(found) for name, found in reported_models().items()},
            "table": [
                {
                    "model": row.model,
                    "threshold": row.threshold,
                    "heads": names(row.heads),
                    "log_probability": row.log_probability,
                    "loss": row.loss,
                }
                for row in reported_table()
            ],
        },
        "run": {
            **steps_facts(run.subject, run.steps)["run"],
            "induction": {"whole_diagonal": run.steps[0].scores, "second_copy_queries": run.steps[-1].scores},
            "heads_above": {str(t): int((run.steps[0].scores > t).sum()) for t in COUNTED_THRESHOLDS},
            "loss": loss_facts(run.steps[0].losses),
            "behaviour": behaviour_facts(run.steps[0].behaviour),
        },
        "models": [_sized(model) for model in run.models],
        "questions_note": questions_note(run.subject),
        "questions": [{"question": QUESTIONS[name], "answer": answer} for name, answer in answers(run, mode).items()],
    }


def steps_facts(subject: Subject, steps: Sequence[Reproduction]) -> Facts:
    """The report's recipe and its corrections, one more each time."""
    return envelope(subject) | {"run": {"recipe": _recipe(steps[0]), "steps": [_step(step) for step in steps]}}


def _published(found: ReportedModel) -> Facts:
    counts = {str(threshold): count for threshold, count in found.counts().items()}
    maps = {"induction": found.induction, "previous_token": found.previous_token}
    return {"title": found.title, "heads_above": counts, **maps}


def _recipe(step: Reproduction) -> Facts:
    probe = step.recipe.subject.probe
    return {
        "length": probe.length,
        "sequences": probe.n_sequences,
        "seed": step.recipe.seed,
        "token_range": list(step.recipe.token_range),
        "with_replacement": True,
        "has_bos": probe.has_bos,
        "notes": list(step.recipe.notes),
    }


def _step(step: Reproduction) -> Facts:
    rows = [
        {
            "threshold": row.threshold,
            "heads": names(row.heads),
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "baseline": dict(zip(("low", "high", "mean"), row.range, strict=True)) if len(row.baselines) else None,
        }
        for row in step.rows
    ]
    return {"corrections": [name for name in CORRECTIONS if getattr(step.corrections, name)], "rows": rows}


def _sized(model: SizedModel) -> Facts:
    """One model of this machine on the default probe; what is not measured is null."""
    top = (
        None if model.top is None else {"head": model.top[0].name, "induction": model.top[1]} | {"contrast": model.top_contrast}
    )
    return {
        "name": model.name,
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "n_params": model.n_params,
        "behaviour": None if model.scores is None else behaviour_facts(model.scores.behaviour),
        "loss": None if model.losses is None else loss_facts(model.losses),
        "highest": top,
        "problem": model.problem or None,
    }
