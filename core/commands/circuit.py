"""`circuit`: which previous-token heads feed which induction heads; `--prune`: what losing one head does to all others."""

from __future__ import annotations

import argparse
from typing import Any

from core.attention.cached import head_scores
from core.attention.scores import Losses, head_name
from core.circuits.cached import CIRCUIT_MODES, Pruning, circuit, prune
from core.circuits.composition import KINDS
from core.commands.heads import listed, parse_heads
from core.commands.options import add_request, model_facts, probe_facts, request_from
from core.errors import BadInput
from core.models.load import model_identity

_LINES = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Which heads, what stands in for a head, and whether to prune one instead."""
    add_request(parser)
    parser.add_argument("--mode", choices=CIRCUIT_MODES, default="mean", help="what stands in for a head's output")
    parser.add_argument("--previous", type=parse_heads, metavar="L0H1,...", help="previous-token heads (default: score > .4)")
    parser.add_argument("--induction", type=parse_heads, metavar="L1H0,...", help="induction heads (default: those called)")
    parser.add_argument("--prune", type=parse_heads, metavar="L3H8", help="take this head away and measure every other again")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it."""
    request = request_from(options)
    identity = model_identity(request.model)
    facts = {
        "model": model_facts(identity),
        "probe": probe_facts(request.probe(identity), request),
        "behaviour": head_scores(request).losses().behaviour,
        "mode": options.mode,
    }
    if options.prune is not None:
        if len(options.prune) != 1:
            raise BadInput("Prune one head at a time: --prune L3H8.")
        return facts | _pruning(prune(request, options.prune[0], options.mode))
    found = circuit(request, options.mode, previous=options.previous, induction=options.induction)
    return facts | {
        "previous_token_heads": listed(found.previous),
        "induction_heads": listed(found.induction),
        "rotary_ignored": identity.card.positional == "rotary",
        "edges": [
            {
                "previous": head_name(*edge.previous),
                "induction": head_name(*edge.induction),
                "k_composition": edge.k_composition,
                "baseline": edge.baseline,
                "path_patch_drop": edge.drop,
                "q_composition": edge.q_composition,
                "v_composition": edge.v_composition,
                "k_rank": edge.rank,
                "earlier_heads": edge.earlier,
                "prefix_matching": {"clean": edge.clean, "patched": edge.patched},
            }
            for edge in found.edges
        ],
        "composition": [
            {"induction": head_name(*head), "baseline": found.baseline} | dict(zip(KINDS, composed, strict=True))
            for head, composed in zip(found.induction, found.composition, strict=True)
        ],
    }


def text(result: dict[str, Any]) -> str:
    """The edges, the largest drop first; or the heads that change most without the pruned one."""
    lines = [f"{result['model']['name']}, {result['mode']} in place of a head; behaviour {result['behaviour'].upper()}"]
    if "head" in result:
        before, after = result["loss"]["clean"], result["loss"]["ablated"]
        lines.append(
            f"without {result['head']}: second copy {before['second_copy']:.2f} -> {after['second_copy']:.2f} nats "
            f"(recovered fraction {result['recovered_fraction']:.2f}), first copy {before['first_copy']:.2f} -> "
            f"{after['first_copy']:.2f}"
        )
        most = sorted(result["prefix_matching"], key=lambda row: row["after"] - row["before"])[:_LINES]
        lines += [f"  {row['head']}: prefix matching {row['before']:.2f} -> {row['after']:.2f}" for row in most]
        return "\n".join(lines)
    if not result["edges"]:
        lines.append("No previous-token head lies before a called induction head: there is no edge to measure.")
    if result["edges"] and result["rotary_ignored"]:
        lines.append("Compositions leave rotary positions out.")
    lines += [
        f"{edge['previous']} -> {edge['induction']}: prefix matching {edge['prefix_matching']['clean']:.2f} -> "
        f"{edge['prefix_matching']['patched']:.2f}; K-composition {edge['k_composition']:.3f} (random {edge['baseline']:.3f}), "
        f"{edge['k_rank']} of {edge['earlier_heads']} earlier heads"
        for edge in result["edges"]
    ]
    return "\n".join(lines)


def _pruning(found: Pruning) -> dict[str, Any]:
    return {
        "head": head_name(*found.head),
        "loss": {"clean": _losses(found.clean), "ablated": _losses(found.pruned)},
        "recovered_fraction": found.recovered_fraction,
        "prefix_matching": [
            {
                "head": head_name(layer, head),
                "before": float(found.before[layer, head]),
                "after": float(found.after[layer, head]),
            }
            for layer in range(found.before.shape[0])
            for head in range(found.before.shape[1])
        ],
    }


def _losses(losses: Losses) -> dict[str, float]:
    return {"first_copy": losses.first_copy, "second_copy": losses.second_copy}
