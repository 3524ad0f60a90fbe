"""The report's open questions, each with a live answer in sentences, from results that other modules compute.

Its questions (Muhia 2022): is one threshold enough or is a sweep needed; what does pruning the previous-token head do, the
cell that crashed; what would be a less confusing detector; how does the score change with model scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.ablation.baselines import DEFAULT_CONTROLS
from core.ablation.cached import Controls, ablation_controls, threshold_sweep
from core.ablation.sweep import DEFAULT_GRID, Sweep
from core.attention.cached import ScoreRequest, head_scores
from core.attention.scores import HeadScores, Losses, head_name, heads_above
from core.circuits.cached import CIRCUIT_MODES, Pruning, prune
from core.heads import Head, Mode
from core.models.load import model_identity
from core.numbers import short_count
from core.replication.published import (
    COUNTED_THRESHOLDS,
    REPORT_LENGTH,
    REPORT_THRESHOLDS,
    ReportedModel,
    reported_models,
    reported_table,
)
from core.replication.recipe import CORRECTIONS, Reproduction, step_by_step
from core.replication.size import SizedModel, sized_models
from core.runtime.jobs import current_control
from core.verdicts.cached import Calls, call_heads

QUESTIONS = {
    "sweep": "Is a threshold sweep needed?",
    "pruning": "What does pruning the previous-token head do?",
    "detector": "What would be a less confusing detector?",
    "scale": "How does the score change with model scale?",
}
# The report zeroed values.
REPORT_MODE: Mode = "zero"
# From here on a head is said to look for the earlier copy, or at the token before.
MATCHING_FLOOR = 0.1
RIVAL_FLOOR = 0.5
_LESS = 0.05


@dataclass(frozen=True)
class TopPruning:
    """The head with the highest previous-token score, taken away alone, beside random heads of its layer."""

    score: float
    result: Pruning
    controls: Controls

    def downstream(self, count: int = 5) -> tuple[Head, ...]:
        """The heads that looked most for the earlier copy before, of the layers that the pruned head can reach."""
        layer = self.result.head[0]
        return tuple(head for head in heads_above(self.result.before, MATCHING_FLOOR) if head[0] > layer)[:count]


@dataclass(frozen=True)
class ReportRun:
    """Everything that a live run sets beside the published numbers; `models`: those of this machine, as far as measured."""

    request: ScoreRequest
    scores: HeadScores
    steps: tuple[Reproduction, ...]
    sweep: Sweep
    pruning: TopPruning
    calls: Calls
    models: tuple[SizedModel, ...]

    def answers(self) -> dict[str, str]:
        """The answer to each of `QUESTIONS`, plain text."""
        return {
            "sweep": sweep_answer(self.sweep),
            "pruning": pruning_answer(self.pruning, self.scores),
            "detector": detector_answer(self.calls),
            "scale": scale_answer(self.request.model, self.steps[0], self.models),
        }


def run_report(request: ScoreRequest, mode: Mode = REPORT_MODE, *, controls: int = DEFAULT_CONTROLS) -> ReportRun:
    """The recipe, its corrections, and the live answers on one model; every part is kept by itself.

    Raises BadInput or ModelUnavailable with one clear sentence.
    """
    control = current_control()
    parts = len(QUESTIONS) + 1

    def begin(part: int, what: str) -> None:
        control.checkpoint()
        control.progress(part / parts, what)

    begin(0, "scoring every head")
    scores = head_scores(request)
    begin(1, "running the report's recipe")
    steps = step_by_step(request, controls=controls)
    begin(2, "sweeping the threshold")
    sweep = threshold_sweep(request, DEFAULT_GRID, mode, controls=controls)
    begin(3, "pruning the top previous-token head")
    pruning = prune_top(request, mode, controls=controls)
    begin(4, "judging every head")
    return ReportRun(request, scores, steps, sweep, pruning, call_heads(request), sized_models())


def prune_top(request: ScoreRequest, mode: Mode = REPORT_MODE, *, controls: int = DEFAULT_CONTROLS) -> TopPruning:
    """Prune the head with the highest previous-token score, the report's L3H8, on the request's own probe.

    A mode that pruning does not have is replaced by the report's own.
    """
    mode = mode if mode in CIRCUIT_MODES else REPORT_MODE
    values = head_scores(request).mean("previous_token")
    head = heads_above(values, -1.0)[0]
    result = prune(request, head, mode)
    return TopPruning(float(values[head]), result, ablation_controls(request, [head], mode, controls))


def sweep_answer(sweep: Sweep) -> str:
    """Whether two thresholds would have told what the whole curve tells."""
    keeping = [row for row in sweep.rows if row.n_heads]
    if not keeping:
        return "No head is above any threshold of the sweep, so there is nothing to choose between."
    clean, most = sweep.clean.second_copy, max(row.second_copy for row in keeping)
    two = [row for row in sweep.rows if any(math.isclose(row.threshold, t) for t in REPORT_THRESHOLDS)]
    said = "; ".join(f"at {row.threshold:.2f} {_heads(row.n_heads)} and {row.second_copy:.2f} nats" for row in two)
    distinct = len({row.heads for row in keeping})
    different = "one head set" if distinct == 1 else f"{distinct} different head sets"
    needed = "Yes" if most - max([clean, *(row.second_copy for row in two)]) > 0.1 * max(most - clean, _LESS) else "Not here"
    knee = "the curve has no bend" if sweep.knee is None else f"the curve bends most at {sweep.knee:.2f}"
    return (
        f"{needed}. The thresholds of this sweep keep {different}; taking them away brings the second-copy loss from "
        f"{clean:.2f} to as much as {most:.2f} nats, and {knee}. The report's two thresholds see: {said}."
    )


def pruning_answer(pruning: TopPruning, scores: HeadScores) -> str:
    """What the crashed cell would have shown, beside random heads."""
    found = pruning.result
    name, fraction = head_name(*found.head), found.recovered_fraction
    change = found.pruned.second_copy - found.clean.second_copy
    verdict = "breaks the repetition" if fraction > 0.5 else "costs little" if change < 0.5 else "costs something"
    said = (
        f"{name} looks at the token just before most of all ({pruning.score:.2f}). Taking it away {verdict}: second-copy loss "
        f"{found.clean.second_copy:.2f} to {found.pruned.second_copy:.2f} nats"
    )
    said += "." if math.isnan(fraction) else f", {fraction:.0%} of the gain."
    low, high, _ = pruning.controls.band
    if not math.isnan(low):
        said += f" A random head of the same layer instead: {low:.2f} to {high:.2f} nats (95 % band)."
    moved = [f"{head_name(*head)} {found.before[head]:.2f} to {found.after[head]:.2f}" for head in pruning.downstream()]
    said += f" Prefix matching after it: {', '.join(moved)}." if moved else " No later head looks for the earlier copy."
    rivals = len(heads_above(scores.mean("previous_token"), RIVAL_FLOOR)) - 1
    if rivals > 0 and fraction <= RIVAL_FLOOR:
        others = "another head scores" if rivals == 1 else f"{rivals} other heads score"
        said += f" A high previous-token score does not make a head necessary: {others} above {RIVAL_FLOOR:.1f}, too."
    return said


def detector_answer(calls: Calls) -> str:
    """What test, interval and label say, instead of a threshold chosen by eye."""
    lengths = ", ".join(map(str, calls.lengths))
    labels: dict[str, list[str]] = {}
    for verdict in calls.verdicts:
        if verdict.label != "none":
            labels.setdefault(verdict.label, []).append(verdict.name)
    found = "; ".join(
        f"{label}: {', '.join(names[:8])}{' and more' if len(names) > 8 else ''}" for label, names in labels.items()
    )
    absent = ""
    if calls.behaviour == "absent":
        absent = " The behaviour is absent on this model, so none of these labels should be trusted."
    return (
        "Compare every head with itself on fresh tokens at the same positions, test the difference over sequences, correct for "
        f"the number of heads, and ask for an effect above {calls.floor:.2f}: {calls.sequences} sequences, lengths {lengths}. "
        f"{found or 'No head got a label'}.{absent}"
    )


def scale_answer(model: str, own: Reproduction, models: Sequence[SizedModel]) -> str:
    """What two published models, this one and the others of this machine say, and what it would take to know."""
    card = model_identity(model).card
    tops = [f"{found.title} {found.induction.max():.2f}" for found in reported_models().values()]
    return (
        f"A few unrelated models cannot say. The highest score in the report's convention is {tops[0]}, {tops[1]}, and "
        f"{card.name} ({short_count(card.n_params)} weights) {own.scores.max():.2f}. {_ends_of(models)}They differ in data, "
        "width and attention at once. It takes one family trained on the same data at many sizes, such as Pythia, several "
        "seeds each, the same probe, and the behaviour checked first. Those models have to be fetched; then the same commands "
        "run on each."
    )


def _ends_of(models: Sequence[SizedModel]) -> str:
    """The smallest and the largest trained model that show the behaviour, if there are two."""
    said = [
        (model.name, short_count(model.n_params), f"{model.top[1]:.2f}")
        for model in models
        if model.trained and model.top is not None and model.losses is not None and model.losses.behaviour == "present"
    ]
    if len(said) < 2:
        return ""
    (first, few, low), (last, many, high) = said[0], said[-1]
    return (
        f"Of the trained models on this machine {len(said)} are known to show the behaviour on one and the same probe: from "
        f"{first} ({few} weights), whose highest score is {low}, to {last} ({many} weights), {high}. "
    )


def behaviour_of_the_report() -> str:
    """What the report's own number says about its model, which it did not notice."""
    loss, bound = reported_table()[0].loss, math.log(REPORT_LENGTH)
    return (
        f"In nats, its untouched second-copy loss is {loss:.2f}. A model that only knew which {REPORT_LENGTH} tokens are in "
        f"the text would have ln {REPORT_LENGTH} = {bound:.2f}. So on its own probe, without a BOS, its model did not show the "
        "behaviour whose heads it was looking for."
    )


