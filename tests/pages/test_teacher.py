"""The teacher's page: shut to visitors, and for whoever has the key the room, the queue, and one view for all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from core.runtime import jobs
from core.runtime.teacher_key import TEACHER_KEY, drawn_key
from core.settings.tour_progress import TourProgress
from core.tour.room import Room, Visit
from core.ui.frame import lesson, visitors
from core.ui.panels import teacher as panel
from tests.helpers.app import address, open_page, said, settled, tables

TEACHER = "pages/14_Teacher.py"


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room of the test's own."""
    found = Room()
    for place in (lesson, panel):
        monkeypatch.setattr(place, "the_room", lambda: found)
    monkeypatch.setattr("core.tour.room._room", found)
    return found


def opened(**parameters: str) -> AppTest:
    at = settled(open_page(TEACHER, key=drawn_key(), **parameters))
    assert not at.exception and not at.error
    return at


def press(at: AppTest, label: str) -> AppTest:
    return settled(next(button for button in at.button if button.label == label).click().run())


def test_whoever_has_no_key_sees_a_sentence_and_a_field(room: Room) -> None:
    room.note("somebody", Visit("Heads", TourProgress()))
    at = settled(open_page(TEACHER))
    assert "for whoever gives the lesson" in str(at.info[0].value)
    assert not tables(at) and "window" not in said(at) and not room.open
    for wrong in ("", "x", drawn_key()[:-1], drawn_key() + "x", "é" * 50):
        at.main.text_input[0].set_value(wrong)
        at = press(at, "Open")
        assert "That is not the key." in str(at.warning[0].value), wrong
    at.main.text_input[0].set_value(drawn_key())
    at = press(at, "Open")
    assert "1 window open" in said(at) and room.open


def test_the_key_of_the_address_does_not_stay_in_it(room: Room) -> None:
    at = opened(model="two-layer")
    assert "key" not in at.query_params and address(at)["model"] == "two-layer"
    assert "Who is here" in [str(heading.value) for heading in at.header]
    assert drawn_key() not in said(at) + str([code.value for code in at.code])
    # It stays open while the window does.
    at = settled(at.run())
    assert not at.info


def test_a_given_key_alone_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEACHER_KEY, "chalk")
    assert settled(open_page(TEACHER, key=drawn_key())).info
    assert not settled(open_page(TEACHER, key="chalk")).info


