"""The report's own recipe on any model, and each later correction as a switch whose effect can be seen.

The recipe (Muhia 2022): 4 random sequences of 100 tokens, ids 1000 to 9999, twice, no BOS; a head's score is the mean of
the *whole* diagonal `1 - L` of its pattern; heads strictly above a threshold lose their values; "loss" is the mean
log-probability of the second copy, its first token included. Values that are zero at every position make the head's output
`z = A v` zero, so ablating `z` is the same and is what is done here.

The score is read off here, apart from `core.attention.scores`, because its convention differs: the whole diagonal has
entries that are not induction (one without a BOS, two with one), so a perfect head cannot reach 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import DEFAULT_CONTROLS, control_sets
from core.ablation.sweep import band
from core.attention.cached import Progress, ScoreRequest, run_key
from core.attention.scores import Layout, Losses, head_name, heads_above, second_copy_targets
from core.heads import HeadSet
from core.models.load import model_identity
from core.probes.repeated import BosPolicy, Probe, ProbeOptions, Vocabulary, candidate_ids, longest_length, repeated_probe
from core.replication.published import REPORT_LENGTH, REPORT_SEQUENCES, REPORT_THRESHOLDS, REPORT_TOKEN_RANGE
from core.runtime.cache import kept
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.transformer.card import ModelIdentity

if TYPE_CHECKING:
    import torch

    from core.ablation.ablator import AblationBench

REPRODUCTION_VERSION = 1


@dataclass(frozen=True)
class Corrections:
    """What is done differently from the report; all off is its own recipe.

    sign: a loss in nats instead of a log-probability.
    targets: without the first token of the second copy, which cannot be known by induction.
    rows: second-copy queries only, instead of the whole diagonal.
    bos: a BOS in front, where the model has one.
    controls: the same ablation of random heads, matched by layer, beside it.
    """

    sign: bool = False
    targets: bool = False
    rows: bool = False
    bos: bool = False
    controls: bool = False


CORRECTIONS = tuple(field.name for field in fields(Corrections))


@dataclass(frozen=True)
class Recipe:
    """The report's probe as far as it fits a model, and one sentence for each thing that had to differ."""

    probe: Probe
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """One pass over the recipe's tokens: what the report read off every head's pattern, and every token's loss in nats.

    whole: mean of the whole diagonal `1 - L`; rows: of its second-copy queries; previous: of the whole diagonal `-1`.
    """

    whole: Float[np.ndarray, "n_layers n_heads"]
    rows: Float[np.ndarray, "n_layers n_heads"]
    previous: Float[np.ndarray, "n_layers n_heads"]
    token_loss: Float[np.ndarray, "sequences tokens"]


@dataclass(frozen=True)
class ReproducedRow:
    """One row of the table. threshold: None for the untouched model. value: nats, or a log-probability without `sign`.

    controls: the same number for each random set; empty where there are none. note: how their match had to be relaxed.
    """

    threshold: float | None
    heads: HeadSet
    value: float
    controls: Float[np.ndarray, " controls"]
    note: str = ""

    @property
    def band(self) -> tuple[float, float, float]:
        """Low, high and mean of the random sets: the 95 % band; NaN where there are none."""
        return band(self.controls)


