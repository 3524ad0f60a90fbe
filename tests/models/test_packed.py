"""Weights that are packed into fewer bits, and configs that say so wrongly: one sentence of ours each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelUnavailable
from core.models.catalogue import find_entry
from core.models.load import forget_models, load_model
from tests.models.test_loading import write_llama


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole model's folder, named anew for each test: what is read is kept by name."""
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    made = tmp_path / f"packed-{abs(hash(tmp_path)) % 10**8}"
    write_llama(made)
    return made


def say(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def said_of(folder: Path) -> tuple[str, str]:
    """Why the model cannot be measured, in the list of models and when it is loaded."""
    with pytest.raises(ModelUnavailable) as raised:
        load_model(folder.name)
    return find_entry(folder.name).problem, str(raised.value)


@pytest.mark.parametrize("method", ["awq", "gptq", "bitsandbytes", "hqq", "compressed-tensors", "torchao", "quanto"])
def test_what_is_packed_by_what_is_not_installed_is_said_so(folder: Path, method: str) -> None:
    say(folder, quantization_config={"quant_method": method, "bits": 4, "load_in_4bit": True, "weights": "int8"})
    tensors = load_file(folder / "model.safetensors")
    packed = tensors.pop("model.layers.0.mlp.down_proj.weight")
    tensors["model.layers.0.mlp.down_proj.qweight"] = packed[:2].to(torch.int32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match=f"are packed by '{method}', and what unpacks them is not installed here: put"):
        load_model(folder.name)


@pytest.mark.parametrize("method", ["awq", "gptq", "bitsandbytes", "hqq", "torchao"])
def test_a_config_that_speaks_of_packing_beside_weights_that_are_not_packed_is_what_is_blamed(
    folder: Path, method: str
) -> None:
    """As merging an adapter into a packed base leaves it."""
    say(folder, quantization_config={"quant_method": method, "bits": 4, "load_in_4bit": True})
    with pytest.raises(ModelUnavailable, match=f"by '{method}', and they are ordinary .* take `quantization_config` out of it"):
        load_model(folder.name)
    say(folder, quantization_config=None)
    assert load_model(folder.name).card.n_layers == 2


def test_a_way_of_packing_that_nobody_knows_is_said_so(folder: Path) -> None:
    say(folder, quantization_config={"quant_method": "zip"})
    assert load_model(folder.name).card.n_layers == 2, "it says so, and is not packed"
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.down_proj.packed"] = tensors.pop("model.layers.0.mlp.down_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match="packed by 'zip', in a way that the model library does not know: put the model"):
        load_model(folder.name)


def test_eight_bits_are_weights_by_themselves_and_none_where_a_config_says_they_are_scaled(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    eight = {name: tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor for name, tensor in tensors.items()}
    save_file(eight, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_model(folder.name).card.n_layers == 2
    forget_models()
    say(folder, quantization_config={"quant_method": "fp8", "weight_block_size": [16, 16]})
    with pytest.raises(ModelUnavailable, match=r"are packed, and the scales that unpack \S+ are missing: put the model"):
        load_model(folder.name)


@pytest.mark.parametrize("said", [{}, [1], "awq", 4, {"bits": 4}, {"quant_method": ["awq"]}, {"quant_method": None}])
def test_packing_without_a_method_is_said_in_the_list_too(folder: Path, said: object) -> None:
    say(folder, quantization_config=said)
    for reason in said_of(folder):
        assert "has a `quantization_config` that does not name its `quant_method`, a word such as gptq: take it out" in reason


@pytest.mark.parametrize("said", [[], [1], "x", "", 3, True])
def test_a_language_models_part_that_is_no_object_is_said_in_the_list_too(folder: Path, said: object) -> None:
    say(folder, text_config=said)
    for reason in said_of(folder):
        assert "has a `text_config` that is no object: it holds the settings of the language model" in reason


def test_a_part_that_this_kind_of_model_does_not_have_is_said_so(folder: Path) -> None:
    say(folder, text_config={})
    with pytest.raises(
        ModelUnavailable, match="a `text_config`, which a model of type 'llama' does not have: put its settings"
    ):
        load_model(folder.name)
    say(folder, text_config=None, quantization_config=None)
    assert load_model(folder.name).card.n_layers == 2
