"""What a person asks for: a model, a probe by its options or by explicit ids, and how to compute it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from core.errors import BadInput
from core.models.catalogue import DEFAULT_MODEL
from core.plain import shown, whole
from core.probes.given import plain_rows
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

    A path, a device and a number format of torch, whole numbers and arrays of numpy or torch, and lists stand for the name, the
    number or the tuple that they say: requests that ask for the same are equal.

    Raises BadInput for an argument of another kind; whether the model can do what is asked is seen where it is bound.
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

    def __post_init__(self) -> None:
        plain: dict[str, Any] = {name: _whole(name, getattr(self, name), example) for name, example in _WHOLE.items()}
        plain |= {name: _word(name, getattr(self, name), example) for name, example in _WORDS.items()}
        plain["model"] = str(self.model) if isinstance(self.model, PurePath) else self.model
        plain["token_range"] = None if self.token_range is None else _pair(self.token_range)
        plain["tokens"] = None if self.tokens is None else plain_rows(self.tokens)
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def options(self) -> ProbeOptions:
        """The probe's options."""
        return ProbeOptions(self.length, self.sequences, self.seed, self.bos, self.token_range)


# What must be a whole number, and what a word, with an example of each for the sentence that refuses another kind.
_WHOLE = {"length": ProbeOptions.length, "sequences": ProbeOptions.sequences, "seed": ProbeOptions.seed}
_WORDS = {"bos": "auto", "device": "cpu", "dtype": "float32"}


def _whole(name: str, given: object, example: int) -> int:
    number = whole(given)
    if number is None:
        raise BadInput(f"A request's {name} must be a whole number, such as {example}, not {shown(given)}.")
    return number


def _word(name: str, given: object, example: str) -> str:
    # Known by their class: importing torch takes seconds, which a request must not.
    if (type(given).__module__, type(given).__name__) == ("torch", name):
        return str(given).removeprefix("torch.")
    if not isinstance(given, str):
        raise BadInput(f"A request's {name} must be a word, such as {example!r}, not {shown(given)}.")
    return given


def _pair(given: Any) -> tuple[int, int]:
    values = tuple(given) if isinstance(given, (list, tuple)) or getattr(given, "ndim", 0) == 1 else ()
    numbers = [number for number in map(whole, values) if number is not None]
    if len(values) != 2 or len(numbers) != 2:
        raise BadInput(
            f"A request's token_range must be two whole numbers, such as (1000, 10000), or None, not {shown(given)}."
        )
    return numbers[0], numbers[1]
