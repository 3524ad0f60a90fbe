"""What a window sends: read only if it can be read, at a pace that leaves the server to others.

Streamlit answers a message that is none with a traceback in the log, and begins a run of the page for each that is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, NoReturn

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit import net_util
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime.media_file_storage import MediaFileStorageError
from streamlit.runtime.runtime_util import get_max_widget_state_size_bytes
from streamlit.web.server.starlette import starlette_websocket

from core.runtime.pace import Pace

_log = logging.getLogger("headscope")
# Twice what a slider that is dragged sends; a page's polls come to a few a second.
MESSAGES_A_SECOND = 60.0
MESSAGES_AT_ONCE = 120
# Nobody moves anything that fast for so long.
MOST_SECONDS_TOO_FAST = 5.0
# What a page of this dashboard can make a browser say. Not among them: emptying everybody's caches, asking for the state of the
# folder's git, and for places to put files, of which no page takes any.
KINDS = frozenset({"rerun_script", "stop_script", "app_heartbeat", "backend_operation_request"})
# Who says with a traceback that a message of text is none, and that there is no such file to download.
_LOGS = ("uvicorn.error", "streamlit.runtime.backend_operation_handler")
_UNREADABLE, _TOO_FAST = 1007, 1008


def bound_messages() -> None:
    """From now on a window whose message cannot be read, or that sends without a pause, is closed with one line in the log.

    Below that, what comes too fast waits; what no page has a browser say is left out.
    """
    received = WebSocket.receive_bytes
    if hasattr(received, "bounded"):
        return

    async def receive_bytes(self: WebSocket) -> bytes:
        pace: Pace = self.scope.setdefault("headscope.pace", Pace(MESSAGES_A_SECOND, MESSAGES_AT_ONCE))
        while True:
            data = await _received(self, received)
            await asyncio.sleep(pace.take())
            if pace.hurried() > MOST_SECONDS_TOO_FAST:
                await _close(self, _TOO_FAST, f"sent more than {MESSAGES_A_SECOND:.0f} messages a second without a pause")
            if len(data) > get_max_widget_state_size_bytes():
                # Streamlit itself closes the window, and says so.
                return data
            kind = _kind(data)
            if kind in KINDS:
                return data
            if kind is None:
                await _close(self, _UNREADABLE, "sent what is no message of a page")

    receive_bytes.bounded = True  # type: ignore[attr-defined]
    WebSocket.receive_bytes = receive_bytes  # type: ignore[assignment,method-assign]
    _refuse_odd_origins()
    for name in _LOGS:
        logging.getLogger(name).addFilter(_in_one_line)


def _refuse_odd_origins() -> None:
    """A window whose origin is no address comes from elsewhere; Streamlit fails where it is read.

    And of one that is another's address it asks a server elsewhere whether this machine is known there by that: everybody
    would wait for the answer, and nothing leaves this machine.
    """
    net_util.get_external_ip = lambda: None
    allowed = starlette_websocket._is_origin_allowed

    def is_origin_allowed(origin: str | None, host: str | None) -> bool:
        try:
            return allowed(origin, host)
        except ValueError:
            return False

    starlette_websocket._is_origin_allowed = is_origin_allowed


def _in_one_line(record: logging.LogRecord) -> bool:
    """Take the traceback from what is said of a visitor's mistake; nothing is left out."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError | MediaFileStorageError):
        record.exc_info = None
    return True


async def _received(window: WebSocket, received: Any) -> bytes:
    """The next message.

    Raises WebSocketDisconnect where there is none any more, or it is text.
    """
    try:
        data = await received(window)
    except KeyError:  # a message of text has no bytes
        data = None
    except RuntimeError as error:  # this side has closed the window
        raise WebSocketDisconnect from error
    if not isinstance(data, bytes):
        await _close(window, _UNREADABLE, "sent text, and pages send none")
    return data


def _kind(data: bytes) -> str | None:
    """Which kind of message it is, "" for one that says nothing; None where it is none."""
    message = BackMsg()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return message.WhichOneof("type") or ""


async def _close(window: WebSocket, code: int, why: str) -> NoReturn:
    """Close the window with one line in the log.

    Raises WebSocketDisconnect, always, which ends what reads from it.
    """
    _log.warning("a window was closed: it %s", why)
    with contextlib.suppress(RuntimeError):  # it has gone by itself
        await window.close(code=code)
    raise WebSocketDisconnect(code)
