"""What a result is called: a digest of everything that changes it."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

FORMAT = 1


def result_key(kind: str, **parts: Any) -> str:
    """Name a result by everything that changes it.

    Args:
        kind: what is computed, for example "scores".
        parts: JSON values: None, bool, int, finite float, str, and lists and str-keyed dicts of these.

    Returns:
        64 hexadecimal digits; the order of the parts (and of dict keys) does not matter.

    Raises:
        TypeError: a part is of a type that is not JSON.
        ValueError: a number is NaN or infinite.
    """
    check_json(parts, kind)
    return hashlib.sha256(json_text({"format": FORMAT, "kind": kind, "parts": parts}).encode()).hexdigest()


def check_json(value: Any, where: str) -> None:
    """Raises TypeError for what is not JSON, ValueError for a number that JSON cannot hold; `where` is for the sentence."""
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which JSON cannot hold")
        return
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_json(item, f"{where}[{index}]")
        return
    if isinstance(value, dict):
        for name, item in value.items():
            # JSON would turn 1 and "1" into the same name.
            if not isinstance(name, str):
                raise TypeError(f"{where} has the name {name!r}, which is not a string")
            check_json(item, f"{where}.{name}")
        return
    raise TypeError(f"{where} is a {type(value).__name__}, which is not JSON")


def json_text(value: Any) -> str:
    """The one text of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
