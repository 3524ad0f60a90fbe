"""Models from the hub: fetched, converted, checked, and from then on independent of the network."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import layer_norm
from transformers import BloomConfig, GPT2Config, GPT2LMHeadModel, T5Config

from core.errors import JobCancelled, ModelUnavailable
from core.models import catalogue as catalogue_module
from core.models.built_in.word_tokenizer import build_tokenizer, word_list
from core.models.catalogue import catalogue, find_entry
from core.models.fetching import hub as hub_module
from core.models.fetching.add import add_model
from core.models.identity import model_identity
from core.models.load import forget_models, load_model
from core.runtime.jobs import running
from core.transformer.anatomy import run_module
from tests.helpers.hub_server import HubServer
from tests.helpers.progress import Heard

VOCAB = 32


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    forget_models()
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with HubServer(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    forget_models()


def write_tokenizer(folder: Path) -> None:
    build_tokenizer(word_list()[: VOCAB - 2]).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<bos>"}')


def write_gpt2(folder: Path, seed: int = 0, width: int = 16) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    ids: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(n_layer=2, n_head=2, n_embd=width, vocab_size=VOCAB, n_positions=24, **ids)
    config._attn_implementation = "eager"
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_tokenizer(folder)
    return model


def random_tokens(rows: int = 3, length: int = 20) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (rows, length)))


def test_a_gpt2_repository_computes_what_the_same_weights_compute_directly(hub: HubServer) -> None:
    direct = write_gpt2(hub.repo("tests/tiny-gpt2"))
    heard = Heard()
    with running(heard):
        folder = add_model("tests/tiny-gpt2")
    model = load_model("tests/tiny-gpt2", device="cpu")
    tokens = random_tokens()
    with torch.no_grad():
        expected = direct(tokens).logits
        own = run_module(model.module, tokens)
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-5)
    card = model.card
    assert (card.n_layers, card.n_heads, card.d_model, card.d_head, card.d_vocab, card.n_ctx) == (2, 2, 16, 8, VOCAB, 24)
    assert card.n_params == sum(weight.numel() for weight in direct.parameters())
    assert card.source == "hub" and model.vocabulary.prepends_bos and model.vocabulary.bos_token_id == 0
    assert model.vocabulary.special_ids == {0, 1}
    assert any("fetching model.safetensors" in line for _, line in heard.said)
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list(folder.rglob("*.part"))


def test_a_fetched_model_needs_no_hub(hub: HubServer) -> None:
    write_gpt2(hub.repo("tests/tiny-gpt2"))
    add_model("tests/tiny-gpt2")
    hub.stop()
    hub.requests.clear()
    assert add_model("tests/tiny-gpt2").is_dir()
    assert load_model("tests/tiny-gpt2").card.name == "tests/tiny-gpt2"
    assert find_entry("tests/tiny-gpt2").available
    assert [entry.source for entry in catalogue("tests/tiny-gpt2")] == ["hub"]
    assert not hub.requests


def stated_sizes(monkeypatch: pytest.MonkeyPatch, name: str, **sizes: int) -> None:
    """The catalogue's row of a model says the sizes that the small one in its place has."""
    rows = tuple(replace(row, **sizes) if row.name == name else row for row in catalogue_module._family_table())
    monkeypatch.setattr(catalogue_module, "_family_table", lambda: rows)


