"""Folders as people bring them: adapters, other formats, parts of a model, and tokenizers that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import BartConfig, BartForCausalLM, BartForConditionalGeneration, LlamaConfig, LlamaForCausalLM

from core.cli import main
from core.errors import ModelUnavailable
from core.models.catalogue import find_entry
from core.models.identity import model_identity
from core.models.load import load_model
from core.probes.vocabulary import use_bos
from core.settings.request import Request
from core.settings.subject import bind
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
