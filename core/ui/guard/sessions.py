"""What a window remembers, touched by one run at a time.

A run that a newer one overtakes goes on until it next draws something. Streamlit gives each of the two a lock of its own, so
that one reads what the other is writing, and fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState

_LOCK = "headscope_lock"


def share_locks() -> None:
    """From now on the runs of one window share one lock."""
    begun = SafeSessionState.__init__
    if hasattr(begun, "shared"):
        return

    def init(self: SafeSessionState, state: SessionState, yield_callback: Callable[[], None]) -> None:
        begun(self, state, yield_callback)
        # A session's memory takes no further attributes; its address, made and let go with it, does. And an attribute that is
        # set on this object the usual way would be remembered by the session.
        object.__setattr__(self, "_lock", state.query_params.__dict__.setdefault(_LOCK, threading.RLock()))

    init.shared = True  # type: ignore[attr-defined]
    SafeSessionState.__init__ = init  # type: ignore[method-assign]
