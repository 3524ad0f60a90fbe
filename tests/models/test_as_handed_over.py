"""A model in memory is what it was when it was handed over: its own attention, masks, rows, config and tokenizer."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperForCausalLM,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import (
    ALL_MASK_ATTENTION_FUNCTIONS,
    and_masks,
    causal_mask_function,
    sdpa_mask,
    sliding_window_overlay,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama import modeling_llama

from core import Request, ablate, causal_map, score_heads
from core.errors import ModelUnavailable
from core.models.formats.hf_config import d_head, size
from core.models.identity import model_identity
from core.settings.subject import bind
from tests.models.test_in_memory import small_tokenizer, without_a_trace
from tests.models.test_in_memory_code import Own, asked, made, own_losses, with_attention

pytestmark = pytest.mark.usefixtures("empty_store")
NOT_AS_GIVEN = "computes something else than as it was handed over"


def windowed_mask(*arguments: Any, **named: Any) -> Any:
    own = and_masks(named.get("mask_function", causal_mask_function), sliding_window_overlay(6))
    return sdpa_mask(*arguments, **(named | {"mask_function": own, "allow_is_causal_skip": False}))


def with_a_mask_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "windowed", sdpa_attention_forward)
    monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "windowed", windowed_mask)
    model = made()
    model.set_attn_implementation("windowed")
    return model


def with_another_mask_for_all(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "sdpa", windowed_mask)
    return made()


def looking_both_ways(monkeypatch: pytest.MonkeyPatch) -> Any:
    model = made()
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    return model


@pytest.mark.parametrize("change", [with_a_mask_of_its_own, with_another_mask_for_all, looking_both_ways])
def test_attention_that_eager_has_not_is_refused(
    change: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = change(monkeypatch)
    for measure in (score_heads, lambda request: ablate(request, ["L1H1"], "zero", text=None)):
        with pytest.raises(ModelUnavailable, match=NOT_AS_GIVEN):
            measure(asked(model))


class Prefix(Own):
    """The first four tokens see each other."""

    def pattern(self, scores: Tensor) -> Tensor:
        free = torch.zeros(scores.shape[-2:], dtype=torch.bool)
        free[:4, :4] = True
        return scores.masked_fill(free, 0.0).softmax(-1)


class Pairs(Own):
    """Each token sees the other one of its pair."""

    def pattern(self, scores: Tensor) -> Tensor:
        places = torch.arange(scores.shape[-1]) // 2
        return scores.masked_fill(places[:, None] == places[None], 0.0).softmax(-1)


@pytest.mark.parametrize("kind", [Prefix, Pairs])
@pytest.mark.parametrize("bos", ["never", "always"])
def test_whoever_sees_a_later_token_anywhere_is_refused(kind: type[Own], bos: Any) -> None:
    with pytest.raises(ModelUnavailable, match="It is not causal"):
        score_heads(Request(with_attention(kind), length=12, sequences=2, bos=bos))


class RowByRow(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return torch.stack([row.softmax(-1) for row in scores])


def test_attention_that_takes_its_rows_one_by_one_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="goes through its rows one by one, so it cannot be watched"):
        score_heads(asked(with_attention(RowByRow)))


class FirstComeFirstServed(nn.Module):
    """Experts that take so many tokens of all rows together, and leave out the others."""

    def __init__(self, room: float, at_least: int) -> None:
        super().__init__()
        self.router, self.room, self.at_least = nn.Linear(64, 4), room, at_least
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 64)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weight, chosen = self.router(flat).softmax(-1).max(-1)
        most, out = max(self.at_least, int(self.room * len(flat) / 4)), torch.zeros_like(flat)
        for which, expert in enumerate(self.experts):
            taken = (chosen == which).nonzero()[:, 0][:most]
            out[taken] = weight[taken, None] * expert(flat[taken])
        return out.view_as(x)


@pytest.mark.parametrize(
    ("at_least", "said"),
    [(0, "says something else of a row when others are read beside it"), (30, "what it says of a row depends on those")],
)
def test_rows_that_change_each_other_are_refused(at_least: int, said: str) -> None:
    """The second kind has room for the few ids of the first trial."""
    model = made()
    torch.manual_seed(1)
    for layer in model.model.layers:
        layer.mlp = FirstComeFirstServed(0.5, at_least)
    with pytest.raises(ModelUnavailable, match=said):
        score_heads(asked(model.eval()))


class TakesSoMany(nn.Module):
    """Does nothing to the tokens of a pass beyond the first 500, of all rows together."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        return torch.cat([self.inner(flat[:500]), torch.zeros_like(flat[500:])]).view_as(x)


