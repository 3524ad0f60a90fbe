"""The command line as a script meets it."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from core.cli import main


def run_json(*words: str) -> Any:
    """What `python -m core WORDS --json` prints; it must succeed, and print one object and nothing else."""
    printed, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        status = main([*words, "--json"])
    assert status == 0, told.getvalue()
    return json.loads(printed.getvalue())
