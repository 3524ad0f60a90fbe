"""Texts and windows: what is built in, what a person brings, and the one sentence for everything that is wrong with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from core.errors import BadInput
from core.settings.subject import bind
from core.text import corpus
from core.text.cached import own_words
from core.text.cells import occurrences, repeat_targets
from core.text.corpus import (
    built_in_corpus,
    corpus_at,
    corpus_named,
    offered_corpus,
    offered_texts,
    pasted_corpus,
)
from core.text.paragraph import PARAGRAPH, Unread, measured_text, text_tokens, unread, why_left_out
from core.text.stories import stories
from core.text.windows import PIECE, WindowOptions, _pieces, fitting_windows_of, given_windows, windows_of
from core.transformer.tokenizer import ModelTokenizer

WORDS = bind("mixture").identity
SENTENCE = "one small rabbit look under the big tree near the river . "


@pytest.mark.parametrize("name", ["topics", "passages", "words"])
def test_built_in_texts_are_there_without_a_network_and_always_the_same(name: str) -> None:
    found = built_in_corpus(name)
    assert len(found.documents) >= 6 and all(document.strip() for document in found.documents)
    assert found.digest == built_in_corpus(name).digest


def test_word_models_get_stories_in_their_own_words() -> None:
    found = windows_of(WORDS, built_in_corpus(words=own_words(WORDS)), WindowOptions(windows=40, length=60))
    assert found.n_windows == 40 and found.unknown_share == 0 and not found.warnings
    few = bind("by-construction").identity
    assert windows_of(few, built_in_corpus(words=own_words(few)), WindowOptions(8, 32)).unknown_share == 0
    assert len(set(stories())) == len(stories()) > 100


def pieces(size: int) -> Tokenizer:
    """As many families have it: pieces of words, `<unk>`, and the commonest words whole, those of our stories among them."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    texts = built_in_corpus("passages").documents
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"]))
    backend.add_tokens(sorted(own_words(WORDS) or ()))
    return backend


def words(known: list[str]) -> Tokenizer:
    return Tokenizer(models.WordLevel({word: place for place, word in enumerate(["<unk>", *known])}, unk_token="<unk>"))


@pytest.mark.parametrize("backend", [pieces(600), words(["lorem", "ipsum"]), words([*(own_words(WORDS) or ()), "lorem"])])
def test_another_models_unknown_token_does_not_make_its_words_ours(backend: Tokenizer) -> None:
    identity = replace(WORDS, tokenizer=ModelTokenizer(backend))
    assert own_words(identity) is None
    assert built_in_corpus(words=own_words(identity)).name == "topics"


def test_a_model_of_too_few_words_gets_a_sentence_and_no_half_story() -> None:
    few = own_words(replace(WORDS, tokenizer=ModelTokenizer(words(["rabbit", "river"]))))
    assert few == {"rabbit", "river"}
    with pytest.raises(BadInput, match="knows too few words"):
        built_in_corpus(words=few)


def test_the_built_in_paragraph_is_left_out_where_it_is_a_single_token() -> None:
    one_word = replace(WORDS, tokenizer=ModelTokenizer(words(["rabbit"])))
    assert "makes a single token of the built-in text" in why_left_out(one_word, PARAGRAPH)
    assert not why_left_out(WORDS, PARAGRAPH)
    # A text of one's own that cannot be read is said.
    assert not why_left_out(one_word, "rabbit river")
    assert "came without a tokenizer" in why_left_out(replace(WORDS, tokenizer=None), "rabbit river")


def test_what_a_model_cannot_read_is_counted_on_what_is_measured_and_no_further() -> None:
    subject = bind("mixture")
    assert subject.probe.has_bos, "the BOS must not be counted"
    assert unread(subject, "rabbit river xylophone rabbit") == Unread(unknown=1, tokens=4)
    assert measured_text("") == PARAGRAPH and measured_text("rabbit river") == "rabbit river"
    long = "rabbit " * 600 + "xylophone"
    assert unread(subject, long) == Unread(0, text_tokens(subject, long).shape[1] - 1)
    assert unread(replace(subject, identity=replace(WORDS, tokenizer=None)), PARAGRAPH) == Unread(0, 0)


