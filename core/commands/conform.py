"""`conform`: what holds on the model at hand, at the length used, before its numbers are shown."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import add_request, subject_from
from core.sharing.facts import conformance_facts
from core.verdicts.conformance import conformance


def configure(parser: argparse.ArgumentParser) -> None:
    """The shared options are all there is."""
    add_request(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every check, and what is withheld."""
    subject = subject_from(options)
    return conformance_facts(subject, conformance(subject))


def text(result: dict[str, Any]) -> str:
    """One line a check, and what is not shown."""
    lines = [f"{result['model']['name']}, checked against its own module run eagerly, at length {result['length']}:"]
    for check in result["checks"]:
        worst = "" if check["worst"] is None else f" (misses {check['worst']:.1e}, allowed {check['tolerance']:.0e})"
        reason = f": {check['reason']}" if check["reason"] else ""
        lines.append(f"{'ok  ' if check['passed'] else 'FAIL'}  {check['name']}{worst}{reason}")
    if result["withheld"]:
        return "\n".join([*lines, *(f"Withheld: {what}" for what in result["withheld"])])
    return "\n".join([*lines, "Nothing is withheld."])
