"""The report's open questions, each with a live answer in sentences, and how its rows and corrections are called.

Its questions (Muhia 2022): is one threshold enough or is a sweep needed; what does pruning the previous-token head do, the
cell that crashed; what would be a less confusing detector; how does the score change with model scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.ablation.outcomes import Pruning
from core.ablation.sweep import Sweep
from core.ablation.words import change_words
from core.attention.head_scores import HeadScores
from core.heads import heads_above, listed
from core.numbers import counted, digits_that_add_up, share, short_count, signed
from core.replication.published import REPORT_LENGTH, REPORT_TOKEN_RANGE, reported_models, reported_table
from core.replication.recipe import Recipe
from core.replication.reproduction import Reproduction
from core.replication.run import ReportRun, TopPruning
from core.replication.size import SizedModel
from core.settings.experiment import REPORT_THRESHOLDS
from core.settings.modes import Mode
from core.settings.provenance import bos_words, measured_on
from core.settings.subject import Subject
from core.settings.view import CORRECTIONS
from core.transformer.card import ModelCard
from core.verdicts.judgement import Judgement

QUESTIONS = {
    "sweep": "Is a threshold sweep needed?",
    "pruning": "What does pruning the previous-token head do?",
    "detector": "What would be a less confusing detector?",
    "scale": "How does the score change with model scale?",
}
RIVAL_FLOOR = 0.5
_LESS = 0.05
# Nats that are written as nothing.
_NOTHING = 0.005
STEP_TITLES = {
    None: "the report's recipe",
    "sign": "as a loss: sign and unit, no effect",
    "rows": "second-copy queries only",
    "bos": "a BOS in front",
    "baselines": "other heads beside it",
}


def answers(run: ReportRun, mode: Mode) -> dict[str, str]:
    """The answer to each of `QUESTIONS`, as text; `mode`: how the sweep took heads away."""
    return {
        "sweep": sweep_answer(run.sweep, mode),
        "pruning": pruning_answer(run.pruning, run.scores),
        "detector": detector_answer(run.judged),
        "scale": size_answer(run.subject.card, run.steps[0], run.models),
    }


def recorded_and_live(own: Reproduction, name: str) -> str:
    """The report's first number beside the same one of a live run under its recipe."""
    recorded, live = reported_table()[0].log_probability, own.rows[0].value
    counted = " and ".join(f"{len(row.heads)} at {row.threshold:.1f}" for row in own.rows if row.threshold is not None)
    return (
        f"**Recorded beside live: the report's mean log-probability on the second copy is {signed(recorded)}, that of {name} "
        f"under the same recipe {signed(live)}.** Heads above its thresholds, live: {counted}."
    )


def sweep_answer(sweep: Sweep, mode: Mode) -> str:
    """Whether two thresholds would have told what the whole curve tells."""
    keeping = [row for row in sweep.rows if row.n_heads]
    if not keeping:
        return "No head is above any threshold of the sweep, so there is nothing to choose between."
    clean, most = sweep.clean.second_copy, max(row.second_copy for row in keeping)
    two = [row for row in sweep.rows if any(math.isclose(row.threshold, t) for t in REPORT_THRESHOLDS)]
    said = "; ".join(f"at {row.threshold:.2f} {counted(row.n_heads, 'head')} and {row.second_copy:.2f} nats" for row in two)
    distinct = len({row.heads for row in keeping})
    different = "one head set" if distinct == 1 else f"{distinct} different head sets"
    needed = "Yes" if most - max([clean, *(row.second_copy for row in two)]) > 0.1 * max(most - clean, _LESS) else "Not here"
    knee = "the curve has no bend" if sweep.knee is None else f"the curve bends most at {sweep.knee:.2f}"
    return (
        f"{needed}. The thresholds of this sweep select {different}; taking them away ({mode} ablation) brings the second-copy "
        f"loss from {clean:.2f} to as much as {most:.2f} nats, and {knee}. The report's two thresholds see: {said}."
    )


def pruning_answer(pruning: TopPruning, scores: HeadScores) -> str:
    """What the crashed cell would have shown, beside random heads."""
    found = pruning.result
    name, fraction = found.head.name, found.gain_lost
    change = found.pruned.second_copy - found.clean.second_copy
    digits = digits_that_add_up(found.clean.second_copy, change, found.pruned.second_copy)
    verdict, *ends = (_outcome(number, found) for number in found.change)
    if set(ends) != {verdict}:
        verdict = f"seems to {verdict.replace('costs', 'cost').replace('breaks', 'break')}"
    said = (
        f"{name} looks at the token just before most of all ({pruning.score:.2f}). Taking it away ({found.mode} ablation) "
        f"{verdict}: second-copy loss {found.clean.second_copy:.{digits}f} → {found.pruned.second_copy:.{digits}f} nats, "
        f"{change_words(found.change, found.n_sequences, digits)}"
    )
    said += "." if math.isnan(fraction) else f": {share(fraction)} of the gain."
    low, high, _ = pruning.baselines.range
    if not math.isnan(low):
        said += f" Other heads of its layers instead: {low:.2f} to {high:.2f} nats."
    moved = [f"{head.name} {found.before[head]:.2f} → {found.after[head]:.2f}" for head in pruning.downstream()]
    said += f" Prefix matching after it: {', '.join(moved)}." if moved else " No later head looks for the earlier copy."
    rivals = len(heads_above(scores.mean("previous_token"), RIVAL_FLOOR)) - 1
    if rivals > 0 and fraction <= RIVAL_FLOOR:
        others = "another head scores" if rivals == 1 else f"{rivals} other heads score"
        said += f" A high previous-token score does not make a head necessary: {others} above {RIVAL_FLOOR:.1f}, too."
    return said


