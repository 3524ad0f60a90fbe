"""The verdicts page: labels with their numbers, a floor that costs nothing, and no trust where the behaviour is absent."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import core.ablation.causal
from core.ablation.cached import causal_map
from core.ablation.outcomes import CausalMap
from core.attention.cached import score_heads
from core.heads import Head
from core.models.built_in.circuit_spec import standard_spec
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.verdicts.cached import judge
from core.verdicts.costs import cost_of, layers_to_measure
from core.verdicts.tables import verdict_rows
from core.verdicts.words import ordered, sentence, verdict_sentence, worth_a_sentence
from tests.helpers.app import SHORT, figures, open_page, said, settled


def subject_for(model: str) -> Subject:
    return bind(Request(model, length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def judged(own_store: None) -> None:
    """A store that holds the verdicts of the models that are looked at here."""
    for model in ("two-layer", "one-layer", "by-construction"):
        score_heads(subject_for(model))
        causal_map(subject_for(model), "mean", layers_to_measure(judge(subject_for(model)).verdicts))


def verdicts(**parameters: str) -> AppTest:
    return open_page("pages/6_Verdicts.py", **(SHORT | parameters))


def test_every_planted_head_gets_its_sentence() -> None:
    at = verdicts(model="by-construction")
    assert not at.exception and not at.error and not at.warning
    for head in standard_spec().planted:
        kind = {"previous_token": "previous token", "positional": "", "duplicate_token": "duplicate token"}
        label = kind.get(head.kind, head.kind)
        assert f"**{Head(head.layer, head.head).name}: {label}" in said(at)
    assert str(at.subheader[0].value) == "1 head matches and is called, of 8"


def test_three_figures_are_described_and_say_what_they_rest_on() -> None:
    at = verdicts(model="two-layer")
    assert len(figures(at)) == 3
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))
    captions = [str(caption.value).replace("\\", "") for caption in at.caption]
    assert sum("sequences of lengths" in caption and "each with a control" in caption for caption in captions) == 2


def test_labels_are_letters_and_not_colours_alone() -> None:
    letters = figures(verdicts(model="by-construction"))[1]["data"][1]
    assert {"<b>I</b>", "<b>P</b>", "<b>D</b>", "<b>S</b>"} <= set(letters["text"])


def test_the_floor_moves_the_calls_and_tests_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def tested_again(*_: object, **__: object) -> None:
        raise AssertionError("the floor must not start a computation")

    at = verdicts(model="two-layer")
    assert "4 heads match" in str(at.subheader[0].value)
    monkeypatch.setattr("core.verdicts.cached.gather_evidence", tested_again)
    at.slider(key="effect_floor").set_value(0.9).run()
    assert not at.exception and not at.error
    assert "0 heads match" in str(at.subheader[0].value)
    assert any("No head is called" in str(info.value) for info in at.info)
    assert at.query_params["effect_floor"] in ("0.90", ["0.90"])


def test_absent_behaviour_comes_before_any_label() -> None:
    at = verdicts(model="one-layer")
    assert not at.exception and not at.error
    assert "does not do induction on this probe" in str(at.warning[0].value)
    assert any("absent at every length" in str(warning.value) for warning in at.warning)
    order = [element.type for element in at.main]
    assert order.index("warning") < order.index("subheader")


def test_placebo_offsets_are_those_of_the_picked_head() -> None:
    at = verdicts(model="two-layer", head="L1H2")
    # Ten offsets beside the induction head's own, and that one on fresh tokens.
    assert len(figures(at)[2]["data"][0]["customdata"]) == 12
    assert any("Placebo offsets of L1H2" in str(subheader.value) for subheader in at.subheader)


def test_every_head_stands_in_the_table_with_called_heads_first() -> None:
    calls = judge(subject_for("two-layer"))
    rows = verdict_rows(calls)
    assert len(rows) == 8 and [row["label"] for row in rows[:4]] == ["induction"] * 4
    assert [verdict.name for verdict in ordered(calls)] == [row["head"] for row in rows]
    assert all(row["low"] <= row["contrast"] <= row["high"] and row["cost"] is None for row in rows)


def test_costs_are_measured_while_the_verdicts_are_there_already(monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    score_heads(subject_for("by-construction"))
    judge(subject_for("by-construction"))
    released = threading.Event()
    measure = core.ablation.causal.layer_losses

    def slowly(*given: Any, **more: Any) -> np.ndarray:
        assert released.wait(60)
        return measure(*given, **more)

    monkeypatch.setattr("core.ablation.causal.layer_losses", slowly)
    at = verdicts(model="by-construction")
    assert not at.exception and not at.error
    assert "L1H3: induction" in said(at) and "removing it costs" not in said(at)
    assert any("as soon as it is measured" in str(caption.value) for caption in at.caption)
    released.set()
    for _ in range(100):
        if not at.get("progress"):
            break
        at.run()
    assert not at.exception and not at.error
    found = judge(subject_for("by-construction"))
    effects = causal_map(subject_for("by-construction"), "mean")
    assert sentence(found.called[0], found, effects).partition(". ")[2] in said(at)
    assert said(at).count("removing it costs") == len(worth_a_sentence(found)) == 5


def test_costs_that_were_measured_are_shown_though_the_store_has_lost_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody else's job has just measured them, and is remembered for longer than what it left in the store."""

    def costs_said(store: str) -> int:
        monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / store))
        at = settled(verdicts(model="two-layer", mode="zero"))
        assert not at.exception and not at.error
        return said(at).count("removing it costs")

    assert costs_said("first") == costs_said("second") > 0


