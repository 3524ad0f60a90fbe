"""`train RECIPE`: train a bundled model again, from its recorded recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.options import add_json
from core.models.built_in.recipes import RECIPES


def configure(parser: argparse.ArgumentParser) -> None:
    """The recipe and where to put the model."""
    parser.add_argument("recipe", help=f"one of: {', '.join(RECIPES)}")
    parser.add_argument("--output", type=Path, help="the folder to write (default: RECIPE under the model folder)")
    add_json(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Where the trained model is."""
    from core.models.built_in.train import train
    from core.models.paths import models_root

    output = options.output or models_root() / options.recipe
    return {"recipe": options.recipe, "folder": str(train(options.recipe, output))}


def text(result: dict[str, Any]) -> str:
    """One line."""
    return f"{result['recipe']} is trained, in {result['folder']}"
