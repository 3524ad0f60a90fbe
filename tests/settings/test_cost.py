"""What work costs, before it begins: right in order and roughly right in size, and said as a person says it."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import BadInput
from core.settings import cost
from core.settings.cost import DEFAULT_MOST_MINUTES, check_cost, expected_seconds, most_minutes, spoken
from core.settings.request import Request
from core.settings.subject import bind
from core.transformer.flops import flops_of_pass
from core.verdicts.cached import verdict_seconds
from tests.helpers.app import open_page, settled


def test_arithmetic_of_a_pass_by_hand() -> None:
    card = bind(Request("two-layer")).card
    body = card.n_params - card.d_vocab * card.d_model
    n = 11
    expected = 2 * body * n + 2 * card.n_layers * card.d_model * n**2 + card.d_vocab * card.d_model * n
    assert flops_of_pass(card, n) == pytest.approx(expected)


def test_more_is_dearer() -> None:
    small = expected_seconds(bind(Request("two-layer", length=10, sequences=2)), 1.0)
    assert small < expected_seconds(bind(Request("two-layer", length=20, sequences=2)), 1.0)
    assert expected_seconds(bind(Request("two-layer", length=10, sequences=8)), 1.0) == pytest.approx(4 * small)
    assert expected_seconds(bind(Request("two-layer", length=10, sequences=2)), 3.0) == pytest.approx(3 * small)
    assert verdict_seconds(bind(Request("two-layer"))) > small


@pytest.mark.parametrize(
    "seconds, said",
    [(0.2, "1 second"), (1.4, "1 second"), (42, "42 seconds"), (100, "2 minutes"), (3 * 3600, "3 hours"), (1e6, "12 days")],
)
def test_times_as_a_person_says_them(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_what_would_hold_everybody_up_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    check_cost(60 * DEFAULT_MOST_MINUTES)
    with pytest.raises(BadInput, match="about 14 hours here, .* at most 30 minutes: ask for fewer or shorter"):
        check_cost(14 * 3600)
    for odd in ("", "x", "-1", "0", "nan"):
        monkeypatch.setenv("HEADSCOPE_MOST_MINUTES", odd)
        assert most_minutes() == DEFAULT_MOST_MINUTES
    monkeypatch.setenv("HEADSCOPE_MOST_MINUTES", "1000")
    check_cost(14 * 3600)


@pytest.mark.usefixtures("own_store")
def test_a_link_within_every_bound_that_would_take_hours_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.settings.cost.flops_per_second", lambda device: 1e6)
    at = open_page("pages/1_Heads.py", model="two-layer", length="64", sequences="1024")
    assert not at.exception and not at.button
    [error] = at.error
    assert "would take about" in str(error.value) and "ask for fewer or shorter sequences" in str(error.value)
    assert np.isfinite(flops_of_pass(bind(Request("two-layer")).card, 129))


@pytest.mark.usefixtures("own_store")
def test_nothing_is_costed_that_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is drawn at every tick of a slider: what it would have taken is asked only where it must be begun."""
    page = {"model": "two-layer", "length": "12", "sequences": "2", "threshold": "0.50"}
    settled(open_page("pages/3_Ablation.py", **page))
    asked: list[str] = []
    speed = cost.flops_per_second
    monkeypatch.setattr(cost, "flops_per_second", lambda device: asked.append(device) or speed(device))
    at = open_page("pages/3_Ablation.py", **page)
    assert not at.exception and not at.error and asked == []
