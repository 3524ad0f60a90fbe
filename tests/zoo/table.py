"""The whole zoo as one table: every architecture x every quantity, right, withheld with the reason, or refused with a sentence.

    python -m tests.zoo.table [--workers N] [ROW ...]

Without rows it builds them all and writes `docs/architectures.md`. Exit 1 where anything is silently wrong or a traceback.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.zoo.build import NotBuilt, quiet, save
from tests.zoo.rows import ROWS, Row
from tests.zoo.verdict import Kind, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
KINDS: tuple[Kind, ...] = ("right", "withheld", "refused", "unchecked", "WRONG", "TRACEBACK")
BAD = ("WRONG", "TRACEBACK")
Found = dict[str, Verdict] | str


def examined(name: str) -> tuple[str, Found]:
    """A row's verdicts, or why it was not built. The folder, and every result kept, are gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="zoo-"))
    os.environ |= {"HEADSCOPE_STORE": str(root / "store"), "HEADSCOPE_MODELS": str(root / "models")}
    try:
        with quiet():
            folder = save(ROWS[name], root / "models")
            from tests.zoo.examine import examine

            return name, examine(name, folder)
    except NotBuilt as error:
        return name, str(error)
    except (RuntimeError, ValueError, TypeError) as error:
        # What the product does wrong is a verdict already; this is the oracle, which is the library's own module.
        return name, f"the model library's own module does not run: {str(error).splitlines()[0]}"
    finally:
        shutil.rmtree(root, ignore_errors=True)


def all_examined(names: list[str], workers: int) -> Iterator[tuple[str, Found]]:
    """Row after row, in order."""
    if workers == 1:
        yield from map(examined, names)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(examined, names)


def page(found: dict[str, Found]) -> str:
    """`docs/architectures.md`."""
    built = {name: verdicts for name, verdicts in found.items() if isinstance(verdicts, dict)}
    quantities = list(next(iter(built.values())))
    notes: dict[str, int] = {}
    lines = [
        "# Architectures",
        "",
        "Made by `make zoo`; not written by hand. Every causal architecture that the model library can build from a tiny "
        "configuration, and variants, with random weights (biases and gains of norms, too), on repeated random tokens; each "
        "quantity beside the model library's own module, run eagerly. *right*: equal to 1e-4; *withheld*: null, with the "
        "reason; *refused*: exit 2 and one sentence; *unchecked*: the oracle has no such number.",
        "",
        f"{len(built)} rows.",
        "",
        "| | " + " | ".join(quantities) + " |",
        "|---" * (len(quantities) + 1) + "|",
    ]
    for kind in KINDS:
        counts = Counter(
            quantity for verdicts in built.values() for quantity, verdict in verdicts.items() if verdict.kind == kind
        )
        lines.append(f"| {kind} | " + " | ".join(str(counts[quantity]) for quantity in quantities) + " |")
    lines += ["", "| row | type | " + " | ".join(quantities) + " |", "|---" * (len(quantities) + 2) + "|"]
    for name, verdicts in built.items():
        cells = [_cell(verdict, name, notes) for verdict in verdicts.values()]
        lines.append(f"| {name} | {_class_of(ROWS[name])} | " + " | ".join(cells) + " |")
    lines += ["", "## Reasons", "", *(f"{number}. {why}" for why, number in notes.items())]
    missing = {name: why for name, why in found.items() if isinstance(why, str)}
    if missing:
        lines += ["", "## Not built", "", *(f"- {name}: {why}" for name, why in missing.items())]
    return "\n".join(lines) + "\n"


def _cell(verdict: Verdict, name: str, notes: dict[str, int]) -> str:
    if verdict.kind == "right":
        return "right"
    why = verdict.why.replace(name, "this model").replace("|", "\\|")
    return f"{verdict.kind} ({notes.setdefault(why, len(notes) + 1)})"


def _class_of(row: Row) -> str:
    return row.model_type


def main(words: list[str]) -> int:
    """Examine, print row by row, write the page where all rows were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.zoo.table")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", type=Path, default=None, help="write the page here even for some rows only")
    options = parser.parse_args(words)
    found: dict[str, Found] = {}
    for name, verdicts in all_examined(options.rows or list(ROWS), options.workers):
        found[name] = verdicts
        if isinstance(verdicts, str):
            print(f"{name:28} not built: {verdicts}", flush=True)
            continue
        kinds = Counter(verdict.kind for verdict in verdicts.values())
        print(f"{name:28} " + "  ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind]), flush=True)
        for quantity, verdict in verdicts.items():
            if verdict.kind in (*BAD, "unchecked"):
                print(f"    {quantity}: {verdict.kind}: {verdict.why}", flush=True)
    where = options.page or (None if options.rows else PAGE)
    if where is not None:
        where.write_text(page(found), encoding="utf-8")
    every = Counter(verdict.kind for verdicts in found.values() if isinstance(verdicts, dict) for verdict in verdicts.values())
    print(
        "  ".join(f"{kind} {every[kind]}" for kind in KINDS), f"  not built {sum(isinstance(v, str) for v in found.values())}"
    )
    return int(any(every[kind] for kind in BAD))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
