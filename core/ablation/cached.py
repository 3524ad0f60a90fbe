"""Ablations, the causal map and the sweep, from a request to a kept result.

Like `core.attention.cached`: the same functions serve pages and the command line; each result is computed once for everybody.
Progress goes to the job that the work runs in, if any.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import DEFAULT_CONTROLS, ControlSets, control_sets
from core.ablation.sweep import Sweep, assemble_sweep, band, recovered_fraction, sets_by_threshold
from core.attention.cached import ScoreRequest, head_scores, run_key
from core.attention.scores import SCORE_VERSION, HeadScores, Layout, Losses, head_name, second_copy_targets
from core.errors import BadInput
from core.heads import MODES, HeadSet, Mode, head_set
from core.models.load import model_identity
from core.probes.repeated import Probe, ProbeOptions, repeated_probe
from core.runtime.cache import at_hand, kept, kept_result
from core.runtime.jobs import current_control
from core.runtime.store import Stored, default_store
from core.text.paragraph import PARAGRAPH, text_tokens
from core.transformer.card import ModelIdentity

if TYPE_CHECKING:
    from core.ablation.ablator import AblationBench

ABLATION_VERSION = 3
REFERENCE_SEQUENCES = 8
# Far from any seed a person types, so that reference sequences are never the probe's own.
REFERENCE_SEED_SHIFT = 1_000_003
BENCHES_KEPT = 2
MAX_CONTROLS = 200


@dataclass(frozen=True)
class Ablation:
    """What a set of heads costs. Losses by target position in nats, NaN at position 0.

    text: the plain text's token losses, clean and ablated; None where it was left out or the model has no tokenizer.
    engine: what ran the blocks again: "fused", or "hooks" where a model cannot be run the fast way.
    """

    heads: HeadSet
    mode: Mode
    layout: Layout
    clean: Float[np.ndarray, "sequences tokens"]
    ablated: Float[np.ndarray, "sequences tokens"]
    text: tuple[Float[np.ndarray, "1 tokens"], Float[np.ndarray, "1 tokens"]] | None = None
    engine: str = "hooks"

    @property
    def clean_losses(self) -> Losses:
        """First-copy and second-copy loss before."""
        return Losses.of(self.clean, self.layout)

    @property
    def ablated_losses(self) -> Losses:
        """First-copy and second-copy loss after."""
        return Losses.of(self.ablated, self.layout)

    @property
    def recovered_fraction(self) -> float:
        """The share of the gain that the ablation takes away."""
        return recovered_fraction(self.ablated_losses.second_copy, self.clean_losses)


@dataclass(frozen=True)
class Controls:
    """The same ablation of random sets, matched by layer. `token_loss`: `[controls, tokens]`, averaged over sequences."""

    sets: tuple[HeadSet, ...]
    note: str
    token_loss: Float[np.ndarray, "controls tokens"]
    layout: Layout

    @property
    def second_copy(self) -> Float[np.ndarray, " controls"]:
        """Each random set's second-copy loss."""
        return self.token_loss[:, second_copy_targets(self.layout)].mean(-1, dtype=np.float64)

    @property
    def band(self) -> tuple[float, float, float]:
        """Low, high and mean of the second-copy losses: the 95 % band."""
        return band(self.second_copy)


