"""A window without a browser: it speaks the dashboard's own websocket, so that a room full of them fits on one machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol


@dataclass
class Visitor:
    """One window on one page; what it has been shown since the page was last drawn whole.

    browser: a cookie's value: windows of the same are one person's.
    headers: more that the window's connection says, a password for example.
    resume: a session that the window says is its own; patience: seconds until it gives up a connection.
    buttons: by their labels, the ids that pressing them is said with; sliders: the same of what is moved.
    downloads: addresses of files that the page offers; controls: of all that has a value, what it is, by its id.
    """

    address: str
    page: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    browser: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    resume: str = ""
    patience: float = 60.0
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)
    sliders: dict[str, str] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    controls: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    finished_runs: int = 0
    session: str = ""

    def __enter__(self) -> Visitor:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Connect, and ask for the page."""
        headers = self.headers if self.browser is None else self.headers | {"Cookie": f"_streamlit_xsrf={self.browser}"}
        uri = self.address.replace("http", "ws", 1) + "/_stcore/stream"
        self._open = ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(
                uri,
                subprotocols=[Subprotocol(part) for part in ("streamlit", *(("none", self.resume) if self.resume else ()))],
                additional_headers=headers,
                max_size=None,
                open_timeout=self.patience,
                ping_interval=None,
            )
        )
        self._polls: dict[str, tuple[float, float]] = {}
        self._waiting, self._running, self._page_hash = False, False, ""
        self._ask()

    def close(self) -> None:
        """Close the window."""
        self._open.close()

    def until_still(self, seconds: float = 120.0, quiet: float = 1.2) -> Visitor:
        """Poll as a browser does until the page is drawn and nothing is under way any more."""
        deadline, still = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < deadline:
            if self._listen(0.1):
                still = time.monotonic()
            busy = self._polls or self._waiting or self._running
            if self.finished_runs and not busy and time.monotonic() - still > quiet:
                return self
        raise AssertionError(f"{self.page} {self.parameters} was not done in {seconds:.0f} s: {self.progress[-1:]}")

    def until_drawn(self, seconds: float = 60.0) -> Visitor:
        """Until the page has been drawn once, whatever is still under way on it."""
        deadline = time.monotonic() + seconds
        while not self.finished_runs:
            assert time.monotonic() < deadline, f"{self.page} was not drawn in {seconds:.0f} s"
            self._listen(0.1)
        return self

    def for_seconds(self, seconds: float) -> Visitor:
        """Poll as a browser does for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._listen(0.1)
        return self

    @property
    def watching(self) -> bool:
        """Whether the page is drawn and looks after work that is under way."""
        return bool(self._polls) and not self._running

    def press(self, label: str) -> None:
        """Press a button of the page."""
        self._ask(*self.buttons[label])

    def send(self, data: bytes | str) -> None:
        """Send anything, whatever a browser would send."""
        self._socket.send(data)

    def say(self, states: Iterable[WidgetState], **asked: Any) -> None:
        """Say what controls hold, and ask for the page; `asked` are fields of that message in the place of a browser's."""
        message = self._rerun()
        message.rerun_script.widget_states.widgets.extend(states)
        for name, value in asked.items():
            setattr(message.rerun_script, name, value)
        self._socket.send(message.SerializeToString())
        self._waiting, self._polling = True, False

    def move(self, label: str, value: float, seconds: float = 60.0) -> Visitor:
        """Move a slider, and wait until the page has been drawn with it."""
        before, deadline = self.finished_runs, time.monotonic() + seconds
        self._ask(moved=(self.sliders[label], value))
        while self.finished_runs == before:
            assert time.monotonic() < deadline, f"{self.page} did not follow the slider in {seconds:.0f} s"
            self._listen(0.05)
        return self

    @property
    def shown(self) -> str:
        """All text of the page."""
        return "\n".join(self.texts)

    def _ask(self, pressed: str = "", fragment: str = "", moved: tuple[str, float] | None = None) -> None:
        message = self._rerun()
        state = message.rerun_script
        if pressed:
            state.widget_states.widgets.add(id=pressed, trigger_value=True)
        if moved is not None:
            state.widget_states.widgets.add(id=moved[0]).double_array_value.data.append(moved[1])
        if fragment:
            state.fragment_id = fragment
            state.is_auto_rerun = not pressed
        self._socket.send(message.SerializeToString())
        self._waiting, self._polling = True, bool(fragment) and not pressed

    def _rerun(self) -> BackMsg:
        message = BackMsg()
        state = message.rerun_script
        state.query_string = urlencode(self.parameters)
        state.page_name, state.page_script_hash = self.page, self._page_hash
        return message

    def _listen(self, seconds: float) -> bool:
        """Take one message, if there is one, and ask for what is due; whether anything was shown."""
        now = time.monotonic()
        for fragment, (every, due) in list(self._polls.items()):
            if now >= due and not self._waiting:
                self._polls[fragment] = (every, now + every)
                self._ask(fragment=fragment)
        try:
            data = self._socket.recv(timeout=seconds)
        except TimeoutError:
            return False
        except ConnectionClosed as error:
            raise AssertionError(f"the server closed the window: {error}") from error
        message = ForwardMsg()
        assert isinstance(data, bytes)
        message.ParseFromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session = message.new_session.initialize.session_id or self.session
            # The first run after a poll is the fragment's; one that follows it is of the whole page.
            if not self._polling:
                self.texts, self.errors, self._polls = [], [], {}
            self._polling, self._running = False, True
        elif kind == "navigation":
            self._page_hash = message.navigation.page_script_hash
        elif kind == "auto_rerun":
            self._polls[message.auto_rerun.fragment_id] = (message.auto_rerun.interval, now + message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            self._polls = {}
        elif kind == "script_finished":
            self._running = False
            if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self._waiting = False
            if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                self.finished_runs += 1
        elif kind == "delta":
            self._read(message)
        return kind == "delta"

    def _read(self, message: ForwardMsg) -> None:
        drawn = message.delta.add_block if message.delta.WhichOneof("type") == "add_block" else message.delta.new_element
        what = drawn.WhichOneof("type") or ""
        name = getattr(getattr(drawn, what, None), "id", "")
        if name:
            self.controls[name] = what
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind == "markdown":
            self.texts.append(element.markdown.body)
        elif kind == "heading":
            self.texts.append(element.heading.body)
        elif kind == "alert":
            self.texts.append(element.alert.body)
            if element.alert.format == element.alert.ERROR:
                self.errors.append(element.alert.body)
        elif kind == "exception":
            self.errors.append(element.exception.message)
        elif kind == "progress":
            self.progress.append(element.progress.text)
        elif kind == "button":
            self.buttons[element.button.label] = (element.button.id, message.delta.fragment_id)
        elif kind == "slider":
            self.sliders[element.slider.label] = element.slider.id
        elif kind == "download_button":
            self.downloads.append(element.download_button.url)
