"""Who is looking: each window's name, whose window it is, and whether it is still open."""

from __future__ import annotations

import hashlib
import uuid

import streamlit as st
from streamlit.runtime import Runtime, exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.runtime.lru import Lru

_VIEWER = "viewer"
_COOKIE = "_streamlit_xsrf"
# Of each viewer, the session whose window it is.
_sessions: dict[str, str] = {}
_MOST_KNOWN = 4096
# Closed windows whose work may still be waiting for its end.
_forgotten: Lru[str, bool] = Lru(8 * _MOST_KNOWN)


def viewer() -> str:
    """This window's name among those who want a result."""
    found: str = st.session_state.setdefault(_VIEWER, uuid.uuid4().hex)
    context = get_script_run_ctx()
    if context is not None:
        if len(_sessions) > _MOST_KNOWN:
            _forget_closed()
        _sessions[found] = context.session_id
    return found


def person() -> str:
    """Whose window this is: a browser with twenty of them is one person; a window that does not say is its own."""
    cookie = st.context.cookies.get(_COOKIE) if exists() else None
    return viewer() if not isinstance(cookie, str) or not cookie else hashlib.sha256(browser_of(cookie)).hexdigest()


def browser_of(cookie: str) -> bytes:
    """What a browser's cookie against forged requests keeps: its text is masked anew with every answer.

    `2|mask|masked token|time`, the first two as hexadecimal numbers; whatever is none of that is taken as it is.
    """
    version, *rest = cookie.split("|")
    try:
        mask, masked = (bytes.fromhex(part) for part in rest[:2])
    except ValueError:
        return cookie.encode()
    if version != "2" or not mask:
        return cookie.encode()
    return bytes(byte ^ mask[place % len(mask)] for place, byte in enumerate(masked))


def present(name: str) -> bool:
    """Whether that viewer's window is open. Who has no window, as the server itself, is always there."""
    if name not in _sessions:
        return _forgotten.get(name) is None
    if not exists():
        return True
    session = _sessions[name]
    runtime: Runtime = get_instance()
    return runtime.is_active_session(session)


def _forget_closed() -> None:
    for name in [name for name in list(_sessions) if not present(name)]:
        del _sessions[name]
        _forgotten.put(name, True)
