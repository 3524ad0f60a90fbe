"""The Sweep page: the curve beside other heads, and what moving the slider costs (nothing)."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.ablation.cached_sweep import sweep
from core.ablation.sweep import DEFAULT_GRID
from core.attention.cached import score_heads
from core.heads import heads_above
from core.settings.request import Request
from core.settings.subject import bind
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
