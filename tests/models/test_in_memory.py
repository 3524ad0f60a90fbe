"""A model that is already in memory: right numbers, a digest of its weights as they are now, and nothing left on it."""

from __future__ import annotations

import copy
import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Model, LlamaForCausalLM, PreTrainedTokenizerFast

from core import Request, ablate, causal_map, circuit, judge, score_heads
from core.ablation.cached_copying import token_copying
from core.ablation.cached_map import estimated_map
from core.ablation.subjects import reference_tokens
from core.errors import BadInput, ModelUnavailable
from core.heads import Head
from core.models.fingerprint import _add, weights_stamp
from core.settings.subject import bind
from core.sharing.facts import conformance_facts, envelope, score_facts
from core.ui.components import results
from core.verdicts.conformance import conformance
from tests.attention.test_scores import brute_force_scores
from tests.helpers.architectures import D_VOCAB, LIBRARY_CONFIGS

pytestmark = pytest.mark.usefixtures("empty_store")
LENGTH = 9


def made(name: str, seed: int = 0) -> Any:
    """A random model of the library as a user has it: trainable, in training mode, with its default attention."""
    torch.manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        return AutoModelForCausalLM.from_config(copy.deepcopy(LIBRARY_CONFIGS[name])).train()


def request_of(model: Any, **more: Any) -> Request:
    return Request(model, length=LENGTH, sequences=2, bos="never", **more)