@dataclass(frozen=True)
class Reproduction:
    """The recipe on one model under some corrections. rows: the untouched model first, then thresholds downwards."""

    corrections: Corrections
    recipe: Recipe
    measured: Measured
    rows: tuple[ReproducedRow, ...]

    @property
    def scores(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Induction scores in the chosen convention."""
        return self.measured.rows if self.corrections.rows else self.measured.whole

    @property
    def control_notes(self) -> tuple[str, ...]:
        """How the match of random sets had to be relaxed, each said once."""
        return tuple(dict.fromkeys(row.note for row in self.rows if row.note))

    @property
    def losses(self) -> Losses:
        """What the report did not check: whether the behaviour is there at all on its own probe."""
        return Losses.of(self.measured.token_loss, Layout.of(self.recipe.probe))


def report_recipe(identity: ModelIdentity, *, bos: bool = False, seed: int = 0) -> Recipe:
    """The report's probe for a model: shorter, or from other ids, only where the model demands it.

    With and without a BOS the tokens are the same, so the BOS is all that differs. Raises BadInput for a model without
    room for two tokens twice.
    """
    vocabulary = identity.vocabulary
    notes = []
    policy: BosPolicy = "never"
    if bos and vocabulary.bos_token_id is not None:
        policy = "always"
    elif bos:
        notes.append("This model has no BOS token, so there is none in front.")
    token_range = _nearest_range(vocabulary)
    low, high = token_range
    if token_range != REPORT_TOKEN_RANGE:
        notes.append(f"Tokens are drawn from ids {low:,} to {high - 1:,}, not 1,000 to 9,999: the vocabulary has {high:,}.")
    roomiest: BosPolicy = "never" if vocabulary.bos_token_id is None else "always"
    length = min(REPORT_LENGTH, longest_length(vocabulary, roomiest), len(candidate_ids(vocabulary, token_range)))
    if length < REPORT_LENGTH:
        notes.append(f"Sequences have {length} tokens, not 100: no more fit this model's context and vocabulary.")
    options = ProbeOptions(length, REPORT_SEQUENCES, seed, policy, token_range)
    return Recipe(repeated_probe(vocabulary, options), tuple(notes))


def _nearest_range(vocabulary: Vocabulary) -> tuple[int, int]:
    """1000 to 9999; as much of it as the vocabulary has, if that is enough for two different copies; else everything."""
    low, high = REPORT_TOKEN_RANGE[0], min(REPORT_TOKEN_RANGE[1], vocabulary.size)
    return (low, high) if high - low >= 2 * REPORT_LENGTH else (0, vocabulary.size)


def whole_diagonal(
    pattern: Float[torch.Tensor, "batch heads tokens tokens"], offset: int
) -> Float[torch.Tensor, "batch heads"]:
    """The report's reading of a pattern: the mean of the diagonal `A[q, q - offset]` over every query that has such a key."""
    return pattern.float().diagonal(offset=-offset, dim1=-2, dim2=-1).mean(-1)


def second_copy_diagonal(
    pattern: Float[torch.Tensor, "batch heads tokens tokens"], length: int
) -> Float[torch.Tensor, "batch heads"]:
    """The corrected reading: of the diagonal `A[q, q - L + 1]`, only the last `L` entries, the second copy's queries."""
    return pattern.float().diagonal(offset=1 - length, dim1=-2, dim2=-1)[..., -length:].mean(-1)


def second_copy_value(
    token_loss: Float[np.ndarray, "... tokens"], layout: Layout, corrections: Corrections
) -> Float[np.ndarray, "..."]:
    """The number that the report calls loss, or its correction, of token losses in nats; the mean is over targets."""
    everything = np.arange(layout.length + layout.b, layout.n_tokens)
    targets = second_copy_targets(layout) if corrections.targets else everything
    loss = token_loss[..., targets].mean(-1, dtype=np.float64)
    return loss if corrections.sign else -loss


def reproduce(
    request: ScoreRequest,
    corrections: Corrections = Corrections(),
    *,
    controls: int = DEFAULT_CONTROLS,
    progress: Progress | None = None,
) -> Reproduction:
    """The report's table on the request's model, under `corrections`; of its options only the seed is used.

    Progress goes to the job that this runs in, unless `progress` is given. Raises BadInput or ModelUnavailable with one
    clear sentence.
    """
    report = progress or current_control().progress
    identity = model_identity(request.model)
    recipe = report_recipe(identity, bos=corrections.bos, seed=request.options.seed)
    run = _Run(request, identity, recipe.probe)
    measured = run.measured()
    layout = Layout.of(recipe.probe)
    scores = measured.rows if corrections.rows else measured.whole
    rows = [ReproducedRow(None, (), float(second_copy_value(measured.token_loss, layout, corrections).mean()), np.empty(0))]
    for threshold in sorted(REPORT_THRESHOLDS, reverse=True):
        heads = tuple(sorted(heads_above(scores, threshold)))
        loss = run.token_loss(heads) if heads else measured.token_loss.mean(0)
        beside, note = np.empty(0), ""
        if corrections.controls and heads:
            chosen = control_sets(heads, identity.card.n_layers, identity.card.n_heads, controls)
            note = chosen.note
            ablated = []
            for done, found in enumerate(chosen.sets):
                report(done / len(chosen.sets), f"random set {done + 1} of {len(chosen.sets)}, threshold {threshold}")
                ablated.append(run.token_loss(found))
            beside = np.array([second_copy_value(one, layout, corrections) for one in ablated])
        rows.append(ReproducedRow(threshold, heads, float(second_copy_value(loss, layout, corrections)), beside, note))
    return Reproduction(corrections, recipe, measured, tuple(rows))


def step_by_step(request: ScoreRequest, *, controls: int = DEFAULT_CONTROLS) -> tuple[Reproduction, ...]:
    """The recipe, then one correction more each time, in the order of `CORRECTIONS`; the last has them all."""
    control = current_control()
    found = []
    corrections = Corrections()
    for done, name in enumerate((None, *CORRECTIONS)):
        control.checkpoint()
        if name is not None:
            corrections = replace(corrections, **{name: True})

        def report(fraction: float, message: str, done: int = done) -> None:
            control.progress((done + fraction) / (len(CORRECTIONS) + 1), message)

        report(0.0, "the report's own recipe" if name is None else f"correcting: {name}")
        found.append(reproduce(request, corrections, controls=controls, progress=report))
    return tuple(found)


class _Run:
    """One model on one recipe; the model is loaded and run only for what is not kept yet."""

    def __init__(self, request: ScoreRequest, identity: ModelIdentity, probe: Probe) -> None:
        self._request, self._identity, self._probe = request, identity, probe
        self._bench: AblationBench | None = None

    def measured(self) -> Measured:
        """The diagonals and the untouched losses."""
        arrays = kept(self._key("report-measured"), self._measure)
        return Measured(**{field.name: arrays[field.name] for field in fields(Measured)})

    def token_loss(self, heads: HeadSet) -> Float[np.ndarray, " tokens"]:
        """Each token's loss in nats with `heads` zeroed, averaged over sequences."""
        current_control().checkpoint()

        def compute() -> Stored:
            return Stored({"token_loss": self._ready().token_loss([heads], "zero")[0].mean(0)}, {})

        return kept(self._key("report-ablated", heads=[head_name(*head) for head in heads]), compute)["token_loss"]

    def _measure(self) -> Stored:
        import torch

        from core.transformer.passes.batching import rows_per_pass
        from core.transformer.passes.hooks import pattern_hook, run_body

        bench = self._ready()
        length, n_layers = self._probe.length, self._identity.card.n_layers
        readings: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "whole": lambda pattern: whole_diagonal(pattern, length - 1),
            "rows": lambda pattern: second_copy_diagonal(pattern, length),
            "previous": lambda pattern: whole_diagonal(pattern, 1),
        }
        totals = {name: np.zeros((n_layers, self._identity.card.n_heads)) for name in readings}
        rows = rows_per_pass(bench.model, self._probe.n_tokens)

        def reader(layer: int) -> Callable[[torch.Tensor], None]:
            def read(pattern: torch.Tensor) -> None:
                for name, reading in readings.items():
                    totals[name][layer] += reading(pattern).sum(0).double().cpu().numpy()

            return read

        hooks = [(pattern_hook(layer), reader(layer)) for layer in range(n_layers)]
        with torch.no_grad():
            for start in range(0, len(bench.tokens), rows):
                run_body(bench.model, bench.tokens[start : start + rows], hooks)
        means = {name: total / self._probe.n_sequences for name, total in totals.items()}
        return Stored(asdict(Measured(**means, token_loss=bench.clean)), {})

    def _ready(self) -> AblationBench:
        if self._bench is None:
            from core.ablation.ablator import AblationBench
            from core.models.load import load_model

            request = self._request
            model = load_model(request.model, device=request.device, dtype=request.dtype)
            self._bench = AblationBench(model, self._probe.tokens)
        return self._bench

    def _key(self, kind: str, **parts: object) -> str:
        return run_key(
            kind,
            self._identity,
            self._request,
            probe=self._probe.digest(),
            reproduction_version=REPRODUCTION_VERSION,
            **parts,
        )
