"""From a subject to the report's recipe on it, its corrections one by one, and its open questions answered live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import DEFAULT_BASELINES, baseline_sets, never_drawn
from core.ablation.cached import prune, random_baselines
from core.ablation.cached_sweep import sweep
from core.ablation.subjects import PRUNING_MODES
from core.ablation.sweep import DEFAULT_GRID
from core.attention.cached import scores_and_behaviour
from core.errors import BadInput, ModelUnavailable
from core.heads import HeadSet, heads_above, names, ranked
from core.models.catalogue import catalogue
from core.models.folders import CatalogueEntry
from core.numbers import counted
from core.replication.recipe import report_recipe, second_copy_diagonal, second_copy_value, whole_diagonal
from core.replication.reproduction import Measured, ReproducedRow, Reproduction
from core.replication.run import REPORT_MODE, ReportRun, TopPruning
from core.replication.size import SizedModel
from core.runtime.cache import cached, if_cached
from core.runtime.jobs import current_control
from core.runtime.lru import Lru
from core.runtime.store import Stored, default_store
from core.settings.cost import PASSES_OF_ONE_SET, expected_seconds
from core.settings.experiment import EFFECT_FLOOR, REPORT_THRESHOLDS
from core.settings.modes import Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.view import CORRECTIONS, OWN_RECIPE, Corrections
from core.stats import estimate
from core.verdicts.cached import judge, verdict_seconds

if TYPE_CHECKING:
    import torch

    from core.ablation.ablator import Ablator

REPRODUCTION_VERSION = 5


def reproduce(subject: Subject, corrections: Corrections = OWN_RECIPE, *, count: int = DEFAULT_BASELINES) -> Reproduction:
    """The report's table on the subject's model, under `corrections`; of its options only the seed is used.

    count: random sets beside each row, where they are asked for. Raises BadInput or ModelUnavailable with one clear sentence.
    """
    recipe = report_recipe(subject, bos=corrections.bos)
    measured = _measured(recipe.subject)
    layout, card = recipe.subject.layout, subject.card
    scores = measured.rows if corrections.rows else measured.whole
    kept = [tuple(sorted(heads_above(scores, threshold))) for threshold in sorted(REPORT_THRESHOLDS, reverse=True)]
    excluded = never_drawn(measured.rows, measured.previous)
    beside = {
        heads: baseline_sets(heads, card.n_layers, card.n_heads, count, excluded=excluded)
        for heads in kept
        if heads and corrections.baselines
    }
    losses = _token_losses(recipe.subject, [*kept, *(found for sets in beside.values() for found in sets.sets)])

    def value(loss: Float[np.ndarray, "*which tokens"]) -> Float[np.ndarray, "*which"] | float:
        return second_copy_value(loss, layout, corrections)

    rows = [ReproducedRow(None, (), *estimate(np.asarray(value(measured.token_loss))), np.empty(0))]
    for threshold, heads in zip(sorted(REPORT_THRESHOLDS, reverse=True), kept, strict=True):
        sets = beside.get(heads)
        random = np.empty(0) if sets is None else np.array([np.mean(value(losses[found])) for found in sets.sets])
        own = losses[heads] if heads else measured.token_loss
        number = estimate(np.asarray(value(own)))
        rows.append(ReproducedRow(threshold, heads, *number, random, "" if sets is None else sets.note))
    return Reproduction(corrections, recipe, measured, tuple(rows), scores_and_behaviour(recipe.subject).behaviour)


def step_by_step(subject: Subject, *, count: int = DEFAULT_BASELINES) -> tuple[Reproduction, ...]:
    """The recipe, then one correction more each time, in the order of `CORRECTIONS`; the last has them all."""
    control = current_control()
    found = []
    steps = [replace(OWN_RECIPE, **dict.fromkeys(CORRECTIONS[:made], True)) for made in range(len(CORRECTIONS) + 1)]
    # The sets that are taken away.
    costs = [len(REPORT_THRESHOLDS) * (1.0 + count * step.baselines) for step in steps]
    for done, (step, name) in enumerate(zip(steps, (None, *CORRECTIONS), strict=True)):
        with control.part(done, costs, "the report's own recipe" if name is None else f"correcting: {name}"):
            found.append(reproduce(subject, step, count=count))
    return tuple(found)


def run_report(
    subject: Subject, mode: Mode = REPORT_MODE, *, count: int = DEFAULT_BASELINES, floor: float = EFFECT_FLOOR
) -> ReportRun:
    """The recipe, its corrections, and the live answers on one model; every part is kept by itself.

    Raises BadInput or ModelUnavailable with one clear sentence.
    """
    control = current_control()
    sets = [len(REPORT_THRESHOLDS) * (len(CORRECTIONS) + 1 + count), len(DEFAULT_GRID) * (1 + count), 2 + count]
    parts = [
        expected_seconds(subject, 3.5),
        *(expected_seconds(subject, PASSES_OF_ONE_SET * number) for number in sets),
        verdict_seconds(subject),
    ]
    with control.part(0, parts, "scoring every head"):
        scores = scores_and_behaviour(subject)
    with control.part(1, parts, "running the report's recipe"):
        steps = step_by_step(subject, count=count)
    with control.part(2, parts, "sweeping the threshold"):
        swept = sweep(subject, DEFAULT_GRID, mode, count=count)
    with control.part(3, parts, "pruning the top previous-token head"):
        pruning = prune_top(subject, mode, count=count)
    with control.part(4, parts, "judging every head"):
        judged = judge(subject, floor=floor)
    return ReportRun(subject, scores, steps, swept, pruning, judged, sized_models())


def prune_top(subject: Subject, mode: Mode = REPORT_MODE, *, count: int = DEFAULT_BASELINES) -> TopPruning:
    """Prune the head with the highest previous-token score, the report's L3H8, on the subject's own probe.

    A mode that pruning does not have is replaced by the report's own.
    """
    mode = mode if mode in PRUNING_MODES else REPORT_MODE
    values = scores_and_behaviour(subject).mean("previous_token")
    head = ranked(values)[0]
    result = prune(subject, head, mode)
    return TopPruning(float(values[head]), result, random_baselines(subject, [head], mode, count))


def size_request(name: str) -> Request:
    """What every model is measured on: the default probe, whose results travel with the bundled models."""
    return Request(name)


def sized_models() -> tuple[SizedModel, ...]:
    """Every model that is on this machine, the smallest first, with the scores that are there. Measures nothing."""
    found = [_sized(entry) for entry in catalogue() if entry.available]
    return tuple(sorted(found, key=lambda model: (model.n_params, model.name)))


def measure_models(wanted: Sequence[str]) -> dict[str, str]:
    """Score each of `wanted` on the default probe; gives one sentence for each that could not be, by name.

    Each is kept by itself, so what was cancelled goes on where it stopped; one that fails does not hold up the others.
    """
    control = current_control()
    problems: dict[str, str] = {}
    for done, name in enumerate(wanted):
        with control.part(done, len(wanted), f"{name}, {done + 1} of {len(wanted)}"):
            try:
                scores_and_behaviour(size_request(name))
            except (BadInput, ModelUnavailable) as error:
                problems[name] = str(error)
        control.partial(done + 1)
    return problems


def _sized(entry: CatalogueEntry) -> SizedModel:
    stated = (entry.name, entry.n_layers or 0, entry.n_heads or 0, entry.n_params or 0)
    problem = "It does not fit into the memory that is free here." if entry.fits_in_memory is False else ""
    try:
        # Files that were never read are not read for a table of what is known.
        subject = if_cached(lambda: bind(size_request(entry.name)))
        scores = None if subject is None else if_cached(lambda: scores_and_behaviour(subject))
    except (BadInput, ModelUnavailable) as error:
        return SizedModel(*stated, problem=str(error))
    if subject is None:
        return SizedModel(*stated, problem=problem)
    card = subject.card
    return SizedModel(entry.name, card.n_layers, card.n_heads, card.n_params, scores, problem if scores is None else "")


def _measured(drawn: Subject) -> Measured:
    """The diagonals and the untouched losses."""
    arrays = cached(_key(drawn, "report-measured"), lambda: _measure(drawn)).arrays
    return Measured(**{field.name: arrays[field.name] for field in fields(Measured)})


def _token_losses(drawn: Subject, sets: Sequence[HeadSet]) -> dict[HeadSet, Float[np.ndarray, "sequences tokens"]]:
    """Each token's loss in nats with each of `sets` zeroed.

    Sets that are not there yet share the layers in which they agree.
    """
    keys = {heads: _key(drawn, "report-ablated", heads=names(heads)) for heads in sets if heads}
    computed: dict[HeadSet, Stored] = {}

    def compute(heads: HeadSet) -> Stored:
        if heads not in computed:
            control = current_control()
            missing = [other for other in keys if default_store().get(keys[other]) is None]

            def report(share: float) -> None:
                control.checkpoint()
                control.progress(share, f"{counted(len(missing), 'head set')}")

            losses = _ablator(drawn).token_loss(missing, "zero", report, apart=True)
            for other, loss in zip(missing, losses, strict=True):
                computed[other] = Stored({"token_loss": loss}, {})
        return computed[heads]

    return {heads: cached(key, partial(compute, heads)).arrays["token_loss"] for heads, key in keys.items()}


def _measure(drawn: Subject) -> Stored:
    import torch

    from core.transformer.passes.batching import even_passes, rows_per_pass
    from core.transformer.passes.hooks import pattern_hook, run_body

    ablator = _ablator(drawn)
    length, n_layers = drawn.probe.length, drawn.card.n_layers
    readings: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "whole": lambda pattern: whole_diagonal(pattern, length - 1),
        "rows": lambda pattern: second_copy_diagonal(pattern, length),
        "previous": lambda pattern: whole_diagonal(pattern, 1),
    }
    totals = {name: np.zeros((n_layers, drawn.card.n_heads)) for name in readings}
    most = rows_per_pass(ablator.model, drawn.probe.n_tokens, makes_way=True)

    def reader(layer: int) -> Callable[[torch.Tensor], None]:
        def read(pattern: torch.Tensor) -> None:
            for name, reading in readings.items():
                totals[name][layer] += reading(pattern).sum(0).double().cpu().numpy()

        return read

    hooks = [(pattern_hook(layer), reader(layer)) for layer in range(n_layers)]
    with torch.no_grad():
        for rows in even_passes(len(ablator.tokens), most):
            run_body(ablator.model, ablator.tokens[rows], hooks, makes_way=True)
    means = {name: total / drawn.probe.n_sequences for name, total in totals.items()}
    return Stored(asdict(Measured(**means, token_loss=ablator.clean)), {})


_ablators: Lru[tuple[str, int], Ablator] = Lru(1)


def _ablator(drawn: Subject) -> Ablator:
    def make() -> Ablator:
        from core.ablation.ablator import Ablator

        return Ablator(drawn.load(), drawn.probe.tokens)

    # A named model whose weights were changed in memory was read anew.
    return _ablators.get_or_make((drawn.key("report-ablator"), id(drawn.placed())), make)


def _key(drawn: Subject, kind: str, **parts: object) -> str:
    return drawn.key(kind, reproduction_version=REPRODUCTION_VERSION, **parts)