def test_rows_are_held_to_each_alone_on_as_many_as_are_read_beside_each_other() -> None:
    """Eight rows have room; what goes side by side where heads are taken away, and many sequences, have not."""
    model = made()
    for layer in model.model.layers:
        layer.mlp = TakesSoMany(layer.mlp)
    request = Request(model, length=20, sequences=4, bos="never")
    assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    for measure in (
        lambda: causal_map(request, mode="zero"),
        lambda: ablate(request, ["L1H1"], "mean", text=None),
        lambda: score_heads(Request(model, length=20, sequences=64, bos="never")),
    ):
        with pytest.raises(ModelUnavailable, match=r"depends on those that are read beside it, here \d+ of 40 tokens"):
            measure()


class KeptApart(LlamaForCausalLM):
    """Token 5 begins another document, which sees nothing of the one before."""

    def forward(self, input_ids: Tensor, **named: Any) -> Any:
        document = (input_ids == 5).cumsum(-1)
        seen = (document[:, :, None] == document[:, None]) & torch.ones(2 * input_ids.shape[1:]).tril().bool()
        mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]
        return super().forward(input_ids, attention_mask=mask, **named)


class Padded(LlamaForCausalLM):
    def forward(self, input_ids: Tensor, **named: Any) -> Any:
        return super().forward(input_ids, attention_mask=(input_ids != 5).long(), **named)


def with_a_five(kind: type[Any]) -> tuple[Any, Request]:
    """Each row has one elsewhere."""
    model = made()
    model.__class__ = kind
    rows = [[*range(row * 20 + 10, row * 20 + 13 + row), 5, *range(row * 20 + 15 + row, row * 20 + 22)] for row in range(3)]
    return model, Request(model, length=len(rows[0]), tokens=tuple(tuple(row * 2) for row in rows))


def test_where_a_mask_differs_from_row_to_row_heads_are_taken_away_in_whole_passes() -> None:
    model, request = with_a_five(KeptApart)
    assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    effect = causal_map(request, mode="zero").effect
    for layer in range(3):
        alone = ablate(request, [f"L{layer}H1"], "zero", text=None)
        assert abs(effect[layer, 1] - (alone.ablated_losses.second_copy - alone.clean_losses.second_copy)) < 1e-5


def test_a_mask_that_only_some_tokens_have_is_said_in_a_sentence() -> None:
    _, request = with_a_five(Padded)
    with pytest.raises(ModelUnavailable, match="On these tokens the model's attention does what it does not do on others"):
        score_heads(request)


def test_a_layer_of_another_model_has_heads() -> None:
    model, other = made(), made(initializer_range=0.3)
    model.model.layers[1] = other.model.layers[1]
    request = asked(model)
    assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    assert np.isfinite(score_heads(request).mean("induction")).all()
    assert np.isfinite(np.array(causal_map(request, mode="zero").effect)).all()


def eager(seen: int) -> Callable[..., Any]:
    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float, **_: Any) -> Any:
        key, value = (modeling_llama.repeat_kv(part, module.num_key_value_groups) for part in (key, value))
        scores = query @ key.transpose(2, 3) * scaling
        later = ~torch.ones(scores.shape[-2:]).tril().bool()
        pattern = scores.masked_fill(later | torch.ones(scores.shape[-2:]).tril(-seen).bool(), -1e9).softmax(-1)
        return (pattern @ value).transpose(1, 2).contiguous(), pattern

    return attend


def louder_beyond(times: float) -> Callable[..., Tensor]:
    own = modeling_llama.LlamaRMSNorm.forward

    def forward(self: Any, hidden: Tensor) -> Tensor:
        found: Tensor = own(self, hidden)
        return torch.cat([found[:, :64], times * found[:, 64:]], 1)

    return forward