@pytest.mark.parametrize(
    "came_from, host, headers, given, opens",
    [
        (None, "127.0.0.1:8501", {}, "", True),
        (None, "localhost:8501", {}, "", True),
        (None, "[::1]:8501", {}, "", True),
        ("127.0.0.7", "localhost", {}, "", True),
        ("192.168.1.9", "127.0.0.1:8501", {}, "", False),
        (None, "headscope.example:8501", {}, "", False),
        (None, "", {}, "", False),
        (None, "127.0.0.1:8501", {"X-Forwarded-For": "127.0.0.1"}, "", False),
        (None, "127.0.0.1:8501", {"Via": "1.1 somebody"}, "", False),
        (None, "127.0.0.1:8501", {}, "chalk", False),
    ],
)
def test_this_machine_itself_needs_no_key_unless_one_was_given(
    came_from: str | None,
    host: str,
    headers: dict[str, str],
    given: str,
    opens: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = SimpleNamespace(ip_address=came_from, headers=headers | {"Host": host})

    monkeypatch.setenv(TEACHER_KEY, given)
    monkeypatch.setattr(visitors, "exists", lambda: True)
    monkeypatch.setattr(visitors, "st", SimpleNamespace(context=context, query_params={}, session_state={}))
    assert visitors.may_teach() is opens


def test_who_is_here_is_counted_by_step_and_has_no_name(room: Room) -> None:
    assert "Nobody is here yet" in " ".join(str(caption.value) for caption in opened().caption)
    room.note("ada", Visit("Heads", TourProgress(1)))
    room.note("bob", Visit("Sweep", TourProgress(2, (1,))))
    room.note("cyd", Visit("Tour", TourProgress(7, tuple(range(1, 8)))))
    at = opened()
    assert "3 windows open: 2 under way in the tour, 1 finished." in said(at), "a step that is open is under way"
    how_far, windows = tables(at)["How far the room is"], tables(at)["Every window"]
    assert (
        how_far[1] == ["1. A score is not a claim", "2", "1"] and how_far[2][1:] == ["1", "1"] and how_far[3][1:] == ["1", "0"]
    )
    assert windows[1:] == [["1", "Heads", "1", "none"], ["2", "Sweep", "2", "1"], ["3", "Tour", "7", "1, 2, 3, 4, 5, 6, 7"]]
    assert not any(name in str(tables(at)) for name in ("ada", "bob", "cyd"))


def test_the_teachers_own_window_is_not_counted(room: Room) -> None:
    settled(open_page("pages/1_Heads.py"))
    opened()
    assert len(room.visits(lambda viewer: True)) == 1


def test_the_address_to_give_out_holds_the_view_without_the_teachers_progress() -> None:
    at = opened(model="two-layer", threshold="0.60", step="3", done="1,2")
    assert at.code[0].value.endswith("/Tour?model=two-layer&threshold=0.60&step=3")
    at = settled(at.selectbox(key="given_page").set_value("Causal map").run())
    assert at.code[0].value.endswith("/Causal_map?model=two-layer&threshold=0.60")
    [square] = [html.proto.body for html in at.get("html") if "<img" in html.proto.body]
    assert 'src="data:image/svg+xml' in square and "Square code of http" in square


def test_what_is_shown_comes_to_a_window_that_may_stay_or_go(room: Room) -> None:
    at = opened(model="two-layer")
    at = settled(at.selectbox(key="given_page").set_value("Heads").run())
    at = press(at, "Show this to everybody")
    assert room.shown is not None and room.shown.label == "Heads"
    student = settled(open_page("pages/13_Tour.py", step="2", done="1"))
    assert "The teacher shows Heads" in said(student)
    stays = press(student, "Stay here")
    assert "The teacher shows" not in said(stays) and address(stays)["step"] == "2"
    student = settled(open_page("pages/1_Heads.py", step="2", done="1"))
    gone = press(student, "Go there")
    assert address(gone)["model"] == "two-layer", "on the same page its controls are set"
    assert (address(gone)["step"], address(gone)["done"]) == ("2", "1"), "the progress is one's own"
    assert "The teacher shows" not in said(gone)
    press(at, "Take it back")
    assert room.shown is None


def test_a_lesson_that_is_begun_anew_forgets_progress_in_open_windows(room: Room) -> None:
    student = settled(open_page("pages/13_Tour.py", step="2", done="1"))
    at = press(opened(), "Forget everybody's progress")
    assert "1 window open: 0 under way" in said(at)
    student = settled(student.run())
    assert "done" not in student.query_params and "step" not in student.query_params
    # Who comes later with an old link keeps what it says.
    assert address(settled(open_page("pages/13_Tour.py", step="2", done="1")))["done"] == "1"


def test_nobody_asks_for_what_is_shown_where_there_is_no_lesson(room: Room) -> None:
    room.show("pages/1_Heads.py", "Heads", panel.View())
    assert "The teacher shows" not in said(settled(open_page("pages/13_Tour.py")))
    room.begin()
    assert "The teacher shows" in said(settled(open_page("pages/13_Tour.py")))


def test_what_is_computed_and_what_waits_is_told_without_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    pool, release = jobs.JobPool(), threading.Event()
    monkeypatch.setattr(panel, "default_pool", lambda: pool)
    first = pool.submit(f"verdicts {'a' * 64}", lambda control: release.wait(60), "ada")
    second = pool.submit(f"sweep beside other sets {'b' * 64} mean 39", lambda control: None, "bob")
    pool.submit(f"verdicts {'a' * 64}", lambda control: None, "cyd")
    try:
        while first.state != "running":
            threading.Event().wait(0.01)
        at = open_page(TEACHER, key=drawn_key())
        assert "1 computed now, 1 waiting" in said(at)
        rows = tables(at)["What is computed and what waits"][1:]
        assert rows == [["verdicts", "0 % done", "2"], ["sweep beside other sets", "waits, 0 before it", "1"]]
        assert "16 computations in line" in said(at) and "more than 30 minutes, and whoever asks for one is told so" in said(at)
        assert "Nobody is refused" not in said(at), "but what would take longer is"
    finally:
        release.set()
        second.result(60)


def test_sheets_are_there_to_print() -> None:
    assert [button.label for button in opened().get("download_button")] == ["Sheet with the tasks", "Sheet with the answers"]