def test_windows_are_a_seeded_sample_that_does_not_overlap() -> None:
    text = built_in_corpus("words")
    one, again, other = (windows_of(WORDS, text, WindowOptions(16, 32, seed)) for seed in (0, 0, 1))
    assert one.digest == again.digest != other.digest
    assert one.tokens.shape == (16, 33) and one.b == 1 and (one.tokens[:, 0] == WORDS.bos_token_id).all()
    assert len({tuple(row) for row in one.tokens.tolist()}) == 16
    never = windows_of(WORDS, text, WindowOptions(16, 32, 0, "never"))
    assert never.b == 0 and never.tokens.shape == (16, 32)
    encoded = {tuple(WORDS.tokenizer.encode(document, special_tokens=False)) for document in text.documents}
    for row in never.tokens.tolist():
        assert any(tuple(row) == ids[at : at + 32] for ids in encoded for at in range(0, len(ids) - 31, 32))


def test_one_huge_line_is_read_in_pieces() -> None:
    found = windows_of(WORDS, pasted_corpus(SENTENCE * 3000), WindowOptions(8, 64))
    assert found.n_windows == 8 and len(SENTENCE * 3000) > 5 * PIECE
    windows_of(WORDS, pasted_corpus("rabbit " * 10 + "x" * 3 * PIECE + " rabbit" * 200), WindowOptions(8, 32))


def test_a_document_that_is_read_in_pieces_is_told_as_long_as_it_is() -> None:
    spread = pasted_corpus((" " * 900).join(["rabbit"] * 70))
    assert len(spread.documents[0]) > 3 * PIECE
    with pytest.raises(BadInput) as error:
        windows_of(WORDS, spread, WindowOptions(2, 40))
    longest = max(len(WORDS.tokenizer.encode(piece, special_tokens=False)) for piece in _pieces(spread.documents[0]))
    assert str(error.value) == (
        f"No piece of {spread.name} fills a window: its longest document has 70 tokens, read in pieces of at most 20,000 "
        f"characters, of which the longest has {longest}, and a window takes 40. Give more text, or a window of at most "
        f"{longest} tokens."
    )
    assert windows_of(WORDS, spread, WindowOptions(2, longest)).n_windows == 1
    [*_, said] = fitting_windows_of(WORDS, spread, WindowOptions(2, 40)).warnings
    assert said == f"No document of {spread.name} has 40 tokens in a piece of at most 20,000 characters, so windows are of 20."


def test_files_folders_and_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("\ufeff" + SENTENCE * 5, encoding="utf-8")
    lines = [json.dumps({"body": SENTENCE, "id": 1}), "", json.dumps({"body": SENTENCE * 2})]
    (tmp_path / "b.jsonl").write_text("\n".join(lines), encoding="utf-8")
    table = pyarrow.table({"body": [SENTENCE, None, SENTENCE * 3], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet")
    assert corpus_at(tmp_path / "a.txt").documents == (SENTENCE * 5,)
    assert corpus_at(tmp_path / "b.jsonl", "body").documents == (SENTENCE, SENTENCE * 2)
    assert corpus_at(tmp_path / "c.parquet", "body").documents == (SENTENCE, SENTENCE * 3)
    assert len(corpus_at(tmp_path, "body").documents) == 5
    assert corpus_named(str(tmp_path / "a.txt")).digest == corpus_at(tmp_path / "a.txt").digest
    monkeypatch.setenv(corpus.TEXTS, str(tmp_path))
    assert offered_texts() == ("a.txt", "b.jsonl", "c.parquet")
    assert offered_corpus("a.txt").documents == (SENTENCE * 5,)


def _parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"n": [1]}), path)


