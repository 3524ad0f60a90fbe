"""`headscope run`: the dashboard in a browser."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.runtime.app_root import app_root
from core.runtime.limits import bound_request_headers

# Relative to where the command was given, not to where the dashboard lies.
_FOLDERS = ("HEADSCOPE_MODELS", "HEADSCOPE_STORE")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on; 0.0.0.0 for a whole room")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> Any:
    """Serve the dashboard until it is interrupted.

    Raises BadInput for a port that cannot be one, and where `--json` is asked of what prints none.
    """
    if options.json:
        raise BadInput("`run` serves a dashboard and prints no JSON: leave out --json.")
    if not 0 < options.port < 65536:
        raise BadInput(f"A port is a number from 1 to 65535, not {options.port}.")
    for name in _FOLDERS:
        if os.environ.get(name, "").strip():
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    # Streamlit reads its settings from the folder that it is started in. It takes this process's place.
    os.chdir(app_root())
    bound_request_headers()
    sys.argv = ["streamlit", "run", "app.py", "--server.address", options.address, "--server.port", str(options.port)]
    runpy.run_module("streamlit", run_name="__main__")
    return None


def text(result: Any) -> str:
    """What is left to say when the server has ended."""
    return "The dashboard has ended."
