"""Files that anybody may have put into a shared folder: names that are no text, links to nothing, pipes, bombs."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer

from core.cli import main
from core.errors import BadInput, ModelUnavailable
from core.models.catalogue import DEFAULT_MODEL, catalogue, find_entry
from core.models.formats import tokenizer_trial
from core.models.formats.json_file import parse_object
from core.models.identity import model_identity
from core.models.load import forget_models, load_model
from core.settings.cost import most_minutes, spoken
from core.text.corpus import corpus_at, offered_texts
from core.transformer.tokenizer import ModelTokenizer
from core.ui.frame.sentences import verbatim
from tests.helpers.app import let_work_end, open_page
from tests.models.test_loading import write_llama, write_native

pytestmark = pytest.mark.usefixtures("empty_store")


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of texts, the same."""
    folder = tmp_path / "texts"
    folder.mkdir()
    monkeypatch.setenv("HEADSCOPE_TEXTS", str(folder))
    return folder


def no_text(name: str) -> str:
    """A file's name with a byte in it that is no UTF-8, as Python has it."""
    return os.fsdecode(name.encode() + b"\xff")


def test_a_folder_whose_name_is_no_text_stops_no_page(root: Path) -> None:
    write_native(root / no_text("odd"), tokenizer=False)
    write_native(root / no_text("folder") / "inner", tokenizer=False)
    (root / no_text("broken")).mkdir()
    (root / no_text("broken") / "config.json").write_text("{")
    listed = {entry.name: entry for entry in catalogue()}
    assert listed[DEFAULT_MODEL].available
    for name in ("odd\\udcff", "folder\\udcff/inner", "broken\\udcff"):
        assert "no text in UTF-8: rename" in listed[name].problem
        # As it is listed, as a command has its bytes, and as an address has them.
        for said in (name, name.replace("\\udcff", "\udcff"), name.replace("\\udcff", "\ufffd")):
            assert find_entry(said).problem
            with pytest.raises(ModelUnavailable, match="no text in UTF-8: rename that folder"):
                model_identity(said)
    at = open_page("pages/1_Heads.py", model="two-layer", length="20", sequences="2")
    let_work_end()
    assert not at.error and not at.exception
    at = open_page("pages/1_Heads.py", model="odd\\udcff")
    assert not at.exception and "rename that folder" in at.error[0].value


@pytest.mark.parametrize("name", [" first", "last ", "\u3000wide", "folder / inner", "owner--model "])
def test_a_folder_whose_name_begins_or_ends_with_a_blank_says_how_to_rename_it(root: Path, name: str) -> None:
    write_native(root / name, tokenizer=False)
    right = "/".join(part.strip() for part in name.split("/"))
    [listed] = [entry for entry in catalogue() if entry.source == "local"]
    assert listed.name == name and not listed.available
    for said in (name, right):
        assert find_entry(said).problem == listed.problem
        with pytest.raises(ModelUnavailable, match="begins or ends with a blank: rename it to") as raised:
            model_identity(said)
        assert str(raised.value).endswith(f"rename it to {right!r}.")
    (root / name).rename(root / "renamed")
    assert find_entry("renamed").available
    with pytest.raises(ModelUnavailable, match="no model called"):
        find_entry("first ")


@pytest.mark.parametrize("field", ["title", "description", "family"])
def test_half_a_letter_in_a_models_own_words_is_said_as_that(root: Path, field: str) -> None:
    write_native(root / "half")
    path = root / "half/headscope.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: "x\ud800"}))
    with pytest.raises(ModelUnavailable, match="holds half a letter"):
        model_identity("half")
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: "\U0001f600"}))
    assert model_identity("half").card.n_layers
    for odd in (b'{"a": "\xed\xa0\x80"}', b"\xff{}"):
        with pytest.raises(ModelUnavailable, match="not text in UTF-8"):
            parse_object(odd, "The file")
    with pytest.raises(ModelUnavailable, match="5,000 digits"):
        parse_object('{"a": ' + "9" * 5000 + "}", "The file")
    assert verbatim("a\udcff").encode()


def test_names_of_files_are_shown_as_text(root: Path) -> None:
    for name in ("a.gguf", "b.safetensors"):
        folder = root / name.replace(".", "-")
        folder.mkdir()
        (folder / f"{no_text('x')}\n\x1b[31m{name}").write_text("")
        with pytest.raises(ModelUnavailable) as raised:
            model_identity(folder.name)
        assert str(raised.value).isprintable()