def small_tokenizer(*, prepends: bool) -> Tokenizer:
    words = {"<bos>": 0} | {f"w{index}": index for index in range(1, D_VOCAB)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<bos>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<bos>"])
    if prepends:
        tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return tokenizer


def state_of(model: nn.Module) -> list[Any]:
    """Everything of a module that measuring it must not change."""
    return [
        [
            (name, type(part), part.training, len(part._forward_hooks), len(part._forward_pre_hooks))
            for name, part in model.named_modules()
        ],
        [
            (name, weight.requires_grad, weight.grad is None, weight._version, weight.data_ptr())
            for name, weight in model.named_parameters()
        ],
        getattr(model.config, "_attn_implementation", None),
    ]


@pytest.mark.parametrize("name", LIBRARY_CONFIGS)
def test_scores_are_the_librarys_and_the_model_is_left_as_it_was(name: str) -> None:
    model = made(name)
    before = state_of(model)
    request = request_of(model)
    scores = score_heads(request)
    assert state_of(model) == before
    tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
    eager = copy.deepcopy(model).eval()
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = eager(tokens, output_attentions=True, use_cache=False).attentions
    expected = brute_force_scores(np.stack([p.double().numpy() for p in patterns]), LENGTH, 0)
    for score, values in expected.items():
        assert np.abs(scores.sequences(score) - values).max() < 1e-5, score


def test_every_function_of_the_front_door_takes_it_and_leaves_it_alone() -> None:
    model = made("llama_grouped")
    before = state_of(model)
    request = request_of(model)
    found = ablate(request, ["L1H0"], "zero")
    assert found.text is None, "it came without a tokenizer"
    # Changing the input of the output projection, on a copy, by hand.
    with torch.no_grad():
        other = copy.deepcopy(model).eval()
        other.model.layers[1].self_attn.o_proj.weight[:, : other.config.hidden_size // other.config.num_attention_heads] = 0
        tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
        losses = -other(tokens).logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert np.abs(found.ablated[:, 1:] - losses.numpy()).max() < 1e-4
    assert causal_map(request, "zero").complete
    assert np.isfinite(estimated_map(bind(request), "zero")).all()
    assert len(judge(request, [5], per_length=16).verdicts) == 12
    assert circuit(request, "zero", previous=(Head(0, 0),), induction=(Head(1, 0),)).edges
    assert state_of(model) == before


def test_the_digest_is_of_the_weights_as_they_are_now() -> None:
    model = made("gpt2")
    subject = bind(request_of(model))
    assert bind(request_of(model)).digest == subject.digest, "nothing changed"
    assert bind(request_of(copy.deepcopy(model))).digest == subject.digest, "the same weights elsewhere"
    assert bind(request_of(made("gpt2", seed=1))).digest != subject.digest
    first = score_heads(subject).mean("entropy")
    with torch.no_grad():
        model.transformer.h[0].attn.c_attn.weight.mul_(1.5)
    with pytest.raises(BadInput, match="changed after the model was handed over"):
        ablate(subject, ["L0H0"], "zero", text=None)
    again = bind(request_of(model))
    assert again.digest != subject.digest
    assert np.abs(score_heads(again).mean("entropy")[0] - first[0]).max() > 1e-3, "measured anew, not read from the store"


def test_a_result_is_kept_for_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    first = score_heads(request_of(made("gpt2")))
    monkeypatch.setattr("core.attention.score_pass.measure_heads", None)
    again = score_heads(request_of(made("gpt2")))
    assert np.array_equal(first.mean("induction"), again.mean("induction"))


@pytest.mark.parametrize("prepends", [False, True])
def test_the_tokenizer_decides_about_the_bos(prepends: bool) -> None:
    backend = small_tokenizer(prepends=prepends)
    backend.enable_truncation(4)
    model = made("llama_grouped")
    for tokenizer in (backend, PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>")):
        subject = bind(Request(model, length=LENGTH, sequences=2, tokenizer=tokenizer))
        model.config.bos_token_id = 0
        assert subject.identity.token_text(7) == "w7"
        assert 0 in subject.identity.special_ids
        assert bind(Request(model, length=LENGTH, sequences=2, tokenizer=tokenizer)).probe.has_bos is prepends
    assert backend.truncation is not None, "the tokenizer is the user's: it is left as it was"


def _reversed_tokenizer() -> Tokenizer:
    words = {"<bos>": 0} | {f"w{index}": D_VOCAB - index for index in range(1, D_VOCAB)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<bos>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<bos>"])
    return tokenizer


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_text_is_what_the_tokenizer_makes_of_it(order: tuple[int, int]) -> None:
    """The same weights and the same text: other ids are another text, whichever was measured first."""
    tokenizers = (small_tokenizer(prepends=False), _reversed_tokenizer())
    text = "w1 w2 w3 w4 w5 w1 w2"
    model = made("llama_grouped").eval()
    for tokenizer in (tokenizers[place] for place in order):
        found = ablate(request_of(model, tokenizer=tokenizer), ["L0H1"], "zero", text=text).text
        tokens = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            own = torch.nn.functional.cross_entropy(model(tokens).logits[0, :-1], tokens[0, 1:], reduction="none")
        assert found is not None and np.abs(found[0][0, 1:] - own.numpy()).max() < 1e-4


def test_work_on_a_text_is_shared_only_where_the_tokenizer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    monkeypatch.setattr(results, "await_result", lambda key, *more, **named: keys.append(key))
    model = made("llama_grouped")
    for tokenizer in (small_tokenizer(prepends=False), small_tokenizer(prepends=False), _reversed_tokenizer()):
        results.text_ablation_of(bind(request_of(model, tokenizer=tokenizer)), (Head(0, 1),), "zero", "w1 w2 w1")
    assert keys[0] == keys[1] != keys[2]


def test_an_id_that_the_model_does_not_have_is_said_in_a_sentence() -> None:
    words = {"<bos>": 0} | {f"w{index}": index for index in range(1, D_VOCAB + 9)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<bos>"))
    tokenizer.pre_tokenizer = Whitespace()
    with pytest.raises(BadInput, match=f"gives the id {D_VOCAB + 2}, but this model's ids go from 0 to {D_VOCAB - 1}"):
        ablate(request_of(made("llama_grouped"), tokenizer=tokenizer), ["L0H1"], "zero", text=f"w1 w{D_VOCAB + 2} w1")


def test_copying_is_read_behind_the_bos_of_the_tokenizer() -> None:
    model, found = made("llama_grouped"), []
    for bos in (7, 9):
        words = {f"w{index}": index for index in range(D_VOCAB)}
        tokenizer = Tokenizer(WordLevel(words, unk_token=f"w{bos}"))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.post_processor = TemplateProcessing(single=f"w{bos} $A", special_tokens=[(f"w{bos}", bos)])
        judged = judge(Request(model, tokenizer=tokenizer), [5], per_length=8)
        found.append([verdict.copying for verdict in judged.verdicts])
    assert found[0] != found[1]


def test_an_id_that_a_person_puts_in_front_is_there_in_the_reference_too() -> None:
    row = [int(i) for i in np.random.default_rng(0).permutation(np.arange(20, D_VOCAB))[:LENGTH]]
    tokens = [[7, *row, *row], [11, *row[::-1], *row[::-1]]]
    # This model has no BOS: none is needed for ids that are given.
    subject = bind(Request(made("llama_grouped"), length=LENGTH, tokens=tokens))
    reference = reference_tokens(subject)
    assert set(reference[:, 0].tolist()) == {7, 11} and not np.isin(reference[:, 1:], [7, 11]).any()
    assert ablate(subject, ["L0H1"], "mean", text=None).ablated_losses.second_copy > 0


def test_a_bridge_is_measured_by_the_model_inside_and_loses_no_hook(tmp_path: Path) -> None:
    model = made("gpt2").eval()
    library = copy.deepcopy(model)
    library.set_attn_implementation("eager")
    # Given a folder, it asks no hub.
    library.save_pretrained(tmp_path)
    special = {name: "<bos>" for name in ("bos_token", "eos_token", "pad_token")}
    PreTrainedTokenizerFast(tokenizer_object=small_tokenizer(prepends=False), **special).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    bridge = TransformerBridge.boot_transformers(str(tmp_path), hf_model=library, tokenizer=tokenizer, device="cpu")
    found, own = score_heads(request_of(bridge)), score_heads(request_of(model, tokenizer=bridge.tokenizer))
    assert np.abs(found.mean("induction") - own.mean("induction")).max() < 1e-5
    assert not any(point.fwd_hooks for point in bridge.hook_dict.values())
    bridge.add_hook("blocks.0.attn.hook_v", lambda value, hook: value * 4)
    with pytest.raises(BadInput, match="This bridge has hooks of its own"):
        bind(request_of(bridge))
    bridge.reset_hooks()
    bridge.add_perma_hook("blocks.0.attn.hook_v", lambda value, hook: value * 4)
    with pytest.raises(BadInput, match=r"Call `reset_hooks\(including_permanent=True\)` first"):
        bind(request_of(bridge))
    bridge.reset_hooks(including_permanent=True)
    before = [weight.grad for weight in bridge.original_model.parameters()]
    estimated_map(bind(request_of(bridge)), "zero")
    assert [weight.grad for weight in bridge.original_model.parameters()] == before
    bridge.enable_compatibility_mode()
    with pytest.raises(BadInput, match="compatibility mode"):
        bind(request_of(bridge))


class Int8Linear(nn.Module):
    """Whole numbers and one scale a row, as libraries for eight bits keep them."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        scale = base.weight.detach().abs().amax(1, keepdim=True) / 127
        self.weight = nn.Parameter((base.weight.detach() / scale).round().to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = base.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight.float() * self.scale, self.bias)


def test_quantised_linear_layers_are_measured_as_what_they_compute() -> None:
    model = made("llama_grouped").eval()
    quantised, rounded = copy.deepcopy(model), copy.deepcopy(model)
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear) and name != "lm_head":
            kept = Int8Linear(part)
            quantised.set_submodule(name, kept)
            rounded.get_submodule(name).weight = nn.Parameter(kept.weight.float() * kept.scale)
    request = request_of(quantised)
    assert bind(request).digest != bind(request_of(model)).digest
    tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
    with torch.no_grad():
        own = -quantised(tokens).logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert np.abs(score_heads(request).token_loss[:, 1:] - own.numpy()).max() < 1e-5, "its own numbers, not those of fp32"
    found, wanted = (
        circuit(request_of(each), "zero", previous=(Head(0, 0),), induction=(Head(1, 0),)) for each in (quantised, rounded)
    )
    assert found.withheld is None
    assert np.allclose(found.composition, wanted.composition, atol=1e-5, equal_nan=True)
    assert np.isfinite(found.composition).any() and found.edges[0].clean > 0


# Torch wants to be rid of it.
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
def test_what_is_rounded_by_the_largest_number_of_all_rows_is_refused() -> None:
    """A map runs other rows beside each other than a score does: the same removal had two effects."""
    model = made("llama_grouped").eval()
    names = {name for name, part in model.named_modules() if isinstance(part, nn.Linear) and name != "lm_head"}
    quantised = torch.ao.quantization.quantize_dynamic(model, names, dtype=torch.qint8)
    with pytest.raises(ModelUnavailable, match=r"what it says of a row depends on those that are read beside it\.$"):
        score_heads(request_of(quantised))


# Inside the adapters' library.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_that_is_merged_is_part_of_the_weights_and_one_that_is_not_is_refused() -> None:
    peft = pytest.importorskip("peft")
    model = made("llama_grouped")
    plain = bind(request_of(model)).digest
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    for unmerged in (adapted, adapted.base_model.model):
        with pytest.raises(BadInput, match="merge_and_unload"):
            bind(request_of(unmerged))
    merged = adapted.merge_and_unload()
    assert bind(request_of(merged)).digest != plain
    assert score_heads(request_of(merged)).token_loss.shape == (2, 2 * LENGTH)


def refused(model: Any, match: str, **more: Any) -> None:
    with pytest.raises((BadInput, ModelUnavailable), match=match):
        bind(request_of(model, **more))


def test_what_cannot_be_measured_is_refused_with_a_sentence() -> None:
    refused(7, "A model is a name, a folder, or a causal model in memory, not a int")
    refused(nn.Linear(2, 2), "Linear is not a causal model of the model library")
    refused(made("gpt2"), "no fast form", tokenizer="gpt2")
    hooked = made("gpt2")
    handle = hooked.transformer.h[1].register_forward_hook(lambda module, inputs, output: None)
    refused(hooked, "hook of its own on transformer.h.1")
    handle.remove()
    assert bind(request_of(hooked)).identity.card.n_layers == 3
    with torch.device("meta"):
        refused(AutoModelForCausalLM.from_config(LIBRARY_CONFIGS["gpt2"]), "more than one device, or not in memory")


def test_a_part_without_weights_as_yet_is_refused() -> None:
    model = made("gpt2")
    model.later = nn.LazyLinear(4)
    refused(model, "whose weights are made in their first pass")


def test_a_table_of_fewer_ids_than_the_vocabulary_is_refused_as_that() -> None:
    model = made("gpt2")
    model.transformer.wte = nn.Embedding(D_VOCAB - 1, model.config.n_embd)
    refused(model, f"cannot be run on all of its {D_VOCAB} ids: for id {D_VOCAB - 1} it says")


def test_layers_in_a_sequence_are_numbered_as_in_a_list() -> None:
    plain, model = made("llama_grouped"), made("llama_grouped")
    model.model.layers = nn.Sequential(*model.model.layers)
    found, expected = (score_heads(request_of(each)).mean("induction") for each in (model, plain))
    assert np.array_equal(found, expected)


class AlsoTheNextButOne(LlamaForCausalLM):
    """Behind its unembedding a second one says, of all tokens or of all but the last, what comes after the next."""

    ends = None

    def forward(self, *given: Any, **named: Any) -> Any:
        found = super().forward(*given, output_hidden_states=True, **named)
        self.second(found.hidden_states[-1][:, : self.ends])
        return found


@pytest.mark.parametrize("ends", [None, -1])
def test_a_second_head_is_not_taken_for_the_unembedding(ends: int | None) -> None:
    model, plain = made("llama_grouped"), made("llama_grouped")
    model.__class__, model.ends = AlsoTheNextButOne, ends
    model.second = nn.Linear(model.config.hidden_size, D_VOCAB)
    found, expected = (score_heads(request_of(each)).token_loss for each in (model, plain))
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_body_without_its_unembedding_is_refused() -> None:
    refused(GPT2Model(LIBRARY_CONFIGS["gpt2"]), "gives 32 numbers for each token, not one logit for each of 211 ids")


def test_its_name_is_no_path_of_the_machine(tmp_path: Path) -> None:
    made("gpt2").save_pretrained(tmp_path / "trained")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "trained")
    assert bind(request_of(model)).card.name == "trained in memory"


class WithSidePath(nn.Module):
    """A projection with a low-rank path beside it, as an adapter that was written by hand has."""

    def __init__(self, base: nn.Module, rank: int = 4) -> None:
        super().__init__()
        self.base = base
        width = base.weight.shape
        self.down, self.up = nn.Linear(width[1], rank, bias=False), nn.Linear(rank, width[0], bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.base(x) + self.up(self.down(x))
        return found


def _scale(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.scaling *= 3


def _epsilon(model: Any) -> None:
    model.model.layers[0].input_layernorm.variance_epsilon = 5.0


def _activation(model: Any) -> None:
    model.model.layers[1].mlp.act_fn = nn.ReLU()


def _kind_of_part(model: Any) -> None:
    class Doubled(type(model.model.layers[0].mlp)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)  # type: ignore[no-any-return]

    model.model.layers[0].mlp.__class__ = Doubled


def _rotary(model: Any) -> None:
    model.model.rotary_emb.attention_scaling = 2.0


def _behind_a_method(model: Any) -> None:
    """Nothing of it can be named: only what the model computes tells."""
    mlp = type(model.model.layers[0].mlp)
    right = mlp.forward
    model.undo = lambda: setattr(mlp, "forward", right)
    mlp.forward = lambda self, x: 3 * right(self, x)


@pytest.mark.parametrize("change", [_scale, _epsilon, _activation, _kind_of_part, _rotary, _behind_a_method])
def test_what_is_no_weight_and_changes_every_number_makes_another_model(change: Any) -> None:
    def numbers(model: Any) -> tuple[str, float]:
        subject = bind(request_of(model))
        return subject.digest, float(score_heads(subject).losses().second_copy)

    first = numbers(made("llama_grouped"))
    assert numbers(made("llama_grouped")) == first
    model = made("llama_grouped")
    numbers(model)
    change(model)
    try:
        digest, loss = numbers(model)
        tokens = torch.from_numpy(np.array(bind(request_of(model)).probe.tokens))
        model.eval()
        with torch.no_grad():
            logits = model(tokens).logits[:, LENGTH:-1].flatten(0, 1)
        own = float(torch.nn.functional.cross_entropy(logits, tokens[:, LENGTH + 1 :].flatten()))
        assert digest != first[0]
        assert abs(loss - first[1]) > 1e-3
        assert abs(loss - own) < 1e-4
    finally:
        getattr(model, "undo", lambda: None)()


def _recursive(k: int) -> Any:
    def outer(x: torch.Tensor, again: bool = True) -> torch.Tensor:
        return outer(x, False) if again else (lambda y: y * k)(x)

    return outer


def test_values_that_would_be_written_alike_are_told_apart() -> None:
    """A function that holds itself ends, too; and so does one whose cell is still empty."""

    def unfinished() -> Any:
        def waiting() -> Any:
            return later

        found = digest_of(waiting)
        later = 1
        return found, later

    values = [(1, 23), (12, 3), [1, 23], ((1,), 23), {"a": 1}, {1: "a"}, _recursive(1), _recursive(2), lambda: lambda: 1]
    values += [lambda: lambda: 2, functools.partial(_recursive, 1), functools.partial(_recursive, 2)]
    digests = [digest_of(value) for value in values]
    assert len(set(digests)) == len(values) and digest_of(_recursive(1)) == digest_of(_recursive(1))
    assert unfinished()[0] not in digests


def digest_of(value: Any) -> str:
    hasher = hashlib.sha256()
    _add(hasher, value)
    return hasher.hexdigest()


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 4), (0,), (0, 5), (5, 0)])
def test_weights_of_every_shape_are_watched(shape: tuple[int, ...]) -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(shape))
    before = weights_stamp(module)
    assert weights_stamp(module) == before
    module.weight.data.mul_(2)
    assert (weights_stamp(module) == before) == (module.weight.numel() == 0)


class Late(nn.Module):
    """A part around another that does something to it, by a function or a setting of its own, and only from token 8 on."""

    def __init__(self, inner: nn.Module, change: Any) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.inner(x).clone()
        found[:, 8:] = self.change(found[:, 8:]) if callable(self.change) else found[:, 8:] * self.change["gain"]
        return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "changes",
    [
        ({"gain": 1}, {"gain": 3}),
        (lambda x: x * 1, lambda x: x * 3),
        # So small that no rounded loss would tell.
        ({"gain": 1.0}, {"gain": 1.0002}),
        (*[(lambda k: lambda x: x * k)(k) for k in (1, 3)],),
    ],
)
def test_what_a_part_holds_makes_another_model(changes: tuple[Any, Any]) -> None:
    found = []
    for change in changes:
        model = made("llama_grouped")
        model.model.layers[0].mlp = Late(model.model.layers[0].mlp, change)
        subject = bind(request_of(model))
        found.append((subject.digest, float(score_heads(subject).losses().second_copy)))
    assert found[0][0] != found[1][0] and found[0][1] != found[1][1]


def test_what_a_module_of_functions_was_given_makes_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on the model tells of it, and it does nothing to the first tokens."""
    from transformers.models.llama import modeling_llama

    first = bind(request_of(made("llama_grouped"))).digest
    own = modeling_llama.apply_rotary_pos_emb

    def late(q: Any, k: Any, *more: Any, **named: Any) -> Any:
        q, k = own(q, k, *more, **named)
        return torch.cat([q[:, :, :12], 2 * q[:, :, 12:]], 2), k

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", late)
    assert bind(request_of(made("llama_grouped"))).digest != first


def _scaled(weight: torch.Tensor) -> None:
    weight.mul_(5)


def _turned_over(weight: torch.Tensor) -> None:
    weight[:] = weight.flip(0).clone()


def _two_swapped(weight: torch.Tensor) -> None:
    weight[[0, 1], 0] = weight[[1, 0], 0]


@pytest.mark.parametrize("change", [_scaled, _turned_over, _two_swapped])
def test_weights_that_are_written_to_behind_the_counters_are_seen(change: Any) -> None:
    model = made("llama_grouped")
    subject = bind(request_of(model))
    change(model.model.layers[0].self_attn.q_proj.weight.data)
    with pytest.raises(BadInput, match="changed after the model was handed over"):
        score_heads(subject)


def test_what_a_digest_cannot_hold_is_refused() -> None:
    model = made("llama_grouped")
    mlp = model.model.layers[0].mlp
    own = mlp.forward
    mlp.forward = lambda x: own(x) * 2
    with pytest.raises(BadInput, match=r"The forward of model\.layers\.0\.mlp was replaced"):
        score_heads(request_of(model))
    mlp.forward = functools.wraps(own)(lambda x: own(x) * 2)
    with pytest.raises(BadInput, match=r"The forward of model\.layers\.0\.mlp was replaced"):
        score_heads(request_of(model))
    del mlp.forward
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, output: None)
    try:
        with pytest.raises(BadInput, match="hooks on every module"):
            score_heads(request_of(model))
    finally:
        handle.remove()
    model.model.layers[0].compile(backend="eager")
    with pytest.raises(BadInput, match="compiled in place"):
        score_heads(request_of(model))


def test_a_hook_that_a_library_runs_for_somebody_is_refused() -> None:
    from accelerate.hooks import ModelHook, SequentialHook, add_hook_to_module

    class Own(ModelHook):  # type: ignore[misc]
        def post_forward(self, module: nn.Module, output: Any) -> Any:
            return output * 3

    for hook in (Own(), SequentialHook(ModelHook(), Own())):
        model = made("llama_grouped")
        add_hook_to_module(model.model.layers[0].mlp, hook)
        with pytest.raises(BadInput, match=r"a hook of its own on model\.layers\.0\.mlp"):
            score_heads(request_of(model))
    model = made("llama_grouped")
    right = score_heads(request_of(model)).mean("induction")
    add_hook_to_module(model.model.layers[0].mlp, ModelHook())
    assert np.array_equal(score_heads(request_of(model)).mean("induction"), right), "the library's own changes nothing"


def without_a_trace(function: Any) -> Any:
    """As a decorator of a library that says nothing of what it is put around."""
    found = torch.no_grad()(function)
    del found.__wrapped__
    return found


@pytest.mark.parametrize("decorated", [torch.no_grad(), torch.inference_mode(), torch.compiler.disable, without_a_trace])
def test_a_hook_behind_a_librarys_decorator_is_somebodys_own(decorated: Any) -> None:
    model = made("llama_grouped")
    model.model.layers[1].mlp.register_forward_hook(decorated(lambda module, given, output: output * 2))
    refused(model, r"hook of its own on model\.layers\.1\.mlp")


def test_a_hook_on_what_a_compiler_put_around_the_whole_is_refused() -> None:
    model = compiled(made("llama_grouped"))
    model.register_forward_hook(lambda module, given, output: None)
    refused(model, "hook of its own on the whole")


def test_an_attention_function_of_somebodys_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask
    from transformers.models.llama.modeling_llama import eager_attention_forward

    def tripled(module: nn.Module, query: torch.Tensor, *more: Any, **named: Any) -> Any:
        return eager_attention_forward(module, query * 3, *more, **named)

    # As `register` does, and no longer than this test.
    monkeypatch.setitem(AttentionInterface._global_mapping, "tripled", tripled)
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, "tripled", eager_mask)
    model = made("llama_grouped")
    model.set_attn_implementation("tripled")
    with pytest.raises(BadInput, match="computes its attention by 'tripled'"):
        score_heads(request_of(model))
    model.set_attn_implementation("sdpa")
    assert np.isfinite(score_heads(request_of(model)).mean("induction")).all()


def test_a_model_that_is_pruned_while_it_is_trained_is_measured_as_it_is() -> None:
    from torch.nn.utils import prune

    model = made("llama_grouped")
    prune.l1_unstructured(model.model.layers[0].self_attn.q_proj, "weight", amount=0.9)
    found = score_heads(request_of(model)).token_loss
    model.eval()
    tokens = torch.from_numpy(np.array(bind(request_of(model)).probe.tokens))
    with torch.no_grad():
        own = torch.nn.functional.cross_entropy(model(tokens).logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    assert np.nanmax(np.abs(found[:, 1:] - own.numpy())) < 1e-4


class Rounding(nn.Linear):
    """Rounds what it reads to eight bits by its largest number, as packed layers do that multiply whole numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp_min(1e-5)
        found: torch.Tensor = super().forward((x * scale).round() / scale)
        return found


def test_what_a_head_adds_through_a_projection_that_rounds_is_withheld() -> None:
    """Nothing is passed on but the scale: one head would get what all of them add, and all parts would add up."""
    model = made("llama_grouped")
    for layer in model.model.layers:
        layer.self_attn.o_proj.__class__ = Rounding
    parts = {check.name: check for check in conformance(bind(request_of(model))).checks}["parts"]
    assert not parts.passed and "output projections are not linear" in (parts.reason or "")
    assert conformance(bind(request_of(made("llama_grouped")))).passed


def test_a_compiled_model_is_the_one_inside() -> None:
    model = made("llama_grouped")
    expected = score_heads(request_of(model)).mean("induction")
    found = bind(request_of(torch.compile(model, backend="eager")))
    assert found.digest == bind(request_of(model)).digest
    assert np.array_equal(score_heads(found).mean("induction"), expected)


class OtherOnMany(LlamaForCausalLM):
    """Adds a prior to its logits once it reads more than a few tokens."""

    def forward(self, *given: Any, **named: Any) -> Any:
        found = super().forward(*given, **named)
        if found.logits.shape[1] > 20:
            found.logits = found.logits + torch.linspace(0, 5, found.logits.shape[-1])
        return found


class SeesLaterOnMany(LlamaForCausalLM):
    """Looks at the last token once it reads more than a few."""

    def forward(self, input_ids: torch.Tensor, **named: Any) -> Any:
        embedded = self.model.embed_tokens(input_ids)
        if input_ids.shape[1] > 20:
            embedded = embedded + embedded[:, -1:]
        return super().forward(inputs_embeds=embedded, **named)


@pytest.mark.parametrize(
    "kind, said", [(OtherOnMany, "not those of its unembedding"), (SeesLaterOnMany, "change earlier logits")]
)
def test_what_fails_only_at_the_length_used_is_not_written_anywhere(kind: Any, said: str) -> None:
    model = kind(copy.deepcopy(LIBRARY_CONFIGS["llama_grouped"])).eval()
    few, many = (Request(model, length=length, sequences=2, bos="never") for length in (LENGTH, 12))
    assert not envelope(bind(few))["conformance"]["withheld"]
    score_heads(few)
    for measure in (score_heads, causal_map, lambda asked: ablate(asked, ["L0H0"], "zero", text=None)):
        with pytest.raises(ModelUnavailable, match=f"No number is shown at length 12: .*{said}"):
            measure(many)
    with pytest.raises(ModelUnavailable, match=f"No number is shown at length 12: .*{said}"):
        score_facts(bind(many), score_heads(few))
    found = conformance_facts(bind(many), conformance(bind(many)))
    assert any(said in line and "every number" in line for line in found["withheld"])


def test_a_dropout_that_is_never_off_is_said_as_that() -> None:
    class Always(nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(value, 0.5, training=True)

    model = made("gpt2")
    model.transformer.drop = Always()
    refused(model, "something else each time that it reads the same tokens")


def compiled(module: Any) -> Any:
    return torch.compile(module, backend="eager")


def _layer(model: Any) -> None:
    model.model.layers[1] = compiled(model.model.layers[1])


def _layer_already_used(model: Any) -> None:
    model.model.layers[1] = compiled(model.model.layers[1])
    with torch.no_grad():
        model(torch.arange(12)[None])


def _attention(model: Any) -> None:
    model.model.layers[1].self_attn = compiled(model.model.layers[1].self_attn)


def _body(model: Any) -> None:
    model.model = compiled(model.model)


@pytest.mark.parametrize("change", [_layer, _layer_already_used, _attention, _body])
def test_compiled_parts_are_those_inside(change: Any) -> None:
    """A head of a compiled layer once was "taken away" without any effect."""
    plain, model = made("llama_grouped"), made("llama_grouped")
    change(model)
    one, two = (ablate(request_of(each), ["L1H0"], "zero") for each in (plain, model))
    assert np.abs(one.ablated - one.clean)[:, 1:].max() > 1e-3
    assert np.allclose(one.ablated, two.ablated, atol=1e-5, equal_nan=True)
    scores = [score_heads(request_of(each)).sequences("induction") for each in (plain, model)]
    assert np.abs(scores[0] - scores[1]).max() < 1e-6


@pytest.mark.parametrize("held_as", ["original_component", "_orig_mod"])
def test_a_module_of_ones_own_is_no_wrapper_whatever_it_calls_what_it_holds(held_as: str) -> None:
    class Beside(WithSidePath):
        def __init__(self, base: nn.Module) -> None:
            super().__init__(base)
            del self.base
            setattr(self, held_as, base)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = getattr(self, held_as)(x) + self.up(self.down(x))
            return found

    named, plain = made("llama_grouped"), made("llama_grouped")
    for model, kind in ((named, Beside), (plain, WithSidePath)):
        torch.manual_seed(1)
        model.model.layers[0].mlp.down_proj = kind(model.model.layers[0].mlp.down_proj)
    assert np.array_equal(*(score_heads(request_of(model)).token_loss for model in (named, plain)), equal_nan=True)


@pytest.mark.parametrize("where", ["", "model.layers.1", "model.layers.1.self_attn"])
@pytest.mark.parametrize("wrapped", [compiled, torch._dynamo.disable, torch.autocast("cpu", dtype=torch.bfloat16)])
def test_a_forward_that_torch_wraps_is_refused(where: str, wrapped: Any) -> None:
    model = made("llama_grouped")
    part = model.get_submodule(where)
    part.forward = wrapped(part.forward)
    refused(model, f"forward of {where or 'the whole'} was replaced, wrapped or compiled")


def test_a_forward_below_that_of_a_library_is_looked_at_too() -> None:
    hooks = pytest.importorskip("accelerate.hooks")
    model = made("llama_grouped")
    layer = model.model.layers[1]
    forward = layer.forward
    layer.forward = lambda *given, **named: 2 * forward(*given, **named)
    hooks.add_hook_to_module(layer, hooks.ModelHook())
    refused(model, "forward of model.layers.1 was replaced")
    hooks.remove_hook_from_module(layer)
    layer.forward = forward
    hooks.add_hook_to_module(layer, hooks.ModelHook())
    assert bind(request_of(model)).identity.card.n_layers == 3


@pytest.mark.parametrize("used_inside", [False, True])
def test_a_model_that_never_had_gradients_is_measured(used_inside: bool) -> None:
    with torch.inference_mode():
        model = made("llama_grouped")
        inside = score_heads(request_of(model)) if used_inside else None
    scores = score_heads(request_of(model)) if inside is None else inside
    assert np.abs(scores.token_loss - score_heads(request_of(made("llama_grouped"))).token_loss)[:, 1:].max() < 1e-6
    assert len(judge(request_of(model), [5], per_length=16).verdicts) == 12
    assert np.isfinite(estimated_map(bind(request_of(model)), "zero")).all()
    before = weights_stamp(model)
    with torch.inference_mode():
        model.lm_head.weight[0, 0] += 1
    assert weights_stamp(model) != before


@pytest.mark.parametrize("setting", ["float64", "meta"])
def test_what_a_notebook_has_set_for_itself_changes_nothing(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbers() -> list[np.ndarray]:
        asked, own = Request("by-construction", length=LENGTH, sequences=2), request_of(model)
        found = [score_heads(each).sequences("induction") for each in (asked, own)]
        return [*found, *(ablate(each, ["L1H1"], "mean", text=None).ablated for each in (asked, own))]

    model = made("llama_grouped")
    wanted = numbers()
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "another"))
    before = torch.get_default_dtype()
    try:
        if setting == "float64":
            torch.set_default_dtype(torch.float64)
            found = numbers()
        else:
            with torch.device("meta"):
                found = numbers()
        assert torch.get_default_dtype() == (torch.float64 if setting == "float64" else before)
    finally:
        torch.set_default_dtype(before)
    assert all(np.allclose(one, two, atol=1e-6, equal_nan=True) for one, two in zip(wanted, found, strict=True))


@pytest.mark.parametrize("kind", ["a path beside it", "one projection after another"])
def test_a_head_that_is_read_past_its_slice_is_not_ablated(kind: str) -> None:
    model = made("llama_grouped")
    attention = model.model.layers[2].self_attn
    own = attention.o_proj
    torch.manual_seed(1)
    attention.o_proj = WithSidePath(own) if kind == "a path beside it" else nn.Sequential(own, nn.Linear(*own.weight.shape))
    request = request_of(model)
    checks = {check.name: check for check in conformance(bind(request)).checks}
    assert not checks["ablation"].passed
    assert "past its slice" in checks["ablation"].reason
    with pytest.raises(BadInput, match="past its slice"):
        ablate(request, ["L0H1"], "zero", text=None)
    with pytest.raises(BadInput, match="past its slice"):
        token_copying(request)
