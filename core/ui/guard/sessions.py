"""What a window remembers, touched by one run at a time, and set for good.

A run that a newer one overtakes goes on until it next draws something. Streamlit gives each of the two a lock of its own, so
that one reads what the other is writing, and fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx
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


def put_in_controls(values: Mapping[str, object]) -> None:
    """Have controls hold `values`, by their keys, from the next time on that they are drawn; before they are drawn in this run.

    What was written before a control was drawn lies below the control's own value, and would come up again, with all that was
    chosen since lost, once the control is gone: it is taken away. The tie between a key and its control is not: a run that is
    overtaken before it has drawn the control leaves it to the next, which could else not read what was chosen meanwhile. For
    the same reason nothing can come in between, as it can wherever a page touches its memory by Streamlit's own ways.

    Raises StopException where a newer run has overtaken this one: what it has read is kept.
    """
    context = get_script_run_ctx()
    assert context is not None, "only a page has controls"
    memory: Any = context.session_state
    with memory._lock:
        # Once nobody else can begin: a run that waited here for the newer one to read a choice would write over that choice.
        memory._yield_callback()
        state: SessionState = memory._state
        for name, value in values.items():
            control = state._key_id_mapper.get_id_from_key(name)
            if name in state:
                del state[name]
            state[name] = value
            if control is not None:
                state._key_id_mapper[name] = control
