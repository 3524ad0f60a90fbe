"""What the tests check at run time: every array in a signature of ours, by its number format and shape.

Only arrays: that a wrong word or number is refused with a sentence is what other tests ask, and a type checker in between
would answer for the code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose array arguments and result are held to what its signature says."""
    hints = {name: _resolved(hint, function) for name, hint in function.__annotations__.items()}
    arrays = {name: hint for name, hint in hints.items() if _has_array(hint)}
    if not arrays:
        return function
    function.__annotations__ = {name: arrays.get(name, object) for name in hints}
    return beartype(function)


def _resolved(hint: Any, function: Callable[..., Any]) -> Any:
    """A hint that is written as a string, evaluated; what cannot be (a name that only the type checker imports) is any."""
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, getattr(function, "__globals__", {}))
    except (NameError, TypeError, AttributeError, SyntaxError):
        return object


def _has_array(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_has_array(part) for part in get_args(hint))
