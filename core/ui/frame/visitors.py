"""Who the visitor is to this server: on this machine itself, sent on by a server in front, or elsewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st
from streamlit.runtime import exists

from core.runtime.reachable import is_loopback
from core.runtime.teacher_key import given_key, opens

_UNLOCKED = "teachers_page_unlocked"
_KEY = "key"


def sent_on() -> bool:
    """Whether a server in front of this one sent the visitor on: then this machine's own address says nothing of who it is."""
    return any(name in st.context.headers for name in ("X-Forwarded-For", "Forwarded", "Via"))


def may_teach() -> bool:
    """Whether this window may use the teacher's page.

    With the key, given once in the address or typed. Where the server was started without a key of its own, also from this
    machine itself, unless another server stands in front.
    """
    said = st.query_params.get(_KEY)
    if said is not None:
        unlock(said)
        # It must not stand in an address bar that is on the wall.
        del st.query_params[_KEY]
    return bool(st.session_state.get(_UNLOCKED)) or (not given_key() and _at_this_machine())


def unlock(said: str) -> bool:
    """Open the teacher's page to this window if `said` is the key; whether it is."""
    if opens(said.strip()):
        st.session_state[_UNLOCKED] = True
        return True
    return False


def _at_this_machine() -> bool:
    """Whether the window is open on the machine that the server runs on, and nobody stands between."""
    if not exists() or sent_on():
        return False
    # Both ends: who came, and under which name. Streamlit says None of the two usual numbers of a machine itself.
    came_from = st.context.ip_address
    named = urlsplit(f"//{st.context.headers.get('Host', '')}").hostname
    return (came_from is None or is_loopback(came_from)) and is_loopback(named)
