"""`text`: what heads do on real text, beside the same heads on random tokens; and what a text costs without some heads."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.ablation.baselines import ALL_UP_TO, DEFAULT_BASELINES
from core.ablation.cached_text import ablate_on_text, text_baselines
from core.commands.options import add_request, add_text_choice, fraction, read_tokens, subject_from
from core.errors import BadInput
from core.heads import Head, parse_heads
from core.numbers import unsigned, with_interval
from core.settings.experiment import EFFECT_FLOOR
from core.settings.modes import MODES
from core.sharing.text_facts import text_facts
from core.text.cached import natural_scores, own_words, text_windows
from core.text.corpus import corpus_named, pasted_corpus
from core.text.natural_scores import LIFT_FLOOR
from core.text.windows import given_windows
from core.verdicts.cached import judged_on_text

MOST_TOP = 64
SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Which text, in which windows, and which heads to take away."""
    add_request(parser)
    add_text_choice(parser, others="a .txt, .jsonl or .parquet file, a folder of them, or hub:NAME")
    parser.add_argument("--heads", type=parse_heads, metavar="L1H0,...", help="heads to take away on the text")
    parser.add_argument("--top", type=int, metavar="K", help="take away the K heads with the largest lift on the first half")
    parser.add_argument("--floor", type=fraction, default=EFFECT_FLOOR, help="the contrast floor of heads that match")
    parser.add_argument("--mode", choices=MODES, default="mean", help="what stands in for an ablated head's output")
    beside = f"other head sets to compare with, where there are more than {ALL_UP_TO}; all of them where not, 0 for none"
    parser.add_argument("--baselines", type=int, default=DEFAULT_BASELINES, metavar="K", help=beside)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Text page downloads."""
    if options.heads is not None and options.top is not None:
        raise BadInput("Say which heads: either --heads L1H0,L1H2 or --top K.")
    if options.top is not None and not 1 <= options.top <= MOST_TOP:
        raise BadInput(f"--top takes 1 to {MOST_TOP} heads, not {options.top}.")
    # Here they are windows, not a probe.
    rows = None if options.tokens is None else read_tokens(options.tokens)
    options.tokens = None
    subject = subject_from(options)
    if rows is not None:
        windows = given_windows(subject.identity, rows)
    else:
        words = own_words(subject.identity)
        corpus = (
            corpus_named(options.corpus, options.column, words=words) if options.text is None else pasted_corpus(options.text)
        )
        windows = text_windows(subject, corpus, options.windows, options.window_length)
    found = natural_scores(subject, windows)
    judged = judged_on_text(subject, windows, options.floor)
    heads: tuple[Head, ...] | None = options.heads if options.top is None else judged.top(options.top)
    ablated = baselines = None
    if heads:
        ablated = ablate_on_text(subject, windows, heads, options.mode)
        baselines = text_baselines(subject, windows, heads, options.mode, options.baselines)
    facts = text_facts(subject, windows, found, judged, ablated, baselines)
    if options.top is not None and not heads:
        facts["sentences"].append("No head has a lift on this text, so none is taken away.")
    return facts


def text(result: dict[str, Any]) -> str:
    """The answer, the sentences, and the heads with the largest lift."""
    scores, low, high = result["scores"], result["low"]["lift"], result["high"]["lift"]
    lift = scores["lift"]
    order = sorted(
        ((layer, head) for layer in range(len(lift)) for head in range(len(lift[0]))),
        key=lambda at: -np.nan_to_num(lift[at], nan=-1.0),
    )
    lines = [f"{result['model']['name']}, {result['measured_on']}", *result["sentences"], *result["text"]["warnings"]]
    lines += [
        f"  {Head(*at).name:8} lift {with_interval(lift[at], low[at], high[at], LIFT_FLOOR)}, natural induction "
        f"{unsigned(scores['natural_induction'][at])}, controls {unsigned(scores['distance_control'][at])} (distance) and "
        f"{unsigned(scores['key_control'][at])} (key)"
        for at in order[:SHOWN]
        if lift[at] == lift[at]
    ]
    return "\n".join(lines)
