"""Models that people bring: each kind of family, held to the library's own module run eagerly, or refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from core.attention.cells import induction_cells
from core.attention.score_pass import measure_heads
from core.errors import BadInput, ModelUnavailable
from core.models.in_memory import adopt
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.transformer.passes.fused import agreement
from core.verdicts.attribution import attributed
from tests.helpers.cli import run_json

BASE: dict[str, Any] = dict(
    num_hidden_layers=3,
    num_attention_heads=4,
    hidden_size=64,
    intermediate_size=96,
    vocab_size=256,
    max_position_embeddings=128,
    initializer_range=0.2,
)
GROUPED = BASE | {"num_key_value_heads": 2}
FOUR = GROUPED | {"num_hidden_layers": 4}
FAMILIES: dict[str, Callable[[], Any]] = {
    "window": lambda: transformers.MistralConfig(**GROUPED, sliding_window=16),
    "short window": lambda: transformers.MistralConfig(**GROUPED, sliding_window=4),
    "hybrid with convolutions": lambda: transformers.Lfm2Config(**FOUR, layer_types=["conv", "full_attention"] * 2),
    "latent attention": lambda: transformers.DeepseekV3Config(
        **BASE,
        num_key_value_heads=4,
        q_lora_rank=24,
        kv_lora_rank=16,
        qk_nope_head_dim=16,
        qk_rope_head_dim=8,
        v_head_dim=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=32,
        first_k_dense_replace=1,
    ),
    "no final norm": lambda: transformers.OPTConfig(
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_size=64,
        ffn_dim=96,
        vocab_size=256,
        max_position_embeddings=128,
        word_embed_proj_dim=32,
        do_layer_norm_before=False,
        init_std=0.2,
    ),
    "falcon": lambda: transformers.FalconConfig(
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_size=64,
        vocab_size=256,
        num_kv_heads=2,
        new_decoder_architecture=True,
        initializer_range=0.2,
    ),
    "unscaled": lambda: transformers.GPT2Config(
        n_layer=3, n_head=4, n_embd=64, vocab_size=256, n_positions=128, scale_attn_weights=False, initializer_range=0.2
    ),
    "multipliers": lambda: transformers.GraniteConfig(
        **GROUPED, residual_multiplier=0.22, logits_scaling=8.0, embedding_multiplier=12.0, attention_multiplier=0.015625
    ),
    "logit scale": lambda: transformers.CohereConfig(**BASE, logit_scale=0.0625),
    "soft caps": lambda: transformers.Gemma2Config(**GROUPED, head_dim=16, sliding_window=8),
    "norms after attention": lambda: transformers.Olmo2Config(**BASE),
    "sinks": lambda: transformers.GptOssConfig(
        **GROUPED, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8
    ),
    "gpt_neo": lambda: transformers.GPTNeoConfig(
        num_layers=2,
        num_heads=4,
        hidden_size=64,
        vocab_size=256,
        max_position_embeddings=128,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    ),
    "xglm": lambda: transformers.XGLMConfig(
        num_layers=3, attention_heads=4, d_model=64, ffn_dim=96, vocab_size=256, max_position_embeddings=128
    ),
}
LENGTH = 12


def made(name: str) -> Any:
    """A random model of the family, biases and gains drawn too."""
    torch.manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        model = transformers.AutoModelForCausalLM.from_config(FAMILIES[name](), attn_implementation="eager").eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight.add_(torch.randn_like(weight) * 0.3)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_and_parts_are_those_of_the_librarys_eager_module(name: str) -> None:
    model = made(name)
    loaded = adopt(model)
    probe = repeated_probe(loaded.vocabulary, ProbeOptions(length=LENGTH, sequences=2, bos="never"))
    tokens = torch.from_numpy(np.array(probe.tokens))
    patterns: dict[int, torch.Tensor] = {}
    places = [model.get_submodule(part.name) for part in loaded.anatomy.attention.values()]
    handles = [
        place.register_forward_hook(lambda m, i, o, layer=layer: patterns.__setitem__(layer, o[1]))
        for layer, place in zip(loaded.anatomy.attention, places, strict=True)
    ]
    with torch.no_grad():
        flag = {"output_attentions": True} if loaded.anatomy.flagged else {}
        logits = model(tokens, use_cache=False, **flag).logits
    for handle in handles:
        handle.remove()
    queries, keys = induction_cells(probe.layout)
    for engine in ("fused", "hooks") if agreement(loaded, tokens.shape[1]).agrees else ("hooks",):
        measured = measure_heads(loaded, probe, engine=engine)
        for layer in range(loaded.card.n_layers):
            if layer not in patterns:
                assert np.isnan(measured.mean("induction")[layer]).all(), "a layer without attention has no heads"
                continue
            own = patterns[layer][:, :, queries, keys].mean((0, 2)).numpy()
            assert np.abs(measured.mean("induction")[layer] - own).max() < 1e-5, (engine, layer)
        losses = -logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0].numpy()
        assert np.abs(measured.token_loss[:, 1:] - losses).max() < 1e-4 * max(1.0, float(losses.max()))
    _, missed = attributed(loaded, tokens, torch.arange(LENGTH + 1, 2 * LENGTH))
    assert missed < 1e-4, "embeddings, heads, MLPs and biases add up to the logit"


def test_a_path_through_the_mlps_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = adopt(made("multipliers"))
    monkeypatch.setattr(
        "core.verdicts.attribution._leaf_output", lambda parts: lambda module, arguments, keywords, output: None
    )
    with pytest.raises(BadInput, match="do not add up to its logits"):
        attributed(loaded, torch.arange(24).view(1, 24) + 5, torch.tensor([14, 15]))


def test_a_multiplier_that_is_forgotten_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts add up to a logit of our own making whatever it is multiplied by: they are held to the model's own."""
    loaded = adopt(made("multipliers"))
    monkeypatch.setattr("core.verdicts.attribution.logit_multiplier", lambda model: 1.0)
    with pytest.raises(BadInput, match="do not add up to its logits"):
        attributed(loaded, torch.arange(24).view(1, 24) + 5, torch.tensor([14, 15]))


def test_a_model_that_sees_later_tokens_is_refused() -> None:
    bert = transformers.BertLMHeadModel(transformers.BertConfig(**BASE)).eval()
    with pytest.raises(ModelUnavailable, match="sees later tokens"):
        adopt(bert)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    """A folder with a small model in it, where models are looked for."""
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    made("window").save_pretrained(tmp_path / "own")
    return tmp_path / "own"


def test_conform_tells_every_check(folder: Path) -> None:
    found = run_json("conform", "--model", str(folder), "--length", "12")
    assert [check["name"] for check in found["checks"]] == [
        "complete", "finite", "causal", "patterns", "ablation", "parts", "bos",
    ]  # fmt: skip
    assert all(check["passed"] for check in found["checks"]) and found["withheld"] == [] and found["length"] == 12


def test_a_truncated_config_and_broken_weights_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from core.cli import main

    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2, "layer_types": None}))
    assert main(["score", "--model", str(folder), "--length", "12"]) == 2
    assert "tensors are left over, the first is model.layers.2." in capsys.readouterr().err
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.q_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for command in (["score"], ["ablate", "--heads", "L2H0"]):
        assert main([*command, "--model", str(folder), "--length", "12"]) == 2
        said = capsys.readouterr().err
        assert "undefined from layer 1 on: its weights hold values that are no numbers" in said and said.count("\n") == 1
