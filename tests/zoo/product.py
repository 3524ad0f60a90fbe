"""The product's commands on one row of the zoo, run in this process as a script would run them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import traceback
from dataclasses import dataclass
from typing import Any

from core.cli import main

LENGTH = 12
# As many as most rows have heads: what a block is called with may then be as long along its first axis for either reason.
SEQUENCES = 4
PROBE = ("--length", str(LENGTH), "--sequences", str(SEQUENCES))


@dataclass(frozen=True)
class Said:
    """What a command did: its object, or the sentence of its refusal, or the traceback that it must never give."""

    facts: dict[str, Any] | None = None
    refused: str | None = None
    traceback: str | None = None


def command(*words: str) -> Said:
    """One command with `--json`. A refusal must be exit 2 and one line, a sentence; anything else is as bad as a traceback."""
    printed, told = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            status = main([*words, "--json"])
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{re.sub('.*/', '', last.filename)}:{last.lineno}"
        return Said(traceback=f"{words[0]}: {type(error).__name__} at {where}: {' '.join(str(error).split())[:120]}")
    if status == 0:
        try:
            return Said(facts=json.loads(printed.getvalue()))
        except ValueError:
            return Said(traceback=f"{words[0]}: stdout is not one JSON object")
    lines = [line for line in told.getvalue().splitlines() if line.startswith("error: ")]
    if status == 2 and len(lines) == 1 and re.search(r"[.?]$", lines[0]) and not printed.getvalue():
        return Said(refused=lines[0].removeprefix("error: "))
    return Said(traceback=f"{words[0]}: exit {status} with {len(lines)} error lines")
