"""Visitors of one server who mean harm to it or to each other: over the websocket and by plain requests, as anybody can."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from core.runtime.jobs import JobPool
from core.runtime.turns import Ledger
from core.sharing.address import MAX_ADDRESS_CHARACTERS
from tests.browser.conftest import running_server
from tests.helpers.processes import server_at
from tests.helpers.visitor import Visitor

MB = 10**6
SMALL = {"model": "two-layer", "length": "12", "sequences": "2"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all of them: what one does must not be felt by the next."""
    with running_server(tmp_path_factory.mktemp("hostile")) as address:
        with Visitor(address, "Heads", SMALL) as first:
            first.until_still()
        yield address


@pytest.fixture(autouse=True)
def still_serves(server: str) -> Iterator[None]:
    """After each: a stranger's page is drawn."""
    yield
    with Visitor(server, "Heads", SMALL) as stranger:
        assert "Heads of two" in stranger.until_still(60).shown and not stranger.errors


def memory(address: str) -> int:
    return int(server_at(address).memory_info().rss)


def refused(window: Visitor) -> bool:
    """Whether the server closes a window instead of drawing its page."""
    try:
        with window:
            window.until_drawn(20)
    except AssertionError as error:
        return "the server closed the window" in str(error)
    except InvalidStatus as error:
        return 400 <= error.response.status_code < 500
    except (OSError, InvalidMessage, ConnectionClosed):  # it hangs up, or gives no answer at all
        return True
    return False


def status(address: str, cookie: str = "") -> int:
    """The answer's number; 0 where the server hangs up instead."""
    return answered(address, cookie)[0]


def answered(address: str, cookie: str = "") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers={"Cookie": cookie}), timeout=20) as answer:
            return answer.status, answer.read(200)
    except urllib.error.HTTPError as error:
        return error.code, error.read(200)
    except OSError:
        return 0, b""


def test_an_address_of_many_megabytes_closes_its_window_and_costs_nothing(server: str) -> None:
    before = memory(server)
    for _ in range(6):
        assert refused(Visitor(server, "Heads", SMALL | {"text": "x" * 24 * MB}))
    # Messages are taken in before they are looked at, and one of them at a time is free again.
    assert memory(server) - before < 80 * MB


def test_a_long_address_is_not_read_and_that_is_said(server: str) -> None:
    with Visitor(server, "Heads", SMALL | {"nobody": "x" * 400_000}) as window:
        window.until_still(60)
        assert f"An address has at most {MAX_ADDRESS_CHARACTERS:,} characters" in window.shown.replace("\\", "")
        assert "Heads of two" not in window.shown, "the default model's"
    before = memory(server)
    windows = [Visitor(server, "Heads", SMALL | {f"n{number}": "x" * 400_000}) for number in range(12)]
    for each in windows:
        each.open()
        each.until_drawn()
    held = (memory(server) - before) / len(windows)
    for each in windows:
        each.close()
    assert held < 5 * MB, "as much as a window holds anyhow"


@pytest.mark.parametrize("path", ["/?text=", "/Heads?nobody=", "/_stcore/health?x="])
def test_a_long_request_is_refused(server: str, path: str) -> None:
    assert status(server + path + "x" * MB) in (0, 400, 414)


@pytest.mark.parametrize(
    "cookie",
    [
        "x" * 24 * MB,
        "; ".join(f"n{n}={n}" for n in range(20_000)),
        "_streamlit_xsrf=2|zz|zz|1",
        "=;;=",
        "_streamlit_xsrf=2||",
    ],
    ids=["long", "many", "forged", "odd", "empty"],
)
def test_whatever_a_cookie_says_a_page_is_drawn_or_the_window_refused(server: str, cookie: str) -> None:
    for round_ in range(4):
        if round_ == 1:
            before = memory(server)
        window = Visitor(server, "Heads", SMALL, headers={"Cookie": cookie}, patience=1.0 if len(cookie) > 10_000 else 60.0)
        assert refused(window) == (len(cookie) > 10_000)
        assert (status(f"{server}/", cookie) == 200) == (len(cookie) < 10_000)
    assert memory(server) - before < 20 * MB


