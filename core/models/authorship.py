"""Whose code runs when something is called: by the modules that it was written in, whatever it is named.

`functools.wraps` gives a function another's name, and a decorator of a library (`torch.no_grad`) puts the library's code in
front of somebody's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import BuiltinFunctionType
from typing import Any

from torch import nn


def written_in(function: Any) -> frozenset[str]:
    """The modules of its own code and of all that it is wrapped around: what it closes over, or is a part of."""
    found, waiting, seen = set[str](), [function], dict[int, Any]()
    while waiting:
        one = waiting.pop()
        one = getattr(one, "__func__", one)
        # Kept until the end: another object may have the number of one that is gone.
        if id(one) not in seen:
            seen[id(one)] = one
            if not isinstance(one, partial):
                found.add(home_of(one))
            waiting += _inside(one)
    return frozenset(found)


def home_of(function: Any) -> str:
    """The module that a function's own code was written in."""
    named = getattr(function, "__module__", None) if isinstance(function, BuiltinFunctionType) else None
    return str(getattr(function, "__globals__", {}).get("__name__") or named or type(function).__module__)


def _inside(function: Any) -> Iterator[Any]:
    if isinstance(function, partial):
        held = [function.func, *function.args, *function.keywords.values()]
    else:
        held = [getattr(function, "__wrapped__", None)]
        for cell in getattr(function, "__closure__", None) or ():
            # Empty while the function around it is still being made.
            with suppress(ValueError):
                held.append(cell.cell_contents)
    # A module has its own place in what a model is.
    yield from (value for value in held if callable(value) and not isinstance(value, (type, nn.Module)))
