"""What a person may type as an answer, and what is said of the rest: one sentence, before anything is measured."""

from __future__ import annotations

import pytest

from core.errors import BadInput
from core.tour.check import read_answer
from core.tour.steps import STEPS

HEAD, CHOICE, NUMBER = STEPS[0], STEPS[3], STEPS[4]


@pytest.mark.parametrize("typed", ["L1H3", "l1h3", "  L1h3 "])
def test_a_head_is_read_in_any_case(typed: str) -> None:
    assert read_answer(HEAD, typed) == "L1H3"


@pytest.mark.parametrize("typed", ["0.158", ".158", "0,16", "0.16", "1.6e-1", "p = 0.158", "P=.158", "p: 0,16", "p 0.16"])
def test_two_digits_of_a_number_count(typed: str) -> None:
    assert read_answer(NUMBER, typed) == "0.16"


def test_a_choice_is_read_by_its_name() -> None:
    assert read_answer(CHOICE, "Pattern") == "pattern"


@pytest.mark.parametrize(
    "step, typed, said",
    [
        (HEAD, "", "no answer yet"),
        (HEAD, "head 3", "'head 3' names no head: type a head such as L1H0"),
        (HEAD, "<b>" * 40, "…' names no head"),
        (HEAD, "L7H0", "There is no head L7H0: this model has layers 0 to 1"),
        (NUMBER, "1.2", "'1.2' is no p: type a number from 0 to 1"),
        (NUMBER, "nan", "is no p"),
        (NUMBER, "½", "is no p"),
        (NUMBER, "p", "is no p"),
        (NUMBER, "pp = 0.16", "is no p"),
        (NUMBER, "9" * 4000, "is no p"),
        (CHOICE, "all", "'all' is not among the answers: choose one of zero, mean, resample, pattern."),
    ],
)
def test_what_is_no_answer_is_said_in_one_sentence(step: object, typed: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_answer(step, typed)  # type: ignore[arg-type]
    assert said in str(caught.value) and len(str(caught.value)) < 200
