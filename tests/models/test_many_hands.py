"""A folder of models from many hands: whatever is in one of them is that one's own trouble, said in one sentence."""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from core.ablation.copying_prompts import multi_token_words
from core.cli import main
from core.errors import BadInput, HeadScopeError, ModelUnavailable
from core.models.catalogue import DEFAULT_MODEL, catalogue, find_entry
from core.models.formats import tokenizer_trial
from core.models.identity import model_identity
from core.models.load import forget_models, load_model
from core.sharing.csv import csv_text
from core.transformer.tokenizer import ModelTokenizer
from core.ui.frame.sentences import verbatim
from tests.helpers.app import open_page
from tests.models.test_loading import write_llama, write_native

pytestmark = pytest.mark.usefixtures("root", "empty_store")
# What a value in a config may be that is none of a model's.
BAD: tuple[Any, ...] = (None, -1, 0, 1e30, 2**70, 1.5, True, "x", "", [], [[]], {}, {"a": 1}, 10**9)
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "[" * 60_000, '{"a":' * 60_000)


def one_sentence(error: HeadScopeError) -> None:
    text = str(error)
    assert text.endswith(".") and "\n" not in text and 20 < len(text) < 500, text
    assert "Traceback" not in text and "remove that folder" not in text


def survives(name: str, *, load: bool = False) -> bool:
    """Whether a folder works; where it does not, each road says why in one sentence, and everybody else is served."""
    works = True
    for road in (find_entry, model_identity, *((load_model,) if load else ())):
        try:
            road(name)
        except HeadScopeError as error:
            one_sentence(error)
            works = False
    listed = {entry.name: entry for entry in catalogue()}
    assert listed[DEFAULT_MODEL].available
    if not listed[name].available:
        assert listed[name].problem or listed[name].description
    return works


def damaged(text: str) -> Iterator[str]:
    """A JSON file cut, or with something else in the place of one of its values."""
    for share in (0, 0.1, 0.5, 0.9, 0.99):
        yield text[: int(share * len(text))]
    yield from ("null", "[]", "3", '"x"', "{}", "\x00" * 9, "\ufeff{}", text + text, *RAW)
    whole = json.loads(text)
    for key in whole:
        for value in BAD:
            yield json.dumps(whole | {key: value})
        for raw in RAW[:4]:
            yield json.dumps(whole | {key: "PLACE"}).replace('"PLACE"', raw)


def test_whatever_a_config_says_is_one_sentence_or_works(root: Path) -> None:
    write_llama(root / "llama")
    write_native(root / "native")
    tried = refused = 0
    for name, file in (("llama", "config.json"), ("native", "headscope.json")):
        path = root / name / file
        text = path.read_text()
        for number, other in enumerate(damaged(text)):
            path.write_text(other)
            os.utime(path, ns=(number, number))
            tried += 1
            refused += not survives(name)
        path.write_text(text)
        assert survives(name)
    print(f"{tried} configs, {refused} of them refused")
    assert tried > 400 and refused > 100


def test_whatever_a_config_says_no_load_shows_a_traceback(root: Path) -> None:
    write_llama(root / "llama")
    path = root / "llama/config.json"
    config = json.loads(path.read_text())
    odd: list[dict[str, Any]] = [{key: value} for key in config for value in (None, -1, 1.5, "x", [1, 2], {"a": 1})]
    odd += [
        {"layer_types": ["full_attention"] * 7}, {"bos_token_id": [1, 2]}, {"rms_norm_eps": "0.1"}, {"attention_bias": "yes"},
        {"rope_parameters": []}, {"dtype": "banana"}, {"hidden_act": "nonsense"}, {"return_dict": False},
        {"rope_parameters": {"rope_type": "banana", "rope_theta": 1e4}}, {"num_attention_heads": 4.0},
    ]  # fmt: skip
    loaded = 0
    for number, changes in enumerate(odd):
        path.write_text(json.dumps(config | changes))
        os.utime(path, ns=(number, number))
        loaded += survives("llama", load=True)
        forget_models()
    assert 0 < loaded < len(odd)


def test_sizes_without_room_in_the_weights_are_refused_before_anything_is_made(root: Path) -> None:
    write_llama(root / "large")
    path = root / "large/config.json"
    config = json.loads(path.read_text())
    for changes in (
        {"vocab_size": 2 * 10**9},
        {"num_attention_heads": 100_000, "num_hidden_layers": 100_000},
        {"num_hidden_layers": 10**6},
        {"hidden_size": 2**40},
    ):
        path.write_text(json.dumps(config | changes))
        for road in (model_identity, load_model):
            with pytest.raises(ModelUnavailable, match="which its weights have no room for: get the config"):
                road("large")