WRONG = {
    "encoding": ("x.txt", lambda path: path.write_bytes("schön".encode("latin-1")), "is not UTF-8 \\(byte 3 is 0xf6\\)"),
    "empty": ("x.txt", lambda path: path.write_bytes(b" \n"), "x.txt is empty"),
    "no json": ("x.jsonl", lambda path: path.write_text('{"text": "a"}\n{'), "Line 2 of x.jsonl is not JSON"),
    "no object": ("x.jsonl", lambda path: path.write_text("[1]"), "it is no object"),
    "missing key": ("x.jsonl", lambda path: path.write_text('{"body": "a"}'), "no column 'text' in line 1.*it has body"),
    "no text": ("x.jsonl", lambda path: path.write_text('{"text": 7}'), "holds a int, not text"),
    "missing column": ("x.parquet", _parquet, "x.parquet has no column 'text': it has n"),
    "no parquet": ("x.parquet", lambda path: path.write_text("no"), "is not a parquet file"),
    "another kind": ("x.pdf", lambda path: path.write_text("no"), "is not a .txt, .jsonl, .parquet file"),
    "missing": ("x.txt", lambda path: None, "There is no file or folder x.txt"),
    "an empty folder": ("x", lambda path: path.mkdir(), "The folder x has no"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_with_a_file_is_one_sentence(wrong: str, tmp_path: Path) -> None:
    name, write, said = WRONG[wrong]
    write(tmp_path / name)
    with pytest.raises(BadInput, match=said) as error:
        corpus_at(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_file_too_large_and_too_much_text_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.txt").write_text(SENTENCE * 10)
    monkeypatch.setattr(corpus, "MOST_CHARACTERS", 100)
    found = corpus_at(tmp_path / "x.txt")
    assert len(found.documents[0]) == 100 and "first 100 characters" in found.warnings[0]
    monkeypatch.setattr(corpus, "MOST_BYTES", 100)
    with pytest.raises(BadInput, match="at most 0 MB are read"):
        corpus_at(tmp_path / "x.txt")


def test_nothing_outside_the_folder_of_texts_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "texts"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text(SENTENCE)
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "folder").mkdir()
    (inside / "folder" / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.delenv(corpus.TEXTS, raising=False)
    assert offered_texts() == ()
    with pytest.raises(BadInput, match="has no folder of texts"):
        offered_corpus("a.txt")
    monkeypatch.setenv(corpus.TEXTS, str(inside))
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", ".", "a\0b", "x" * 5000):
        with pytest.raises(BadInput, match="is not in the folder of texts"):
            offered_corpus(name)
    with pytest.raises(BadInput, match="The folder folder has no"):
        offered_corpus("folder")


def test_texts_that_no_number_can_be_claimed_on() -> None:
    with pytest.raises(BadInput, match=r"words that mixture does not know.*`words`"):
        windows_of(WORDS, built_in_corpus("topics"), WindowOptions(4, 32))
    with pytest.raises(BadInput, match=r"is shorter than a window: its longest document has 11 tokens, and a window takes 32"):
        windows_of(WORDS, pasted_corpus("one small rabbit look under big tree near river and ."), WindowOptions(4, 32))
    with pytest.raises(BadInput, match=r"has 5 tokens, and a window takes 8. Give more text; the shortest window takes 8\.$"):
        windows_of(WORDS, pasted_corpus("one small rabbit look under"), WindowOptions(4, 8))
    with pytest.raises(BadInput, match="is empty"):
        pasted_corpus("  \n")
    few = windows_of(WORDS, pasted_corpus(SENTENCE * 20), WindowOptions(64, 32))
    assert f"has only {few.n_windows} windows of this length, not 64" in few.warnings[0]
    for options, said in (
        (WindowOptions(1, 32), "windows must be from 2"),
        (WindowOptions(4, 5000), "A window must have 8 to"),
    ):
        with pytest.raises(BadInput, match=said):
            windows_of(WORDS, built_in_corpus("words"), options)


def test_a_bos_between_documents_is_no_word_that_comes_back() -> None:
    text = pasted_corpus(" <bos> ".join([SENTENCE, "one small rabbit run . "] * 12))
    found = windows_of(WORDS, text, WindowOptions(2, 40))
    given = given_windows(WORDS, found.tokens.tolist())
    assert (found.tokens[:, 1:] == WORDS.bos_token_id).any(-1).all() and given.uncounted == found.uncounted
    never = {WORDS.bos_token_id, WORDS.tokenizer.backend.token_to_id("<unk>")}
    for row in found.tokens:
        ids = row.tolist()
        pairs = {(q, p) for q in range(1, 41) for p in range(1, q) if ids[p] == ids[q] and ids[q] not in never}
        same = occurrences(row, found.b, found.uncounted)
        assert set(zip(*(part.tolist() for part in np.nonzero(same)), strict=True)) == pairs
        bigrams = [(*ids[t - 1 : t + 1],) if t > 1 else () for t in range(41)]
        seen = [bool(pair) and not never & {*pair} and pair in bigrams[:t] for t, pair in enumerate(bigrams)]
        assert repeat_targets(row, found.b, found.uncounted).tolist() == seen
    # What no window holds changes nothing; what one holds is another result.
    assert replace(found, uncounted=found.uncounted | {9_999}).digest == found.digest
    assert replace(found, uncounted=frozenset()).digest != found.digest


def test_given_windows_are_used_as_they_are() -> None:
    rows = np.arange(2, 26).reshape(2, 12)
    plain = given_windows(WORDS, rows.tolist())
    assert plain.b == 0 and (plain.tokens == rows).all()
    rows[:, 0] = WORDS.bos_token_id
    assert given_windows(WORDS, rows.tolist()).b == 1
    with pytest.raises(BadInput, match="too short"):
        given_windows(WORDS, [[1, 2]])
