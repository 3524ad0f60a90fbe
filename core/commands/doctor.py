"""`doctor`: the self-check of this device."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from core.attention.self_check import run_doctor
from core.commands.options import add_device, add_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Which device, in which number format."""
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every check with what was expected and what was measured; `ok` only if all passed."""
    report = run_doctor(options.device, dtype=options.dtype)
    return {"ok": report.ok, "device": report.device, "checks": [asdict(check) | {"ok": check.ok} for check in report.checks]}


def text(result: dict[str, Any]) -> str:
    """One line a check."""
    lines = [
        f"{'ok  ' if check['ok'] else 'FAIL'}  {check['name']}: "
        f"expected {check['expected']:.6f}, measured {check['measured']:.6f}"
        for check in result["checks"]
    ]
    good, bad = "This device computes the known answers.", "This device gives WRONG answers: trust no score from it."
    verdict = good if result["ok"] else bad
    return "\n".join([*lines, f"{verdict} ({result['device']})"])
