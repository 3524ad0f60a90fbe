"""The introduction to the ablation code does what the code that it introduces does, and leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core import Request, ablate, ablated
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


def test_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match="no head L9H0"), ablated(REQUEST, ["L9H0"]):
        pass
    with pytest.raises(BadInput, match="named like"), ablated(REQUEST, ["head one"]):
        pass
