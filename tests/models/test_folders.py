"""Folders as people bring them: adapters, other formats, parts of a model, and tokenizers that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace, WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForCausalLM,
    BartForConditionalGeneration,
    BigBirdConfig,
    BigBirdForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
)

from core.attention.cached import score_heads
from core.cli import main
from core.errors import ModelUnavailable
from core.models.catalogue import find_entry
from core.models.formats.tokenizer_files import tokenizer_facts
from core.models.identity import model_identity
from core.models.load import load_model
from core.probes.vocabulary import use_bos
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.text.cached import text_windows
from core.text.corpus import pasted_corpus
from core.verdicts.conformance import conformance
from tests.helpers.app import open_page

SIZES: dict[str, Any] = dict(num_hidden_layers=2, num_attention_heads=4, hidden_size=16, intermediate_size=24, vocab_size=64)
SIZES |= dict(max_position_embeddings=64, bos_token_id=3)

# Of peft, at a name of the model library that is to go.
LIBRARY_WARNS = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


pytestmark = pytest.mark.usefixtures("root", "empty_store")


def base() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def adapted(folder: Path) -> Any:
    """A base model with an adapter that changes it, saved as peft saves it; the model with both."""
    torch.manual_seed(1)
    model = get_peft_model(base(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    model.save_pretrained(folder)
    return model


def refused(name: str, sentence: str) -> None:
    """Every road says the same: identity, loading, the command, the list, and the page, which offers no fetching."""
    for road in (model_identity, load_model):
        with pytest.raises(ModelUnavailable, match=sentence):
            road(name)
    entry = find_entry(name)
    assert not entry.available and entry.problem and entry.description == entry.problem
    at = open_page("pages/1_Heads.py", model=name)
    assert not at.exception and len(at.error) == 1 and not [button for button in at.button if "Bring in" in button.label]
    assert name in str(at.error[0].value).replace("\\", "")


@LIBRARY_WARNS
def test_an_adapter_beside_its_base_is_not_left_out_in_silence(root: Path) -> None:
    """Merged, as the sentence says, it is measured, and it is another model than the base."""
    base().save_pretrained(root / "both")
    plain = model_identity("both").weights_digest
    merged = adapted(root / "both")
    refused("both", r"both holds a base model and an adapter beside it \(adapter_config.json\).*merge_and_unload")
    merged.merge_and_unload().save_pretrained(root / "merged")
    assert model_identity("merged").weights_digest != plain
    assert load_model("merged").card.n_heads == 4


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapters_weights_without_its_settings_are_not_left_out_in_silence(root: Path, name: str, beside: bool) -> None:
    if beside:
        base().save_pretrained(root / "both")
    else:
        (root / "both").mkdir()
    (root / "both" / name).write_bytes(b"weights")
    refused("both", f"holds the weights of an adapter .{name}.{' beside a model' if beside else ' and no adapter_config.json'}")


@LIBRARY_WARNS
def test_an_adapter_alone_names_its_base(root: Path) -> None:
    adapted(root / "adapter")
    path = root / "adapter/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "owner/base"}))
    refused("adapter", "adapter is an adapter without its base model 'owner/base'. Merge it into its base model")
    path.write_text("[")
    with pytest.raises(ModelUnavailable, match="without its base model. Merge"):
        model_identity("adapter")


def test_other_formats_and_parts_of_a_model(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "quantised").mkdir()
    (root / "quantised/tiny-q4.gguf").write_bytes(b"GGUF")
    refused("quantised", "quantised holds tiny-q4.gguf, a file in the GGUF format, and no config.json")
    (root / "deep/weights").mkdir(parents=True)
    save_file({"a": torch.zeros(2)}, root / "deep/weights/model.safetensors")
    refused("deep/weights", r"deep/weights holds weights \(model.safetensors\) and no config.json")
    (root / "notes").mkdir()
    (root / "notes/readme.txt").write_text("nothing here")
    with pytest.raises(ModelUnavailable, match="There is no model called 'notes'"):
        find_entry("notes")
    assert main(["models", "list", "quantised"]) == 0
    assert "cannot be measured: quantised holds tiny-q4.gguf" in capsys.readouterr().out
    assert main(["score", "--model", "quantised", "--json"]) == 2
    assert "GGUF" in capsys.readouterr().err


def test_an_encoder_with_a_decoder_is_called_one_and_its_decoder_alone_is_measured(root: Path) -> None:
    sizes: dict[str, Any] = dict(d_model=32, vocab_size=64, max_position_embeddings=64, encoder_layers=1, decoder_layers=3)
    sizes |= dict(encoder_attention_heads=2, decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32)
    torch.manual_seed(0)
    BartForConditionalGeneration(BartConfig(**sizes)).save_pretrained(root / "bart")
    refused("bart", "bart is of type 'bart', an encoder with a decoder: HeadScope measures models that read one text")
    BartForCausalLM(BartConfig(**sizes, is_decoder=True, is_encoder_decoder=False)).save_pretrained(root / "decoder")
    card = model_identity("decoder").card
    assert (card.n_layers, card.n_heads, card.d_model) == (3, 4, 32)


@pytest.mark.parametrize("says,habit", [({"add_bos_token": True}, True), ({"add_bos_token": False}, False), ({}, False)])
def test_a_tokenizer_that_cannot_be_read_still_says_whether_it_puts_a_bos(root: Path, says: Any, habit: bool) -> None:
    base().save_pretrained(root / "pieces")
    (root / "pieces/tokenizer.model").write_bytes(b"pieces")
    (root / "pieces/tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"} | says))
    identity = model_identity("pieces")
    assert identity.tokenizer is None and use_bos(identity.vocabulary, "auto") == habit
    probe = bind(Request("pieces", length=5, sequences=2)).probe
    assert probe.has_bos == habit and (probe.tokens[:, 0] == 3).all() == habit
    at = open_page("pages/1_Heads.py", model="pieces", length="5")
    word = "puts its BOS" if habit else "puts no BOS"
    assert any(
        "without a tokenizer that can be read" in str(caption.value).replace("\\", "") and word in str(caption.value)
        for caption in at.caption
    )


COMMANDS = (["score"], ["ablate", "--heads", "L1H1"], ["causal"], ["call"], ["circuit"], ["sensitivity"])


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_numbers_that_are_none_are_refused_where_they_begin(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Activations, or a weight, too large for float16 in one layer, which float32 holds; and one weight that is no number."""
    large, heavy = base(), base()
    with torch.no_grad():
        for part in ("gate_proj", "up_proj", "down_proj"):
            getattr(large.model.layers[1].mlp, part).weight *= 1e4
        heavy.model.layers[1].mlp.down_proj.weight[0, 0] = 1e5
    large.save_pretrained(root / "large")
    heavy.save_pretrained(root / "heavy")
    broken = base()
    with torch.no_grad():
        broken.model.layers[1].self_attn.q_proj.weight[3, 2] = float("nan")
    broken.save_pretrained(root / "broken")
    asked = [words[0], "--length", "12", *words[1:], "--json", "--model"]
    for name in ("large", "heavy"):
        assert main([*asked, name, "--dtype", "float32"]) == 0
        capsys.readouterr()
        assert main([*asked, name, "--dtype", "float16"]) == 2
        said = capsys.readouterr().err
        assert f"{name} gives numbers that are infinite or undefined from layer 1 on: float16 cannot hold numbers" in said
        assert "choose bfloat16 or float32" in said
    assert main([*asked, "broken"]) == 2
    said = capsys.readouterr().err
    assert "broken gives numbers that are infinite or undefined from layer 1 on: its weights hold values that are no" in said
    assert "the first in model.layers.1.self_attn.q_proj.weight" in said and said.count("\n") == 1
    assert main(["conform", "--length", "12", "--json", "--model", "broken"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert not checks["finite"]["passed"] and "undefined from layer 1 on" in checks["finite"]["reason"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_an_unembedding_that_holds_no_numbers_is_refused(root: Path, capsys: pytest.CaptureFixture[str], value: float) -> None:
    """The body's end is well, so only the logits show it."""
    broken = base()
    with torch.no_grad():
        broken.lm_head.weight[60] = value
    broken.save_pretrained(root / "broken")
    capsys.readouterr()
    for words in COMMANDS:
        assert main([words[0], "--length", "12", *words[1:], "--model", "broken"]) == 2
        said = capsys.readouterr().err
        assert "undefined from the unembedding on: its weights hold values that are no numbers, the first in lm_head" in said
        assert said.count("\n") == 1
    assert main(["conform", "--length", "12", "--json", "--model", "broken"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert not checks["finite"]["passed"] and "from the unembedding on" in checks["finite"]["reason"]


@pytest.mark.parametrize("names", ["sdpa", "flash_attention_2"])
def test_no_config_chooses_the_attention_that_is_run(root: Path, names: str) -> None:
    """The library lets that line of a config win over what is asked for."""
    base().save_pretrained(root / "own")
    whole = score_heads(Request("own", length=12, sequences=2))
    path = root / "own/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_attn_implementation": names}))
    assert np.array_equal(score_heads(Request("own", length=12, sequences=2)).mean("induction"), whole.mean("induction"))
    assert load_model("own").anatomy.n_heads == 4


def test_positions_that_begin_after_the_padding_leave_fewer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = SIZES | {"is_decoder": True, "pad_token_id": 5, "initializer_range": 0.2}
    RobertaForCausalLM(RobertaConfig(**sizes)).save_pretrained(root / "roberta")
    assert model_identity("roberta").card.n_ctx == 64 - 6
    assert main(["score", "--length", "29", "--sequences", "1", "--bos", "never", "--model", "roberta"]) == 0
    capsys.readouterr()
    assert main(["score", "--length", "30", "--sequences", "1", "--bos", "never", "--model", "roberta"]) == 2
    assert "needs 60 tokens, more than this model's context of 58" in capsys.readouterr().err


def test_what_a_part_of_a_model_leaves_out_is_what_the_library_takes_for_it(root: Path) -> None:
    text = {**SIZES, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 4, "sliding_window": 16}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision)).save_pretrained(root / "part")
    path = root / "part/config.json"
    config = json.loads(path.read_text())
    whole = model_identity("part").card
    for name in ("num_attention_heads", "num_key_value_heads"):
        del config["text_config"][name]
    path.write_text(json.dumps(config))
    card = model_identity("part").card
    assert (card.n_heads, card.n_key_value_heads, card.d_head) == (whole.n_heads, whole.n_key_value_heads, whole.d_head)
    assert card.n_heads == load_model("part").anatomy.n_heads == 8


