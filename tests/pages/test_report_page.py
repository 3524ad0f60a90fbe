"""The Report page: recorded numbers always, live ones beside them, and switches whose effect shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.models.paths import bundled_root
from core.numbers import with_interval
from core.replication.cached import reproduce, run_report, sized_models
from core.replication.words import QUESTIONS, questions_note
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.view import CORRECTIONS, Corrections
from core.sharing.address import CORRECTION_PARAMETERS
from tests.helpers.app import SHORT, open_page, said

MODEL = "by-construction"
SUBJECT = bind(Request(MODEL, length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured() -> None:
    """Everything that the page shows of one model is there."""
    run_report(SUBJECT)
    for name in CORRECTIONS:
        reproduce(SUBJECT, Corrections(**{name: True}))


OPENED = ("previous", "counts", "steps", "sweep", "pruning", "called", "sizes")


def report(*, opened: tuple[str, ...] = OPENED, **parameters: str) -> AppTest:
    return open_page("pages/8_Report.py", opened=opened, **({"model": MODEL, **SHORT} | parameters))


def titles(at: AppTest) -> list[str]:
    charts: list[dict[str, Any]] = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    return [chart["layout"].get("title", {}).get("text", "") for chart in charts]


def test_recorded_stands_beside_live() -> None:
    at = report()
    assert not at.exception and not at.error
    assert titles(at)[:4] == [
        "SoLU-8l-old, induction, as recorded",
        f"{MODEL}, induction, live",
        "SoLU-8l-old, previous token, as recorded",
        f"{MODEL}, previous token, live",
    ]
    counts, table = at.table[0].value, at.table[1].value
    assert list(counts["0.50"])[:2] == ["3", "5"]
    assert list(table["recorded (SoLU-8l-old), log-probability"]) == ["−6.096", "−8.345", "−9.745"]
    live = reproduce(SUBJECT).rows
    assert list(table[f"{MODEL}, its recipe, log-probability"]) == [
        with_interval(row.value, row.low, row.high, digits=3) for row in live
    ]


def test_every_question_has_a_live_answer() -> None:
    at = report()
    subheaders = [str(sub.value) for sub in at.subheader]
    assert all(question in subheaders for question in QUESTIONS.values())
    text = said(at)
    assert "thresholds of this sweep select" in text and questions_note(SUBJECT) in text
    captions = [str(caption.value) for caption in at.caption]
    assert sum("no BOS but where that is corrected" in caption for caption in captions) == 1, "under the steps"
    assert any(caption.startswith("Other heads beside it") for caption in captions), "what the steps' other sets are"
    assert "looks at the token just before most of all" in text and "breaks the repetition" in text
    assert "Compare every head with itself on fresh tokens" in text
    assert "Pythia" in text and "6.10" in text and "9.10" in text and "4.61" in text


def test_each_switch_changes_the_table() -> None:
    own = [row.value for row in reproduce(SUBJECT).rows]
    for parameter, name in CORRECTION_PARAMETERS.items():
        at = report(**{parameter: "true"})
        assert not at.exception and not at.error
        assert at.toggle(key=parameter).value is True
        table = at.table[1].value
        [column] = [title for title in table.columns if "corrected" in title]
        shown = reproduce(SUBJECT, Corrections(**{name: True}))
        assert list(table[column]) == [with_interval(row.value, row.low, row.high, digits=3) for row in shown.rows]
        assert any("95 % intervals over 4 sequences; the report gave none" in str(caption.value) for caption in at.caption)
        assert ("nats" in column) == (name == "sign")
        assert ("other heads, range" in table.columns) == (name == "baselines")
        if name in ("sign", "bos"):
            assert [row.value for row in shown.rows] != own


def test_the_other_recorded_model() -> None:
    assert titles(report(recorded="gpt2-small"))[0] == "GPT-2 small, induction, as recorded"


def test_without_the_model_the_recorded_numbers_still_show() -> None:
    at = report(model="solu-8l-old")
    assert not at.exception and not at.error
    assert titles(at) == [
        "SoLU-8l-old, induction, as recorded",
        "SoLU-8l-old, previous token, as recorded",
        "GPT-2 small, induction, as recorded",
        "GPT-2 small, previous token, as recorded",
    ]
    assert any("recorded numbers alone" in str(info.value) for info in at.info)
    assert list(at.table[1].value["log-probability"]) == ["−6.096", "−8.345", "−9.745"]


def test_the_page_can_be_taken_along_once_everything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    at = report()
    assert [button.label for button in at.get("download_button") if "as one page" in button.label]
    assert any("--html report.html" in str(code.value) for code in at.code)
    monkeypatch.setattr("core.ui.panels.report_download.if_cached", lambda _: None)
    early = report()
    assert any("as soon as everything above is measured" in str(caption.value) for caption in early.caption)
    assert not [button for button in early.get("download_button") if "as one page" in button.label]


def test_models_that_are_not_measured_are_measured_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    shutil.copytree(bundled_root() / "one-layer", own, ignore=shutil.ignore_patterns("checkpoints"))
    about = json.loads((own / "headscope.json").read_text(encoding="utf-8"))
    about["config"]["n_ctx"] //= 2
    (own / "headscope.json").write_text(json.dumps(about), encoding="utf-8")
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))

    def own_row(at: AppTest) -> list[str]:
        table = at.table[len(at.table) - 1].value
        [row] = [list(row) for row in table.itertuples(index=False) if row[0] == "own"]
        return row

    at = report()
    assert own_row(at)[3:] == ["not measured yet", "–", "–", "–", "–"]
    assert at.button(key="measure_missing").label == "Measure the one that is missing"
    at.button(key="measure_missing").click().run()
    for _ in range(100):
        if not at.get("progress"):
            break
        at.run()
    assert not at.exception and not at.error
    assert own_row(at)[3] == "absent" and own_row(at)[6].startswith("L0H")
    assert not [button for button in at.button if button.key == "measure_missing"]


def test_a_link_to_another_model_is_followed_from_a_run_that_had_not_come_to_its_links(monkeypatch: pytest.MonkeyPatch) -> None:
    at = report()
    # What the person sees and clicks is from the run before: the new one is cut short, as a click does to it.
    monkeypatch.setattr("core.ui.panels.report.heat_maps", lambda *_: st.stop())
    at.run()
    assert not at.exception and not at.error and not at.get("plotly_chart")
    name, head = next((model.name, model.top[0]) for model in sized_models() if model.name != MODEL and model.top)
    at.switch_page("pages/1_Heads.py")
    at.query_params["model"], at.query_params["head"] = name, head.name
    at.run()
    assert at.selectbox(key="model").value == name and str(at.title[0].value).replace("\\", "") == f"Heads of {name}"
    assert at.number_input(key="length").value == 20, "everything else is as it was"


def test_figures_are_described() -> None:
    assert all(len(chart.proto.alt) > 40 for chart in report().get("plotly_chart"))
