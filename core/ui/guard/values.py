"""What a window says its controls hold: left out where that control cannot hold it, before anything reads it.

Streamlit takes the browser's word for the type, and fails in the middle of a run where it was none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.state.common import WidgetMetadata, unpack_widget_state_value
from streamlit.runtime.state.session_state import Serialized, SessionState

from core.runtime.lru import Lru

_log = logging.getLogger("headscope")
# How the ids begin that Streamlit gives to controls.
_OF_CONTROLS = "$$"
# Of a whole number the browser says the one, and Streamlit expects the other.
_NUMBERS = {"int_value", "double_value"}
_told: Lru[str, bool] = Lru(4096)
# What kind of value each control holds, by its id, which is made from what it is. Streamlit's own record of a session forgets
# it where a choice is taken back.
_kinds: Lru[str, str] = Lru(16384)
_JSON = ("json_value", "json_trigger_value")


def check_values() -> None:
    """From now on a value that its control cannot hold is left out: the control keeps what it had, or has its default."""
    told, registered = SessionState.set_widgets_from_proto, SessionState.register_widget
    if hasattr(told, "checked"):
        return

    def set_widgets_from_proto(self: SessionState, widget_states: WidgetStates) -> None:
        known = self._new_widget_state.widget_metadata
        fitting = [
            state
            for state in widget_states.widgets
            # Below a name without it lies what the page itself remembers.
            if state.id.startswith(_OF_CONTROLS) and _fits(state, known.get(state.id))
        ]
        if len(fitting) < len(widget_states.widgets):
            _say()
            # In the message itself: what reads it later, triggers first of all, must not find them either.
            del widget_states.widgets[:]
            widget_states.widgets.extend(fitting)
        told(self, widget_states)

    def register_widget(self: SessionState, metadata: WidgetMetadata[Any], user_key: str | None) -> Any:
        # A page's first message comes before its controls are known.
        _kinds.put(metadata.id, metadata.value_type)
        waiting = self._new_widget_state.states.get(metadata.id)
        if isinstance(waiting, Serialized) and not _fits(waiting.value, metadata):
            _say()
            del self._new_widget_state[metadata.id]
        return registered(self, metadata, user_key)

    set_widgets_from_proto.checked = True  # type: ignore[attr-defined]
    changes: dict[str, Callable[..., Any]] = {
        "set_widgets_from_proto": set_widgets_from_proto,
        "register_widget": register_widget,
    }
    for name, method in changes.items():
        setattr(SessionState, name, method)


def _say() -> None:
    """One line in the log for a window, however many it sends."""
    context = get_script_run_ctx()
    window = "" if context is None else context.session_id
    if _told.get(window) is None:
        _told.put(window, True)
        _log.warning("a window sent values that its controls cannot hold: they are left out")


def _fits(state: WidgetState, metadata: WidgetMetadata[Any] | None) -> bool:
    """Whether a control can hold what was sent for it; one that is not known yet is looked at when it is."""
    kind = _kinds.get(state.id)
    if metadata is None or kind is None:
        return True
    field = state.WhichOneof("value")
    # Without a value: a choice that was taken back, or that nobody has made yet.
    if field not in (None, kind) and not {field, kind} <= _NUMBERS:
        return False
    try:
        # A component writes what it cannot read to the log, whole, and goes on.
        if field in _JSON and not isinstance(json.loads(getattr(state, field)), dict | list):
            return False
        metadata.deserializer(unpack_widget_state_value(state))
    except Exception:
        # Each kind of control fails in its own way on what it cannot read.
        return False
    return True