def test_thousands_of_browsers_leave_no_account_behind() -> None:
    """Who makes up a cookie for each of his windows is many people; the accounts of them are bounded."""
    ledger = Ledger()
    for number in range(20_000):
        ledger.charge(frozenset({f"browser {number}"}), 0.001)
    assert len(ledger._had) <= 4097
    pool = JobPool()
    jobs = [pool.submit(f"{n}", lambda control: None, f"window {n}", person=f"browser {n}") for n in range(300)]
    for job in jobs:
        job.result(30)
    for thread in [each for each in threading.enumerate() if each.name.startswith("job ")]:
        thread.join(10)
    assert not pool._in_line and not pool._held


def long_work(server: str, browser: str) -> Visitor:
    """A window that waits for minutes of work, the same for everybody."""
    asked = {"model": "by-construction", "length": "100", "sequences": "800"}
    window = Visitor(server, "Heads", asked, browser=browser)
    window.open()
    for _ in range(40):
        if window.until_drawn().for_seconds(0.5).watching and "Cancel" in window.buttons:
            return window
    raise AssertionError("nothing is under way")


def until(window: Visitor, text: str) -> bool:
    """Whether a window shows a text within some seconds."""
    deadline = time.monotonic() + 20
    while text not in window.shown and time.monotonic() < deadline:
        window.for_seconds(0.3)
    return text in window.shown


def test_nobody_cancels_what_somebody_else_waits_for(server: str) -> None:
    with closing(long_work(server, "owner")) as owner, closing(long_work(server, "thief")) as thief:
        # By the button that is shown to him, by the owner's own one, and again.
        assert owner.buttons["Cancel"][0] == thief.buttons["Cancel"][0], "the same work has the same button"
        thief.press("Cancel")
        assert until(thief, "You cancelled this computation")
        for _ in range(3):
            thief.buttons["Cancel"] = (owner.buttons["Cancel"][0], "")
            thief.press("Cancel")
            thief.for_seconds(0.5)
        told = len(owner.progress)
        owner.for_seconds(3)
        assert "You cancelled" not in owner.shown and len(owner.progress) > told, "it goes on, and says so"
        owner.press("Cancel")
        assert until(owner, "You cancelled this computation")


@pytest.mark.parametrize("guess", ["", "0", "00000000-0000-0000-0000-000000000000", "../../etc/passwd", "x" * 4000])
def test_a_made_up_session_is_nobodys(server: str, guess: str) -> None:
    """Whoever knows a session's 122 random bits is that window; who makes some up gets a session of his own."""
    with Visitor(server, "Heads", SMALL) as owner:
        owner.until_still()
        tried = guess or owner.session[:-1] + ("1" if owner.session.endswith("0") else "0")
        with Visitor(server, "Heads", SMALL, resume=tried.replace("/", "-")) as thief:
            thief.until_drawn()
            assert thief.session not in (owner.session, tried) and owner.session not in thief.shown


PLACES = (
    "/media/",
    "/media",
    "/media/..%2f..%2fetc%2fpasswd",
    "/media/../../etc/passwd",
    "/_stcore/upload_file/",
    "/app/static/../app.py",
)
PLACES += (
    "/static/..%2f..%2f..%2fetc%2fpasswd",
    "/media/" + "0" * 56 + ".csv",
    "/app/static/%2e%2e/%2e%2e/.streamlit/config.toml",
)


def test_files_are_had_by_their_address_alone_and_no_address_lists_them(server: str) -> None:
    with Visitor(server, "Attention", SMALL | {"head": "L1H0"}) as owner:
        owner.until_still()
        assert owner.downloads
        first = owner.downloads[0]
        assert status(server + first) == 200
        # 128 bits: nobody comes upon it by trying.
        name = Path(urlsplit(first).path).stem
        assert len(name) >= 32 and set(name) <= set("0123456789abcdef")
        guessed = [first.replace(name, name[:-1] + other) for other in "0123456789abcdef" if other != name[-1]]
        with ThreadPoolExecutor(8) as crowd:
            assert set(crowd.map(lambda path: status(server + path), guessed)) == {404}
        for place in PLACES:
            code, body = answered(server + place)
            # A path that is no file's is a page's, as Streamlit sees it: its one document, the same for all.
            assert code in (400, 403, 404, 405) or b"Copyright (c) Streamlit Inc" in body, place
            assert b"root:" not in body and b"maxUploadSize" not in body and b"HeadScope" not in body, place