def test_loading_fetches_nothing_and_bringing_in_does(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gpt2(hub.repo("openai-community/gpt2"))
    stated_sizes(monkeypatch, "gpt2-small", n_layers=2, n_heads=2, d_model=16)
    with pytest.raises(ModelUnavailable, match="gpt2-small is not on this machine yet: bring it in with"):
        load_model("gpt2-small")
    assert not hub.requests
    heard = Heard()
    with running(heard):
        add_model("gpt2-small")
    assert load_model("gpt2-small").card.name == "gpt2-small" and find_entry("gpt2").available
    assert heard.shares[-1] == 1.0 and all(0 <= share <= 1 for share in heard.shares)


def test_a_fetch_can_be_cancelled_and_goes_on_later(hub: HubServer) -> None:
    class Cancelled(Heard):
        def raise_if_cancelled(self) -> None:
            if "fetching model.safetensors" in str(self.said):
                raise JobCancelled("cancelled")

    write_gpt2(hub.repo("tests/tiny-gpt2"), width=64)
    with running(Cancelled()), pytest.raises(JobCancelled, match="cancelled"):
        add_model("tests/tiny-gpt2")
    assert not find_entry("tests/tiny-gpt2").available
    assert add_model("tests/tiny-gpt2").is_dir() and len(hub.fetched("tokenizer.json")) == 1


def test_the_person_s_token_goes_to_the_hub_and_not_to_its_file_servers(hub: HubServer) -> None:
    write_gpt2(hub.repo("tests/tiny-gpt2"))
    add_model("tests/tiny-gpt2")
    described = [headers for _, path, headers in hub.requests if path.startswith("/api/")]
    large = [headers for _, path, headers in hub.requests if path.startswith("/large/")]
    assert described and all("authorization" in headers for headers in described)
    assert large and not any("authorization" in headers for headers in large)


def test_an_interrupted_fetch_goes_on_where_it_stopped(hub: HubServer) -> None:
    direct = write_gpt2(hub.repo("tests/tiny-gpt2"), width=64)
    hub.cut_once["model.safetensors"] = 5000
    with pytest.raises(ModelUnavailable, match="network failed.*goes on where it stopped"):
        add_model("tests/tiny-gpt2")
    assert not find_entry("tests/tiny-gpt2").available
    add_model("tests/tiny-gpt2")
    first, second = hub.fetched("model.safetensors")
    assert "range" not in first and second["range"] == "bytes=5000-"
    assert len(hub.fetched("tokenizer.json")) == 1
    tokens = random_tokens()
    with torch.no_grad():
        torch.testing.assert_close(
            run_module(load_model("tests/tiny-gpt2").module, tokens), direct(tokens).logits, atol=1e-5, rtol=1e-5
        )


def test_damaged_bytes_are_noticed_and_thrown_away(hub: HubServer) -> None:
    write_gpt2(hub.repo("tests/tiny-gpt2"))
    hub.damaged.add("model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors of tests/tiny-gpt2 arrived damaged"):
        add_model("tests/tiny-gpt2")
    hub.damaged.clear()
    add_model("tests/tiny-gpt2")
    assert load_model("tests/tiny-gpt2").card.n_layers == 2


def test_sharded_weights(hub: HubServer) -> None:
    direct = write_gpt2(hub.repo("tests/shards"))
    direct.save_pretrained(hub.repo("tests/shards"), max_shard_size="8KB")
    hub.repo("tests/shards").joinpath("model.safetensors").unlink()
    assert len(list(hub.repo("tests/shards").glob("model-*.safetensors"))) > 1
    add_model("tests/shards")
    tokens = random_tokens()
    with torch.no_grad():
        torch.testing.assert_close(
            run_module(load_model("tests/shards").module, tokens), direct(tokens).logits, atol=1e-5, rtol=1e-5
        )


def test_a_pickle_checkpoint_is_converted_without_running_it(hub: HubServer) -> None:
    folder = hub.repo("tests/pickled")
    direct = write_gpt2(folder)
    state = direct.state_dict()
    state["lm_head.weight"] = state["transformer.wte.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    brought = add_model("tests/pickled")
    assert (brought / "model.safetensors").is_file() and not list(brought.glob("*.bin"))
    tokens = random_tokens()
    with torch.no_grad():
        torch.testing.assert_close(
            run_module(load_model("tests/pickled").module, tokens), direct(tokens).logits, atol=1e-5, rtol=1e-5
        )


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.marker}",))


@pytest.mark.parametrize("what", ["alone", "among tensors"])
def test_a_malicious_pickle_is_refused_and_never_executed(hub: HubServer, tmp_path: Path, what: str) -> None:
    folder, marker = hub.repo("tests/evil"), tmp_path / "executed"
    direct = write_gpt2(folder)
    (folder / "model.safetensors").unlink()
    evil = Malicious(marker)
    torch.save(evil if what == "alone" else direct.state_dict() | {"x": evil}, folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="runs no code from a checkpoint"):
        add_model("tests/evil")
    assert not marker.exists() and not find_entry("tests/evil").available


# The oldest SoLU layout, and the newer one: an independent forward pass from the same weights.

SIZES = SimpleNamespace(n_heads=2, d_head=4, d_model=8, d_mlp=16, n_ctx=24)


def random_weights(n_layers: int, attn_only: bool, unembed_bias: bool) -> dict[str, torch.Tensor]:
    """Weights in TransformerLens's own names and layouts (inputs first)."""
    make = torch.Generator().manual_seed(n_layers)
    s = SIZES

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make) * 0.5

    weights = {"embed.W_E": draw(VOCAB, s.d_model), "pos_embed.W_pos": draw(s.n_ctx, s.d_model)}
    for layer in range(n_layers):
        block = f"blocks.{layer}"
        weights |= {f"{block}.ln1.w": 1 + draw(s.d_model), f"{block}.ln1.b": draw(s.d_model)}
        for name in "QKV":
            weights |= {f"{block}.attn.W_{name}": draw(s.n_heads, s.d_model, s.d_head)}
            weights |= {f"{block}.attn.b_{name}": draw(s.n_heads, s.d_head)}
        weights |= {f"{block}.attn.W_O": draw(s.n_heads, s.d_head, s.d_model), f"{block}.attn.b_O": draw(s.d_model)}
        if not attn_only:
            weights |= {f"{block}.ln2.w": 1 + draw(s.d_model), f"{block}.ln2.b": draw(s.d_model)}
            weights |= {f"{block}.mlp.W_in": draw(s.d_model, s.d_mlp), f"{block}.mlp.b_in": draw(s.d_mlp)}
            weights |= {f"{block}.mlp.ln.w": 1 + draw(s.d_mlp), f"{block}.mlp.ln.b": draw(s.d_mlp)}
            weights |= {f"{block}.mlp.W_out": draw(s.d_mlp, s.d_model), f"{block}.mlp.b_out": draw(s.d_model)}
    weights |= {"ln_final.w": 1 + draw(s.d_model), "ln_final.b": draw(s.d_model), "unembed.W_U": draw(s.d_model, VOCAB)}
    return weights | ({"unembed.b_U": draw(VOCAB)} if unembed_bias else {})


