"""`models`: what can be chosen; `models add NAME`: bring one in for offline use."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from core.commands.options import add_json
from core.errors import BadInput
from core.models.catalogue import catalogue


def configure(parser: argparse.ArgumentParser) -> None:
    """`add NAME`, or words to search for."""
    parser.add_argument("action", nargs="?", choices=("list", "add"), default="list")
    parser.add_argument("name", nargs="?", default="", help="with add: the model; with list: words to search for")
    add_json(parser)


def run(options: argparse.Namespace) -> Any:
    """The catalogue's rows, or where the added model now is."""
    if options.action == "list":
        return [asdict(entry) for entry in catalogue(options.name)]
    if not options.name:
        raise BadInput("name the model to add, for example `python -m core models add smollm2-135m`.")
    from core.models.fetching.add import add_model

    return {"name": options.name, "folder": str(add_model(options.name))}


def text(result: Any) -> str:
    """A table of models, or one line about the added one."""
    if isinstance(result, dict):
        return f"{result['name']} is in {result['folder']}"
    rows = [f"{entry['name']:34} {entry['source']:8} {_size(entry):24} {_where(entry)}" for entry in result]
    return "\n".join(rows) if rows else "No model matches."


def _where(entry: dict[str, Any]) -> str:
    if entry["problem"]:
        return f"cannot be measured: {entry['problem']}"
    if entry["available"]:
        return "here"
    return "to be converted: `models add`" if entry["source"] == "local" else "needs the network"


def _size(entry: dict[str, Any]) -> str:
    if entry["problem"]:
        return ""
    if not entry.get("n_layers"):
        return "size known once added"
    millions = (entry.get("n_params") or 0) / 1e6
    heads = f"up to {entry['n_heads']}" if entry["heads_differ"] else entry["n_heads"]
    return f"{entry['n_layers']} x {heads}" + (f", {millions:,.1f} M weights" if millions else "")
