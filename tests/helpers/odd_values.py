"""What no browser says of a control: every kind of value that the protocol has, with nonsense in it."""

from __future__ import annotations

import json
from collections.abc import Callable

from streamlit.proto.WidgetStates_pb2 import WidgetState

_INFINITE, _NAN = float("inf"), float("nan")
_NESTED = "[" * 3000 + "]" * 3000
_TEXTS = (
    "",
    "x",
    "L99H99",
    "-1",
    "1e999",
    "nan",
    "\0",
    "]",
    "[]",
    "null",
    "7",
    '"x"',
    "x" * 20_000,
    "\u202e\U0001f600",
    _NESTED,
)
_TEXTS += (
    '{"selection": 5}',
    '{"selection": {"points": 5, "point_indices": "a", "box": {}, "lasso": 1}}',
    '{"selection": null}',
)
_TEXTS += ('{"selection": {"rows": ["x", -1, 1e9, null], "columns": 5, "cells": [[]]}}', '{"selection": {"rows": [99999]}}')
_TEXTS += (
    '{"selection": null}',
    '{"selection": {"points": [5, null, {"customdata": {"a": []}}, {"customdata": "L99H99"}], "lasso": 9}}',
)
_EVENTS = ("picked", "narrow", "theme", "pinned")
_JSON = (*_TEXTS, '{"value": 5}')
_JSON += tuple(json.dumps({"event": name, "value": value}) for name in _EVENTS for value in (5, {"a": []}))
_JSON += tuple(json.dumps({name: value}) for name in _EVENTS for value in ([99, 99], "x", {"a": 1}, [None, None], 1e300))
_NUMBERS = ([], [_NAN], [_INFINITE], [-_INFINITE], [1e308], [-1.0], [1e18], [0.5, 0.1], [0.1] * 50, [5e-324])
_WHOLE = ([], [-1], [99], [2**62], [-(2**62)], [0, 0, 0])


def _simple(field: str, value: object) -> Callable[[str], WidgetState]:
    return lambda name: WidgetState(**{"id": name, field: value})  # type: ignore[arg-type]


def _listed(field: str, values: object) -> Callable[[str], WidgetState]:
    def made(name: str) -> WidgetState:
        state = WidgetState(id=name)
        getattr(state, field).data.extend(values)
        getattr(state, field).SetInParent()
        return state

    return made


def _emptied(field: str) -> Callable[[str], WidgetState]:
    def made(name: str) -> WidgetState:
        state = WidgetState(id=name)
        getattr(state, field).SetInParent()
        return state

    return made


ODD_VALUES: tuple[Callable[[str], WidgetState], ...] = (
    lambda name: WidgetState(id=name),
    *(_simple("trigger_value", value) for value in (True, False)),
    *(_simple("bool_value", value) for value in (True, False)),
    *(_simple("double_value", value) for value in (_NAN, _INFINITE, -_INFINITE, -1.0, 1e308, 0.5)),
    *(_simple("int_value", value) for value in (-1, 2**62, -(2**62), 99)),
    *(_simple("string_value", value) for value in _TEXTS),
    *(_listed("double_array_value", values) for values in _NUMBERS),
    *(_listed("int_array_value", values) for values in _WHOLE),
    *(_listed("string_array_value", values) for values in ([], ["x"], ["x"] * 50, ["0"], ["\0", ""])),
    *(_simple("json_value", value) for value in _JSON),
    *(_simple("json_trigger_value", value) for value in _JSON),
    _simple("bytes_value", b"\xff\x00"),
    *(_emptied(field) for field in ("arrow_value", "file_uploader_state_value", "string_trigger_value", "chat_input_value")),
)
