"""The self-check passes on this machine and fails on a broken one."""

from __future__ import annotations

import pytest
import torch

from core.attention.self_check import run_doctor
from core.errors import BadInput, ModelUnavailable
from core.models.built_in.construction import build
from core.transformer.passes.hooks import attached, pattern_hook


def test_this_device_computes_the_known_answers():
    report = run_doctor("cpu")
    assert report.ok and len(report.checks) >= 6
    assert all(abs(check.expected - check.measured) < 1e-5 for check in report.checks)


def test_half_precision_passes_with_its_own_tolerance():
    assert run_doctor("cpu", dtype="bfloat16").ok


@pytest.mark.parametrize("fault", ["a weak softmax", "a shifted pattern", "not a number", "a lost head"])
def test_a_broken_device_is_found(fault):
    """Each fault stands for a kernel that gives plausible, wrong numbers."""
    model = build()

    def break_it(pattern: torch.Tensor) -> torch.Tensor:
        if fault == "a weak softmax":
            return (pattern + 1e-3) / (1 + 1e-3 * pattern.shape[-1])
        if fault == "a shifted pattern":
            return pattern.roll(1, dims=-1)
        if fault == "not a number":
            return pattern * float("nan")
        return pattern.roll(1, dims=1)

    with attached(model, [(pattern_hook(layer), break_it) for layer in range(2)]):
        report = run_doctor("cpu", model=model)
    assert not report.ok


def test_a_device_that_is_not_there():
    with pytest.raises(BadInput, match="auto, cpu, cuda, cuda:N or mps, not 'tpu'"):
        run_doctor("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ModelUnavailable, match="No CUDA device"):
            run_doctor("cuda")
