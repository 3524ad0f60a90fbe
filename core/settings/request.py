"""What a person asks for: a model, a probe by its options or by explicit ids, and how to compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.models.catalogue import DEFAULT_MODEL
from core.probes.probe import ProbeOptions
from core.probes.vocabulary import BosPolicy


@dataclass(frozen=True)
class Request:
    """A question before anything is known of the model; `bind` makes a `Subject` of it.

    model: a name of the catalogue, a folder under the model folder, or a model that is already in memory: a causal model of
        the model library, or a TransformerLens bridge.
    tokenizer: the tokenizer of a model in memory; a named one brings its own.
    length, sequences, seed, bos, token_range: the probe (see `ProbeOptions`); `token_range` is half-open.
    tokens: explicit ids instead of drawn ones, used as they are; with `length`.
    device: auto, cpu, cuda, cuda:N or mps. dtype: float32, bfloat16 or float16. A model in memory keeps its own.
    """

    model: Any = DEFAULT_MODEL
    length: int = ProbeOptions.length
    sequences: int = ProbeOptions.sequences
    seed: int = ProbeOptions.seed
    bos: BosPolicy = ProbeOptions.bos
    token_range: tuple[int, int] | None = ProbeOptions.token_range
    tokens: tuple[tuple[int, ...], ...] | None = None
    device: str = "auto"
    dtype: str = "float32"
    tokenizer: Any = None

    @property
    def options(self) -> ProbeOptions:
        """The probe's options."""
        return ProbeOptions(self.length, self.sequences, self.seed, self.bos, self.token_range)
