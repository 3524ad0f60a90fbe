"""What a window can send that no browser does: values that no control can have, what is no message, and too many of them."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed

from core.runtime.pace import Pace
from core.settings.view import THRESHOLD_SLIDER
from tests.browser.conftest import running_server
from tests.helpers.odd_values import ODD_VALUES
from tests.helpers.visitor import Visitor

SMALL = {"model": "two-layer", "length": "12", "sequences": "2"}


@dataclass
class Server:
    """A server's address, and where it writes."""

    address: str
    folder: Path

    @property
    def lines(self) -> list[str]:
        """What it has written so far."""
        [log] = self.folder.glob("server-*.log")
        return log.read_text(errors="replace").splitlines()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all; a traceback in its log fails the last test."""
    folder = tmp_path_factory.mktemp("messages")
    with running_server(folder, odd=True) as address:
        with Visitor(address, "Heads", SMALL) as first:
            first.until_still()
        yield Server(address, folder)


@contextmanager
def lines_at_most(server: Server, most: int) -> Iterator[None]:
    """The server writes no more than so many lines meanwhile, and none of a traceback."""
    before = len(server.lines)
    yield
    written = server.lines[before:]
    assert len(written) <= most and "Traceback" not in "".join(written), written


def after(window: Visitor) -> Visitor:
    """The window, once its last message is done."""
    deadline = time.monotonic() + 20
    while window._waiting or window._running:
        assert time.monotonic() < deadline, "the page was not drawn"
        window._listen(0.02)
    return window


@pytest.mark.parametrize("page", ["Ablation", "Compare"])
def test_values_that_no_control_can_hold_are_left_out_or_said_in_a_sentence(server: Server, page: str) -> None:
    """Every kind of value to every control of the page at once, first of all those of a window that has just come."""
    with Visitor(server.address, page, SMALL | {"head": "L1H0"}) as window:
        window.until_still()
        # Another model's page has other controls; that a model is not there is tested elsewhere.
        controls = [name for name in window.controls if not name.endswith("-model")]
        assert len({window.controls[name] for name in controls}) > 5
        with lines_at_most(server, 1):
            for odd in ODD_VALUES[:: 3 if page == "Ablation" else 9]:
                window.say([odd(name) for name in controls])
                after(window)
                assert not [error for error in window.errors if "defect" in error or "has encountered" in error]
    with Visitor(server.address, page, SMALL) as window, lines_at_most(server, 1):
        window.say([odd(name) for name, odd in zip(controls, reversed(ODD_VALUES), strict=False)])
        assert not after(window).errors


@pytest.mark.parametrize("field", ["int_value", "double_value"])
def test_a_number_is_taken_as_a_browser_says_it(server: Server, field: str) -> None:
    with Visitor(server.address, "Heads", SMALL) as window, lines_at_most(server, 0):
        window.until_still()
        [seed] = [name for name in window.controls if name.endswith("-seed")]
        window.say([WidgetState(id=seed, **{field: 11})])
        assert "seed 11" in after(window).until_still().shown


def test_a_choice_that_is_taken_back_is_the_one_before_and_another_can_be_made(server: Server) -> None:
    """A message without a value is a browser's, too; Streamlit no longer knows afterwards of what kind the control is."""
    with Visitor(server.address, "Heads", SMALL) as window, lines_at_most(server, 0):
        window.until_still()
        [picked] = [name for name in window.controls if name.endswith("-head")]
        before = "No head picked"
        for head in ("L1H0", "L1H1"):
            window.say([WidgetState(id=picked)])
            assert before in after(window).until_still().shown
            window.say([WidgetState(id=picked, string_value=head)])
            before = f"{head}: layer 1"
            assert before in after(window).until_still().shown
        window.say([WidgetState(id=picked)])
        after(window)
    with Visitor(server.address, "Heads", SMALL) as window, lines_at_most(server, 1):
        window.until_still()
        window.say([WidgetState(id=picked)])
        after(window)
        window.say([WidgetState(id=picked, bool_value=True)])
        assert "No head picked" in after(window).until_still().shown, "what kind it is of is known all the same"


def operation(session: str, file: str) -> bytes:
    message = BackMsg()
    message.backend_operation_request.session_id = session
    message.backend_operation_request.deferred_file.file_id = file
    return bytes(message.SerializeToString())


def test_what_is_no_message_closes_its_window_with_one_line(server: Server) -> None:
    readable = BackMsg()
    readable.rerun_script.query_string = "model=two-layer"
    for garbage in (b"\xff" * 10, readable.SerializeToString()[:-1], b"\0" * 1_900_000, b"\0" * 3_000_000, "hello", ""):
        with lines_at_most(server, 1), Visitor(server.address, "Heads", SMALL) as window:
            window.until_drawn()
            window.send(garbage)
            with pytest.raises(AssertionError, match="the server closed the window"):
                window.for_seconds(20)


