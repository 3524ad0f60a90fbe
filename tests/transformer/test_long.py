"""Beyond a few thousand tokens no whole pattern is made to check one: cells at that length, the end at the full one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from core.transformer.passes import fused
from core.transformer.passes.fused import agreement, fused_body
from core.transformer.passes.hooks import pattern_hook, run_body
from tests.helpers.architectures import make_pair

KINDS = ("gpt2", "llama_grouped", "granite", "qwen3", "gpt_neox", "opt", "phi_parallel")


@pytest.fixture(autouse=True)
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "LONG", 16)


class Widths(TorchFunctionMode):
    """Over how many keys every softmax inside goes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax):
            self.seen.append(args[0].shape[-1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", KINDS)
def test_a_long_row_is_checked_by_its_end_and_makes_no_pattern(name: str) -> None:
    model = make_pair(name).loaded
    with Widths() as widths:
        found = agreement(model, 41)
    assert found.agrees and found.continues and found.worst == agreement(model, 16).worst
    assert widths.seen and max(widths.seen) == 16
    # And the module is as it was: eager, with its patterns to be seen.
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        run_body(model, torch.arange(20).view(1, 20), [(pattern_hook(0), seen.append)])
    assert seen[0].shape[-2:] == (20, 20)


def test_a_mistake_that_shows_only_beyond_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_pair("llama_grouped").loaded
    right = fused_body

    def forgetful(model: Any, tokens: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        """As if there were a window that no shorter row reaches."""
        end = right(model, tokens, *given, **more)
        return end if tokens.shape[1] <= 16 else end * 1.001

    monkeypatch.setattr(fused, "fused_body", forgetful)
    assert not agreement(model, 41).agrees and agreement(model, 16).agrees


def test_what_has_no_kernel_of_its_own_is_checked_eagerly() -> None:
    model = make_pair("native_grouped").loaded
    assert agreement(model, 41).agrees
