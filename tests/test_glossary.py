"""The words: each one sentence, none explained by itself, every page's known."""

from __future__ import annotations

import re

import pytest

from core.glossary import MET_ON, TERMS, Term, help_on


@pytest.mark.parametrize("term", TERMS.values(), ids=lambda term: term.word)
def test_a_word_is_one_sentence_that_does_not_need_itself(term: Term) -> None:
    assert term.meaning[0].isupper() and term.meaning.endswith(".")
    assert not re.search(r"\. [A-Z]", term.meaning), "one sentence"
    assert not re.search(rf"\b{re.escape(term.word)}\b", term.meaning, re.IGNORECASE)
    assert len(term.meaning) < 170
    if term.paper is not None:
        assert re.fullmatch(r"arXiv:\d{4}\.\d{5}|transformer-circuits\.pub/\d{4}/\w+", term.paper.address)


def test_the_words_that_everybody_trips_over_are_there() -> None:
    asked = {"nats", "BOS", "contrast", "residual stream", "baseline"}
    asked |= {"attention head", "induction", "ablation", "p", "copying"}
    assert asked <= set(TERMS)


def test_every_word_of_a_page_is_known_and_is_said() -> None:
    for words in MET_ON.values():
        assert len(words) == len(set(words)) and set(words) <= set(TERMS)
    assert help_on("nats", "p").startswith("Nats: The unit of loss") and "P: How likely" in help_on("nats", "p")
