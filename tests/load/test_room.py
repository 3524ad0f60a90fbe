"""A room on one server: a real process, and windows that speak its websocket as a browser does."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from pathlib import Path

import numpy as np
import pytest

from core.attention.cached import score_key
from core.attention.score_pass import measure_first
from core.models.load import load_model
from core.probes.repeated import repeated_probe
from core.runtime.store import Store
from core.settings.request import Request
from core.settings.subject import bind
from tests.browser.conftest import running_server
from tests.helpers.visitor import Visitor

PEOPLE = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server whose results are nobody's yet."""
    with running_server(tmp_path) as address:
        yield address


def together(visitors: list[Visitor], what: Callable[[Visitor], object]) -> None:
    """Everybody at once, each in a thread of its own."""

    def one(visitor: Visitor) -> None:
        with visitor:
            what(visitor)

    with ThreadPoolExecutor(len(visitors)) as room:
        list(room.map(one, visitors))


def test_thirty_people_with_thirty_questions_all_get_their_answer(server: str, tmp_path: Path) -> None:
    """Different seeds, so that nobody is served from what another asked; and every answer is that of a quiet machine."""
    seeds = range(1000, 1000 + PEOPLE)
    room = [
        Visitor(server, "Heads", {"model": "two-layer", "length": "20", "sequences": "4", "seed": str(seed)}) for seed in seeds
    ]
    together(room, lambda visitor: visitor.until_still(240))
    assert [visitor.errors for visitor in room] == [[]] * PEOPLE
    assert all("Heads of two" in visitor.shown for visitor in room)
    store = Store(tmp_path / "results")
    for seed in seeds:
        subject = bind(Request("two-layer", length=20, sequences=4, seed=seed))
        probe = repeated_probe(subject.identity.vocabulary, subject.request.options)
        kept = store.get(score_key(subject))
        assert kept is not None
        quiet = measure_first(load_model("two-layer"), probe)
        for name, values in quiet.per_sequence.items():
            assert np.array_equal(kept.arrays[f"score.{name}"], values, equal_nan=True), name


def test_thirty_head_cards_are_all_done_and_nobody_is_refused(server: str) -> None:
    heads = [f"L{layer}H{head}" for layer in range(2) for head in range(4)]
    room = [Visitor(server, "Head_card", {"model": "two-layer", "head": heads[n % len(heads)]}) for n in range(PEOPLE)]
    together(room, lambda visitor: visitor.until_still(500))
    assert [visitor.errors for visitor in room] == [[]] * PEOPLE
    assert any("in line before it" in text for visitor in room for text in visitor.progress), "a place in the queue is told"


def test_a_bystanders_small_question_comes_before_twenty_long_ones_of_one_person(server: str) -> None:
    long = [
        Visitor(server, "Heads", {"model": "by-construction", "length": "100", "sequences": str(600 + n)}, browser="greedy")
        for n in range(20)
    ]
    with ThreadPoolExecutor(20) as room:
        list(room.map(lambda visitor: visitor.open(), long))
        list(room.map(lambda visitor: visitor.until_drawn(), long))
        with Visitor(server, "Heads", {"model": "two-layer", "length": "20", "sequences": "2", "seed": "5"}) as bystander:
            bystander.until_still(60)
            assert not bystander.errors and "Heads of two" in bystander.shown
        waiting = list(room.map(lambda visitor: visitor.for_seconds(1).progress[-1:], long))
        assert sum("in line before it" in text for [text] in filter(None, waiting)) >= 15, "and theirs are still to come"
        list(room.map(lambda visitor: visitor.close(), long))


def test_nothing_can_be_uploaded_where_no_page_asks_for_a_file(server: str) -> None:
    """By a visitor who has everything that a page would have: a session, and the token against forged requests."""
    cookies = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    opener.open(f"{server}/_stcore/health", timeout=20).read()
    [token] = [cookie.value for cookie in cookies if cookie.name == "_streamlit_xsrf"]
    edge = b"--edge"
    head = b'Content-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    with Visitor(server, "", {}) as visitor:
        visitor.until_drawn()
        for size in (1, 4_000_000):
            request = urllib.request.Request(
                f"{server}/_stcore/upload_file/{visitor.session}/one",
                method="PUT",
                data=edge + b"\r\n" + head + bytes(size) + b"\r\n" + edge + b"--\r\n",
                headers={"Content-Type": "multipart/form-data; boundary=edge", "X-Xsrftoken": token or ""},
            )
            # What is too long to be read is cut off.
            with pytest.raises(urllib.error.URLError) as refused:
                opener.open(request, timeout=20)
            assert getattr(refused.value, "code", 413) == 413