def test_what_no_page_has_a_browser_say_is_left_out(server: Server) -> None:
    """Emptying caches that are everybody's is among it."""
    asked = ("clear_cache", "set_run_on_save", "load_git_info", "debug_disconnect_websocket", "debug_shutdown_runtime")
    with Visitor(server.address, "Heads", SMALL) as window:
        window.until_still()
        with lines_at_most(server, 1):
            for message in (b"", b"\xfa\xff\x07\x03abc", *(BackMsg(**{kind: True}).SerializeToString() for kind in asked)):
                window.send(message)
            window.send(operation(window.session, "nobody's"))
            for fields in ({"page_script_hash": "x" * 1000}, {"page_name": "../../etc"}, {"query_string": "model=%ff%00&&=&a"}):
                window.say([], **fields)
                after(window)
        window.say([])
        assert not after(window).errors and "HeadScope" in window.shown


def test_the_first_window_of_a_server_is_bounded_too(tmp_path: Path) -> None:
    """Before any page was drawn; the server's log is looked through for tracebacks at its end."""
    with running_server(tmp_path, odd=True) as address:
        for data in (b"\xff" * 10, "a line of text"):
            window = Visitor(address, "Heads", SMALL)
            window.open()
            window.send(data)
            with pytest.raises(AssertionError, match="the server closed the window"):
                window.for_seconds(20)
            window.close()


@pytest.mark.parametrize("origin", ["http://[", "null", "http://elsewhere.example"])
def test_a_window_of_an_odd_origin_is_refused_without_a_traceback(server: Server, origin: str) -> None:
    with lines_at_most(server, 4), pytest.raises(Exception, match="403"):
        Visitor(server.address, "Heads", SMALL, headers={"Origin": origin}).open()


def status(address: str) -> int:
    """The answer's number."""
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_names_that_no_file_has_are_not_found(server: Server) -> None:
    with lines_at_most(server, 0):
        for name in ("x" * 5000, "%f0%9f%98%80" * 300, "a/" * 2000, "%00", "%ff%fe", "icon.svg/x", "%zz"):
            for place in ("/app/static/", "/static/", "/media/", "/component/x/", "/_stcore/bidi-components/x/", "/"):
                allowed = (400, 403, 404) if place in ("/app/static/", "/media/") else (200, 400, 403, 404)
                assert status(f"{server.address}{place}{name}") in allowed, (place, name[:20])


def slowest_health(address: str, stop: threading.Event, took: list[float]) -> None:
    while not stop.wait(0.05):
        begun = time.monotonic()
        urllib.request.urlopen(f"{address}/_stcore/health", timeout=60).read()
        took.append(time.monotonic() - begun)


def go_on_sending(window: Visitor, seconds: float) -> None:
    """More than the bound for so long: where a busy machine stands still for a second, that is a pause of the sender's."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(30):
            window.say([])
        window.for_seconds(0.2)


def test_a_window_that_sends_without_end_holds_up_nobody_and_is_closed(server: Server) -> None:
    stop, took = threading.Event(), [0.0]
    watch = threading.Thread(target=slowest_health, args=(server.address, stop, took))
    with lines_at_most(server, 1), Visitor(server.address, "Heads", SMALL) as flood:
        flood.until_still()
        watch.start()
        try:
            for _ in range(1500):
                flood.say([])
            with Visitor(server.address, "Heads", SMALL) as stranger:
                assert "Heads of two" in stranger.until_drawn(10).shown
            with pytest.raises((AssertionError, ConnectionClosed), match="the server closed the window|1008"):
                go_on_sending(flood, 120)
        finally:
            stop.set()
            watch.join()
    # A twentieth of a second on a quiet machine, 3.5 without the bound.
    assert max(took) < 1.0


def test_a_dragged_slider_is_followed_at_once_and_to_its_end(server: Server) -> None:
    """Sixty places at thirty a second, which the bound does not touch: the last is what the page is drawn for."""
    with Visitor(server.address, "Heads", SMALL) as window:
        window.until_still()
        with lines_at_most(server, 0):
            for step in range(60):
                window._ask(moved=(window.sliders[THRESHOLD_SLIDER], 0.205 + step / 200))
                window._listen(1 / 30)
            begun = time.monotonic()
            after(window)
            assert time.monotonic() - begun < 5 and not window.errors
        assert "0.50" in window.shown.replace("\\", "")


def test_a_pace_lets_bursts_go_and_makes_the_rest_wait() -> None:
    now = 0.0
    pace = Pace(rate=10, burst=3, clock=lambda: now)
    assert [pace.take() for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    now = 0.2
    assert pace.hurried() == pytest.approx(0.2) and pace.take() == pytest.approx(0.1)
    now = 5.0
    assert pace.take() == 0 and pace.hurried() == 0


def test_waits_that_last_a_little_too_long_are_no_pause() -> None:
    now = 0.0
    pace = Pace(rate=60, burst=120, clock=lambda: now)
    for _ in range(900):
        now += pace.take() * 1.1
    assert pace.hurried() > 5
