"""The tour: a person begins, errs, asks for hints, answers, and goes on; progress is in the address and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.sharing.address import params_of
from core.tour.check import found_for
from core.tour.preload import preload
from core.tour.room import Room
from core.tour.steps import STEPS
from core.ui.frame import lesson
from core.ui.frame.navigation import page_named
from tests.helpers.app import address, open_page, said, settled

TOUR = "pages/13_Tour.py"


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room of the test's own."""
    found = Room()
    monkeypatch.setattr(lesson, "the_room", lambda: found)
    return found


@pytest.fixture(scope="module", autouse=True)
def measured() -> None:
    """What answers are held against is at hand."""
    for step in STEPS:
        found_for(step)


def tour(**parameters: str) -> AppTest:
    at = settled(open_page(TOUR, **parameters))
    assert not at.exception and not at.error
    return at


def answer(at: AppTest, number: int, typed: str) -> AppTest:
    """Give an answer to step `number` as a person does."""
    if STEPS[number - 1].kind == "choice":
        at.radio(key=f"answer-{number}").set_value(typed)
    else:
        at.text_input(key=f"answer-{number}").set_value(typed)
    check = next(button for button in at.button if button.label == "Check")
    return settled(check.click().run())


def labels(at: AppTest) -> list[str]:
    return [str(button.label) for button in at.button]


def test_it_begins_at_the_first_step_and_names_all_seven() -> None:
    at = tour()
    assert all(f"{number}. {step.title}" in said(at) for number, step in enumerate(STEPS, start=1))
    assert "step" not in at.query_params
    at = settled(next(button for button in at.button if button.label == "Begin").click().run())
    assert address(at)["step"] == "1"
    assert at.subheader[0].value == f"1. {STEPS[0].title}"
    assert at.radio(key="step").options == [str(number) for number in range(1, 8)]


def test_a_wrong_answer_is_told_why_and_a_right_one_is_kept_in_the_address() -> None:
    at = answer(tour(step="1"), 1, "L1H2")
    assert "a contrast of 0.00" in str(at.info[0].value).replace("\\", "")
    assert "done" not in at.query_params
    at = answer(at, 1, "head three")
    assert "names no head" in str(at.warning[0].value).replace("\\", "") and not at.info
    at = answer(at, 1, "l1h3")
    assert address(at)["done"] == "1" and "L1H3. Right: " in str(at.success[0].value).replace("\\", "")
    assert "What this teaches" in said(at)
    following = f"Next: 2. {STEPS[1].title}"
    at = settled(next(button for button in at.button if button.label == following).click().run())
    assert (address(at)["step"], address(at)["done"]) == ("2", "1")
    assert not at.success, "what was learnt is not told for the next one"


@pytest.mark.parametrize("number, typed", [(4, "pattern"), (5, "0,16")])
def test_choices_and_numbers_are_answers_too(number: int, typed: str) -> None:
    at = answer(tour(step=str(number), done="1"), number, typed)
    assert address(at)["done"] == f"1,{number}"


def test_no_answer_is_asked_for_one() -> None:
    at = tour(step="4")
    at = settled(next(button for button in at.button if button.label == "Check").click().run())
    assert "There is no answer yet" in str(at.warning[0].value).replace("\\", "")


def test_the_link_opens_the_page_at_its_view_and_takes_the_progress_along() -> None:
    at = tour(step="4", done="1,3")
    [link] = [link for link in at.main.get("page_link") if "for this task" in link.proto.label]
    wanted = params_of(STEPS[3].view) | {"step": "4", "done": "1,3"}
    assert dict(pair.split("=") for pair in link.proto.query_string.split("&")) == {
        name: value.replace(",", "%2C") for name, value in wanted.items()
    }


def test_a_forged_address_is_clamped_and_said() -> None:
    at = tour(step="99", done="3,12,x")
    assert address(at)["step"] == "7" and address(at)["done"] == "3"
    assert len(at.warning) == 2


def test_at_the_end_nothing_is_left_and_it_can_begin_again() -> None:
    at = tour(step="7", done="1,2,3,4,5,6,7")
    assert "7 of 7 done" in said(at) and "That was the tour" in said(at)
    assert not [label for label in labels(at) if label.startswith("Next")]
    again = next(button for button in at.button if button.label.startswith("Begin again"))
    at = settled(again.click().run())
    assert "done" not in at.query_params and "step" not in at.query_params


def test_hints_are_there_and_the_answer_is_not() -> None:
    at = tour(step="2")
    hints = [expander for expander in at.expander if expander.label in ("A hint", "Another hint")]
    assert [str(hint.markdown[0].value) for hint in hints] == list(STEPS[1].hints)
    assert found_for(STEPS[1]).right not in said(at)


def test_the_task_stands_on_every_other_page_until_one_leaves_the_tour() -> None:
    at = settled(open_page("pages/1_Heads.py", model="by-construction", step="1"))
    assert f"**Task 1 of 7.** {STEPS[0].task}" in said(at)
    at = settled(next(button for button in at.button if button.label == "Leave the tour").click().run())
    assert "Task 1" not in said(at) and "step" not in at.query_params


def test_the_words_are_folded_and_their_papers_are_text() -> None:
    at = tour()
    [words] = [expander for expander in at.expander if expander.label.startswith("Words")]
    told = " ".join(str(markdown.value).replace("\\", "") for markdown in words.markdown)
    assert "nats: The unit of loss" in told.replace("**", "") and "arXiv:2209.11895" in told
    assert "](" not in told


@pytest.fixture(scope="module")
def preloaded() -> None:
    """All that a room would find."""
    preload()


@pytest.mark.parametrize("number", range(1, len(STEPS) + 1))
def test_a_room_finds_each_page_there(
    number: int, preloaded: None, nothing_is_computed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_is_computed()
    step = STEPS[number - 1]
    for path in (page_named(step.page).path, TOUR):
        at = open_page(path, **(params_of(step.view) | {"step": str(number)}))
        assert not at.exception and not at.error, [str(error.value) for error in at.error]


def test_a_lesson_that_is_begun_anew_while_a_page_is_drawn_is_noticed_by_its_next_question(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.begin()
    asked: list[int] = []
    monkeypatch.setattr(lesson, "_ask_again", lambda number, beginning: asked.append(beginning))
    new_to_me = lesson._new_to_me

    def meanwhile() -> object:
        room.begin_anew()
        return new_to_me()

    monkeypatch.setattr(lesson, "_new_to_me", meanwhile)
    open_page("pages/1_Heads.py", model="two-layer", step="2", done="1")
    assert asked[:1] == [0] and room.beginning >= 1
