"""`report`: the published report's numbers beside this run's; `--html FILE` writes a page that stands alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.options import add_mode, fraction, subject_from
from core.errors import BadInput
from core.numbers import counted, unsigned, with_interval
from core.replication.cached import run_report
from core.replication.tables import report_facts
from core.replication.words import behaviour_of_the_report
from core.settings.experiment import EFFECT_FLOOR
from core.settings.view import DEFAULT_THRESHOLD


def configure(parser: argparse.ArgumentParser) -> None:
    """The probe options are for the live answers; the report's recipe takes only the model and the seed."""
    add_mode(parser)
    parser.set_defaults(mode="zero")
    parser.add_argument("--floor", type=fraction, default=EFFECT_FLOOR, help="the contrast floor of verdicts")
    parser.add_argument("--threshold", type=fraction, default=DEFAULT_THRESHOLD, help="the line in the pictures of the page")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page with live figures that needs no network")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Published and live, question by question."""
    subject = subject_from(options)
    if subject.request.tokens is not None:
        raise BadInput("The report's recipe draws its own tokens: leave --tokens out.")
    if options.html is not None:
        from core.documents.standalone import check_page

        # Before minutes of work, not after them.
        check_page(options.html)
    found = run_report(subject, options.mode, count=options.baselines, floor=options.floor)
    if options.html is not None:
        from core.documents.replication import report_page
        from core.documents.standalone import write_page

        write_page(options.html, report_page(found, options.threshold, options.mode))
    return report_facts(found, options.mode) | {"html": None if options.html is None else str(options.html)}


def text(result: dict[str, Any]) -> str:
    """The table, step by step, then the questions."""
    published = result["published"]["table"]
    lines = [
        "The report (SoLU-8l-old), log-probability: "
        + "; ".join(
            f"{_row(row)} {unsigned(row['log_probability'], 3)} (loss {unsigned(row['loss'], 3)})" for row in published
        ),
        behaviour_of_the_report(),
        f"{result['model']['name']}, one correction more each line:",
    ]
    for step in result["run"]["steps"]:
        name = f"+ {step['corrections'][-1]}" if step["corrections"] else "its recipe"
        lines.append(f"  {name:12} " + "; ".join(f"{_row(row)} {_live(row)}" for row in step["rows"]))
    lines += [f"  {note}" for note in result["run"]["recipe"]["notes"]]
    lines.append(result["questions_note"])
    lines += [f"{item['question']} {item['answer']}" for item in result["questions"]]
    if result["html"] is not None:
        lines.append(f"The page is in {result['html']}")
    return "\n".join(lines)


def _live(row: dict[str, Any]) -> str:
    """With its interval over sequences, which one sequence does not have."""
    return with_interval(row["value"], row["low"], row["high"], digits=3)


def _row(row: dict[str, Any]) -> str:
    return "untouched" if row["threshold"] is None else f"above {row['threshold']} ({counted(len(row['heads']), 'head')})"
