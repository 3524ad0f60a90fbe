"""A model folder's tokenizer, and what probes must know of it: special ids, and whether it prepends a BOS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from core.errors import ModelUnavailable
from core.models.formats.json_file import read_object
from core.models.formats.tokenizer_trial import check_tokenizer_file
from core.models.paths import model_file, shown
from core.transformer.tokenizer import ModelTokenizer

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True, eq=False)
class TokenizerFacts:
    """`special_ids`: ids never drawn: added tokens flagged special, and ids below `d_vocab` that are no token at all."""

    tokenizer: ModelTokenizer | None
    special_ids: frozenset[int]
    bos_token_id: int | None
    prepends_bos: bool


def read_tokenizer(folder: Path, d_vocab: int, bos_token_id: int | None) -> TokenizerFacts:
    """Read `tokenizer.json`; a folder without one is fine, ids then stand for token names.

    Without one, `tokenizer_config.json` says whether a BOS is put in front: a SentencePiece model alone would be a tokenizer
    whose habit is forgotten.

    Args:
        folder: the model folder.
        d_vocab: the model's number of ids, often padded beyond the tokenizer's.
        bos_token_id: the BOS id of the model's config. What `tokenizer_config.json` names comes before it: a config that nobody
            filled in holds the library's own id, which in another vocabulary is any word.

    Raises ModelUnavailable if `tokenizer.json` cannot be read.
    """
    path = model_file(folder, TOKENIZER_FILE)
    if path is None:
        prepends = bos_token_id is not None and _config(folder).get("add_bos_token") is True
        return TokenizerFacts(None, frozenset(), bos_token_id, prepends_bos=prepends)
    check_tokenizer_file(path)
    try:
        backend = Tokenizer.from_file(str(path))
    except BaseException as error:  # the tokenizers library raises bare Exception, and what is none where it panics
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise ModelUnavailable(f"The file {TOKENIZER_FILE} of {shown(folder)} is not a readable tokenizer.") from error
    return tokenizer_facts(backend, d_vocab, bos_of(_named_bos(folder, backend), bos_token_id, d_vocab))


def bos_of(named: int | None, stated: int | None, d_vocab: int) -> int | None:
    """The BOS that a tokenizer names, else the one that a config states; None where neither is an id that there is."""
    return next((found for found in (named, stated) if isinstance(found, int) and 0 <= found < d_vocab), None)


def tokenizer_facts(backend: Tokenizer, d_vocab: int, bos_token_id: int | None) -> TokenizerFacts:
    """What probes must know of a tokenizer, which from here on neither cuts nor pads."""
    backend.no_truncation()
    backend.no_padding()
    if getattr(backend.model, "dropout", None):
        # Merges left out at random are for training: the same text has the same ids here.
        backend.model.dropout = None
    tokenizer = ModelTokenizer(backend)
    front = tokenizer.put_in_front()
    if len(front) == 1 and front[0] < d_vocab:
        # Whatever the config says: it is what stands in front of every text that this model is given.
        [bos_token_id] = front
    if bos_token_id is not None and not 0 <= bos_token_id < d_vocab:
        bos_token_id = None
    special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    special |= set(range(d_vocab)) - set(backend.get_vocab(with_added_tokens=True).values())
    return TokenizerFacts(
        tokenizer=tokenizer,
        special_ids=frozenset(i for i in special if 0 <= i < d_vocab),
        bos_token_id=bos_token_id,
        prepends_bos=bos_token_id is not None and front[:1] == [bos_token_id],
    )


def _named_bos(folder: Path, backend: Tokenizer) -> int | None:
    """The BOS that `tokenizer_config.json` names."""
    token = _config(folder).get("bos_token")
    token = token.get("content") if isinstance(token, dict) else token
    return backend.token_to_id(token) if isinstance(token, str) else None


def _config(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`; empty where there is none, or none that can be read."""
    path = model_file(folder, "tokenizer_config.json")
    try:
        return read_object(path) if path else {}
    except ModelUnavailable:
        return {}
