"""Layers with more heads than others, or none: commands and pages say the same of a head that there is, and of one that is not.

And what a folder states of its heads, its sizes and its tokenizer in ways of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from streamlit.testing.v1 import AppTest
from tokenizers import Tokenizer, models, processors
from transformers import AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

from core import Request, ablated, circuit, score_heads
from core.attention.tables import head_rows
from core.circuits.tables import composition_rows
from core.cli import main
from core.errors import BadInput
from core.heads import Head
from core.models.identity import model_identity
from core.settings.subject import bind
from core.text.cached import likeness
from core.text.windows import TextWindows
from core.transformer.tokenizer import ModelTokenizer
from core.ui.frame.model_picker import _entries
from core.verdicts.cached import copied_on_text, total_effect_of
from tests.helpers.app import figures, open_page, settled
from tests.zoo.build import Row, quiet, save
from tests.zoo.rows import ROWS

LENGTH = 12
UNEVEN = Row("uneven", "laguna", {"num_attention_heads_per_layer": [4, 4, 8]})
EXISTING = [f"L{layer}H{head}" for layer, count in enumerate((4, 4, 8)) for head in range(count)]
PROBE = ["--length", str(LENGTH), "--sequences", "3"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("HEADSCOPE_MODELS", str(folder))
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """Exit status, the JSON object if there is one, and what stands on the other stream."""
    status = main([*words, "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out.strip() else None, err


@pytest.mark.parametrize(
    "words",
    [
        ("attention", "--head", "L0H1"),
        ("card", "--head", "L0H1"),
        ("ablate", "--heads", "L0H1"),
        ("ablate", "--heads", "L0H1", "--keep"),
        ("sensitivity", "--heads", "L0H1"),
        ("circuit", "--prune", "L0H1"),
        ("compare", "--x", "k_composition", "--y", "induction", "--head", "L0H1"),
    ],
)
def test_a_head_of_a_layer_without_attention_is_said_not_to_be_there(
    words: tuple[str, ...], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet():
        save(ROWS["lfm2"], root)
    status, found, error = said(capsys, words[0], "--model", "lfm2", *words[1:], *PROBE)
    assert (status, found) == (2, None)
    assert "There is no head L0H1: that layer of lfm2 has no such head." in error


@pytest.mark.parametrize("page", ["2_Attention", "10_Head_card"])
def test_a_page_picks_no_head_that_is_not_there(page: str, root: Path) -> None:
    with quiet():
        save(ROWS["lfm2"], root)
    at = settled(open_page(f"pages/{page}.py", model="lfm2", head="L0H1", length=str(LENGTH), sequences="3"))
    assert not at.exception and not at.error
    warned = [str(warning.value).replace("\\", "") for warning in at.warning]
    assert "There is no head L0H1: that layer of lfm2 has no such head. No head is picked." in warned
    settled(at.run())
    assert not at.exception and not at.error
    assert at.selectbox(key="head").value == ""


def test_a_model_with_more_heads_in_one_layer_is_right_in_every_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        folder = save(UNEVEN, root)
    assert model_identity("uneven").card.n_heads == 8
    request = Request("uneven", length=LENGTH, sequences=3)
    scores = score_heads(request)
    module = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
    with torch.no_grad():
        patterns = module(tokens, output_attentions=True, use_cache=False).attentions
    front = tokens.shape[1] - 2 * LENGTH
    for layer, pattern in enumerate(patterns):
        there = pattern.shape[1]
        places = torch.arange(LENGTH)
        looked = pattern[:, :, front + LENGTH + places, front + places + 1].mean(-1).T
        assert np.abs(scores.sequences("induction")[layer, :there] - looked.numpy()).max() < 1e-5
        assert np.isnan(scores.sequences("induction")[layer, there:]).all()
    for words in (
        ("ablate", "--heads", "L2H7"),
        ("attention", "--head", "L2H7"),
        ("causal",),
        ("sweep", "--thresholds", "0:0.4:0.2"),
        ("circuit",),
    ):
        status, found, error = said(capsys, words[0], "--model", "uneven", *words[1:], *PROBE)
        assert status == 0, error
        assert found["model"]["n_heads"] == 8
    own = root / "own.csv"
    own.write_text("L0H5,0.5\nL2H7,0.25\n")
    status, _, error = said(capsys, "compare", "--model", "uneven", "--x", "induction", "--import", str(own), *PROBE)
    assert status == 2 and "There is no head L0H5: that layer of uneven has no such head. Leave its number out." in error
    status, found, error = said(capsys, "call", "--model", "uneven", "--length", str(LENGTH))
    assert status == 0, error
    assert {Head.parse(each["head"]) for each in found["heads"]} == {
        Head(layer, head) for layer, count in enumerate((4, 4, 8)) for head in range(count)
    }
    windows = TextWindows(np.arange(64).reshape(4, 16), 0, "given tokens")
    for ask in (
        lambda: likeness(bind(request), windows, Head(0, 5)),
        lambda: total_effect_of(request, Head(0, 5)),
        lambda: copied_on_text(bind(request), windows, Head(0, 5), 0),
        lambda: ablated(request, ["L0H5"]).__enter__(),
    ):
        with pytest.raises(BadInput, match="There is no head L0H5: that layer of uneven has no such head"):
            ask()
    status, _, error = said(capsys, "ablate", "--model", "uneven", "--heads", "L0H5", *PROBE)
    assert status == 2
    assert "There is no head L0H5: that layer of uneven has no such head." in error


def test_every_command_counts_and_lists_the_heads_that_there_are(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        save(UNEVEN, root)
        save(ROWS["lfm2"], root)

    def told(*words: str) -> str:
        assert main([*words, *PROBE]) == 0
        return capsys.readouterr().out

    assert "uneven: 3 layers, 16 heads; 3 sequences" in (scored := told("score", "--model", "uneven"))
    assert "lfm2: 4 layers, 8 heads; 3 sequences" in (hybrid := told("score", "--model", "lfm2"))
    assert "–  " not in scored and not [name for name in ("L0H", "L2H") if name in hybrid]
    assert "16 of 16 heads measured" in told("causal", "--model", "uneven")
    _, found, _ = said(capsys, "causal", "--model", "uneven", *PROBE)
    assert [sum(layer) for layer in found["exists"]] == [4, 4, 8]
    _, found, _ = said(capsys, "circuit", "--model", "uneven", "--prune", "L0H3", *PROBE)
    assert [row["head"] for row in found["prunings"][0]["prefix_matching"]] == EXISTING
    assert main(["models"]) == 0
    assert {"3 x up to 8,", "4 x up to 4,"} <= set(re.findall(r"\d x up to \d,", capsys.readouterr().out))
    own = root / "own.csv"
    own.write_text("L0H0,0.5\nL1H0,0.4\nL2H7,0.25\n")
    assert "of 3 of 16 heads: which ones" in told("compare", "--model", "uneven", "--x", "induction", "--import", str(own))
    request = Request("uneven", length=LENGTH, sequences=3)
    assert sorted(row["name"] for row in head_rows(score_heads(request), "induction", 0.5)) == EXISTING
    earlier = circuit(request, "zero", previous=["L0H0"], induction=["L2H7"])
    assert sorted(row["earlier"] for row in composition_rows(earlier, Head(2, 7))) == EXISTING[:8]


def test_every_page_counts_and_lists_the_heads_that_there_are(root: Path) -> None:
    with quiet():
        save(UNEVEN, root)

    def page(name: str, **more: str) -> AppTest:
        at = settled(open_page(f"pages/{name}.py", model="uneven", length=str(LENGTH), sequences="3", **more))
        assert not at.exception and not at.error
        return at

    def headers(at: AppTest) -> str:
        return " ".join(str(header.value) for header in at.header)

    # Which models there are is looked at anew every few seconds only.
    _entries.clear()
    # The first run draws the sidebar before anything is measured.
    at = page("1_Heads").run()
    assert any("3 layers, 16 heads" in str(caption.value) for caption in at.sidebar.caption)
    assert list(at.selectbox(key="head").options) == ["none", *EXISTING]
    heat_map, ranking, _ = figures(at)
    assert heat_map["data"][-1]["customdata"] == EXISTING and sorted(ranking["data"][-1]["customdata"]) == EXISTING
    alts = [chart.proto.alt for chart in at.get("plotly_chart")]
    assert "3 layers, 16 heads" in alts[0] and "All 16 heads" in alts[1]
    assert "1 of 16 heads to take away" in headers(page("3_Ablation", set="picked", heads="L1H2"))
    assert "0 of 16 heads are above at every setting" in headers(page("9_Sensitivity"))
    assert figures(page("4_Causal_map"))[-1]["data"][-1]["customdata"] == EXISTING
    grid = page("2_Attention", score="value_weighted").get("bidi_component")
    [state] = [json.loads(part.proto.json) for part in grid if part.proto.component_name == "headscope_head_grid_state"]
    assert state["exists"] == [f"L{layer}H{head}" in EXISTING for layer in range(3) for head in range(8)]
    picker = [option.partition(" · ") for option in page("10_Head_card").selectbox(key="card_head").options]
    assert sorted(name for name, _, _ in picker) == EXISTING and not [value for _, _, value in picker if value == "nan"]
    at = page("12_Compare", y="imported")
    at.text_area(key="pasted_numbers").set_value("L0H0,1\nL1H0,2\nL2H7,3\nL2H0,2").run()
    assert any("4 of 16 heads have a number" in str(caption.value) for caption in at.caption)


@pytest.mark.parametrize(
    "stated", [{"swa_num_attention_heads": 10**12}, {"num_attention_heads_per_layer": [4, 3 * 10**7]}, {"v_head_dim": 10**15}]
)
def test_no_number_of_a_config_makes_a_table_without_end(
    stated: dict[str, Any], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet():
        folder = save(ROWS["llama"], root)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | stated))
    status, found, error = said(capsys, "score", "--model", "llama", *PROBE)
    if "v_head_dim" in stated:
        assert (status, found["model"]["d_head"]) == (0, 16), error
    else:
        assert status == 2 and "heads" in error


def test_what_a_nested_config_leaves_out_is_the_librarys(root: Path) -> None:
    """As a published one does: the text part of it states few sizes, and no vocabulary."""
    stated = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "sliding_window": 8}
    stated |= {"num_key_value_heads": 2, "model_type": "gemma3_text", "vocab_size": 300}
    seen = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
    torch.manual_seed(0)
    config = Gemma3Config(text_config=stated, vision_config=seen | {"patch_size": 14})
    folder = root / "sparse"
    with quiet():
        Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    written["text_config"] = stated
    (folder / "config.json").write_text(json.dumps(written))
    card = model_identity("sparse").card
    assert (card.d_vocab, card.d_head, card.n_ctx) == (300, 256, config.text_config.max_position_embeddings)
    assert np.isfinite(score_heads(Request("sparse", length=LENGTH, sequences=2)).mean("induction")).all()


def test_weights_under_other_names_are_said_to_be_that(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        folder = save(ROWS["llama"], root)
    [path] = folder.glob("*.safetensors")
    save_file({f"module.{name}": tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    status, _, error = said(capsys, "score", "--model", "llama", *PROBE)
    assert status == 2
    assert "have other names than its kind has, 30 tensors of them: module." in error
    assert "without what wraps it" in error


@pytest.mark.parametrize(("template", "front"), [("$A <eos>", []), ("<bos> $A <eos>", [0]), ("<bos> $A", [0])])
def test_what_ends_a_text_is_not_taken_for_what_begins_it(
    template: str, front: list[int], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a tokenizer that knows capitals only: nothing is left of a text in small letters but what is put around it."""
    with quiet():
        folder = save(ROWS["llama"], root)
    words = {"<bos>": 0, "<eos>": 1} | {letter: 2 + place for place, letter in enumerate("BCDEFGHIJKLMNOPQRSTUVWXYZ")}
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.add_special_tokens(["<bos>", "<eos>"])
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<bos>", 0), ("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    subject = bind(Request("llama", length=LENGTH, sequences=2))
    assert subject.identity.tokenizer is not None
    assert subject.identity.tokenizer.put_in_front() == front
    assert subject.probe.tokens[:, : len(front)].tolist() == [front] * 2
    assert subject.probe.has_bos == bool(front)
    status, _, error = said(capsys, "attention", "--model", "llama", "--head", "L0H0", "--text", "hello", *PROBE)
    assert status == 2
    assert "tokenizer knows nothing of that text" in error


def test_a_tokenizer_that_gives_up_on_small_letters_is_asked_about_others() -> None:
    words = {"<bos>": 0} | {letter: 1 + place for place, letter in enumerate("BCDEFGHIJKLMNOPQRSTUVWXYZ")}
    tokenizer = Tokenizer(models.WordLevel(words))
    tokenizer.add_special_tokens(["<bos>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    with pytest.raises(BadInput):
        ModelTokenizer(tokenizer).encode("a")
    assert ModelTokenizer(tokenizer).put_in_front() == [0]
