"""Losses of the second copy's targets, and which of them the model ranks first: against the whole row of logits."""

from __future__ import annotations

import pytest
import torch

from core.attention.second_copy import losses_and_hits
from core.transformer.passes.hooks import run_body
from tests.helpers.architectures import make_pair


@pytest.mark.parametrize("tie", ["none", "with one other token", "of all tokens"])
def test_the_right_token_is_first_only_where_no_other_is_as_high(tie: str) -> None:
    # Its unembedding is a matrix of its own.
    model = make_pair("llama_grouped").loaded
    unembedding = model.module.get_submodule(model.anatomy.unembedding)
    tokens = torch.randint(3, model.card.d_vocab, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        final = run_body(model, tokens).final
        best = unembedding(final)[0, 4].argmax()
        tokens[0, 5] = best
        if tie == "with one other token":
            unembedding.weight[(best + 1) % model.card.d_vocab] = unembedding.weight[best]
        elif tie == "of all tokens":
            unembedding.weight.zero_()
        logits = unembedding(final)
        losses, hits = losses_and_hits(model, final, tokens, torch.arange(1, tokens.shape[1]))
    right = tokens[:, 1:, None]
    own = logits[:, :-1].gather(-1, right)
    as_high = (logits[:, :-1] >= own).sum(-1)
    assert torch.equal(hits, (as_high == 1).float())
    assert bool(hits[0, 4]) == (tie == "none")
    assert torch.allclose(losses, torch.logsumexp(logits[:, :-1], -1) - own[..., 0], atol=1e-5)
