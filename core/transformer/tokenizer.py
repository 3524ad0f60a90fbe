"""A model's own tokenizer, from its tokenizer file alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile

from tokenizers import Encoding, Tokenizer
from tokenizers.models import Unigram

from core.errors import BadInput


@dataclass(frozen=True, eq=False)
class ModelTokenizer:
    """Text to ids and ids to text. Never used on generated ids, which would come back with a second BOS."""

    backend: Tokenizer

    @cached_property
    def digest(self) -> str:
        """What identifies its rules."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    @cached_property
    def unknown_id(self) -> int | None:
        """The id that stands for every word outside the vocabulary, where its rules have one."""
        model = self.backend.model
        if isinstance(model, Unigram):
            # It has an id and no name, and says so in its file alone, which takes a moment to write out where it is large.
            found: int | None = json.loads(self.backend.to_str())["model"]["unk_id"]
            return found
        return None if model.unk_token is None else self.backend.token_to_id(model.unk_token)

    def encode(self, text: str, *, special_tokens: bool = True) -> list[int]:
        """The ids of `text`; with the model's own special tokens around it unless told otherwise.

        Raises BadInput for a text that its rules give up on.
        """
        return list(self._encoded(text, special_tokens).ids)

    def put_in_front(self) -> list[int]:
        """The ids that its own rules put in front of every text."""
        encoded = self._encoded(self._some_text, special_tokens=True)
        added = takewhile(lambda token: token[1], zip(encoded.ids, encoded.special_tokens_mask, strict=True))
        return [token_id for token_id, _ in added]

    @cached_property
    def _some_text(self) -> str:
        """One that has ids: what is put behind a text of which nothing is left would look like what is put in front.

        A letter, for nearly all; else the first piece of the vocabulary that is read as something.
        """
        pieces = (self.backend.id_to_token(token_id) or "" for token_id in range(self.backend.get_vocab_size()))
        return next((text for text in chain(("a", "A", "0"), pieces) if self._has_ids(text)), "a")

    def _has_ids(self, text: str) -> bool:
        try:
            return bool(self.encode(text, special_tokens=False))
        except BadInput:
            return False

    def encode_with_places(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of `text` without special tokens, and from which character to which each stands; raises as `encode`."""
        encoded = self._encoded(text, special_tokens=False)
        return list(encoded.ids), list(encoded.offsets)

    def _encoded(self, text: str, special_tokens: bool) -> Encoding:
        try:
            # As a batch of one: others of this process go on meanwhile, however long its rules take over the text.
            [encoded] = self.backend.encode_batch([text], add_special_tokens=special_tokens)
            return encoded
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a rule that panics is no Exception
            raise BadInput("The tokenizer of this model cannot read that text: try another one.") from error

    def text(self, token_id: int) -> str:
        """One token's text, unescaped, with its leading space, and special tokens by their names."""
        name = self.backend.id_to_token(token_id)
        if name is None:
            return str(token_id)
        text = self.backend.decode([token_id], skip_special_tokens=False)
        # A byte-level piece that is no character by itself decodes to U+FFFD: the piece's own name says more.
        return name if text == "" or "\ufffd" in text else text
