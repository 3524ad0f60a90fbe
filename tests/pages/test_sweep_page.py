"""The Sweep page: the curve beside other heads, and what moving the slider costs (nothing)."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.ablation.cached_sweep import sweep
from core.ablation.sweep import DEFAULT_GRID
from core.ablation.tables import sweep_rows
from core.attention.cached import score_heads
from core.heads import heads_above
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.csv import csv_text
from core.verdicts.conformance import conformance
from tests.helpers.app import SHORT, figures, open_page, overlays, said

SUBJECT = bind(Request("by-construction", length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the sweep that is looked at here, and that the model was checked."""
    sweep(SUBJECT, DEFAULT_GRID, "mean")
    conformance(SUBJECT)


def page(*, opened: tuple[str, ...] = (), **parameters: str) -> AppTest:
    return open_page("pages/5_Sweep.py", opened=opened, **({"model": "by-construction", **SHORT} | parameters))


def test_curve_range_table_and_the_reports_comparison() -> None:
    at = page(opened=("thresholds", "compared"))
    assert not at.exception and not at.error and not at.warning
    assert "cost more than every other set that was drawn, too few to be sure" in said(at)
    best = min(sweep(SUBJECT, DEFAULT_GRID, "mean").rows, key=lambda row: row.p if row.others else 1.0)
    assert f"p = {best.p:.3f}, the smallest that {best.others} set" in said(at)
    assert len(at.dataframe[0].value if len(at.dataframe[0].value) == len(DEFAULT_GRID) else at.dataframe[1].value) == len(
        DEFAULT_GRID
    )
    assert "**knee**: " in said(at), "a word of the picture and of the table"
    table = at.table[0].value
    assert list(table.columns) == ["threshold", "above 0.50", "above 0.60"]
    compared = dict(zip(table["threshold"], table["above 0.50"], strict=True))
    found = sweep(SUBJECT, DEFAULT_GRID, "mean")
    [at_half] = [row for row in found.rows if row.threshold == 0.5]
    assert compared["second copy after (nats)"] == f"{at_half.second_copy:.2f}"
    assert compared["which heads"] == ", ".join(head.name for head in at_half.heads) and compared["p"] == f"{at_half.p:.3f}"
    assert any("as many other heads (range)" in (trace.get("name") or "") for trace in figures(at)[0]["data"])


def test_the_table_behind_the_curve_is_for_people_and_its_file_for_programs() -> None:
    at = page()
    at.session_state["sweep-table"] = True
    at.run()
    [frame] = [frame for frame in at.dataframe if len(frame.value) == len(DEFAULT_GRID)]
    rows = sweep_rows(sweep(SUBJECT, DEFAULT_GRID, "mean"))
    called = {name: column["label"] for name, column in json.loads(frame.proto.columns).items() if column.get("label")}
    assert set(called) == set(rows[0]) == set(frame.value.columns)
    assert (called["second_copy"], called["baseline_low"]) == ("second-copy loss (nats)", "other heads, lowest (nats)")
    assert not any("_" in words for words in called.values()) and frame.proto.placeholder == "–"
    assert list(frame.value["gain_lost"]) == pytest.approx([100 * row["gain_lost"] for row in rows], abs=1e-6)
    assert json.loads(frame.proto.columns)["gain_lost"]["type_config"]["format"] == "%.0f %%"
    assert csv_text(rows).startswith("threshold,heads,second_copy,change,change_low,change_high,step,gain_lost,")


def test_a_cell_without_a_number_is_a_dash_and_a_column_is_called_by_what_it_holds() -> None:
    def table() -> None:
        import math

        from core.ui.components.readable_table import readable_table

        readable_table(
            [
                {
                    "name": "L0H1",
                    "layer": 0,
                    "head": 1,
                    "induction": 0.5,
                    "quadrant": "",
                    "p": None,
                    "low": math.nan,
                    "zero": -1e-12,
                },
                {"name": "L0H2", "layer": 0, "head": 2, "induction": 0.25, "quadrant": "", "p": 0.5, "low": 1.0, "zero": 1.0},
            ]
        )
        readable_table([{"head": "L0H1", "induction": "L1H1", "k_composition": 0.1, "some_name": 1.0}])
        readable_table([])

    at = AppTest.from_function(table).run()
    assert not at.exception
    many, roles, _ = at.dataframe
    called, by_role = (
        {name: column.get("label") for name, column in json.loads(frame.proto.columns).items()} for frame in (many, roles)
    )
    assert (called["name"], called["induction"]) == ("head", "Induction (prefix matching)")
    # Which its name says already, and which would put the numbers out of a telephone's sight.
    assert not {"layer", "head"} & called.keys() and "head" in by_role
    assert called["low"] == "95 % interval, from" and called["zero"] == "second-copy loss, zero ablation (nats)"
    assert [by_role[name] for name in ("head", "induction", "k_composition", "some_name")] == [
        "head",
        "induction",
        "K-composition",
        "some name",
    ]
    first = many.value.iloc[0]
    assert all(first[name] is None or first[name] != first[name] for name in ("quadrant", "p", "low"))
    assert str(first["zero"]) == "0.0" and many.proto.placeholder == "–"


def test_moving_the_slider_moves_a_line_and_computes_nothing(nothing_is_computed: Callable[[], None]) -> None:
    at = page()

    nothing_is_computed()
    values = score_heads(SUBJECT).mean("induction")
    figure = figures(at)[0]
    for threshold in (0.0, 0.37, 1.0):
        at.slider(key="threshold").set_value(threshold).run()
        assert not at.exception and not at.error
        assert threshold in {part["at"] for part in overlays(at)["sweep"] if part["kind"] == "line"}
        assert figures(at)[0] == figure, "only the line moves"
        assert f"{threshold:.2f}:** {len(heads_above(values, threshold))} head" in said(at)


def test_other_modes_come_on_demand() -> None:
    at = page(curves="all")
    for _ in range(300):
        assert not at.exception and not at.error
        names = {trace.get("name") for figure in figures(at)[:1] for trace in figure["data"]}
        if {"zero", "resample", "pattern"} <= names:
            return
        at.run()
    raise AssertionError(names)


def test_a_sweep_that_is_not_there_comes_first_without_and_then_with_other_heads() -> None:
    at = page(seed="51", mode="zero")
    seen: list[str] = []
    wanted = ["no other sets beside", "The smallest p of the sweep"]
    for _ in range(300):
        assert not at.exception and not at.error
        answer = [text for text in wanted if text in said(at)]
        seen += [text for text in answer if text not in seen]
        if "yet" in said(at):
            assert "more than every other set" not in said(at), "nothing in bold that may still change"
        if seen == wanted and not any(str(button.label) == "Cancel" for button in at.button):
            return
        at.run()
    raise AssertionError(seen)
