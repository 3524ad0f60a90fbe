"""What the tests of pages share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_work_left_behind() -> Iterator[None]:
    """Work that a page began ends before the same process tests anything else: all share one source of random numbers."""
    yield
    # The warm start is a timer first, and then a job.
    for kind in (lambda thread: isinstance(thread, threading.Timer), lambda thread: thread.name.startswith("job ")):
        for thread in filter(kind, threading.enumerate()):
            thread.join(120)
            assert not thread.is_alive(), thread.name


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store of the module's own, empty at first: nothing measured elsewhere can make a test pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSCOPE_STORE", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture
def nothing_is_computed() -> Iterator[Callable[[], None]]:
    """A call from which on an experiment that would have to be computed is an error."""

    def again(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be computed")

    with pytest.MonkeyPatch.context() as patch:
        yield lambda: patch.setattr("core.ui.components.experiments.awaited", again)
