"""What a tokenizer's rules say of words that they do not have, whichever of the four kinds they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from core.attention.rows import text_row
from core.settings.subject import bind
from core.text.corpus import pasted_corpus
from core.text.paragraph import unread
from core.text.windows import WindowOptions, windows_of
from core.transformer.card import ModelIdentity
from core.transformer.tokenizer import ModelTokenizer

VOCABULARY = {"<bos>": 0, "<pad>": 1, "a": 2, "b": 3, "<unk>": 4}
RULES = {
    "BPE": lambda: models.BPE(VOCABULARY, [], unk_token="<unk>"),
    "WordPiece": lambda: models.WordPiece(VOCABULARY, unk_token="<unk>"),
    "WordLevel": lambda: models.WordLevel(VOCABULARY, unk_token="<unk>"),
    "Unigram": lambda: models.Unigram([(word, -1.0) for word in VOCABULARY], 4),
}


def tokenizer(kind: str) -> ModelTokenizer:
    backend = Tokenizer(RULES[kind]())
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return ModelTokenizer(backend)


def identity(kind: str) -> ModelIdentity:
    return replace(bind("two-layer").identity, tokenizer=tokenizer(kind))


@pytest.mark.parametrize("kind", RULES)
def test_the_id_of_unknown_words_is_known_of_every_kind_of_rules(kind: str) -> None:
    assert tokenizer(kind).encode("a z b q", special_tokens=False) == [2, 4, 3, 4], "the rules do not do what is tested"
    assert tokenizer(kind).unknown_id == 4


def test_rules_without_an_unknown_token_have_none() -> None:
    for rules in (models.BPE({"a": 0}, []), models.Unigram([("a", -1.0)], None)):
        assert ModelTokenizer(Tokenizer(rules)).unknown_id is None


@pytest.mark.parametrize("kind", RULES)
def test_unknown_words_are_counted_and_are_no_repeats(kind: str) -> None:
    subject = replace(bind("two-layer"), identity=identity(kind))
    row = text_row(subject.identity, "a z b q a", "never")
    assert [part.tolist() for part in row.cells] == [[4], [1]]
    assert row.warnings and row.warnings[0].startswith("2 of the text's 5 tokens are not in this model's vocabulary")
    assert unread(subject, "a z b q a").unknown == 2
    found = windows_of(subject.identity, pasted_corpus("a b b z a " * 40), WindowOptions(4, 10))
    assert found.unknown_share == pytest.approx(0.2) and "20 %" in found.warnings[0]
    assert 4 in found.uncounted