def report_facts(run: ReportRun) -> dict[str, Any]:
    """The published numbers beside this run's, as JSON values; matrices are `[layer][head]`."""
    return {
        "published": {
            "models": {name: _published(found) for name, found in reported_models().items()},
            "table": [
                {
                    "model": row.model,
                    "threshold": row.threshold,
                    "heads": [head_name(*head) for head in row.heads],
                    "log_probability": row.log_probability,
                    "loss": row.loss,
                }
                for row in reported_table()
            ],
        },
        "run": {
            "recipe": _recipe(run.steps[0]),
            "induction": {"whole_diagonal": run.steps[0].scores, "second_copy_queries": run.steps[-1].scores},
            "heads_above": {str(t): int((run.steps[0].scores > t).sum()) for t in COUNTED_THRESHOLDS},
            "loss": _losses(run.steps[0].losses),
            "behaviour": run.steps[0].losses.behaviour,
            "steps": [_step(step) for step in run.steps],
        },
        "models": [_sized(model) for model in run.models],
        "questions": [{"question": QUESTIONS[name], "answer": answer} for name, answer in run.answers().items()],
    }


def _published(found: ReportedModel) -> dict[str, Any]:
    counts = {str(threshold): count for threshold, count in found.counts().items()}
    maps = {"induction": found.induction, "previous_token": found.previous_token}
    return {"title": found.title, "heads_above": counts, **maps}