def headers(header: dict[str, Any]) -> Iterator[bytes]:
    first = next(name for name in header if name != "__metadata__")
    for entry in (
        3, None, [], {}, {"dtype": "F32"}, {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, {"dtype": "F32", "shape": [2**62] * 2, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}, {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}, {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}, {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 10**15]},
    ):  # fmt: skip
        yield json.dumps(header | {first: entry}).encode()
    for shape in ("[NaN]", "[Infinity]", "[1e999]", "[" * 50_000):
        text = json.dumps(header | {first: {"dtype": "F32", "shape": "PLACE", "data_offsets": [0, 4]}})
        yield text.replace('"PLACE"', shape).encode()
    yield from (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 30_000, b"{}")


def test_whatever_a_weights_file_says_of_itself_is_one_sentence(root: Path) -> None:
    write_llama(root / "weights")
    path = root / "weights/model.safetensors"
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    tried = 0
    for number, text in enumerate(headers(header)):
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
        os.utime(path, ns=(number, number))
        assert not survives("weights")
        tried += 1
    for number, cut in enumerate([0, 1, 7, 8, 9, length, length + 8, len(whole) - 1, len(whole) + 5]):
        path.write_bytes((whole + b"\0" * 9)[:cut])
        os.utime(path, ns=(9 * number, 9 * number))
        assert not survives("weights")
        tried += 1
    for claimed in (0, 2**63, 2**64 - 1, len(whole)):
        path.write_bytes(struct.pack("<Q", claimed) + whole[8:])
        assert not survives("weights")
    assert tried > 30
    path.write_bytes(whole)
    os.utime(path, ns=(7, 7))
    assert survives("weights", load=True)


def tokenizers(good: dict[str, Any]) -> Iterator[str]:
    doubling = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    yield json.dumps(good | {"normalizer": {"type": "Sequence", "normalizers": [doubling] * 33}})
    yield json.dumps(good | {"normalizer": {"type": "Sequence", "normalizers": [doubling] * 12}})
    yield json.dumps(good | {"normalizer": {"type": "Prepend", "prepend": "b" * 100_000}})
    yield json.dumps(good | {"normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}})
    # Letters that no trial would think of by itself.
    doubling = {"type": "Replace", "pattern": {"String": "ñ"}, "content": "ññ"}
    yield json.dumps(good | {"normalizer": {"type": "Sequence", "normalizers": [doubling] * 30}}, ensure_ascii=False)
    yield json.dumps(good | {"normalizer": {"type": "Replace", "pattern": {"Regex": "(ñ+)+ø"}, "content": "x"}})
    yield json.dumps(good | {"model": {"type": "WordLevel", "vocab": {}, "unk_token": "none"}})
    yield json.dumps(good | {"pre_tokenizer": {"type": "Nothing"}})
    yield json.dumps(good | {"added_tokens": [{"id": -1, "content": "x"}]})
    yield from ("", "{}", "null", "[" * 60_000, '{"version": NaN}', "\x00" * 100)


def test_a_tokenizer_that_goes_out_of_bounds_stops_nobody(root: Path) -> None:
    write_native(root / "words")
    path = root / "words/tokenizer.json"
    good = json.loads(path.read_text())
    refused = 0
    for number, text in enumerate(tokenizers(good)):
        path.write_text(text)
        os.utime(path, ns=(number, number))
        try:
            found = model_identity("words").tokenizer
        except ModelUnavailable as error:
            one_sentence(error)
            refused += "tokenizer" in str(error)
        else:
            # Odd, and within bounds.
            assert found is not None and len(found.encode("a" * 100)) < 10_000
        assert find_entry("words").available, "it is read only for a model that was chosen"
    assert refused >= 10
    path.write_text(json.dumps(good))
    assert model_identity("words").tokenizer is not None


def test_a_rule_that_panics_on_a_text_is_one_sentence(root: Path) -> None:
    write_native(root / "words")
    identity = model_identity("words")
    assert identity.tokenizer is not None
    rules = json.loads(identity.tokenizer.backend.to_str())
    rules["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(ñ+)+ø"}, "content": "x"}
    tokenizer = ModelTokenizer(Tokenizer.from_str(json.dumps(rules)))
    with pytest.raises(BadInput, match="cannot read that text"):
        tokenizer.encode("ñ" * 60)
    # Where it is asked which characters each token stands for, too: the words that are copied are of anybody's text.
    with pytest.raises(BadInput, match="cannot read that text"):
        multi_token_words(tokenizer, "ñ" * 60)


def test_a_config_of_many_megabytes_is_no_config(root: Path) -> None:
    write_llama(root / "wide")
    path = root / "wide/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {str(number): {} for number in range(100_000)}))
    assert not survives("wide")
    with pytest.raises(ModelUnavailable, match="larger than 1 MB"):
        model_identity("wide")


@pytest.mark.parametrize("changes", [{"d_mlp": 20_000_000}, {"d_head": 5_000_000}, {"n_ctx": 60_000}])
def test_a_native_config_that_would_take_gigabytes_is_refused_before_anything_is_made(
    root: Path, changes: dict[str, int]
) -> None:
    write_native(root / "large")
    path = root / "large/headscope.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"config": about["config"] | changes}))
    with pytest.raises(ModelUnavailable, match="no room for|a context of more than"):
        load_model("large")


def test_many_labels_are_refused_before_they_are_named(root: Path) -> None:
    write_llama(root / "labels")
    path = root / "labels/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_labels": 8_000_000}))
    with pytest.raises(ModelUnavailable, match="8,000,000 labels"):
        load_model("labels")


