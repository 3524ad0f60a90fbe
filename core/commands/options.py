"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from core.attention.cached import ScoreRequest
from core.errors import BadInput
from core.models.catalogue import DEFAULT_MODEL
from core.probes.repeated import BOS_POLICIES, Probe, ProbeOptions
from core.transformer.card import ModelIdentity

DTYPES = ("float32", "bfloat16", "float16")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: one JSON value on stdout."""
    parser.add_argument("--json", action="store_true", help="print one JSON value and nothing else")


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
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    add_json(parser)


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


def request_from(options: argparse.Namespace) -> ScoreRequest:
    """What the options ask for; raises BadInput for a tokens file that cannot be read."""
    several = getattr(options, "lengths", None)
    length = options.length if several is None else several[0]
    return ScoreRequest(
        model=options.model,
        options=ProbeOptions(length, options.sequences, options.seed, options.bos, options.token_range),
        tokens=None if options.tokens is None else _read_tokens(options.tokens),
        device=options.device,
        dtype=options.dtype,
    )


def _read_tokens(path: Path) -> tuple[tuple[int, ...], ...]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"The tokens file {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise BadInput(f"The tokens file {path} is not JSON: it must be a list of equally long lists of ids.") from None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise BadInput(f"The tokens file {path} must hold a JSON list of equally long lists of ids.")
    return tuple(tuple(row) for row in rows)


def progress(fraction: float, message: str) -> None:
    """Progress on stderr: one line that overwrites itself at a terminal, silence in a log."""
    if sys.stderr.isatty():
        end = "\n" if fraction >= 1 else ""
        print(f"\r{message} {fraction:4.0%}\x1b[K", end=end, file=sys.stderr, flush=True)


def model_facts(identity: ModelIdentity) -> dict[str, Any]:
    """The `model` part of a result."""
    card = identity.card
    return {
        "name": card.name,
        "family": card.family,
        "n_layers": card.n_layers,
        "n_heads": card.n_heads,
        "n_key_value_heads": card.n_key_value_heads,
        "d_model": card.d_model,
        "d_head": card.d_head,
        "d_vocab": card.d_vocab,
        "n_ctx": card.n_ctx,
        "n_params": card.n_params,
        "source": card.source,
        "weights_digest": identity.weights_digest,
    }


def probe_facts(probe: Probe, request: ScoreRequest) -> dict[str, Any]:
    """The `probe` part of a result: what was measured on."""
    return {
        "length": probe.length,
        "sequences": probe.n_sequences,
        "seed": None if request.tokens is not None else probe.options.seed,
        "bos": probe.options.bos,
        "has_bos": probe.has_bos,
        "n_tokens": probe.n_tokens,
        "token_range": None if request.tokens is not None else list(probe.token_range),
        "warnings": list(probe.warnings),
        "dtype": request.dtype,
    }
