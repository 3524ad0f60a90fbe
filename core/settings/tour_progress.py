"""How far a person is in the tour: the part of a view that every link carries along, so that progress needs no account."""

from __future__ import annotations

from dataclasses import dataclass, replace

# The tour itself is above (`core.tour.steps`); an address must know which numbers are steps.
STEPS = 7


@dataclass(frozen=True)
class TourProgress:
    """step: the open one, from 1; 0 where the tour is not begun. done: the steps that were answered right, in order."""

    step: int = 0
    done: tuple[int, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether every step was answered right."""
        return len(self.done) == STEPS

    @property
    def under_way(self) -> bool:
        """Whether a step is open or answered right, and not all are."""
        return bool(self.step or self.done) and not self.finished

    def with_done(self, step: int) -> TourProgress:
        """After a right answer to `step`."""
        return replace(self, done=tuple(sorted({*self.done, step})))