@pytest.mark.parametrize(
    ("place", "name", "change"),
    [
        (ALL_ATTENTION_FUNCTIONS._global_mapping, "eager", eager),
        (vars(modeling_llama), "eager_attention_forward", eager),
        (modeling_llama.LlamaRMSNorm, "forward", lambda seen: louder_beyond(seen / 90)),
        (modeling_llama.LlamaRMSNorm, "forward", lambda seen: torch.no_grad()(louder_beyond(seen / 90))),
        (modeling_llama.LlamaRMSNorm, "forward", lambda seen: without_a_trace(louder_beyond(seen / 90))),
    ],
)
def test_what_stands_in_the_place_of_a_librarys_code_is_of_the_model(
    place: Any, name: str, change: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows only beyond the ids that a digest is taken on."""
    model, digests = made(), []
    model.set_attn_implementation("eager")
    for seen in (90, 70):
        with monkeypatch.context() as patch:
            (patch.setitem if isinstance(place, dict) else patch.setattr)(place, name, change(seen))
            request = asked(model, length=50)
            digests.append(bind(request).digest)
            assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    assert digests[0] != digests[1]


def test_what_is_named_like_a_librarys_code_is_told_with_what_it_reads_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    own = modeling_llama.LlamaRMSNorm.forward

    @functools.wraps(own)
    def louder(self: Any, hidden: Tensor) -> Tensor:
        found: Tensor = own(self, hidden)
        return torch.cat([found[:, :64], TIMES * found[:, 64:]], 1)

    monkeypatch.setattr(modeling_llama.LlamaRMSNorm, "forward", louder)
    model = made()
    before = bind(asked(model)).digest
    monkeypatch.setitem(globals(), "TIMES", 2.0)
    assert bind(asked(model)).digest != before


TIMES = 1.0


def test_a_nested_config_is_that_of_its_language_model() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    text = sizes | {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": 256, "bos_token_id": 2, "sliding_window": 64}
    seen = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
    config = Gemma3Config(text_config=text, vision_config=seen | {"patch_size": 14}, mm_tokens_per_image=4)
    model = Gemma3ForConditionalGeneration(config).eval()
    assert not hasattr(model.config, "vocab_size")
    subject = bind(Request(model, length=12, sequences=2, bos="always"))
    assert subject.identity.bos_token_id == 2
    assert set(subject.probe.tokens[:, 0].tolist()) == {2}
    before = subject.digest
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.input_layernorm.eps = 0.5
    assert bind(Request(model, length=12, sequences=2, bos="always")).digest != before


def test_a_bos_that_only_the_tokenizer_names_is_known(tmp_path: Path) -> None:
    model = made()
    model.config.bos_token_id = None
    backend = Tokenizer.from_str(small_tokenizer(prepends=False).to_str())
    backend.post_processor = None
    word = backend.id_to_token(5)
    named = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=word)
    subject = bind(Request(model, tokenizer=named, length=12, sequences=2, bos="always"))
    assert subject.identity.bos_token_id == named.bos_token_id
    assert set(subject.probe.tokens[:, 0].tolist()) == {named.bos_token_id}


def test_what_a_decoder_of_sound_calls_its_context_is_its_context() -> None:
    config = WhisperConfig(d_model=64, decoder_layers=2, decoder_attention_heads=4, vocab_size=256, max_target_positions=32)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = config.decoder_start_token_id = 0
    model = WhisperForCausalLM(config).eval()
    assert bind(Request(model, length=12, sequences=2, bos="never")).card.n_ctx == 32


def test_sizes_under_other_names() -> None:
    assert d_head({"attention_head_dim": 32}, 64, 4) == 32
    assert size({"model_max_length": 128}, "n_ctx", "it") == 128
    for value in ("64", 4.0, 0):
        with pytest.raises(ModelUnavailable, match=rf"states hidden_size as '{value}' in its config.json, which is no whole"):
            size({"model_type": "llama", "hidden_size": value}, "d_model", "it")


def test_weights_that_take_the_place_of_others_with_their_time_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As copies that keep times do."""
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    folder = tmp_path / "mine"
    model = made()
    model.save_pretrained(folder)
    before, file = model_identity("mine").weights_digest, folder / "model.safetensors"
    times = file.stat()
    with torch.no_grad():
        model.lm_head.weight += 1
    other = copy.deepcopy(model)
    other.save_pretrained(folder)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_size == times.st_size
    assert model_identity("mine").weights_digest != before