def test_a_paragraph_in_backticks_brings_in_no_picture() -> None:
    shown = verbatim("`a\n\n![x](http://evil.example/x.png)\n\nb` and `c`")
    assert "\n" not in shown
    assert shown.count("`") == 4


def test_a_tokenizer_is_tried_once_for_each_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_native(root / "one")
    write_native(root / "two")
    model_identity("one")
    monkeypatch.setattr(tokenizer_trial, "_problem", lambda path: pytest.fail("tried again"))
    assert model_identity("two").tokenizer is not None, "the same bytes under another name"


def test_folders_that_differ_by_capitals_are_two_models(root: Path) -> None:
    write_native(root / "Case", seed=1)
    write_native(root / "case", seed=2)
    first, second = model_identity("Case"), model_identity("case")
    assert (first.card.name, second.card.name) == ("Case", "case") and first.weights_digest != second.weights_digest
    assert {"Case", "case"} <= {entry.name for entry in catalogue()}
    assert model_identity("TWO-LAYER").card.name == "two-layer", "a guess where nothing is called so"


def test_no_config_sends_the_library_to_other_weights(root: Path) -> None:
    write_llama(root / "sent")
    outside = root.parent / "outside"
    write_llama(outside)
    os.rename(outside / "model.safetensors", outside / "other.safetensors")
    path = root / "sent/config.json"
    for named in ("other.safetensors", str(outside / "other.safetensors")):
        (root / "sent/other.safetensors").unlink(missing_ok=True)
        (root / "sent/other.safetensors").symlink_to(outside / "other.safetensors")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"transformers_weights": named}))
        for road in (model_identity, load_model):
            with pytest.raises(ModelUnavailable, match="other files than its own are to be loaded"):
                road("sent")


def test_a_folder_that_may_not_be_read_is_listed_as_that(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_native(root / "mine")
    closed = root / "closed"
    closed.mkdir()
    closed.chmod(0)
    allowed = os.access
    # Whoever runs the tests may be let in everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and allowed(path, mode))
    try:
        listed = {entry.name: entry for entry in catalogue()}
        assert listed["mine"].available and listed[DEFAULT_MODEL].available
        assert not listed["closed"].available and "cannot be looked into" in listed["closed"].problem
        at = open_page("pages/1_Heads.py", model="mine", length="6", sequences="2")
        assert not at.exception and not at.error
        with pytest.raises(HeadScopeError):
            model_identity("closed")
    finally:
        closed.chmod(stat.S_IRWXU)


NAMES = ("line\nbreak", " blank", "--json", "-x", "\x1b[31mred", "=1+1", "<b>bold</b>", "ünïcödé", "a" * 200)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_folders_are_text_wherever_they_are_shown(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_native(root / name)
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and DEFAULT_MODEL in shown
    assert main(["models", "--json"]) == 0
    assert name in [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    at = open_page("pages/1_Heads.py", model=name, length="6", sequences="2")
    assert not at.exception


def test_accounts_of_the_machine_are_not_told_apart_nor_its_folders_told() -> None:
    said = set()
    for name in ("~root/models", "~nobody-of-that-name/models", "~/models"):
        with pytest.raises(ModelUnavailable) as caught:
            find_entry(name)
        said.add(str(caught.value).replace(repr(name), "NAME"))
    [sentence] = said
    assert os.environ["HEADSCOPE_MODELS"] not in sentence


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    rows = [{"model": "=cmd|' /C calc'!A0", "token": "@sum", "score": -0.5, "head": "L1H1"}]
    assert csv_text(rows) == "model,token,score,head\n'=cmd|' /C calc'!A0,'@sum,-0.5,L1H1\n"


def test_weights_named_like_code_are_only_names(root: Path) -> None:
    write_native(root / "names")
    save_file({"__class__": torch.zeros(2), "../../x": torch.zeros(2)}, root / "names/model.safetensors")
    assert not survives("names", load=True)


def test_a_bound_of_results_that_is_none_fails_no_command_that_needs_no_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADSCOPE_STORE_MAX_GB", "x")
    assert main(["models"]) == 0 and "error" not in capsys.readouterr().err
    assert main(["score", "--model", "two-layer", "--length", "8"]) == 2
    assert "HEADSCOPE_STORE_MAX_GB" in capsys.readouterr().err
