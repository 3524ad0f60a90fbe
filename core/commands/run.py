"""`headscope run`: the dashboard in a browser."""

from __future__ import annotations

import argparse
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from core.errors import BadInput
from core.runtime.app_root import app_root
from core.runtime.reachable import address_for_others
from core.runtime.teacher_key import TEACHER_KEY, teacher_key

# Relative to where the command was given, not to where the dashboard lies.
_FOLDERS = ("HEADSCOPE_MODELS", "HEADSCOPE_STORE")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on; 0.0.0.0 for a whole room")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--workshop", action="store_true", help="for a room: say which addresses to give out")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> Any:
    """Serve the dashboard until it is interrupted.

    Raises BadInput for an address or a port that cannot be one, and where `--json` is asked of what prints none.
    """
    if options.json:
        raise BadInput("`run` serves a dashboard and prints no JSON: leave out --json.")
    if not 0 < options.port < 65536:
        raise BadInput(f"A port is a number from 1 to 65535, not {options.port}.")
    _check_address(options.address)
    for name in _FOLDERS:
        if os.environ.get(name, "").strip():
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    command = ["streamlit", "run", "app.py", "--server.address", options.address, "--server.port", str(options.port)]
    base = address_for_others(options.address, options.port)
    # What is printed as the address to open.
    command += ["--browser.serverAddress", str(urlsplit(base).hostname)]
    if options.workshop:
        # The key is given, so the page is shut to whoever comes by another server on this machine.
        os.environ[TEACHER_KEY] = teacher_key()
        print(_addresses(base), file=sys.stderr, flush=True)
    # Streamlit reads its settings from the folder that it is started in. It takes this process's place.
    os.chdir(app_root())
    sys.argv = command
    runpy.run_module("core.ui.serve", run_name="__main__")
    return None


def _check_address(address: str) -> None:
    """Raises BadInput for an address that is none of this machine's, which the web server would say in its own words."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except (OSError, UnicodeError):
        raise BadInput(
            f"This machine cannot listen to {address[:80]!r}: give 127.0.0.1 for itself alone, 0.0.0.0 for a whole network, "
            "or a number that is its own."
        ) from None


def _addresses(base: str) -> str:
    """What to give out, and what to keep."""
    return "\n".join(
        (
            f"  to give out:          {base}/Tour?step=1",
            f"  the teacher's page:   {base}/Teacher?key={quote(teacher_key())}",
            "  (the teacher's page has a square code to put on the wall, who is here, and sheets to print)",
        )
    )


def text(result: Any) -> str:
    """What is left to say when the server has ended."""
    return "The dashboard has ended."
