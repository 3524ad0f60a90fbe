"""Next tokens of a typed text, with and without heads: against the library's own module with a slice set to zero by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.ablation.next_tokens import LIKELIEST, next_tokens
from core.attention.rows import text_row
from core.settings.subject import bind
from core.transformer.passes.hooks import attached, z_hook


def test_both_lists_are_the_models_own_and_say_what_the_other_run_gives() -> None:
    subject = bind("mixture")
    row = text_row(subject.identity, "quick brown fox jump over lake quick brown fox")
    found = next_tokens(subject, row, ["L1H3", "L1H7"], "zero")
    model = subject.load()

    def zeroed(z: torch.Tensor) -> torch.Tensor:
        z = z.clone()
        z[:, :, [3, 7]] = 0
        return z

    tokens, expected = torch.tensor([row.ids]), []
    for hooks in ([], [(z_hook(1), zeroed)]):
        with torch.no_grad(), attached(model, hooks):
            output: Any = model.module(tokens)
        logits = output if isinstance(output, torch.Tensor) else output.logits
        expected.append(torch.softmax(logits[0, -1].float(), -1).numpy())
    for place, (own, other) in enumerate((expected, expected[::-1])):
        assert np.allclose(found.probability[place], np.sort(own)[::-1][:LIKELIEST], atol=1e-5)
        assert np.allclose(other[found.ids[place]], found.other[place], atol=1e-5)
    assert subject.identity.token_text(int(found.ids[0, 0])).strip() == "jump"
    assert found.probability[0, 0] > found.other[0, 0] + 0.2
