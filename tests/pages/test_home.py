"""Home: the picture, the behaviour, the self-check, and the way on; also when something is wrong."""

import json
import time

import pytest
from streamlit.testing.v1 import AppTest

import core.ui.components.self_check as self_check
from core.attention.cached import induction_example, score_heads
from core.attention.self_check import Check, DoctorReport
from core.numbers import share
from core.settings.request import Request
from tests.helpers.app import APP, SHORT, open_page

PAGES = APP.parent / "pages"
GOOD = DoctorReport("cpu, float32", (Check("prefix matching", 0.5, 0.5, 1e-5),))
BAD = DoctorReport("cpu, float32", (Check("prefix matching", 0.5, 0.4, 1e-5), Check("second-copy loss", 0.0, 0.0, 1e-5)))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds what the page shows."""
    induction_example()
    for model in ("two-layer", "one-layer"):
        score_heads(Request(model, length=20, sequences=4))


def home(**parameters: str) -> AppTest:
    at = open_page("app.py", **(SHORT | {"sequences": "4"} | parameters))
    return until(at, lambda: bool(at.get("plotly_chart")))


def until(at: AppTest, there: object) -> AppTest:
    """Run again, as the page's own polling would, until something is there."""
    deadline = time.monotonic() + 60
    while not there() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.1)
        at.run()
    return at


def test_home_explains_shows_and_leads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_reports", [GOOD])
    at = home(model="two-layer")
    assert not at.exception and not at.error and not at.warning
    found = score_heads(Request("two-layer", length=20, sequences=4)).behaviour
    assert [metric.value for metric in at.metric] == [
        *(share(part) for part in (found.e, found.low, found.top1)),
        *(f"{loss:.2f} nats" for loss in (found.rep, found.rot, found.shuf, found.fresh)),
    ]
    assert any("ln L = 3.00 nats" in str(caption.value).replace("\\", "") for caption in at.caption)
    said = " ".join(str(success.value) for success in at.success)
    assert "Induction is present" in said
    assert "This machine computes the known answers" in said
    # Every page is one of the places to go next, in the sidebar's order; the teacher's is for one person in a room.
    start, *links = at.main.get("page_link")
    assert start.proto.label.startswith("Start the tour") and "step=1" in start.proto.query_string
    pages = [link.proto.label.partition(":")[0] for link in links]
    there = {path.stem.partition("_")[2].replace("_", " ") for path in PAGES.glob("*.py")}
    assert sorted(pages) == sorted(there - {"Teacher"})
    assert [link.proto.label for link in at.sidebar.get("page_link")] == ["Home", *pages]


def test_the_live_picture_comes_from_the_bundled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_reports", [GOOD])
    [chart] = home(model="two-layer").get("plotly_chart")
    example = induction_example()
    texts = [note.get("text") for note in json.loads(chart.proto.spec)["layout"]["annotations"]]
    assert example.tokens[example.position].strip() in texts
    assert example.pattern[example.position, example.target] > 0.5, "the picture must show what the text says"
    assert "first copy" in texts and "second copy" in texts


def test_a_model_without_the_behaviour_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_reports", [GOOD])
    at = home(model="one-layer")
    assert "does not do induction on this probe" in str(at.warning[0].value)
    assert not any("Induction is present" in str(success.value) for success in at.success)


def test_a_machine_that_computes_wrongly_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_reports", [BAD])
    at = home(model="two-layer")
    [error] = at.error
    assert "wrong answers (prefix matching)" in str(error.value).replace("\\", "")


def test_the_self_check_runs_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_reports", [])
    at = home(model="two-layer")
    until(at, lambda: self_check._reports)
    at.run()
    assert not at.exception and not at.error
    assert "This machine computes the known answers" in " ".join(str(success.value) for success in at.success)
