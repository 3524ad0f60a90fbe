"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from core.ablation.baselines import ALL_UP_TO, DEFAULT_BASELINES
from core.errors import BadInput
from core.models.catalogue import DEFAULT_MODEL
from core.probes.probe import ProbeOptions
from core.probes.vocabulary import BOS_POLICIES
from core.settings.modes import MODES
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.text_choice import DEFAULT_CORPUS, DEFAULT_WINDOW_LENGTH, DEFAULT_WINDOWS, PASTED, TextChoice
from core.text.corpus import BUILT_IN

DTYPES = ("float32", "bfloat16", "float16")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: one JSON object on stdout."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where to compute, and in which number format."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")


def add_request(parser: argparse.ArgumentParser, *, several_lengths: bool = False) -> None:
    """The options that name a model, a probe and a device; `--length 25,50,100` where several are meant."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name, or a folder under HEADSCOPE_MODELS")
    if several_lengths:
        parser.add_argument("--length", dest="lengths", type=lengths, metavar="L,L,...", help="tokens in each copy, several")
        parser.set_defaults(length=ProbeOptions.length, sequences=ProbeOptions.sequences)
    else:
        parser.add_argument("--length", type=int, default=ProbeOptions.length, help="tokens in each copy")
        parser.add_argument("--sequences", type=int, default=ProbeOptions.sequences, help="how many sequences")
    parser.add_argument("--seed", type=int, default=ProbeOptions.seed)
    parser.add_argument("--bos", choices=BOS_POLICIES, default="auto", help="auto does what the model's own tokenizer does")
    parser.add_argument("--token-range", type=token_range, metavar="LO:HI", help="draw tokens from ids LO to HI - 1")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="JSON list of equally long lists of ids, used as they are")
    add_device(parser)
    add_json(parser)


def add_mode(parser: argparse.ArgumentParser, *, baselines: bool = True) -> None:
    """The shared options, the ablation mode, and how many other sets to compare with."""
    add_request(parser)
    parser.add_argument("--mode", choices=MODES, default="mean", help="what stands in for an ablated head's output")
    if baselines:
        help_text = f"other head sets to compare with, where there are more than {ALL_UP_TO}; all of them where not, 0 for none"
        parser.add_argument("--baselines", type=int, default=DEFAULT_BASELINES, metavar="K", help=help_text)


def add_text_choice(parser: argparse.ArgumentParser, *, others: str = "") -> None:
    """Which text, in which windows; `others`: which texts, in words, there are beside those that a page offers."""
    built_in = f"the built-in text: {DEFAULT_CORPUS}, {', '.join(BUILT_IN)}"
    parser.add_argument("--corpus", default=DEFAULT_CORPUS, help=built_in + (f"; or {others}" if others else ""))
    parser.add_argument("--column", default="text", help="the column of a table of texts that holds the text")
    parser.add_argument("--text", metavar="TEXT", help="the text itself, instead of a corpus")
    parser.add_argument("--windows", type=int, default=DEFAULT_WINDOWS, metavar="N", help="how many windows of it")
    parser.add_argument("--window-length", type=int, default=DEFAULT_WINDOW_LENGTH, metavar="T", help="tokens in each")


def text_choice_from(options: argparse.Namespace) -> TextChoice:
    """What `add_text_choice` was given."""
    return TextChoice(
        options.corpus if options.text is None else PASTED,
        options.column,
        options.text or "",
        options.windows,
        options.window_length,
    )


def lengths(text: str) -> tuple[int, ...]:
    """`25,50,100` as whole numbers; argparse turns the error into a sentence."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 25,50,100, not {text!r}") from None


def token_range(text: str) -> tuple[int, int]:
    """`LO:HI` as two whole numbers; argparse turns the error into a sentence."""
    try:
        low, high = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be LO:HI, two whole numbers such as 1000:10000, not {text!r}") from None
    return low, high


def fraction(text: str) -> float:
    """A number from 0 to 1, such as a threshold; argparse turns the error into a sentence."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def subject_from(options: argparse.Namespace) -> Subject:
    """What the options ask for, bound; raises BadInput for a tokens file that cannot be read."""
    several = getattr(options, "lengths", None)
    return bind(
        Request(
            model=options.model,
            length=options.length if several is None else several[0],
            sequences=options.sequences,
            seed=options.seed,
            bos=options.bos,
            token_range=options.token_range,
            tokens=None if options.tokens is None else read_tokens(options.tokens),
            device=options.device,
            dtype=options.dtype,
        )
    )


def read_tokens(path: Path) -> tuple[tuple[int, ...], ...]:
    """Rows of ids from a JSON file; raises BadInput for one that cannot be read."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"The tokens file {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise BadInput(f"The tokens file {path} is not JSON: it must be a list of equally long lists of ids.") from None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise BadInput(f"The tokens file {path} must hold a JSON list of equally long lists of ids.")
    return tuple(tuple(row) for row in rows)
