"""`tour`: the tasks of the tour, and with `--answers` what is right; `--sheet FILE` writes a PDF to print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.options import add_json
from core.errors import BadInput
from core.tour.tables import tour_facts

MAX_ADDRESS = 300


def configure(parser: argparse.ArgumentParser) -> None:
    """What is said, and what is written or measured beside it."""
    parser.add_argument("--answers", action="store_true", help="also the answers, from the measured numbers")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a sheet to print (PDF), with answers or without")
    parser.add_argument("--address", default="", help="where a room finds the tour, printed on the sheet")
    parser.add_argument("--preload", action="store_true", help="measure all that the tour's pages show, before a room comes")
    add_json(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The steps, and where the sheet is.

    Raises BadInput for a file that cannot be written, and an address without a sheet.
    """
    if options.address and options.sheet is None:
        raise BadInput("--address is printed on a sheet: name its file with --sheet FILE.")
    if not (options.address.isprintable() and len(options.address) <= MAX_ADDRESS):
        raise BadInput(f"An address has at most {MAX_ADDRESS} letters and no line breaks.")
    if options.sheet is not None:
        from core.documents.tour_sheet import check_sheet

        # Before anything is measured, not after it.
        check_sheet(options.sheet)
    if options.preload:
        from core.tour.preload import preload

        preload()
    if options.sheet is not None:
        from core.documents.tour_sheet import tour_sheet, write_sheet

        write_sheet(options.sheet, tour_sheet(answers=options.answers, address=options.address))
    return tour_facts(answers=options.answers) | {"sheet": None if options.sheet is None else str(options.sheet)}


def text(result: dict[str, Any]) -> str:
    """Step by step, as one reads it out."""
    lines = [f"The tour: {len(result['steps'])} tasks, about {result['minutes']} minutes."]
    for step in result["steps"]:
        lines.append(f"{step['step']}. {step['title']} ({step['page']}, {step['model']}): {step['task']}")
        if "answer" in step:
            lines.append(f"   {step['answer']}. {step['reason']} {step['teaches']}")
    if result["sheet"] is not None:
        lines.append(f"The sheet is in {result['sheet']}")
    return "\n".join(lines)
