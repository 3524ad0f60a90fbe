"""What can stand in for the output of a head that is taken away."""

from __future__ import annotations

from typing import Literal

Mode = Literal["zero", "mean", "resample", "pattern"]
MODES: tuple[Mode, ...] = ("zero", "mean", "resample", "pattern")
# Fresh sequences that a head's mean output is taken over: with 8 a head that does nothing costs more than twice as much.
REFERENCE_SEQUENCES = 32
