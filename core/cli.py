"""The command line's contract for scripts.

With `--json`: one JSON object on stdout and nothing else; logs and progress on stderr. Exit 0; bad input: exit 2 and one
line `error: ...` that says what was wrong and what would be right; never a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from core.commands.progress import PrintedProgress
from core.errors import BadInput, HeadScopeError
from core.runtime.files import printable
from core.runtime.jobs import running

COMMANDS = {
    "run": "open the dashboard in a browser",
    "models": "list the models, or bring one in for offline use",
    "conform": "check what the model at hand must hold before its numbers are shown",
    "score": "score every head on repeated random tokens",
    "attention": "say where one head looks, token by token",
    "sensitivity": "say how far a score moves with length, seed and BOS",
    "ablate": "take heads away, beside other sets of the same size",
    "causal": "take every head away alone",
    "sweep": "take away what each threshold keeps",
    "call": "say which heads are induction heads, with test, interval and label",
    "compare": "set any two quantities of all heads beside each other, also numbers of your own",
    "circuit": "say which previous-token heads feed which induction heads, or prune one head",
    "text": "say what heads do on real text, and what a text costs without some of them",
    "card": "say everything about one head: label, scores, effect, edges, how it moves",
    "report": "set the published report beside this run, question by question",
    "tour": "read out the tasks of the tour, with answers, or write a sheet to print",
    "doctor": "check this device against the circuit whose answers are known exactly",
    "train": "train a bundled model again from its recorded recipe",
}


class _Parser(argparse.ArgumentParser):
    """Reports a bad option as every other bad input is reported: one line, exit 2."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}; see `{self.prog} --help`.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except HeadScopeError as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; nothing half-done was kept, run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; a flush at exit would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _warn_about_the_store() -> None:
    from core.runtime.store import default_store

    # A command that needed no store has not seen a bound that cannot be one, and does not fail by it now.
    with contextlib.suppress(BadInput):
        warning = default_store().warning
        if warning is not None:
            print("warning:", printable(warning, also="\n"), file=sys.stderr)


def entry() -> NoReturn:
    """The `headscope` command of an installation."""
    sys.exit(main())


def _program() -> str:
    return "headscope" if Path(sys.argv[0]).stem == "headscope" else "python -m core"


def _run(words: list[str]) -> int:
    parser = _Parser(prog=_program(), description="HeadScope: find induction heads and check the claim.")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    chosen = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command_parser = parsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            # Only the command that runs is imported: `models` must not wait for what `train` needs.
            importlib.import_module(f"core.commands.{name}").configure(command_parser)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        # The command knows its own options; the program's help has only the commands.
        parsers.choices.get(options.command, parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        raise BadInput(f"name a command: {', '.join(COMMANDS)}.")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    command = importlib.import_module(f"core.commands.{options.command}")
    progress = PrintedProgress()
    # Whatever a library prints must not end up in the JSON.
    with contextlib.redirect_stdout(sys.stderr), running(progress):
        try:
            result = command.run(options)
        finally:
            progress.close()
    if options.json:
        from core.sharing.facts import as_json

        json.dump(as_json(result), sys.stdout, allow_nan=False)
        sys.stdout.write("\n")
    else:
        print(printable(command.text(result), also="\n"))
    sys.stdout.flush()
    for remark in result.get("conformance", {}).get("remarks", ()) if isinstance(result, dict) else ():
        print("warning:", printable(remark), file=sys.stderr)
    _warn_about_the_store()
    return 1 if isinstance(result, dict) and result.get("ok") is False else 0
