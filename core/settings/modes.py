"""What can stand in for the output of a head that is taken away."""

from __future__ import annotations

from typing import Literal

Mode = Literal["zero", "mean", "resample", "pattern"]
MODES: tuple[Mode, ...] = ("zero", "mean", "resample", "pattern")
# Sequences that a head's mean output is taken over.
REFERENCE_SEQUENCES = 8
