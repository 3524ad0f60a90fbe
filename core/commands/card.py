"""`card`: everything about one head; `--html FILE` writes it as a page that stands alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.attention.scores import ALL_SCORES
from core.attention.words import state_word
from core.commands.options import add_mode, add_text_choice, fraction, subject_from, text_choice_from
from core.errors import BadInput
from core.head_card.cached import checked_head, head_card
from core.head_card.tables import card_facts
from core.heads import head_set, parse_heads
from core.numbers import interval, unsigned
from core.settings.experiment import EFFECT_FLOOR, Experiment
from core.settings.view import DEFAULT_THRESHOLD, View


def configure(parser: argparse.ArgumentParser) -> None:
    """Which head, how heads are taken away, and which heads with it."""
    add_mode(parser, baselines=False)
    parser.add_argument("--head", type=parse_heads, required=True, metavar="L5H7", help="the head that the card is about")
    parser.add_argument("--score", choices=list(ALL_SCORES), default="induction", help="the score that the threshold is on")
    parser.add_argument("--threshold", type=fraction, default=DEFAULT_THRESHOLD, metavar="T", help="its set: the heads above T")
    parser.add_argument("--set", type=parse_heads, metavar="L1H0,...", help="its set, by name instead of by threshold")
    parser.add_argument(
        "--floor",
        type=fraction,
        default=EFFECT_FLOOR,
        help="the contrast floor of heads that are called",
    )
    add_text_choice(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page with live figures that needs no network")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Head card page downloads, and where the page was written."""
    if len(options.head) != 1:
        raise BadInput("A card is about one head: --head L5H7.")
    subject = subject_from(options)
    view = View(
        request=subject.request,
        score=options.score,
        threshold=options.threshold,
        head=options.head[0],
        experiment=Experiment(
            mode=options.mode,
            source="threshold" if options.set is None else "picked",
            heads=head_set(options.set or (), subject.card.n_layers, subject.card.n_heads),
            effect_floor=options.floor,
        ),
        text=text_choice_from(options),
    )
    checked_head(subject, view)
    if options.html is not None:
        from core.documents.standalone import check_page

        # Before the work, not after it.
        check_page(options.html)
    card = head_card(subject, view)
    if options.html is not None:
        from core.documents.head_card import card_page
        from core.documents.standalone import write_page

        write_page(options.html, card_page(subject, card, view))
    return card_facts(subject, card, view) | {"html": None if options.html is None else str(options.html)}


def text(result: dict[str, Any]) -> str:
    """Label and sentence, why, every score, and what each part says."""
    lines = [f"{result['model']['name']}; behaviour {state_word(result['behaviour']['state']).upper()}"]
    if result["sentence"] is not None:
        lines.append(result["sentence"])
    for name, score in result["scores"].items():
        control = "" if score["control"] is None else f", control {unsigned(score['control'])}"
        beside = f" ({interval(score['low'], score['high'])}){control}, chance {unsigned(score['chance'])}"
        beside += f", place {score['place']}"
        known = score["place"] is not None
        lines.append(f"  {ALL_SCORES[name].title:28} {unsigned(score['value']):>5}{beside if known else ''}")
    lines += [*result["sentences"], *(f"not to be had, {part}: {why}" for part, why in result["missing"].items())]
    if result["html"] is not None:
        lines.append(f"The page is in {result['html']}")
    return "\n".join(lines)