@dataclass(frozen=True)
class CausalMap:
    """The change in loss (nats) when each head is ablated alone; NaN where a layer is not measured yet.

    losses: each sequence's second-copy loss without the head; clean: with nothing ablated. engine: as an ablation's; both
    names where layers were measured by different ones.
    """

    mode: Mode
    losses: Float[np.ndarray, "n_layers n_heads sequences"]
    clean: Float[np.ndarray, " sequences"]
    engine: str = "hooks"

    @property
    def effect(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Change in second-copy loss, averaged over sequences."""
        return (self.losses - self.clean).mean(-1)

    @property
    def complete(self) -> bool:
        """Whether every layer is measured."""
        return not np.isnan(self.losses).any()


def ablate(request: ScoreRequest, heads: Sequence[tuple[int, int]], mode: Mode, *, text: str | None = PARAGRAPH) -> Ablation:
    """Ablate `heads` together, on the probe and on plain text; `text=None` leaves the plain text out.

    Raises BadInput for heads or a mode that this model or probe cannot have.
    """
    [found] = ablate_all(request, [tuple(heads)], mode)
    identity, probe, wanted = _checked(request, heads, mode)
    if text is None or identity.tokenizer is None:
        return found

    def compute_text() -> Stored:
        return Stored(_text_losses(bench_for(request, identity, probe), identity, probe, text, wanted, mode), {})

    plain = kept(_key("ablation-text", identity, request, probe, mode, heads=_listed(wanted), text=text), compute_text)
    return replace(found, text=(plain["text_clean"], plain["text_ablated"]))


def ablate_all(request: ScoreRequest, sets: Sequence[HeadSet], mode: Mode) -> tuple[Ablation, ...]:
    """`ablate` of each of `sets` on the probe alone; those not at hand share the layers in which they agree.

    Raises BadInput as `ablate` does.
    """
    identity, probe, _ = _checked(request, (), mode)
    wanted = [head_set(heads, identity.card.n_layers, identity.card.n_heads) for heads in sets]
    keys = {heads: _key("ablation", identity, request, probe, mode, heads=_listed(heads)) for heads in wanted}
    computed: dict[HeadSet, Stored] = {}

    def compute(heads: HeadSet) -> Stored:
        if heads not in computed:
            missing = [other for other in keys if default_store().get(keys[other]) is None]
            bench = bench_for(request, identity, probe)
            what = "1 head set" if len(missing) == 1 else f"{len(missing)} head sets"
            losses = bench.token_loss(missing, mode, _share(what), apart=True)
            for other, ablated in zip(missing, losses, strict=True):
                computed[other] = Stored({"clean": bench.clean, "ablated": ablated}, {"engine": bench.engine})
        return computed[heads]

    found = {heads: kept_result(key, partial(compute, heads)) for heads, key in keys.items()}
    return tuple(_ablation_from(found[heads], heads, mode, Layout.of(probe)) for heads in wanted)


def ablation_controls(
    request: ScoreRequest, heads: Sequence[tuple[int, int]], mode: Mode, count: int = DEFAULT_CONTROLS, seed: int = 0
) -> Controls:
    """The same ablation of `count` random sets matched by layer.

    Raises BadInput as `ablate` does, and for a count out of range.
    """
    identity, probe, wanted = _checked(request, heads, mode)
    chosen = _control_sets(identity, wanted, count, seed)
    key = _key("controls", identity, request, probe, mode, sets=[_listed(found) for found in chosen.sets])

    def compute() -> Stored:
        bench = bench_for(request, identity, probe)
        losses = bench.token_loss(chosen.sets, mode, _share(f"{len(chosen.sets)} random sets"))
        return Stored({"token_loss": losses.mean(1)}, {})

    loss = kept(key, compute)["token_loss"]
    return Controls(chosen.sets, chosen.note, loss, Layout.of(probe))


def causal_map(request: ScoreRequest, mode: Mode, layers: Sequence[int] | None = None) -> CausalMap:
    """Every head ablated alone, layer by layer; of `layers` only, in that order, if they are given.

    Each layer is kept when it is done, so an interrupted map goes on where it stopped. In a job, partial maps are shown
    as they come.
    """
    identity, probe, _ = _checked(request, (), mode)
    control = current_control()
    card = identity.card
    # From the last layer back: the layers that cost least, and usually matter most, come first.
    wanted = list(reversed(range(card.n_layers))) if layers is None else list(layers)
    if not set(wanted) <= set(range(card.n_layers)):
        raise BadInput(f"{card.name} has layers 0 to {card.n_layers - 1}, so there is no map of {wanted}.")
    losses = np.full((card.n_layers, card.n_heads, probe.n_sequences), np.nan)
    clean = _clean_losses(request, identity, probe)
    engines: set[str] = set()
    for done, layer in enumerate(wanted):
        control.checkpoint()
        control.progress(done / len(wanted), f"layer {layer}: {len(wanted) - done} layers left")

        def compute(layer: int = layer) -> Stored:
            from core.ablation.causal import layer_losses

            bench = bench_for(request, identity, probe)
            return Stored({"losses": layer_losses(bench, layer, mode, Layout.of(probe))}, {"engine": bench.engine})

        stored = kept_result(_layer_key(request, identity, probe, mode, layer), compute)
        losses[layer] = stored.arrays["losses"]
        engines.add(stored.meta["engine"])
        control.partial(CausalMap(mode, losses.copy(), clean, _engines(engines)))
    return CausalMap(mode, losses, clean, _engines(engines))


def stored_causal_map(request: ScoreRequest, mode: Mode) -> CausalMap | None:
    """The layers of the map that are at hand; None if none is. Computes nothing."""
    identity, probe, _ = _checked(request, (), mode)
    store = default_store()
    clean = store.get(_key("clean-losses", identity, request, probe, "zero"))
    layers = [store.get(_layer_key(request, identity, probe, mode, layer)) for layer in range(identity.card.n_layers)]
    if clean is None or not any(layers):
        return None
    losses = np.full((len(layers), identity.card.n_heads, probe.n_sequences), np.nan)
    engines: set[str] = set()
    for layer, stored in enumerate(layers):
        if stored is not None:
            losses[layer] = stored.arrays["losses"]
            engines.add(stored.meta["engine"])
    return CausalMap(mode, losses, clean.arrays["losses"], _engines(engines))


def estimated_map(request: ScoreRequest, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"]:
    """The gradient estimate of the causal map's effects (nats): one forward, one backward."""
    identity, probe, _ = _checked(request, (), mode)

    def compute() -> Stored:
        from core.ablation.causal import estimated_effects

        return Stored({"effect": estimated_effects(bench_for(request, identity, probe), mode, Layout.of(probe))}, {})

    return kept(_key("estimate", identity, request, probe, mode), compute)["effect"]


def threshold_sweep(
    request: ScoreRequest,
    thresholds: Sequence[float],
    mode: Mode,
    *,
    score: str = "induction",
    controls: int = DEFAULT_CONTROLS,
    seed: int = 0,
) -> Sweep:
    """Ablate what each threshold keeps, beside `controls` random sets (0 for none); equal sets are computed once.

    In a job, the number of sets done is its partial result: `stored_sweep` then has that much more to show.
    """
    scores, sets = _sweep_sets(request, thresholds, mode, score)
    control = current_control()
    distinct = sorted(set(sets), key=len)
    alone = ablate_all(request, distinct, mode)
    second_copy = {heads: found.ablated_losses.second_copy for heads, found in zip(distinct, alone, strict=True)}
    beside: dict[HeadSet, Float[np.ndarray, " controls"]] = {}
    control.partial(0)
    for done, heads in enumerate(distinct):
        control.checkpoint()
        control.progress(done / len(distinct), f"random sets beside {len(heads)} heads: {done + 1} of {len(distinct)}")
        if heads and controls:
            beside[heads] = ablation_controls(request, heads, mode, controls, seed).second_copy
        control.partial(done + 1)
    return assemble_sweep(thresholds, sets, second_copy, beside, scores.losses())


def stored_sweep(
    request: ScoreRequest,
    thresholds: Sequence[float],
    mode: Mode,
    *,
    score: str = "induction",
    controls: int = DEFAULT_CONTROLS,
    seed: int = 0,
) -> Sweep | None:
    """The sweep from what is at hand, bands only where they are; None if a head set's own loss is not. Ablates nothing."""
    scores, sets = _sweep_sets(request, thresholds, mode, score)
    second_copy: dict[HeadSet, float] = {}
    beside: dict[HeadSet, Float[np.ndarray, " controls"]] = {}
    for heads in set(sets):
        alone = at_hand(partial(ablate, request, heads, mode, text=None))
        if alone is None:
            return None
        second_copy[heads] = alone.ablated_losses.second_copy
        random = at_hand(partial(ablation_controls, request, heads, mode, controls, seed)) if heads and controls else None
        if random is not None:
            beside[heads] = random.second_copy
    return assemble_sweep(thresholds, sets, second_copy, beside, scores.losses())


def single_effects(request: ScoreRequest, heads: Sequence[tuple[int, int]], mode: Mode) -> Float[np.ndarray, " heads"]:
    """The change in second-copy loss (nats) when each of `heads` is ablated alone.

    Taken from the causal map's layers where they are at hand. Raises BadInput as `ablate` does.
    """
    known = stored_causal_map(request, mode)
    effects = np.array([np.nan if known is None else known.effect[layer, head] for layer, head in heads])
    missing = np.flatnonzero(np.isnan(effects))
    singles = [(heads[index],) for index in missing.tolist()]
    for index, alone in zip(missing, ablate_all(request, singles, mode), strict=True):
        effects[index] = alone.ablated_losses.second_copy - alone.clean_losses.second_copy
    return effects


def _sweep_sets(
    request: ScoreRequest, thresholds: Sequence[float], mode: Mode, score: str
) -> tuple[HeadScores, tuple[HeadSet, ...]]:
    _checked(request, (), mode)
    scores = head_scores(request)
    if score not in scores.names:
        raise BadInput(f"The sweep needs a score that was measured: {', '.join(scores.names)}.")
    return scores, sets_by_threshold(scores.mean(score), thresholds)


def _checked(request: ScoreRequest, heads: Sequence[tuple[int, int]], mode: Mode) -> tuple[ModelIdentity, Probe, HeadSet]:
    if mode not in MODES:
        raise BadInput(f"The ablation mode must be one of {', '.join(MODES)}, not {mode!r}.")
    identity = model_identity(request.model)
    probe = request.probe(identity)
    if mode == "resample" and probe.n_sequences < 2:
        raise BadInput("Resample ablation needs at least 2 sequences: a head's output must come from another one.")
    return identity, probe, head_set(heads, identity.card.n_layers, identity.card.n_heads)


def _control_sets(identity: ModelIdentity, heads: HeadSet, count: int, seed: int) -> ControlSets:
    if not 0 <= count <= MAX_CONTROLS:
        raise BadInput(f"The number of controls must be from 0 to {MAX_CONTROLS}, not {count}.")
    return control_sets(heads, identity.card.n_layers, identity.card.n_heads, count, seed)


def _key(kind: str, identity: ModelIdentity, request: ScoreRequest, probe: Probe, mode: str, **parts: object) -> str:
    return run_key(
        kind,
        identity,
        request,
        probe=probe.digest(),
        mode=mode,
        ablation_version=ABLATION_VERSION,
        score_version=SCORE_VERSION,
        **parts,
    )


def _ablation_from(stored: Stored, heads: HeadSet, mode: Mode, layout: Layout) -> Ablation:
    return Ablation(heads, mode, layout, stored.arrays["clean"], stored.arrays["ablated"], engine=stored.meta["engine"])


def _engines(names: set[str]) -> str:
    return " and ".join(sorted(names))


def _layer_key(request: ScoreRequest, identity: ModelIdentity, probe: Probe, mode: Mode, layer: int) -> str:
    return _key("causal-layer", identity, request, probe, mode, layer=layer)


def _listed(heads: HeadSet) -> list[str]:
    return [head_name(*place) for place in heads]


def _share(what: str) -> Callable[[float], None]:
    """Tells the running job how much of `what` is done; the job can be cancelled there."""
    control = current_control()

    def report(share: float) -> None:
        control.checkpoint()
        control.progress(share, what)

    return report


def _clean_losses(request: ScoreRequest, identity: ModelIdentity, probe: Probe) -> Float[np.ndarray, " sequences"]:
    def compute() -> Stored:
        from core.ablation.causal import clean_losses

        return Stored({"losses": clean_losses(bench_for(request, identity, probe), Layout.of(probe))}, {})

    return kept(_key("clean-losses", identity, request, probe, "zero"), compute)["losses"]


def _text_losses(
    bench: AblationBench, identity: ModelIdentity, probe: Probe, text: str, heads: HeadSet, mode: Mode
) -> dict[str, np.ndarray]:
    """Plain text, clean and ablated.

    A text has its own length, so the mean is over the reference's positions too; and it is alone, so `resample`, which
    needs another sequence, takes that mean as well.
    """
    from core.ablation.ablator import AblationBench

    tokens = text_tokens(identity, text)
    plain = AblationBench(bench.model, tokens, reference_tokens(identity, probe), mean_over_positions=True)
    ablated = plain.token_loss([heads], "mean" if mode == "resample" else mode)[0]
    return {"text_clean": plain.clean, "text_ablated": ablated}


_benches: OrderedDict[str, AblationBench] = OrderedDict()
_benches_lock = threading.Lock()


def bench_for(request: ScoreRequest, identity: ModelIdentity, probe: Probe) -> AblationBench:
    """A bench for this model and probe; the last few stay, for a person tries one head set after another."""
    from core.ablation.ablator import AblationBench
    from core.models.load import load_model

    key = _key("bench", identity, request, probe, "any")
    with _benches_lock:
        if key in _benches:
            _benches.move_to_end(key)
            return _benches[key]
    model = load_model(request.model, device=request.device, dtype=request.dtype, progress=current_control().progress)
    bench = AblationBench(model, probe.tokens, reference_tokens(identity, probe), seed=probe.options.seed)
    with _benches_lock:
        _benches[key] = bench
        while len(_benches) > BENCHES_KEPT:
            _benches.popitem(last=False)
    return bench


def reference_tokens(identity: ModelIdentity, probe: Probe) -> np.ndarray:
    """Other repeated sequences of the same length, range and BOS, whose mean stands in for a head's output."""
    options = probe.options
    return repeated_probe(
        identity.vocabulary,
        ProbeOptions(
            length=probe.length,
            sequences=REFERENCE_SEQUENCES,
            seed=options.seed + REFERENCE_SEED_SHIFT,
            bos="always" if probe.has_bos else "never",
            token_range=options.token_range,
        ),
    ).tokens