def test_costs_that_cannot_be_measured_take_nothing_from_the_verdicts() -> None:
    at = verdicts(model="two-layer", mode="resample", sequences="1")
    for _ in range(100):
        if at.subheader:
            break
        at.run()
    assert not at.exception
    assert ["at least 2 sequences" in str(error.value) for error in at.error] == [True]
    assert "4 heads match" in str(at.subheader[0].value) and len(figures(at)) == 3


def test_layers_of_called_heads_come_first_and_the_last_of_them_before_others() -> None:
    label = {(0, 1): "previous token", (1, 0): "sink", (2, 0): "induction", (3, 1): "anti-induction", (3, 0): "previous token"}
    given = judge(subject_for("two-layer")).verdicts[0]
    verdicts = [replace(given, head=Head(*place), label=name) for place, name in label.items()]
    assert layers_to_measure(verdicts) == (3, 2, 0)


def test_without_others_in_the_layer_there_is_nothing_to_compare_with() -> None:
    calls = judge(subject_for("two-layer"))
    effects = causal_map(subject_for("two-layer"), "mean")
    costs = [cost_of(verdict, calls, effects) for verdict in calls.called]
    assert len(costs) == 4 and all(cost.lacks_random_heads for cost in costs)
    assert "in layer 1 every head is called" in " ".join(str(c.value) for c in verdicts(model="two-layer").caption)


def test_costs_join_the_sentence_beside_the_layers_other_heads() -> None:
    calls = judge(subject_for("by-construction"))
    effects = causal_map(subject_for("by-construction"), "mean")
    [called] = calls.called
    others = [effects.effect[called.head.layer, head] for head in range(4) if head != called.head.head]
    told = sentence(called, calls, effects)
    assert f"removing it costs {effects.effect[called.head]:.2f} nats" in told
    assert f"(random heads: {np.median(others):.2f})" in told


def test_layers_that_are_not_measured_cost_nothing_in_words() -> None:
    calls = judge(subject_for("by-construction"))
    unknown = CausalMap("mean", np.full((2, 4, 2), np.nan), np.zeros(2))
    assert sentence(calls.called[0], calls, unknown) == verdict_sentence(calls.called[0])
