"""What a person gave, as a plain number of Python: a notebook has those of numpy and torch, too. Imports neither."""

from __future__ import annotations

import math
import operator
import reprlib
from typing import Any


def whole(value: object) -> int | None:
    """`value` as an int where it is a whole number of any library; None for all else, 2.0 and truth values among it."""
    scalar = _scalar(value)
    if isinstance(scalar, bool):
        return None
    try:
        return operator.index(scalar)
    except TypeError:
        return None


def finite(value: object) -> float | None:
    """`value` as a float where it is a finite number of any library; None for all else, text and truth values among it."""
    scalar = _scalar(value)
    if isinstance(scalar, (bool, str, bytes)):
        return None
    try:
        number = float(scalar)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """`value` in one short line, for the sentence that refuses it."""
    return " ".join(reprlib.repr(value).split())


def _scalar(value: Any) -> Any:
    """A number of numpy or of torch says by its dtype, not by its class, whether it is a truth value; its item by both."""
    if type(value) is int or getattr(value, "ndim", None) != 0:
        return value
    return value.item()
