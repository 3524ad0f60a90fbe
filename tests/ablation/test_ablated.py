"""The introduction to the ablation code does what the code that it introduces does, and leaves nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from core import Request, ablate, ablated, causal_map, judge, score_heads
from core.errors import BadInput
from core.settings.subject import bind

REQUEST = Request("mixture", length=20, sequences=3)
HEADS = ["L0H1", "L1H3"]


@pytest.fixture(autouse=True)
def own(empty_store: None) -> None:
    """Nothing measured elsewhere stands in for the passes."""


@pytest.mark.parametrize("method", ["zero", "resample", "mean"])
def test_it_is_what_brute_force_gives(method: str) -> None:
    subject = bind(REQUEST)
    tokens = torch.from_numpy(np.array(subject.probe.tokens))
    with ablated(REQUEST, HEADS, method) as model:
        seen = model(tokens)
    # The same, written out on the input of the output projection of the library's own module.
    loaded = subject.load()
    width = subject.card.d_head
    handles = []
    for layer, head in ((0, 1), (1, 3)):
        columns = slice(head * width, (head + 1) * width)

        def change(module: torch.nn.Module, inputs: tuple[torch.Tensor], columns: slice = columns) -> tuple[torch.Tensor]:
            flat = inputs[0].clone()
            own = flat[..., columns].clone()
            flat[..., columns] = {
                "zero": 0 * own,
                "mean": own.mean(0, keepdim=True).expand_as(own),
                "resample": own.roll(1, 0),
            }[method]
            return (flat,)

        handles.append(loaded.bare.layers[layer].attn.o.register_forward_pre_hook(change))
    try:
        loaded.bare.train(False)
        expected = loaded.bare(tokens)
    finally:
        for handle in handles:
            handle.remove()
    assert torch.allclose(seen, expected if torch.is_tensor(expected) else expected.logits, atol=1e-4)


def test_zero_is_what_ablate_measures() -> None:
    subject = bind(REQUEST)
    tokens = torch.from_numpy(np.array(subject.probe.tokens))
    with ablated(REQUEST, HEADS) as model:
        losses = -model(tokens).log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    found = ablate(REQUEST, HEADS, "zero", text=None)
    assert np.abs(found.ablated[:, 1:] - losses.numpy()).max() < 1e-4


def test_nothing_is_left_even_where_the_inside_raises() -> None:
    tokens = torch.from_numpy(np.array(bind(REQUEST).probe.tokens))
    with ablated(REQUEST, []) as model:
        clean = model(tokens)
    with pytest.raises(ZeroDivisionError), ablated(REQUEST, HEADS) as model:
        raise ZeroDivisionError
    assert torch.equal(model(tokens), clean)


def test_nothing_is_measured_inside_for_it_would_be_kept_as_the_whole_models() -> None:
    known = score_heads(Request("two-layer", length=20, sequences=3)).mean("induction")
    for heads in (HEADS, HEADS[:1]):
        with ablated(REQUEST, heads):
            for ask in (score_heads, lambda request: ablate(request, ["L1H1"], "zero", text=None), causal_map, judge):
                with pytest.raises(BadInput, match="Inside `ablated` only the module that it gives"):
                    ask(REQUEST)
            with pytest.raises(BadInput, match="Ask outside of it"):
                # Not what is at hand either: it would be taken for what the model does without the heads.
                score_heads(Request("two-layer", length=20, sequences=3))
            with ablated(REQUEST, []), pytest.raises(BadInput, match="Inside `ablated`"):
                score_heads(REQUEST)
    assert np.array_equal(score_heads(Request("two-layer", length=20, sequences=3)).mean("induction"), known)
    assert score_heads(REQUEST).mean("induction").max() > 0.7
    with ablated(REQUEST, []):
        assert score_heads(REQUEST).mean("induction").max() > 0.7, "nothing is taken away"


def test_one_in_another_takes_both_away() -> None:
    tokens = torch.from_numpy(np.array(bind(REQUEST).probe.tokens))
    with ablated(REQUEST, HEADS) as model:
        both = model(tokens)
    with ablated(REQUEST, HEADS[:1]), ablated(REQUEST, HEADS[1:]) as model:
        assert torch.equal(model(tokens), both)


def test_a_pass_of_another_thread_is_refused_and_not_silently_whole() -> None:
    tokens = torch.from_numpy(np.array(bind(REQUEST).probe.tokens))
    with ablated(REQUEST, HEADS) as model, ThreadPoolExecutor(1) as other:
        with pytest.raises(BadInput, match="in the thread that began it"):
            other.submit(model, tokens).result()
        model(tokens)
    with ThreadPoolExecutor(1) as other:
        other.submit(model, tokens).result()


@pytest.mark.parametrize("left", ["a hook", "a mode", "a setting", "a function"])
def test_what_is_left_changed_inside_is_read_anew(left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = score_heads(REQUEST).mean("induction")
    loaded = bind(REQUEST).load()
    with ablated(REQUEST, []) as model:
        part = model.layers[0].attn
        if left == "a hook":
            part.register_forward_hook(lambda _, __, output: output * 0)
        elif left == "a mode":
            model.train()
        elif left == "a setting":
            part.n_heads = part.n_heads + 1
        else:
            part.forward = lambda *_, **__: torch.zeros(())
    assert bind(REQUEST).load() is not loaded
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "anew"))
    assert np.array_equal(score_heads(REQUEST).mean("induction"), before)


def test_weights_that_are_changed_inside_are_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ablate(REQUEST, ["L1H3"], "zero", text=None)
    with ablated(REQUEST, []) as model:
        next(model.parameters()).data.mul_(0.5)
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "anew"))
    assert np.array_equal(ablate(REQUEST, ["L1H3"], "zero", text=None).ablated, before.ablated, equal_nan=True)
    loaded = bind(REQUEST).load()
    with ablated(REQUEST, []) as model:
        pass
    assert bind(REQUEST).load() is loaded, "nothing was changed"


def test_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match="method must be one of zero, mean, resample"), ablated(REQUEST, HEADS, "foo"):  # type: ignore[arg-type]
        pass
    for method in ("mean", "resample"):
        with ablated(REQUEST, HEADS, method) as model, pytest.raises(BadInput, match="at least 2 at once"):
            model(torch.tensor([[1, 2, 3]]))
    with pytest.raises(BadInput, match="no head L9H0"), ablated(REQUEST, ["L9H0"]):
        pass
    with pytest.raises(BadInput, match="named like"), ablated(REQUEST, ["head one"]):
        pass
