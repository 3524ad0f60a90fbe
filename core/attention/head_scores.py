"""What scoring passes came to: every score of every head on every sequence, losses, and whether the behaviour is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from core.attention.scores import (
    ALL_SCORES,
    DIFFERENCES,
    OF_WHOLE_ROWS,
    PLACEBO_SHIFTS,
    SECOND_STEP,
    SPECIFICITY_OFFSETS,
    SUCCESSOR_SHIFTS,
    Score,
)
from core.behaviour import Behaviour, Losses, behaviour_of
from core.errors import BadInput
from core.heads import HeadSet, every_head, ranked
from core.plain import shown
from core.probes.layout import Layout
from core.probes.losses import losses_of
from core.stats import student_intervals

PerSequence = Float[np.ndarray, "n_layers n_heads sequences"]
# Attention to the successor of a token, by `SUCCESSOR_SHIFTS` of the key.
Successor = Float[np.ndarray, "key_shifts n_layers n_heads sequences"]


@dataclass(frozen=True)
class OtherHalves:
    """What the second step measures: the same first halves, followed by the same tokens in two other orders.

    shuf_loss, rot_loss: each sequence's mean loss in nats. rotated: attention to successors on rotated sequences.
    """

    shuf_loss: Float[np.ndarray, " sequences"]
    rot_loss: Float[np.ndarray, " sequences"]
    rotated: Successor


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head on every sequence, and the loss of every token, of one model on one probe.

    per_sequence: name to `[n_layers, n_heads, sequences]`; also `induction_control` where the probe has a control, and without
        those of whole rows where they are left for later.
    placebo: `[shifts, n_layers, n_heads, sequences]`: the induction cells shifted by `PLACEBO_SHIFTS`.
    token_loss: `[sequences, tokens]` in nats, by target position; the first is NaN, for nothing predicts it.
    top1: by sequence, the share of the second copy's targets that the model ranks first; None where nobody looked.
    fresh_loss, rotated_control: the control's mean loss at the second copy's targets, and its attention to the cells that are
        successors on the rotated sequences; None without a control, or without other orders.
    other: what the second step measured; None before it, and where there is none.
    windows: how many tokens each layer sees, its own included: 0 where it sees all, -1 where it sees some in another way.
    """

    per_sequence: Mapping[str, PerSequence]
    placebo: Float[np.ndarray, "shifts n_layers n_heads sequences"]
    token_loss: Float[np.ndarray, "sequences tokens"]
    layout: Layout
    engine: str = "hooks"
    top1: Float[np.ndarray, " sequences"] | None = None
    fresh_loss: Float[np.ndarray, " sequences"] | None = None
    rotated_control: Successor | None = None
    other: OtherHalves | None = None
    windows: Int[np.ndarray, " n_layers"] | None = None

    def __post_init__(self) -> None:
        shapes = {array.shape for array in self.per_sequence.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 3:
            raise ValueError(f"every score must be [n_layers, n_heads, sequences], not {shapes}")
        shape = next(iter(shapes))
        if self.token_loss.shape != (shape[2], self.layout.n_tokens):
            raise ValueError(f"token_loss has shape {self.token_loss.shape}")
        if self.placebo.shape != (len(PLACEBO_SHIFTS), *shape):
            raise ValueError(f"placebo has shape {self.placebo.shape}")
        for found in (self.rotated_control, None if self.other is None else self.other.rotated):
            if found is not None and found.shape != (len(SUCCESSOR_SHIFTS), *shape):
                raise ValueError(f"attention to successors has shape {found.shape}")
        if self.windows is not None and self.windows.shape != shape[:1]:
            raise ValueError(f"windows have shape {self.windows.shape}")

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        found: int = self.placebo.shape[1]
        return found

    @property
    def n_heads(self) -> int:
        """Query heads of the layer that has most of them."""
        found: int = self.placebo.shape[2]
        return found

    @property
    def exists(self) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Which heads there are: a layer without attention has none, one with fewer has fewer, and there scores are NaN."""
        found: Bool[np.ndarray, "n_layers n_heads"] = ~np.isnan(self.mean("induction"))
        return found

    @property
    def n_sequences(self) -> int:
        """Sequences that it was measured on."""
        return len(self.token_loss)

    @property
    def names(self) -> tuple[str, ...]:
        """The scores at hand, in the table's order; not those that were not measured, or withheld for every head."""
        return tuple(name for name in ALL_SCORES if self._has(name))

    @property
    def later(self) -> tuple[str, ...]:
        """The scores that were left for later and are not measured yet."""
        return tuple(name for name in OF_WHOLE_ROWS if name not in self.per_sequence)

    @property
    def to_come(self) -> tuple[str, ...]:
        """The scores that are still to be measured: those left for later, and what the second step gives before it."""
        return (*self.later, *(SECOND_STEP if self.rotated_control is not None and self.other is None else ()))

    @property
    def withheld(self) -> tuple[str, ...]:
        """The scores that these tokens or this model do not give, in the table's order."""
        return tuple(name for name in ALL_SCORES if not self._has(name) and name not in self.to_come)

    @property
    def has_control(self) -> bool:
        """Whether a control was measured."""
        return "induction_control" in self.per_sequence

    @property
    def has_rotation(self) -> bool:
        """Whether rotated sequences were measured, and the same cells on the control."""
        return self.other is not None and self.rotated_control is not None

    def sequences(self, name: str) -> PerSequence:
        """One score of every head on every sequence; NaN where it was not measured.

        Specificity is that of the offset with the smallest mean. Raises BadInput for a name that no score has.
        """
        _score(name)
        if not self._has(name):
            return np.full_like(self.per_sequence["induction"], np.nan)
        if name == "contrast":
            found: PerSequence = self.per_sequence["induction"] - self.per_sequence["induction_control"]
            return found
        if name == "rotation_contrast":
            found = self._successor_contrast[0]
            return found
        if name == "specificity":
            by_offset = self.specificity_by_offset
            least = np.nan_to_num(by_offset.mean(-1), nan=np.inf).argmin(0)
            found = np.take_along_axis(by_offset, least[None, ..., None], axis=0)[0]
            return found
        return self.per_sequence[name]

    def mean(self, name: str) -> Float[np.ndarray, "n_layers n_heads"]:
        """One score of every head, averaged over sequences; NaN where it was not measured. Raises as `sequences`."""
        found: Float[np.ndarray, "n_layers n_heads"] = self.sequences(name).mean(axis=-1)
        return found

    def ranked(self, name: str) -> HeadSet:
        """The heads that there are, the highest first; those without a number come last. Raises as `sequences`."""
        values = self.mean(name)
        without = self.exists & np.isnan(values)
        return ranked(values) + tuple(head for head in every_head(*without.shape) if without[head])

    def interval(self, name: str) -> tuple[Float[np.ndarray, "n_layers n_heads"], Float[np.ndarray, "n_layers n_heads"]]:
        """Lower and upper ends of each mean's 95 % Student-t interval over sequences; NaN for fewer than two.

        Raises as `sequences`.
        """
        return student_intervals(self.sequences(name), ALL_SCORES[name].possible)

    def chance(self, name: str) -> Float[np.ndarray, " n_layers"]:
        """What a head of each layer gets that attends uniformly to all it sees; NaN where what it sees is no window.

        Raises as `sequences`.
        """
        score, every = _score(name), [0] * self.n_layers if self.windows is None else self.windows.tolist()
        levels = {window: score.chance(self.layout, window) for window in set(every) if window >= 0}
        return np.array([levels.get(window, np.nan) for window in every])

    @property
    def specificity_by_offset(self) -> Float[np.ndarray, "offsets n_layers n_heads sequences"]:
        """The rotation contrast less the same with the key shifted, for each of `SPECIFICITY_OFFSETS`; NaN as `sequences`."""
        if not self.has_rotation:
            return np.full((len(SPECIFICITY_OFFSETS), *self.per_sequence["induction"].shape), np.nan, dtype=np.float32)
        contrast = self._successor_contrast
        found: Float[np.ndarray, "offsets n_layers n_heads sequences"] = contrast[:1] - contrast[1:]
        return found

    def losses(self) -> Losses:
        """First-copy and second-copy loss of this probe."""
        return losses_of(self.token_loss, self.layout)

    @property
    def behaviour(self) -> Behaviour:
        """Whether the model does induction on this probe at all; its losses are NaN as far as halves are not measured."""
        unknown = np.full(len(self.token_loss), np.nan)
        return behaviour_of(
            rep=self.token_loss[:, self.layout.second_copy_targets].mean(-1, dtype=np.float64),
            rot=unknown if self.other is None else self.other.rot_loss,
            shuf=unknown if self.other is None else self.other.shuf_loss,
            fresh=unknown if self.fresh_loss is None else self.fresh_loss,
            top1=unknown if self.top1 is None else self.top1,
            length=self.layout.length,
        )

    def with_whole_rows(self, found: Mapping[str, PerSequence]) -> HeadScores:
        """The same with the scores of whole rows."""
        return replace(self, per_sequence={**self.per_sequence, **found})

    def completed(self, other: OtherHalves | None) -> HeadScores:
        """The same with what the second step measured."""
        return replace(self, other=other)

    @property
    def _successor_contrast(self) -> Successor:
        assert self.other is not None and self.rotated_control is not None
        found: Successor = self.other.rotated - self.rotated_control
        return found

    def _has(self, name: str) -> bool:
        if name == "contrast":
            return self.has_control
        if name in DIFFERENCES:
            return self.has_rotation
        return name in self.per_sequence and not bool(np.isnan(self.per_sequence[name]).all())


def _score(name: str) -> Score:
    """Raises BadInput for a name that no score has."""
    if name not in tuple(ALL_SCORES):
        raise BadInput(f"There is no score {shown(name)}: there are {', '.join(ALL_SCORES)}.")
    return ALL_SCORES[name]
