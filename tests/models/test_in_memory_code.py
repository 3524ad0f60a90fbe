"""A model in memory is Python: what its parts do beside holding weights is right, another model, or refused."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, apply_rotary_pos_emb, repeat_kv

from core import Request, ablate, causal_map, judge, score_heads
from core.errors import BadInput, ModelUnavailable
from core.models.fingerprint import _add, _replaced
from core.settings.subject import bind
from core.sharing.facts import as_json, conformance_facts
from core.verdicts.conformance import conformance
from tests.attention.test_scores import brute_force_scores
from tests.models.test_in_memory import small_tokenizer

pytestmark = pytest.mark.usefixtures("empty_store")
N_HEADS, D_HEAD = 4, 16


def made(**more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": N_HEADS}
    settings = {"num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 256, "initializer_range": 0.2}
    return LlamaForCausalLM(LlamaConfig(**(sizes | settings | more))).eval()  # type: ignore[arg-type]


def asked(model: Any, length: int = 12, **more: Any) -> Request:
    return Request(model, length=length, sequences=2, bos="never", **more)


def own_losses(model: Any, request: Request) -> np.ndarray:
    """By the module itself."""
    tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
    with torch.no_grad():
        logits = model(tokens).logits
    found: np.ndarray = -logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0].numpy()
    return found


class Merging(nn.Linear):
    """A low-rank adapter that goes into the weight, in place, when training ends, and out of it when that begins."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, bias=False)
        self.weight, self.merged = base.weight, False
        self.down = nn.Parameter(torch.randn(4, base.in_features) * 0.2)
        self.up = nn.Parameter(torch.randn(base.out_features, 4) * 0.2)

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.up @ self.down)
            self.merged = not mode
        return self

    def forward(self, input: Tensor) -> Tensor:
        beside = 0 if self.merged else input @ self.down.T @ self.up.T
        return nn.functional.linear(input, self.weight) + beside


def test_what_ends_training_in_place_is_not_done_to_somebodys_weights() -> None:
    model = made()
    for layer in model.model.layers:
        layer.self_attn.q_proj = Merging(layer.self_attn.q_proj)
    model.train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(BadInput, match=r"in training mode, and model\.layers\.0\.self_attn\.q_proj .* call `model\.eval\(\)`"):
        score_heads(asked(model))
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    model.eval()
    request = asked(model)
    assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    merged = copy.deepcopy(model.state_dict())
    assert all(torch.equal(merged[name], weight) for name, weight in model.state_dict().items())
    assert not torch.equal(merged["model.layers.0.self_attn.q_proj.weight"], before["model.layers.0.self_attn.q_proj.weight"])


class Adapted(LlamaAttention):
    """A bottleneck behind the output projection, trained, biases and all."""

    def forward(self, *given: Any, **named: Any) -> Any:
        out, weights = super().forward(*given, **named)
        return out + self.up(nn.functional.gelu(self.down(out))), weights


def adapted(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.__class__ = Adapted
        layer.self_attn.down, layer.self_attn.up = nn.Linear(64, 8), nn.Linear(8, 64)
        for weight in (*layer.self_attn.down.parameters(), *layer.self_attn.up.parameters()):
            nn.init.normal_(weight, std=0.2)


def in_two(model: Any) -> None:
    """An output projection of low rank, as two maps with biases."""
    for layer in model.model.layers:
        layer.self_attn.o_proj = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 64))
        for weight in layer.self_attn.o_proj.parameters():
            nn.init.normal_(weight, std=0.2)


@pytest.mark.parametrize("change", [adapted, in_two])
def test_a_map_behind_the_output_projection_is_not_taken_for_it(change: Callable[[Any], None]) -> None:
    model = made()
    change(model)
    request = asked(model)
    assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    with pytest.raises(BadInput, match="Effects of removal are withheld"):
        ablate(request, ["L1H2"], "zero", text=None)
    [failed] = [check for check in conformance(bind(request)).checks if check.name == "ablation"]
    assert not failed.passed


