"""A room: who is counted, what is shown, and what a fresh beginning forgets."""

from __future__ import annotations

from core.settings.tour_progress import TourProgress
from core.settings.view import View
from core.tour.room import Room, Visit

AT_TWO = Visit("Sweep", TourProgress(2, (1,)))


def everybody(viewer: str) -> bool:
    return True


def test_windows_are_counted_once_and_while_they_are_open() -> None:
    room = Room()
    for viewer in ("ada", "bob", "ada"):
        room.note(viewer, AT_TWO)
    assert room.visits(everybody) == (AT_TWO, AT_TWO)
    assert room.visits(lambda viewer: viewer == "bob") == (AT_TWO,)
    assert room.visits(everybody) == (AT_TWO,), "who has closed it is forgotten"
    room.leave("bob")
    room.leave("nobody")
    assert room.visits(everybody) == ()


def test_more_windows_than_can_be_remembered_push_out_the_first() -> None:
    room = Room()
    for number in range(5000):
        room.note(str(number), Visit(str(number), TourProgress()))
    visits = room.visits(everybody)
    assert len(visits) == 4096 and visits[-1].page == "4999"


def test_what_is_shown_later_has_a_higher_number() -> None:
    room = Room()
    first = room.show("pages/1_Heads.py", "Heads", View())
    second = room.show("pages/5_Sweep.py", "Sweep", View())
    assert first.number < second.number and room.shown == second
    room.show_nothing()
    assert room.shown is None
    assert room.show("app.py", "Home", View()).number > second.number


def test_a_fresh_beginning_forgets_progress_and_keeps_the_windows() -> None:
    room = Room()
    room.note("ada", AT_TWO)
    room.show("app.py", "Home", View())
    before = room.beginning
    room.begin_anew()
    assert room.visits(everybody) == (Visit("Sweep", TourProgress()),)
    assert room.shown is None and room.beginning != before
