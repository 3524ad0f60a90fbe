"""The circuits page: the graph, what cutting a path and pruning a head do, and nothing to draw without called heads."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
from streamlit.testing.v1 import AppTest

from core.ablation.cached import prune
from core.ablation.subjects import PRUNING_MODES
from core.ablation.words import MODE_MEANINGS
from core.attention.cached import score_heads
from core.circuits.cached import circuit
from core.circuits.tables import edge_rows, pruning_rows
from core.circuits.words import circuit_sentence, composition_sentence, shown_heads
from core.heads import Head
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.ui.panels.circuits import _numbers
from tests.helpers.app import SHORT, figures, open_page, said


def subject_for(model: str) -> Subject:
    return bind(Request(model, length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the circuits of the models that are looked at here, and their prunings."""
    circuit(subject_for("two-layer"))
    circuit(subject_for("one-layer").at(sequences=4))
    for head in range(4):
        prune(subject_for("two-layer"), Head(0, head))


def circuits(*, opened: tuple[str, ...] = ("composition",), **parameters: str) -> AppTest:
    return open_page("pages/7_Circuits.py", opened=opened, **(SHORT | parameters))


def test_a_head_whose_loss_helps_is_said_to_add_to_the_gain() -> None:
    found, place = prune(subject_for("two-layer"), Head(0, 0)), Mock()
    clean = found.clean
    _numbers(place, replace(found, pruned=replace(clean, second_copy=clean.second_copy - 0.0111 * clean.gain)), "L0H0")
    assert place.metric.call_args.kwargs["delta"].endswith("−1 % of the gain lost")


def test_the_graph_has_every_edge_and_its_heads_take_clicks() -> None:
    at = circuits(model="two-layer")
    assert not at.exception and not at.error and not at.warning
    found = circuit(subject_for("two-layer"))
    graph, pruned, composed = figures(at)
    assert sum(trace["name"] == "edge" for trace in graph["data"]) == len(found.edges) > 0
    assert graph["data"][-1]["customdata"] == [head.name for head in (*found.previous, *found.induction)]
    assert sum(trace["type"] == "heatmap" for trace in composed["data"]) == 3
    assert len(pruned["layout"]["annotations"]) == 3
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))


def test_the_strongest_edge_and_the_pruning_are_told_in_words() -> None:
    at = circuits(model="two-layer")
    best = circuit(subject_for("two-layer")).edges[0]
    assert f"{best.induction.name} finds its keys through {best.previous.name}" in said(at)
    assert f"Without {best.previous.name} the circuit collapses" in said(at)
    assert at.metric[0].label.startswith(f"without {best.previous.name}")
    assert len(at.metric) == 3


def test_a_picked_head_is_pruned_in_its_place() -> None:
    at = circuits(model="two-layer", head="L0H3")
    assert "Without L0H3 the circuit goes on" in said(at)
    again = circuits(model="two-layer", head="L1H2")
    assert "the circuit collapses" in said(again)


def test_an_induction_head_is_chosen_to_see_what_it_reads() -> None:
    at = circuits(model="two-layer")
    found = circuit(subject_for("two-layer"))
    best = found.edges[0].induction.name
    assert at.selectbox(key="circuit_receiver").value == best and composition_sentence(found, found.edges[0].induction) in said(
        at
    )
    other = next(head for head in found.induction if head.name != best)
    at.selectbox(key="circuit_receiver").set_value(other.name).run()
    assert not at.exception and not at.error
    assert composition_sentence(found, other) in said(at)
    assert at.query_params["head"] in (other.name, [other.name])
    assert any("rotary in this model and are left out" in str(caption.value) for caption in at.caption)


def test_numbers_that_are_not_on_an_edge_are_said_to_be_in_the_table() -> None:
    told = " ".join(str(caption.value) for caption in circuits(model="two-layer").caption)
    assert "as far as there is room; the table below has that of every edge" in told


def test_a_stand_in_means_what_it_means_on_the_other_pages() -> None:
    shown = circuits(model="two-layer").radio(key="circuit_mode").help
    assert all(MODE_MEANINGS[mode] in shown for mode in PRUNING_MODES)


def test_another_stand_in_is_kept_in_the_address() -> None:
    at = circuits(model="two-layer", mode="resample")
    assert at.radio(key="circuit_mode").value == "mean"
    at.radio(key="circuit_mode").set_value("zero").run()
    for _ in range(100):
        if len(figures(at)) == 3:
            break
        assert not at.exception and not at.error
        at.run()
    assert at.query_params["mode"] in ("zero", ["zero"])
    sentence = circuit_sentence(circuit(subject_for("two-layer"), "zero"))
    assert sentence in said(at) and " edges cost more than 0.05 of prefix matching" in sentence


def test_without_called_heads_there_is_nothing_to_draw() -> None:
    at = circuits(model="one-layer", sequences="4")
    assert not at.exception and not at.error
    assert "does not do induction on this probe" in str(at.warning[0].value)
    assert "there is no circuit to draw" in said(at)
    assert not figures(at) and not at.metric
    assert "Who feeds whom" not in [header.value for header in at.header], "no heading over nothing"


def test_rows_say_what_the_pictures_show() -> None:
    subject = subject_for("two-layer")
    found = circuit(subject)
    rows = edge_rows(found.edges)
    assert [row["path_patch_drop"] for row in rows] == sorted((row["path_patch_drop"] for row in rows), reverse=True)
    assert all(row["above_random"] == row["k_composition"] - row["random_composition"] for row in rows)
    pruned = pruning_rows([prune(subject, Head(0, 2))], found.induction)
    ends = {f"lost without L0H2, {end}" for end in ("low", "high")}
    assert len(pruned) == 8 and {"head", "called", "before", "without L0H2", *ends} == set(pruned[0])
    assert all(row["lost without L0H2, low"] <= row["before"] - row["without L0H2"] + 1e-6 for row in pruned)
    shown = shown_heads(score_heads(subject).mean("induction"), found.induction)
    assert set(found.induction) <= set(shown)
