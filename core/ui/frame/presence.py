"""Who is looking: each window's name, whose window it is, and whether it is still open."""

from __future__ import annotations

import hashlib
import uuid

import streamlit as st
from streamlit.runtime import Runtime, exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

_VIEWER = "viewer"
_COOKIE = "_streamlit_xsrf"
# Of each viewer, the session whose window it is.
_sessions: dict[str, str] = {}
_MOST_KNOWN = 4096


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
    return viewer() if not isinstance(cookie, str) or not cookie else hashlib.sha256(cookie.encode()).hexdigest()


def present(name: str) -> bool:
    """Whether that viewer's window is open. Who has no window, as the server itself, is always there."""
    session = _sessions.get(name)
    if session is None or not exists():
        return True
    runtime: Runtime = get_instance()
    return runtime.is_active_session(session)


def _forget_closed() -> None:
    for name in [name for name in list(_sessions) if not present(name)]:
        del _sessions[name]