def _outcome(change: float, pruning: Pruning) -> str:
    """What a rise in second-copy loss (nats) comes to; nothing of one that is not known."""
    if math.isnan(change):
        return ""
    if pruning.clean.has_gain and change > 0.5 * pruning.clean.gain:
        return "breaks the repetition"
    return "costs nothing" if change < _NOTHING else "costs little" if change < 0.5 else "costs something"


def detector_answer(judged: Judgement) -> str:
    """What test, interval and label say, instead of a threshold chosen by eye."""
    lengths = ", ".join(map(str, judged.lengths))
    matching = judged.called
    found = [verdict.head for verdict in matching if verdict.label == "induction"]
    others = [verdict.head for verdict in matching if verdict.label != "induction"]
    gives = f"{counted(len(found), 'induction head')}" + (f", {listed(found, 12)}" if found else "")
    gives += f"; {len(others)} more {'matches' if len(others) == 1 else 'match'}: {listed(others, 8)}" if others else ""
    absent = ""
    if judged.behaviour == "absent":
        absent = " The behaviour is absent on this model, so none of them should be trusted."
    return (
        "Compare every head with itself on fresh tokens at the same positions, test the difference over sequences, correct for "
        f"the number of heads, and ask for a contrast surely above {judged.floor:.2f}: "
        f"{counted(judged.sequences, 'sequence')}, lengths "
        f"{lengths}. Here that and what the heads do give {gives}.{absent}"
    )


def size_answer(card: ModelCard, own: Reproduction, models: Sequence[SizedModel]) -> str:
    """What two published models, this one and the others of this machine say, and what it would take to know."""
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
        if model.trained and model.top is not None and model.state == "present"
    ]
    if len(said) < 2:
        return ""
    (first, few, low), (last, many, high) = said[0], said[-1]
    return (
        f"Of the trained models on this machine {len(said)} are known to show the behaviour on one and the same probe: from "
        f"{first} ({few} weights), whose highest score is {low}, to {last} ({many} weights), {high}. "
    )


def behaviour_of_the_report() -> str:
    """What the report's own numbers say about its model, and what they leave open."""
    untouched, *_, last = reported_table()
    ids = REPORT_TOKEN_RANGE[1] - REPORT_TOKEN_RANGE[0]
    bound, by_set = math.log(ids), math.log(REPORT_LENGTH)
    return (
        f"Its tokens were drawn evenly from {ids:,} ids, so on fresh ones no model can have, on average, a loss below "
        f"ln {ids:,} = {bound:.2f} nats. Its untouched second-copy loss is {untouched.loss:.2f}: {bound - untouched.loss:.1f} "
        "nats better than any model could do without using the first copy. Whether by which tokens are in it (down to "
        f"ln {REPORT_LENGTH} = {by_set:.2f} nats would be possible) or by their order, the number cannot say: that takes the "
        f"same tokens shuffled and rotated. Without the {counted(len(last.heads), 'head')} above "
        f"{last.threshold} it is {last.loss:.2f}, "
        "no longer below that bound."
    )


def table_note(found: Reproduction) -> str:
    """What stands in brackets beside a live number."""
    count = len(found.measured.token_loss)
    if count < 2:
        return "One sequence gives no interval."
    return f"In brackets: 95 % intervals over {counted(count, 'sequence')}; the report gave none."


def recipe_words(recipe: Recipe, bos: str | None = None) -> str:
    """What the recipe's numbers were measured on; `bos`: what to say of a BOS where it is not the same for all of them."""
    probe, (low, high) = recipe.subject.probe, recipe.token_range
    return (
        f"{counted(probe.n_sequences, 'sequence')} of {probe.length} tokens, ids drawn with replacement from {low:,} to "
        f"{high - 1:,}, each sequence twice, {bos or bos_words(recipe.subject)}, seed {recipe.seed}"
    )


def steps_words(steps: Sequence[Reproduction]) -> str:
    """What numbers under different corrections were measured on: the same tokens, some of them with a BOS in front."""
    kinds = {step.recipe.subject.probe.has_bos for step in steps}
    varies = "no BOS but where that is corrected, there one in front"
    return recipe_words(steps[0].recipe, varies if len(kinds) > 1 else None)


def questions_note(subject: Subject) -> str:
    """On what the answers to the open questions were measured, which is not what the report's recipe draws."""
    return (
        "Maps, counts and tables above follow the report's recipe, the answers below do not. The first two are measured on the "
        f"probe that is set: {measured_on(subject)}; the other two say what they rest on. So a head can have another score "
        "here, and another number of heads can be above a threshold."
    )


def steps_note() -> str:
    """How to read what each correction changes."""
    return (
        "The first correction changes the sign and the unit and nothing that was measured, so numbers before it and after it "
        "are on axes of their own. Each later one changes what is measured."
    )


def step_labels(steps: Sequence[Reproduction]) -> list[str]:
    """What each step adds to the one before, with line breaks."""
    names: list[str | None] = []
    before: set[str] = set()
    for step in steps:
        now = {name for name in CORRECTIONS if getattr(step.corrections, name)}
        names.append(next(iter(sorted(now - before)), None))
        before = now
    return [_broken(("+ " if name else "") + STEP_TITLES[name]) for name in names]


def row_name(threshold: float | None) -> str:
    """`untouched`, or the threshold above which heads are taken away."""
    return "untouched" if threshold is None else f"heads above {threshold:.1f} zeroed"


def _broken(text: str, width: int = 18) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
