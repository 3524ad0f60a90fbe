"""What the tests check at run time: every array in a signature of ours, by its number format and shape.

Only arrays: that a wrong word or number is refused with a sentence is what other tests ask, and a type checker in between
would answer for the code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

T = TypeVar("T", bound=Callable[..., Any])


def check_arrays_of(package: str) -> None:
    """From now on, what is imported of `package` is held to the arrays that its signatures state."""
    wrapped = jaxtyping.jaxtyped

    def jaxtyped(*, typechecker: Any) -> Callable[[T], T]:
        # jaxtyping would bind every argument of every call, also where there is nothing to check.
        return lambda thing: wrapped(thing, typechecker=typechecker) if any(map(_has_array, _hints(thing).values())) else thing

    jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]  # the import hook writes this name above everything it loads
    install_import_hook(package, f"{__name__}.{checked.__name__}")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose array arguments and result are held to what its signature says."""
    hints = _hints(function)
    arrays = {name: hint for name, hint in hints.items() if _has_array(hint)}
    if not arrays:
        return function
    function.__annotations__ = {name: arrays.get(name, object) for name in hints}
    return beartype(function)


def _hints(thing: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function or a class."""
    names = getattr(thing, "__globals__", None) or vars(sys.modules[thing.__module__])
    return {name: _resolved(hint, names) for name, hint in getattr(thing, "__annotations__", {}).items()}


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    """A hint that is written as a string, evaluated; what cannot be (a name that only the type checker imports) is any."""
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, names)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return object


def _has_array(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_has_array(part) for part in get_args(hint))
