"""A probe: repeated sequences of tokens, their controls, and what a person chooses about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from core.errors import BadInput
from core.probes.layout import Layout
from core.probes.vocabulary import BosPolicy

MAX_SEQUENCES = 1024
MAX_LENGTH = 8192


@dataclass(frozen=True)
class ProbeOptions:
    """What a person chooses about a probe. `token_range` is half-open; `None` means the whole vocabulary."""

    length: int = 50
    sequences: int = 4
    seed: int = 0
    bos: BosPolicy = "auto"
    token_range: tuple[int, int] | None = None


@dataclass(frozen=True)
class Probe:
    """Repeated sequences, and their controls when there are any.

    tokens: `[sequences, b + 2 * length]`, `b` = 1 with a BOS, else 0.
    control: the same shape with a fresh second half; None where too few other tokens are left for one.
    shuffled, rotated: the same shape with the second half in another order, and by how much each sequence is rotated
        (`core.probes.halves`); None, all three, where the first copy has no such orders.
    """

    tokens: Int[np.ndarray, "sequences tokens"]
    length: int
    has_bos: bool
    options: ProbeOptions
    control: Int[np.ndarray, "sequences tokens"] | None = None
    shuffled: Int[np.ndarray, "sequences tokens"] | None = None
    rotated: Int[np.ndarray, "sequences tokens"] | None = None
    rotation: Int[np.ndarray, " sequences"] | None = None
    token_range: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.tokens.shape[1] != self.bos_tokens + 2 * self.length:
            raise ValueError(f"a probe of length {self.length} cannot have tokens of shape {self.tokens.shape}")
        for name, half in self.second_halves.items():
            if half.shape != self.tokens.shape:
                raise ValueError(f"{name} has shape {half.shape}, which differs from the probe's {self.tokens.shape}")
        if len({half is None for half in (self.shuffled, self.rotated, self.rotation)}) != 1:
            raise ValueError("a probe is shuffled and rotated, or neither")
        if self.rotation is not None and self.rotation.shape != self.tokens.shape[:1]:
            raise ValueError(f"rotation has shape {self.rotation.shape}, not one number a sequence")
        for array in (self.tokens, self.rotation, *self.second_halves.values()):
            if array is not None:
                array.setflags(write=False)

    @property
    def second_halves(self) -> dict[str, Int[np.ndarray, "sequences tokens"]]:
        """The sequences whose second half is no repetition, as far as there are any, by name."""
        halves = {"control": self.control, "shuffled": self.shuffled, "rotated": self.rotated}
        return {name: half for name, half in halves.items() if half is not None}

    @property
    def bos_tokens(self) -> int:
        """Tokens in front of the first copy: 1 with a BOS, else 0 (`b` in the definitions)."""
        return int(self.has_bos)

    @property
    def layout(self) -> Layout:
        """Where the copies are."""
        return Layout(self.length, self.bos_tokens)

    @property
    def n_tokens(self) -> int:
        """Tokens in each sequence, BOS included."""
        return int(self.tokens.shape[1])

    @property
    def n_sequences(self) -> int:
        """How many sequences the probe has."""
        return int(self.tokens.shape[0])

    @cached_property
    def digest(self) -> str:
        """A content key: sha256 over the length, the ids, and those of every other second half."""
        hasher = hashlib.sha256(f"{self.length}:{self.has_bos}:{self.tokens.shape}".encode())
        hasher.update(np.ascontiguousarray(self.tokens, dtype=np.int64).tobytes())
        for name, half in self.second_halves.items():
            hasher.update(name.encode())
            hasher.update(np.ascontiguousarray(half, dtype=np.int64).tobytes())
        if self.rotation is not None:
            hasher.update(self.rotation.astype(np.int64).tobytes())
        return hasher.hexdigest()


def check_counts(options: ProbeOptions) -> None:
    """Raises BadInput for a length, a number of sequences or a seed out of range."""
    if not 2 <= options.length <= MAX_LENGTH:
        raise BadInput(f"The sequence length must be from 2 to {MAX_LENGTH}, not {options.length}.")
    if not 1 <= options.sequences <= MAX_SEQUENCES:
        raise BadInput(f"The number of sequences must be from 1 to {MAX_SEQUENCES}, not {options.sequences}.")
    if not 0 <= options.seed < 2**63:
        raise BadInput(f"The seed must be a whole number from 0 to 2**63 - 1, not {options.seed}.")