def test_an_attention_that_changes_with_what_is_read_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is another model on many tokens than on few, and sees later ones there."""
    sparse = {"is_decoder": True, "attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
    BigBirdForCausalLM(BigBirdConfig(**SIZES, **sparse)).save_pretrained(root / "sparse")
    capsys.readouterr()
    assert main(["score", "--length", "12", "--model", "sparse"]) == 2
    said = capsys.readouterr().err
    assert "sparse puts another attention in the place of its own when it reads few tokens" in said and said.count("\n") == 1
    BigBirdForCausalLM(BigBirdConfig(**SIZES, **sparse | {"attention_type": "original_full"})).save_pretrained(root / "full")
    assert main(["score", "--length", "12", "--model", "full"]) == 0


def test_the_bos_is_what_the_tokenizer_puts_in_front_whatever_the_config_says(root: Path) -> None:
    base().save_pretrained(root / "own")
    words = {"<unk>": 0, "a": 1, "of": 2, "<s>": 3, "<B>": 4} | {f"word{place}": place for place in range(5, 64)}
    backend = Tokenizer(WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    backend.add_special_tokens(["<s>", "<B>"])
    for front, expected, habit in (("<B> $A", 4, True), ("$A", 3, False), ("$A <B>", 3, False), ("<B> <s> $A", 3, False)):
        backend.post_processor = TemplateProcessing(single=front, special_tokens=[("<B>", 4), ("<s>", 3)])
        backend.save(str(root / "own/tokenizer.json"))
        identity = model_identity("own")
        assert (identity.bos_token_id, identity.prepends_bos) == (expected, habit), front
        assert (bind(Request("own", length=5, sequences=2)).probe.tokens[:, 0] == expected).all() == habit
        checks = {check.name: check for check in conformance(bind(Request("own", length=5))).checks}
        # Two in front are no policy that a probe follows, as the check says.
        assert checks["bos"].passed == (front != "<B> <s> $A")
    # What the model has no row for it cannot be given.
    assert tokenizer_facts(backend, 4, 3).bos_token_id == 3
    backend.post_processor = TemplateProcessing(single="<B> $A", special_tokens=[("<B>", 4)])
    beyond = tokenizer_facts(backend, 4, 3)
    assert (beyond.bos_token_id, beyond.prepends_bos) == (3, False)


def test_a_text_is_read_by_the_tokenizer_that_a_folder_has_now(root: Path) -> None:
    """The same weights with other words, or with the tokenizer replaced, got each other's windows of one process."""
    names, text = [f"word{place}" for place in range(61)], pasted_corpus("word1 word2 word3 <s> " * 40)

    def saved(folder: str, words: list[str], front: str) -> Subject:
        known = {word: place for place, word in enumerate(["<unk>", *words, "<s>", "<B>"])}
        backend = Tokenizer(WordLevel(known, unk_token="<unk>"))
        backend.pre_tokenizer = WhitespaceSplit()
        backend.add_special_tokens(["<s>", "<B>"] if front else ["<B>"])
        if front:
            backend.post_processor = TemplateProcessing(single=f"{front} $A", special_tokens=[(front, known[front])])
        base().save_pretrained(root / folder)
        backend.save(str(root / folder / "tokenizer.json"))
        return bind(Request(folder))

    def read(subject: Subject) -> tuple[list[int], int, frozenset[int]]:
        found = text_windows(subject, text, 4, 16)
        return np.unique(found.tokens).tolist(), found.b, found.uncounted

    one, other = saved("one", names, "<s>"), saved("other", names[::-1], "<s>")
    assert one.identity.weights_digest == other.identity.weights_digest
    assert read(one)[0] == [2, 3, 4, 62] and read(other)[0] == [58, 59, 60, 62]
    for front in ("<B>", ""):
        again = saved("one", names, front)
        assert (again.identity.weights_digest, again.identity.bos_token_id) == (one.identity.weights_digest, 63 if front else 3)
        ids, b, uncounted = read(again)
        assert (b, 63 in ids) == (int(bool(front)), bool(front)) and (62 in uncounted) == bool(front)
