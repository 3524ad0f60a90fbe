"""A property that is made when it is first asked for, and kept: `functools.cached_property` without its lock.

Until Python 3.12 that lock is one for all instances of a class. Work that waits for its turn inside it keeps whoever has the
turn from the same property of another object: then neither goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class made_once(Generic[T]):  # noqa: N801 (used as a decorator)
    """Asked for by two threads at once it is made twice, and the first one stays: for what is the same each time."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self._name = make, make.__name__
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> made_once[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        # What stands in the instance is found before this is asked again.
        return instance.__dict__.setdefault(self._name, self._make(instance))