def _recipe(step: Reproduction) -> dict[str, Any]:
    probe = step.recipe.probe
    return {
        "length": probe.length,
        "sequences": probe.n_sequences,
        "seed": probe.options.seed,
        "token_range": list(probe.token_range),
        "has_bos": probe.has_bos,
        "notes": list(step.recipe.notes),
    }


def _step(step: Reproduction) -> dict[str, Any]:
    rows = [
        {
            "threshold": row.threshold,
            "heads": [head_name(*head) for head in row.heads],
            "value": row.value,
            "controls": dict(zip(("low", "high", "mean"), row.band, strict=True)) if len(row.controls) else None,
        }
        for row in step.rows
    ]
    return {"corrections": [name for name in CORRECTIONS if getattr(step.corrections, name)], "rows": rows}


def _sized(model: SizedModel) -> dict[str, Any]:
    """One model of this machine on the default probe; what is not measured is null."""
    top = (
        None
        if model.top is None
        else {"head": head_name(*model.top[0]), "induction": model.top[1]} | {"contrast": model.top_contrast}
    )
    return {
        "name": model.name,
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "n_params": model.n_params,
        "behaviour": None if model.losses is None else model.losses.behaviour,
        "loss": None if model.losses is None else _losses(model.losses),
        "highest": top,
        "problem": model.problem or None,
    }


def _losses(losses: Losses) -> dict[str, float]:
    return {"first_copy": losses.first_copy, "second_copy": losses.second_copy, "ln_length": losses.ln_length}


def _heads(count: int) -> str:
    return f"{count} head{'' if count == 1 else 's'}"