def test_a_text_whose_name_is_no_text_is_not_offered(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (texts / "fine.txt").write_text("some words")
    (texts / no_text("odd")).with_suffix(".txt").write_text("some words")
    (texts / f"{no_text('odd')}.txt").write_text("some words")
    assert offered_texts() == ("fine.txt",)
    at = open_page("pages/11_Text.py", model="two-layer")
    let_work_end()
    assert not at.exception and not any("defect" in error.value for error in at.error)
    monkeypatch.setenv("HEADSCOPE_TEXTS", str(texts / "fine.txt"))
    assert offered_texts() == ()


def test_a_link_to_nothing_beside_a_model_is_no_part_of_it(root: Path) -> None:
    write_llama(root / "links")
    for name in ("extra.json", "extra.safetensors", ".hidden.json"):
        (root / "links" / name).symlink_to("nowhere")
    (root / "links/loop.json").symlink_to("loop.json")
    assert model_identity("links").card.n_layers == 2 and load_model("links").card.n_layers == 2


@pytest.mark.parametrize("name", [5, None, 1.5, True, "x" * 300, "a\n\n# b", "..", "", "a/b", "a\0b"])
def test_whatever_an_index_calls_a_file_is_one_sentence(root: Path, name: object) -> None:
    write_llama(root / "index")
    (root / "index/model.safetensors").rename(root / "index/other.safetensors")
    (root / "index/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert "no sense" not in find_entry("index").problem
    with pytest.raises(ModelUnavailable, match=r"is missing|is not a safetensors index") as raised:
        model_identity("index")
    assert str(raised.value).isprintable() and len(str(raised.value)) < 300


def test_a_model_may_be_named_with_letters_without_end(root: Path) -> None:
    for name in (f"owner/{'r' * 290}", "r" * 299, "owner/" + "r" * 4000):
        with pytest.raises(ModelUnavailable, match="There is no model called"):
            model_identity(name)


def test_how_a_model_would_generate_is_not_read(root: Path) -> None:
    for number, text in enumerate(("[]", "[" * 60_000, '{"cache_implementation": {}}', '{"early_stopping": {"a": 1}}')):
        write_llama(root / f"generates{number}")
        (root / f"generates{number}/generation_config.json").write_text(text)
        assert load_model(f"generates{number}").card.n_layers == 2
        forget_models()


def test_weights_of_other_sizes_are_said_with_the_sizes(root: Path) -> None:
    write_llama(root / "sizes")
    path = root / "sizes/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 20}))
    with pytest.raises(ModelUnavailable, match=r"6 tensors of other sizes, .*16 x 24 in the file and 16 x 20 by the config"):
        load_model("sizes")


def test_a_file_is_written_neither_to_a_pipe_nor_under_a_name_without_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    os.mkfifo(tmp_path / "pipe.pdf")
    for words in (
        ["card", "--model", "two-layer", "--head", "L1H0", "--html", str(tmp_path / "pipe.html")],
        ["report", "--model", "two-layer", "--html", str(tmp_path / ("a" * 300))],
        ["tour", "--sheet", str(tmp_path / "pipe.pdf")],
        ["tour", "--sheet", str(tmp_path / ("a" * 300))],
        ["tour", "--sheet", str(tmp_path / ("a" * 300 + ".pdf"))],
        ["sweep", "--model", "two-layer", "--thresholds", "0:1:1e-320"],
        ["sweep", "--model", "two-layer", "--thresholds", "0:1:inf"],
        ["models", "add", "owner/" + "r" * 300],
        ["run", "--address", "999.1.1.1"],
        ["text", "--corpus", "hub:"],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and said.strip()[-1] in ".:?" and len(said) > 40, said


def test_a_bound_that_is_none_is_said_in_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSCOPE_MOST_MINUTES", "inf")
    assert spoken(60 * most_minutes()).endswith("days")


def test_a_pipe_among_the_texts_is_not_waited_for(texts: Path) -> None:
    os.mkfifo(texts / "pipe.txt")
    with pytest.raises(BadInput, match="no ordinary file"):
        corpus_at(texts / "pipe.txt")


def test_lines_of_json_end_with_line_feeds_alone(texts: Path) -> None:
    rows = [{"text": f"one\u2028two\u0085three\x1c {number}"} for number in range(3)]
    (texts / "rows.jsonl").write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    assert corpus_at(texts / "rows.jsonl").documents == tuple(row["text"] for row in rows)


def test_a_table_that_is_small_when_packed_takes_no_more_memory_than_is_read(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes that stand for 256 texts of eight megabytes."""
    kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 256, pyarrow.int32()), ["the cat " * 1_000_000])
    with pyarrow.parquet.ParquetWriter(texts / "many.parquet", pyarrow.schema([("text", kind)]), compression="zstd") as file:
        file.write_table(pyarrow.table({"text": repeated}))
    assert (texts / "many.parquet").stat().st_size < 5000
    pool = pyarrow.default_memory_pool()
    before = pool.max_memory()
    assert sum(map(len, corpus_at(texts / "many.parquet").documents)) == 8_000_000
    assert pool.max_memory() - before < 100_000_000
    with monkeypatch.context() as tight:
        tight.setattr("core.text.corpus.MOST_UNPACKED", 4_000_000)
        with pytest.raises(BadInput, match="unpacks to 8 MB at once"):
            corpus_at(texts / "many.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None, "b"], "x": [1, 2, 3]}), texts / "fine.parquet")
    assert corpus_at(texts / "fine.parquet").documents == ("a", "b")
    with pytest.raises(BadInput, match="holds a int"):
        corpus_at(texts / "fine.parquet", "x")
    whole = bytearray((texts / "fine.parquet").read_bytes())
    for place in range(40, len(whole) - 8, 7):
        whole[place] ^= 0x5A
    (texts / "damaged.parquet").write_bytes(whole)
    with pytest.raises(BadInput, match="not a parquet file that can be read"):
        corpus_at(texts / "damaged.parquet")


def with_rules(root: Path, name: str, **rules: object) -> Path:
    """A model whose tokenizer has other rules."""
    write_native(root / name)
    path = root / name / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | rules))
    return path


def replaces(pattern: str, content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


@pytest.mark.parametrize(
    "rule",
    [
        replaces(r"\x{3B1}", "a" * 5000),  # a letter that no trial has read, by its number
        replaces("quux zork", "a" * 100_000),
        {"type": "Sequence", "normalizers": [replaces(rf"\x{{{letter:x}}}{{7}}", "ab" * 20) for letter in range(0x3B1, 0x3BA)]},
        {"type": "Replace", "pattern": {"String": "zq"}, "content": "a" * 9000},
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(4) + b"x\0" + b"y" * 5000 + b"\0").decode()},
    ],
)
def test_a_rule_for_a_text_that_no_trial_reads_cannot_make_much_of_it(root: Path, rule: dict[str, object]) -> None:
    for where in ("normalizer", "decoder") if rule["type"] == "Replace" else ("normalizer",):
        with_rules(root, where, **{where: rule})
        with pytest.raises(ModelUnavailable, match="letters of one, so it is not used"):
            model_identity(where)


def test_ordinary_rules_grow_nothing(root: Path) -> None:
    plain = [{"type": "Prepend", "prepend": "_"}, {"type": "Replace", "pattern": {"String": " "}, "content": "_"}]
    plain += [{"type": "NFKD"}, {"type": "Lowercase"}, replaces(" {2,}", " "), replaces("``", '"')]
    path = with_rules(root, "plain", normalizer={"type": "Sequence", "normalizers": plain})
    assert tokenizer_trial._growth_by(tokenizer_trial._rules(path)) < 50
    assert model_identity("plain").tokenizer is not None


# So slow that a text of some thousand letters takes minutes: for letters of one script alone.
CUBIC = {"type": "Split", "pattern": {"Regex": r"\p{Greek}*\p{Greek}*\d"}, "behavior": "Isolated", "invert": False}


def test_a_rule_that_is_slow_for_one_script_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_trial, "SECONDS", 6)
    with_rules(root, "slow", pre_tokenizer=CUBIC)
    with pytest.raises(ModelUnavailable, match="takes more than 6 s"):
        model_identity("slow")


def test_while_a_rule_takes_its_time_others_go_on(root: Path) -> None:
    path = with_rules(root, "slow", pre_tokenizer=CUBIC)
    tokenizer = ModelTokenizer(Tokenizer.from_file(str(path)))
    ticks, ended = 0, threading.Event()

    def encode() -> None:
        tokenizer.encode("\u03b1" * 500)
        ended.set()

    threading.Thread(target=encode, daemon=True).start()
    while not ended.wait(0.01):
        ticks += 1
    assert ticks > 10


def test_merges_are_not_left_out_at_random(root: Path) -> None:
    write_native(root / "drops")
    path = root / "drops/tokenizer.json"
    model = {"type": "BPE", "dropout": 0.5, "vocab": {"a": 0, "b": 1, "ab": 2, "abab": 3}, "merges": [["a", "b"], ["ab", "ab"]]}
    plain = dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder"))
    path.write_text(json.dumps(json.loads(path.read_text()) | plain | {"model": model, "added_tokens": []}))
    tokenizer = model_identity("drops").tokenizer
    assert tokenizer is not None and {tuple(tokenizer.encode("abababab")) for _ in range(20)} == {(3, 3)}


def test_what_is_wrong_in_a_models_own_file_is_said_in_words(root: Path) -> None:
    write_native(root / "native")
    path = root / "native/headscope.json"
    about = json.loads(path.read_text())
    odd: list[object] = ["x", -1, 1.5, [1], {"a": 1}, True, "relu"]
    cases = [about | {"config": about["config"] | {size: value}} for size in ("n_layers", "d_vocab", "d_head") for value in odd]
    cases += [about | {"bos_token_id": value} for value in odd] + [about | {"title": value} for value in odd[1:-1]]
    cases += [about | {"special_ids": value} for value in ("0", {"a": 1}, [0.5], None, [True], 5, [[0]])]
    cases += [about | {"format": "x" * 5000}]
    for number, case in enumerate(cases):
        path.write_text(json.dumps(case))
        os.utime(path, ns=(number, number))
        with pytest.raises(ModelUnavailable) as raised:
            model_identity("native")
        said = str(raised.value)
        assert len(said) < 200 and not any(word in said for word in ("int()", "not supported", "ModelCard", "iterable")), said
        assert find_entry("native").problem == said, "the list says the same"
    path.write_text(json.dumps(about))
    assert model_identity("native").card.n_layers
