"""`attention`: where one head looks, on a sequence of the probe, on its control, or on a text."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.attention.cached import head_pattern, row_patterns
from core.attention.rows import probe_row, text_row
from core.commands.options import add_request, subject_from
from core.errors import BadInput
from core.heads import check_head, parse_heads
from core.numbers import unsigned
from core.settings.view import EXAMPLE_TEXT, ROW_KINDS, RowChoice, RowKind
from core.sharing.facts import attention_facts

SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Which head, on which tokens."""
    add_request(parser)
    parser.add_argument("--head", type=parse_heads, required=True, metavar="L5H7", help="whose attention")
    parser.add_argument(
        "--row", choices=ROW_KINDS, help="a repeated sequence (default), its control, or a text (default where one is given)"
    )
    parser.add_argument("--sequence", type=int, default=0, metavar="N", help="which sequence of the probe, from 0")
    parser.add_argument("--text", default="", help="the text (default with --row text: an example)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Attention page downloads."""
    if len(options.head) != 1:
        raise BadInput("Look at one head at a time: --head L5H7.")
    subject = subject_from(options)
    [head] = options.head
    check_head(head, subject.card.n_layers, subject.card.n_heads)
    kind: RowKind = options.row or ("text" if options.text else "repeated")
    if options.text and kind != "text":
        raise BadInput(f"A text is looked at with --row text, not with --row {kind}: leave one of the two out.")
    choice = RowChoice(kind, options.sequence, options.text)
    if choice.kind == "text":
        row = text_row(subject.identity, choice.text or EXAMPLE_TEXT, subject.request.bos)
    else:
        row = probe_row(subject, choice.sequence, control=choice.kind == "control")
    patterns = row_patterns(subject, row)
    # As the page: from the patterns of all heads, where the row is short enough for them.
    pattern = None if patterns.quantised is None else patterns.head(head)
    if pattern is None or not pattern.any():
        # A head that is not there looks nowhere: to measure it by itself says so.
        pattern = head_pattern(subject, row, head)
    return attention_facts(subject, head, choice, row, pattern, patterns)


def text(result: dict[str, Any]) -> str:
    """For each query where the head looks most, as far as there is room."""
    tokens, pattern = result["row"]["tokens"], np.asarray(result["pattern"])
    lines = [f"{result['model']['name']}, {result['head']} on {len(tokens)} tokens ({result['row']['kind']})"]
    control = result["row"]["kind"] == "control"
    if result["row"]["on_stripe"] is not None:
        on, chance = result["row"]["on_stripe"], result["row"]["chance_on_stripe"]
        beside = "its layer sees only some of the tokens before" if chance is None else f"chance {unsigned(chance)}"
        # A control's second half is fresh tokens, of which there is no earlier copy.
        cells = "the cells where a repeated half would have the earlier copy" if control else "the token after an earlier copy"
        lines.append(f"on {cells} {unsigned(on)}, {beside}")
    for query in range(max(0, len(tokens) - SHOWN), len(tokens)):
        key = int(pattern[query].argmax())
        lines.append(f"  {query} {tokens[query]!r} looks most at {key} {tokens[key]!r}: {unsigned(pattern[query, key])}")
    return "\n".join(lines)