def reference_logits(w: dict[str, torch.Tensor], tokens: torch.Tensor, n_layers: int, attn_only: bool) -> torch.Tensor:
    """The SoLU transformer written out, from the same weights and none of the library's code."""
    w = {name: tensor.double() for name, tensor in w.items()}
    x = w["embed.W_E"][tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]
    hidden = torch.triu(torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool), 1)

    def norm(value: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(value, value.shape[-1:], w[f"{name}.w"], w[f"{name}.b"], eps=1e-5)

    for layer in range(n_layers):
        block = f"blocks.{layer}"
        y = norm(x, f"{block}.ln1")
        q, k, v = (
            torch.einsum("bpm,hmd->bhpd", y, w[f"{block}.attn.W_{n}"]) + w[f"{block}.attn.b_{n}"][:, None] for n in "QKV"
        )
        scores = (q @ k.mT / math.sqrt(SIZES.d_head)).masked_fill(hidden, -torch.inf)
        x = x + torch.einsum("bhpd,hdm->bpm", scores.softmax(-1) @ v, w[f"{block}.attn.W_O"]) + w[f"{block}.attn.b_O"]
        if not attn_only:
            pre = norm(x, f"{block}.ln2") @ w[f"{block}.mlp.W_in"] + w[f"{block}.mlp.b_in"]
            x = x + norm(pre * pre.softmax(-1), f"{block}.mlp.ln") @ w[f"{block}.mlp.W_out"] + w[f"{block}.mlp.b_out"]
    return norm(x, "ln_final") @ w["unembed.W_U"] + w.get("unembed.b_U", torch.zeros(VOCAB).double())


def as_old_layout(weights: dict[str, torch.Tensor], n_layers: int) -> dict[str, torch.Tensor]:
    """How the oldest SoLU files are laid out: left-facing up to six layers, only positions left-facing at eight."""
    old = {}
    for name, tensor in weights.items():
        turned = "W_pos" in name or ("W_" in name and n_layers <= 6)
        new_name = name.replace("ln_final.", "norm.").replace(".ln1.", ".norm1.").replace(".ln2.", ".norm2.")
        old[new_name] = tensor.mT.contiguous() if turned else tensor
    return old


def write_legacy(hub: HubServer, repo_id: str, weights: dict[str, torch.Tensor], n_layers: int, attn_only: bool) -> Path:
    folder = hub.repo(repo_id)
    config = vars(SIZES) | {"n_layers": n_layers, "d_vocab": VOCAB, "act_fn": "solu_ln", "attn_only": attn_only}
    config |= {"normalization": "LN", "tokenizer_name": "tests/words"}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(weights, folder / "model_final.pth")
    write_tokenizer(hub.repo("tests/words"))
    return folder


@pytest.mark.parametrize("n_layers", [2, 6, 8, 10])
def test_the_old_left_facing_solu_layout(hub: HubServer, n_layers: int) -> None:
    weights = random_weights(n_layers, attn_only=False, unembed_bias=n_layers == 6)
    old = as_old_layout(weights, n_layers) if n_layers <= 8 else weights
    write_legacy(hub, "NeelNanda/SoLU_tiny_old", old, n_layers, attn_only=False)
    add_model("NeelNanda/SoLU_tiny_old")
    hub.stop()
    model = load_model("NeelNanda/SoLU_tiny_old")
    tokens = random_tokens()
    with torch.no_grad():
        expected = reference_logits(weights, tokens, n_layers, attn_only=False).float()
        own = run_module(model.module, tokens)
        torch.testing.assert_close(own, expected, atol=2e-4, rtol=1e-4)
    assert model.vocabulary.bos_token_id == 0 and model.identity.tokenizer is not None


def test_the_newer_attention_only_layout_under_its_short_name(hub: HubServer) -> None:
    weights = random_weights(2, attn_only=True, unembed_bias=True)
    write_legacy(hub, "NeelNanda/Attn_Only_2L512W_C4_Code", weights, 2, attn_only=True)
    add_model("attn-only-2l")
    model = load_model("attn-only-2l")
    tokens = random_tokens()
    with torch.no_grad():
        expected = reference_logits(weights, tokens, 2, attn_only=True).float()
        own = run_module(model.module, tokens)
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
    assert model.card.name == "attn-only-2l" and not model.card.has_mlp
    assert model.anatomy.heads_in(1) == 2


def test_the_report_s_model_is_found_under_its_own_name(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    stated_sizes(monkeypatch, "solu-8l-old", n_heads=2, d_model=8)
    write_legacy(hub, "NeelNanda/SoLU_8L_v21_old", as_old_layout(random_weights(8, False, False), 8), 8, False)
    add_model("solu-8l-old")
    assert load_model("solu-8l-old").card.n_layers == 8
    assert find_entry("NeelNanda/SoLU_8L_v21_old").name == "solu-8l-old"


# Every way it can fail has its own sentence.


def refused(name: str, sentence: str) -> None:
    with pytest.raises(ModelUnavailable, match=sentence) as caught:
        add_model(name)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not find_entry(name).available


def test_a_repository_that_does_not_exist(hub: HubServer) -> None:
    refused("tests/nothing", "The hub has no repository tests/nothing")


def test_a_gated_repository(hub: HubServer) -> None:
    write_gpt2(hub.repo("tests/gated"))
    hub.gated.add("tests/gated")
    refused("tests/gated", "tests/gated is gated: accept its terms")


def test_a_hub_that_fails(hub: HubServer) -> None:
    hub.failing.add("tests/tiny-gpt2")
    refused("tests/tiny-gpt2", "The hub answered 500")


@pytest.mark.parametrize(
    "config,sentence",
    [
        (T5Config(num_layers=1).to_dict(), "is of type 't5', an encoder with a decoder"),
        ({"model_type": "nobody-knows-this", "hidden_size": 4}, "is of type 'nobody-knows-this', which"),
        ({"model_type": "odd", "auto_map": {"AutoConfig": "m.C"}}, r"\(trust_remote_code\), which HeadScope never runs"),
        (
            {"model_type": "mamba", "hidden_size": 8, "vocab_size": 8},
            r"tests/odd \(of type mamba\) does not state num_attention_heads",
        ),
        ({"d_model": 8, "n_layers": 1, "n_heads": 1, "shortformer_pos": True}, "uses shortformer position embeddings"),
        ([1], "is not a JSON object"),
    ],
)
def test_kinds_that_cannot_be_measured(hub: HubServer, config: Any, sentence: str) -> None:
    folder = hub.repo("tests/odd")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"never fetched")
    refused("tests/odd", sentence)
    assert not hub.fetched("model.safetensors")


def test_a_repository_without_weights_or_config(hub: HubServer) -> None:
    write_gpt2(hub.repo("tests/empty"))
    (hub.repo("tests/empty") / "model.safetensors").unlink()
    refused("tests/empty", "holds no weights in a form that can be loaded")
    (hub.repo("tests/empty") / "config.json").unlink()
    refused("tests/empty", "holds no config.json")


def test_corrupt_weights_on_the_hub(hub: HubServer) -> None:
    folder = hub.repo("tests/corrupt")
    write_gpt2(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    refused("tests/corrupt", r"model\.safetensors of tests/corrupt is corrupt or incomplete")


def test_legacy_weights_that_do_not_fit_their_config(hub: HubServer) -> None:
    weights = random_weights(2, attn_only=True, unembed_bias=False)
    weights["blocks.0.attn.W_Q"] = torch.zeros(4, 8, 2)
    write_legacy(hub, "NeelNanda/Broken", weights, 2, attn_only=True)
    refused("NeelNanda/Broken", "The weights of NeelNanda/Broken do not fit its config")


def test_a_network_that_is_down_is_said_in_seconds(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        refused("tests/tiny-gpt2", "The model hub at .* cannot be reached: check the network")
        assert time.monotonic() - started < hub_module.REACH_SECONDS + 3
    hub.stop()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    started = time.monotonic()
    refused("gpt2-medium", "cannot be reached")
    assert time.monotonic() - started < 3


def test_offline_mode_is_said(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("gpt2-medium", "HF_HUB_OFFLINE is set")


def test_a_disk_that_is_too_small(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gpt2(hub.repo("tests/tiny-gpt2"))
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    refused("tests/tiny-gpt2", "on disk, but only 0 MB is free")


def test_alibi_and_old_masks_are_read_from_the_config(hub: HubServer) -> None:
    from transformers import BloomForCausalLM

    folder = hub.repo("tests/bloom")
    direct = BloomForCausalLM(BloomConfig(hidden_size=16, n_layer=2, n_head=2, vocab_size=VOCAB)).eval()
    direct.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    save_file(state | {"h.0.attn.masked_bias": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    add_model("tests/bloom")
    card = model_identity("tests/bloom").card
    assert card.positional == "alibi"
    assert card.n_params == sum(weight.numel() for weight in direct.parameters())
    assert model_identity("tests/bloom").token_text(7) == "7"


def test_two_processes_may_bring_the_same_model_in_at_once(hub: HubServer) -> None:
    write_gpt2(hub.repo("tests/tiny-gpt2"))
    code = "from core.models.fetching.add import add_model; print(add_model('tests/tiny-gpt2'))"
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], answers
    assert len(hub.fetched("model.safetensors")) == 1
