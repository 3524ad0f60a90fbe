"""The steps of a load: at each, how far it is, a turn for others, and an end if nobody wants the model any more.

The model library fills a model one parameter (or group of them) after the other, and shows a progress bar meanwhile: what it
would tell the bar is told to the job here. Making the empty model before, and the tiny pass that finds its parts after, are one
piece each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from core.runtime.jobs import current_control

T = TypeVar("T")
_thread = threading.local()
_lock = threading.Lock()
_hooked = False


def in_steps(items: Iterable[T], of: int, doing: str) -> Iterator[T]:
    """`items` one after the other, with a step of the job before each; raises JobCancelled there."""
    control = current_control()
    for done, item in enumerate(items):
        control.checkpoint()
        # How much of the job a load is, nobody knows: the share done stays where it is.
        control.progress(0.0, f"{doing}, {done:,} of {of:,} tensors")
        yield item


@contextmanager
def library_steps(doing: str) -> Iterator[None]:
    """While inside, what the model library goes through in this thread behind a progress bar is gone through in steps."""
    _hook_once()
    _thread.doing = doing
    try:
        yield
    finally:
        _thread.doing = None


def _hook_once() -> None:
    """One hook for the process, for loads in several threads interleave; where a thread is in none it changes nothing."""
    global _hooked
    from transformers.utils import logging

    with _lock:
        if _hooked:
            return
        _hooked = True
    others: Any = logging.set_tqdm_hook(None)

    def bar(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        doing = getattr(_thread, "doing", None)
        if doing is not None and args and isinstance(args[0], Sized) and isinstance(args[0], Iterable):
            return in_steps(args[0], len(args[0]), doing)
        return factory(*args, **kwargs) if others is None else others(factory, args, kwargs)

    logging.set_tqdm_hook(bar)
