"""JSON from a model folder, which many hands may have written: bounded, without numbers that are none, and said plainly."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.models.paths import shown

# A tokenizer's file or an index of shards may be some megabytes; a config is a few kilobytes, and read at every listing.
MOST_BYTES = 64_000_000
MOST_CONFIG_BYTES = 1_000_000
MOST_DIGITS = 400
# Escaped in a JSON text: with its other half it is a letter.
_HALF_LETTER = re.compile(r"\\u[dD][89a-fA-F]")


def read_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises ModelUnavailable, with what is wrong and where in the file, for anything else.
    """
    whose = f"The file {path.name} of {shown(path.parent)}"
    try:
        if path.stat().st_size > most_bytes:
            raise ModelUnavailable(f"{whose} is larger than {most_bytes // 1_000_000} MB, which no such file is.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelUnavailable(f"{whose} cannot be read: {_reason(error)}.") from error
    except UnicodeDecodeError as error:
        raise ModelUnavailable(f"{whose} is not text in UTF-8, from byte {error.start} on.") from error
    found = parse_object(text, whose)
    return found


def parse_object(text: str | bytes, whose: str) -> dict[str, Any]:
    """The same of a text that is at hand; `whose` begins the sentence."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ModelUnavailable(
            f"{whose} is broken: no JSON from line {error.lineno}, column {error.colno} on ({error.msg.lower()})."
        ) from error
    except RecursionError as error:
        raise ModelUnavailable(f"{whose} is broken: its brackets are nested too deep to be meant.") from error
    except UnicodeDecodeError as error:
        raise ModelUnavailable(f"{whose} is not text in UTF-8, from byte {error.start} on.") from error
    except ValueError as error:
        raise ModelUnavailable(f"{whose} is broken: {error}.") from error
    if not isinstance(found, dict):
        raise ModelUnavailable(f"{whose} is broken: it holds no JSON object.")
    if _HALF_LETTER.search(text) and not _is_sendable(found):
        raise ModelUnavailable(f"{whose} is broken: it holds half a letter (a lone surrogate), which is no text.")
    return found


def _is_sendable(found: object) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits is none that can be meant")
    return int(digits)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON has")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is larger than any that can be meant")
    return value