class Own(LlamaAttention):
    """Attention that somebody wrote: a window of `seen` tokens, and a pattern as a class makes it of scores."""

    seen = 256

    def forward(self, hidden_states: Any, position_embeddings: Any = None, **named: Any) -> Any:
        batch, count, _ = hidden_states.shape
        query, key, value = (
            part(hidden_states).view(batch, count, -1, D_HEAD).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        key, value = repeat_kv(key, 2), repeat_kv(value, 2)
        mask = torch.ones(count, count).tril().triu(1 - self.seen).bool()
        pattern = self.pattern((query @ key.transpose(-1, -2) * self.scaling).masked_fill(~mask, -1e9))
        return self.o_proj((pattern @ value).transpose(1, 2).reshape(batch, count, -1)), pattern

    def pattern(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)


class Windowed(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        kept = scores.softmax(-1) * torch.ones(scores.shape[-2:]).tril().triu(-4)
        return kept / kept.sum(-1, keepdim=True)


class OffByOne(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(scores[..., :1]), scores], -1).softmax(-1)[..., 1:]


class OfTwo(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return (scores.softmax(-1) + (2 * scores).softmax(-1)) / 2


class Talking(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        mixed: Tensor = torch.einsum("bhqk,hg->bgqk", scores.softmax(-1), torch.eye(N_HEADS) * 0.7 + 0.075)
        return mixed


class Few(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        found = scores.softmax(-1)
        return found * (found >= found.topk(min(4, found.shape[-1]), -1).values[..., -1:])


class Turned(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return scores.transpose(-1, -2).softmax(-2).transpose(-1, -2)


def with_attention(kind: type[Own]) -> Any:
    model = made()
    for layer in model.model.layers:
        layer.self_attn.__class__ = kind
    return model


def test_attention_that_uses_what_its_softmax_gives_is_measured() -> None:
    model = with_attention(Own)
    request = asked(model)
    scores = score_heads(request)
    tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
    with torch.no_grad():
        patterns = model(tokens, output_attentions=True, use_cache=False).attentions
    for score, values in brute_force_scores(np.stack([found.double().numpy() for found in patterns]), 12, 0).items():
        assert np.abs(scores.sequences(score) - values).max() < 1e-5, score
    assert np.abs(scores.token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4


@pytest.mark.parametrize("kind", [Windowed, OffByOne, OfTwo, Talking, Few, Turned])
def test_attention_that_changes_its_pattern_after_the_softmax_is_refused(kind: type[Own]) -> None:
    with pytest.raises(ModelUnavailable, match="The attention of layer 0 .* gives back another pattern than its softmax"):
        score_heads(asked(with_attention(kind)))


class LateWindow(Own):
    """Beyond thirty tokens it drops what its softmax still has."""

    def pattern(self, scores: Tensor) -> Tensor:
        kept = scores.softmax(-1) * torch.ones(scores.shape[-2:]).tril().triu(-30)
        return kept / kept.sum(-1, keepdim=True)


def test_what_changes_a_pattern_only_on_many_tokens_is_refused_there() -> None:
    model = with_attention(LateWindow)
    assert np.isfinite(score_heads(asked(model)).mean("induction")).all(), "on few tokens it changes nothing"
    for measure in (score_heads, lambda request: ablate(request, ["L1H2"], "zero", text=None)):
        with pytest.raises(ModelUnavailable, match="gives back another pattern than its softmax"):
            measure(asked(model, length=50))


class InAnOrder(nn.ModuleList):
    """Layers that whoever goes through them meets in another order, or only some of them."""

    order: tuple[int, ...] = (0, 1, 2)

    def __getitem__(self, at: Any) -> Any:
        own = list(self.children())
        return [own[layer] for layer in self.order]


class TurnedOnMore(LlamaForCausalLM):
    """Goes through its layers from the last to the first once it reads more than thirty tokens."""

    def forward(self, input_ids: Tensor, **named: Any) -> Any:
        self.model.layers.order = (0, 1, 2) if input_ids.shape[1] <= 30 else (2, 1, 0)
        return super().forward(input_ids, **named)


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (0, 1), (0, 2), (0, 1, 2, 2)])
def test_layers_that_do_not_run_in_the_order_of_their_numbers_are_refused(order: tuple[int, ...]) -> None:
    model = made()
    model.model.layers = InAnOrder(model.model.layers)
    assert np.isfinite(score_heads(asked(model)).mean("induction")).all()
    model.model.layers.order = order
    with pytest.raises(ModelUnavailable, match=r"in the order of their numbers|uses the same attention in several layers"):
        score_heads(asked(model))


def test_layers_that_change_their_order_on_many_tokens_are_refused_there() -> None:
    model = made()
    model.model.layers, model.__class__ = InAnOrder(model.model.layers), TurnedOnMore
    assert np.isfinite(score_heads(asked(model)).mean("induction")).all()
    with pytest.raises(ModelUnavailable, match="On 40 tokens .* in the order of their numbers"):
        ablate(asked(model, length=20), ["L1H2"], "mean", text=None)


class SeesLaterOnMore(LlamaForCausalLM):
    """Looks at the last token once it reads more than seventy."""

    def forward(self, input_ids: Tensor, **named: Any) -> Any:
        embedded = self.model.embed_tokens(input_ids)
        if input_ids.shape[1] > 70:
            embedded = embedded + embedded[:, -1:]
        return super().forward(inputs_embeds=embedded, **named)


def test_a_length_beyond_a_table_of_positions_is_refused() -> None:
    """The config says more than the table holds."""
    model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=300, n_positions=32)).eval()
    model.config.n_positions = 256
    score_heads(asked(model, length=16))
    with pytest.raises(ModelUnavailable, match=r"cannot be run on 34 tokens: index .*\.$"):
        score_heads(asked(model, length=17))


def test_every_length_that_is_run_is_tried() -> None:
    """A verdict is of several lengths, whatever the probe's own is; a text has its own."""
    model = made()
    model.__class__ = SeesLaterOnMore
    request = asked(model)
    assert np.isfinite(score_heads(request).mean("induction")).all()
    with pytest.raises(ModelUnavailable, match="No number is shown at length 50: .*change earlier logits"):
        judge(request)
    assert judge(request, [12], per_length=16).lengths == (12,)


def test_a_check_that_gives_no_number_can_be_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    # As it was before such attention was refused: what is blinded there is 0 by 0.
    monkeypatch.setattr("core.models.in_memory.check_shown", lambda model: None)
    subject = bind(asked(with_attention(Windowed)))
    found = conformance(subject)
    [failed] = [check for check in found.checks if check.name == "ablation"]
    assert not failed.passed
    assert failed.worst is None
    assert as_json(conformance_facts(subject, found))


# All of them show only beyond the 64 ids that a digest is taken on.
LIMIT = 90
LIMITS = (90,)


class Limits:
    far = frozenset({90})

    @staticmethod
    def of(count: int) -> int:
        return 90 if count > 0 else 0


def limit() -> int:
    return LIMIT


@lru_cache
def remembered(count: int) -> int:
    return LIMIT


def hidden(scores: Tensor, seen: int) -> Tensor:
    return scores.masked_fill(torch.ones(scores.shape[-2:]).tril(-seen).bool(), -1e9).softmax(-1)


class ByAName(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, limit())


class ByATuple(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, LIMITS[0])


class ByAClass(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, Limits.of(scores.shape[-1]))


class ByASet(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, max(Limits.far))


class ByWhatIsRemembered(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, remembered(scores.shape[-1]))


def test_another_setting_of_a_class_is_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that shows only beyond the ids that a digest is taken on."""
    model = with_attention(Own)
    digests, losses = set(), []
    for seen in (90, 70):
        monkeypatch.setattr(Own, "seen", seen)
        request = asked(model, length=50)
        digests.add(bind(request).digest)
        losses.append(own_losses(model, request))
        assert np.abs(score_heads(request).token_loss[:, 1:] - losses[-1]).max() < 1e-4
    assert len(digests) == 2
    assert np.abs(losses[0] - losses[1]).max() > 0.01, "else this shows nothing"


def at_seventy() -> int:
    return 70


@pytest.mark.parametrize(
    ("kind", "where", "name", "value"),
    [
        (ByAName, None, "LIMIT", 70),
        (ByAName, None, "limit", at_seventy),
        (ByATuple, None, "LIMITS", (70,)),
        (ByAClass, Limits, "of", staticmethod(lambda count: 70 if count > 0 else 0)),
        (ByASet, Limits, "far", frozenset({70})),
        (ByWhatIsRemembered, None, "LIMIT", 70),
    ],
)
def test_another_value_that_its_code_reads_by_name_is_another_model(
    kind: type[Own], where: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_attention(kind)
    before = bind(asked(model)).digest
    assert bind(asked(model)).digest == before
    if where is None:
        monkeypatch.setitem(globals(), name, value)
    else:
        monkeypatch.setattr(where, name, value)
    assert bind(asked(model)).digest != before


@dataclass
class Spec:
    seen: int


class Slotted:
    __slots__ = ("seen",)

    def __init__(self, seen: int) -> None:
        self.seen = seen


class Plain:
    def __init__(self, seen: int) -> None:
        self.spec = Spec(seen)

    def __call__(self) -> int:
        return self.spec.seen


class Level(Enum):
    FAR = 90
    NEAR = 70


class ByAnObject(Own):
    given: Any
    read: Callable[[Any], int]

    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, type(self).read(self.given))


def in_a_circle(seen: int) -> Plain:
    found = Plain(seen)
    found.itself = [found]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("of", "read"),
    [
        (Spec, lambda given: given.seen),
        (Slotted, lambda given: given.seen),
        (lambda seen: SimpleNamespace(seen=seen), lambda given: given.seen),
        (lambda seen: SimpleNamespace(limits={"seen": Spec(seen)}), lambda given: given.limits["seen"].seen),
        (np.int64, int),
        (Level, lambda given: given.value),
        (Plain, lambda given: given()),
        (lambda seen: Plain(seen).__call__, lambda given: given()),
        (in_a_circle, lambda given: given()),
        (lambda seen: LlamaConfig(sliding_window=seen), lambda given: given.sliding_window),
    ],
)
def test_a_setting_in_an_object_is_of_the_model(of: Callable[[int], Any], read: Callable[[Any], int]) -> None:
    """It shows only beyond the ids that a digest is taken on."""
    ByAnObject.read = staticmethod(read)
    model, digests = with_attention(ByAnObject), []
    for seen in (90, 70, 90):
        for layer in model.model.layers:
            layer.self_attn.given = of(seen)
        request = asked(model, length=50)
        digests.append(bind(request).digest)
        assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4
    assert digests[0] == digests[2] != digests[1]


def test_a_setting_in_a_layers_own_config_is_of_the_model() -> None:
    model, digests = made(), set()
    for seen in (90, 70):
        for layer in model.model.layers:
            layer.self_attn.config = copy.deepcopy(layer.self_attn.config)
            layer.self_attn.config.seen = seen
        digests.add(bind(asked(model)).digest)
    assert len(digests) == 2


def test_settings_that_code_reads_by_name_are_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", SimpleNamespace(seen=90))
    model = with_attention(ByGlobalSettings)
    before = bind(asked(model)).digest
    assert bind(asked(model)).digest == before
    monkeypatch.setitem(globals(), "SETTINGS", SimpleNamespace(seen=70))
    assert bind(asked(model)).digest != before


SETTINGS: Any = None


class ByGlobalSettings(Own):
    def pattern(self, scores: Tensor) -> Tensor:
        return hidden(scores, SETTINGS.seen)


class Held:
    def __init__(self, module: nn.Module) -> None:
        self.module = module


BESIDE: Any = None


class AddsWhatItHolds(LlamaForCausalLM):
    """Adds to its embedding what a module says that is none of its parts."""

    read: Callable[[Any], nn.Module]

    def forward(self, input_ids: Tensor, **named: Any) -> Any:
        embedded = self.model.embed_tokens(input_ids) + type(self).read(self)(input_ids)
        return super().forward(inputs_embeds=embedded, **named)


def put(name: str, held: Any) -> Callable[[Any, nn.Module], None]:
    return lambda model, beside: setattr(model, name, held(beside, model))


def put_in_the_file(model: Any, beside: nn.Module) -> None:
    globals()["BESIDE"] = beside


@pytest.mark.parametrize(
    ("place", "read"),
    [
        (put("held", lambda beside, model: [beside]), lambda model: model.held[0]),
        (put("held", lambda beside, model: Held(beside)), lambda model: model.held.module),
        (put("held", lambda beside, model: {"in": Held(nn.Sequential(beside))}), lambda model: model.held["in"].module),
        # The model itself is in what it holds, and that in it again.
        (put("held", lambda beside, model: Held(nn.ModuleList([model, beside]))), lambda model: model.held.module[1]),
        (put("held", lambda beside, model: lambda: (model, beside)), lambda model: model.held()[1]),
        (put_in_the_file, lambda model: BESIDE),
    ],
)
def test_the_weights_of_a_module_that_is_no_part_are_of_the_model(
    place: Callable[[Any, nn.Module], None], read: Callable[[Any], nn.Module]
) -> None:
    """Also those of ids that a digest is not taken on."""
    AddsWhatItHolds.read = staticmethod(read)
    model, beside = made(vocab_size=600), nn.Embedding(600, 64).requires_grad_(False)
    model.__class__ = AddsWhatItHolds
    place(model, beside)
    before = bind(asked(model)).digest
    assert bind(asked(model)).digest == before
    beside.weight[450:] *= 4
    assert bind(asked(model)).digest != before
    request = asked(model)
    assert np.abs(score_heads(request).token_loss[:, 1:] - own_losses(model, request)).max() < 1e-4


def test_what_headscope_puts_beside_a_librarys_code_is_no_change_of_a_model() -> None:
    """Else the first digest of a process is another than those after it."""
    bind(asked(made()))
    assert _replaced([LlamaForCausalLM]) == {}


def test_a_class_that_is_written_again_under_its_name_is_another_model() -> None:
    def first() -> Any:
        class Written(Own):
            def pattern(self, scores: Tensor) -> Tensor:
                return hidden(scores, 90)

        return with_attention(Written)

    def again() -> Any:
        class Written(Own):
            def pattern(self, scores: Tensor) -> Tensor:
                return hidden(scores, 70)

        Written.__qualname__ = Written.__qualname__.replace("again", "first")
        Written.pattern.__qualname__ = Written.pattern.__qualname__.replace("again", "first")
        return with_attention(Written)

    assert bind(asked(first())).digest == bind(asked(first())).digest
    assert bind(asked(first())).digest != bind(asked(again())).digest


class Collecting(Own):
    """Keeps its masks for each length on the class, and counts."""

    masks: ClassVar[dict[int, Tensor]] = {}
    calls = 0

    def pattern(self, scores: Tensor) -> Tensor:
        count = scores.shape[-1]
        type(self).calls += 1
        if count not in self.masks:
            self.masks[count] = torch.ones(count, count).tril(-90).bool()
        return scores.masked_fill(self.masks[count], -1e9).softmax(-1)


def test_what_a_model_collects_while_it_runs_makes_no_other_model_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_attention(Collecting)
    digests = {bind(asked(model)).digest}
    score_heads(asked(model, length=20))
    digests.add(bind(asked(model)).digest)
    # A variable of a notebook that is called as an attribute is.
    monkeypatch.setitem(globals(), "scaling", 7)
    digests.add(bind(asked(model)).digest)
    assert len(digests) == 1


def even(count: int) -> bool:
    return count == 0 or odd(count - 1) or even(count - 2) or other(count)


def odd(count: int) -> bool:
    return count == 1 or even(count - 1) or odd(count - 2) or other(count)


def other(count: int) -> bool:
    return count < 0 and (even(count) or odd(count) or other(count))


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.empty(2, device="meta"),
        np.array([object()]),
        even,
    ],
)
def test_whatever_stands_beside_the_code_can_be_taken_into_a_digest(value: Any) -> None:
    found = hashlib.sha256()
    _add(found, value)
    again = hashlib.sha256()
    _add(again, value)
    assert found.hexdigest() == again.hexdigest()


class Past(LlamaDecoderLayer):
    """The first block leaves its input beside the stream, and those after it add it to theirs."""

    left: dict[str, Tensor]

    def forward(self, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Any:
        if self.self_attn.layer_idx == 0:
            self.left["stream"] = hidden_states
        else:
            hidden_states = hidden_states + 0.9 * self.left["stream"]
        return super().forward(hidden_states, *arguments, **keywords)


class PastValues(Own):
    """The first layer leaves its input beside the stream, and attention after it reads of that, too."""

    left: dict[str, Tensor]

    def forward(self, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Any:
        first = self.left.setdefault("stream", hidden_states) if self.layer_idx else hidden_states
        self.left["stream"] = first
        return super().forward((hidden_states + first) / 2, *arguments, **keywords)


@pytest.mark.parametrize("kind", [Past, PastValues])
def test_what_goes_past_the_stream_is_of_the_pass_that_is_made(kind: type[Any]) -> None:
    """A map goes on from layers of a clean pass: what a block reads beside its input would be of whatever was run last."""
    model = made()
    left: dict[str, Tensor] = {}
    for layer in model.model.layers:
        part = layer if kind is Past else layer.self_attn
        part.__class__, part.left = kind, left
    oracle, request = copy.deepcopy(model), asked(model)
    tokens = torch.from_numpy(np.array(bind(request).probe.tokens))
    second = np.arange(request.length, tokens.shape[1] - 1)

    def loss() -> float:
        with torch.no_grad():
            logits = oracle(tokens).logits
        found = -logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
        return float(found[:, second].double().mean())

    wanted, clean = np.zeros((3, N_HEADS)), loss()
    for layer, head in np.ndindex(wanted.shape):

        def without(module: nn.Module, given: tuple[Tensor, ...], head: int = head) -> tuple[Tensor, ...]:
            z = given[0].clone()
            z[..., head * D_HEAD : (head + 1) * D_HEAD] = 0
            return (z,)

        handle = oracle.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(without)
        wanted[layer, head] = loss() - clean
        handle.remove()
    assert np.abs(wanted).max() > 0.01, "else this shows nothing"
    assert np.abs(np.array(causal_map(request, mode="zero").effect) - wanted).max() < 1e-4


@pytest.mark.parametrize("hook", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_a_hook_on_gradients_is_refused(hook: str) -> None:
    model = made()
    getattr(model.model.layers[0].mlp, hook)(lambda *given: None)
    with pytest.raises(BadInput, match=r"a hook of its own on model\.layers\.0\.mlp"):
        score_heads(asked(model))


def test_a_tokenizer_with_other_rules_by_now_is_asked_again() -> None:
    model, tokenizer = made(vocab_size=40), small_tokenizer(prepends=False)
    request = Request(model, length=12, sequences=2, tokenizer=tokenizer)
    assert not bind(request).probe.has_bos
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    assert bind(request).probe.has_bos
