"""From a request to its result: memory, then the store on disk, then one computation shared by everybody who asks.

Pages and the command line call the same functions. Nothing here imports torch until something must really be computed,
so that a stored result is on screen without waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from core.attention.scores import SCORE_VERSION, HeadScores, Layout
from core.models.load import model_identity
from core.probes.repeated import Probe, ProbeOptions, given_probe, repeated_probe
from core.runtime.cache import kept_result
from core.runtime.store import Stored, default_store, result_key
from core.transformer.card import ModelIdentity

Progress = Callable[[float, str], None]
LIBRARIES = ("torch", "transformers", "transformer_lens")


@dataclass(frozen=True)
class ScoreRequest:
    """What a person asks for: a model by name, a probe by its options or by explicit ids, and how to compute it."""

    model: str
    options: ProbeOptions = ProbeOptions()
    tokens: tuple[tuple[int, ...], ...] | None = None
    device: str = "auto"
    dtype: str = "float32"

    def probe(self, identity: ModelIdentity) -> Probe:
        """The probe's ids for this model; raises BadInput where the options do not fit it."""
        if self.tokens is not None:
            return given_probe(identity.vocabulary, self.tokens, self.options.length)
        return repeated_probe(identity.vocabulary, self.options)


def run_key(kind: str, identity: ModelIdentity, request: ScoreRequest, **parts: Any) -> str:
    """The content key of a result: weights, number format, kind of device, library versions, and `parts`."""
    return result_key(
        kind,
        weights=identity.weights_digest,
        dtype=request.dtype,
        device=device_class(request.device),
        libraries=library_versions(),
        **parts,
    )


def device_class(device: str) -> str:
    """`cpu` or `cuda`: results are the same bits on one class of device, not across classes."""
    if device == "auto":
        from core.transformer.device import best_device

        return best_device()
    return device.split(":")[0]


@lru_cache
def library_versions() -> dict[str, str]:
    """Versions, without local build tags, of the libraries whose arithmetic is in every result."""
    return {name: version(name).split("+")[0] for name in LIBRARIES}


def score_key(request: ScoreRequest) -> str:
    """The content key of `head_scores(request)`."""
    identity = model_identity(request.model)
    return run_key("scores", identity, request, probe=request.probe(identity).digest(), score_version=SCORE_VERSION)


def stored_head_scores(request: ScoreRequest) -> HeadScores | None:
    """The scores if they are at hand, in memory or on disk; never computes and never loads a model."""
    stored = default_store().get(score_key(request))
    return None if stored is None else _scores_from(stored)


def head_scores(request: ScoreRequest, progress: Progress | None = None) -> HeadScores:
    """The scores of every head, computed once for everybody and kept.

    Raises BadInput or ModelUnavailable with one clear sentence.
    """

    def compute() -> Stored:
        from core.attention.score_pass import measure_heads
        from core.models.load import load_model

        model = load_model(request.model, device=request.device, dtype=request.dtype, progress=progress)
        return _stored(measure_heads(model, request.probe(model.identity), progress))

    return _scores_from(kept_result(score_key(request), compute))


def _stored(scores: HeadScores) -> Stored:
    arrays = {f"score.{name}": array for name, array in scores.per_sequence.items()}
    arrays |= {"placebo": scores.placebo, "token_loss": scores.token_loss}
    return Stored(arrays, {"layout": asdict(scores.layout), "engine": scores.engine})


def _scores_from(stored: Stored) -> HeadScores:
    return HeadScores(
        per_sequence={k.removeprefix("score."): v for k, v in stored.arrays.items() if k.startswith("score.")},
        placebo=stored.arrays["placebo"],
        token_loss=stored.arrays["token_loss"],
        layout=Layout(**stored.meta["layout"]),
        engine=stored.meta["engine"],
    )
