"""How fast the machine is: the best that was seen counts, for a busy machine only looks slow."""

from __future__ import annotations

import pytest

from core.runtime import speed


@pytest.fixture
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_best", 0.0)
    monkeypatch.setattr(speed, "_looked_at", -speed.AGAIN_SECONDS)


def test_the_best_that_was_seen_counts(afresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([1e10, 9e10, 2e10])
    now = [100.0]
    monkeypatch.setattr(speed, "_measured", lambda: next(seen))
    monkeypatch.setattr(speed.time, "monotonic", lambda: now[0])
    assert speed.flops_per_second() == pytest.approx(0.6e10)
    assert speed.flops_per_second() == pytest.approx(0.6e10), "not looked at again at once"
    now[0] += speed.AGAIN_SECONDS
    assert speed.flops_per_second() == pytest.approx(5.4e10)
    now[0] += speed.AGAIN_SECONDS
    assert speed.flops_per_second() == pytest.approx(5.4e10)


def test_a_real_machine_multiplies(afresh: None) -> None:
    assert 1e8 < speed.flops_per_second() < 1e15
    assert speed.flops_per_second("cuda") == speed.flops_per_second("mps") > 1e12
