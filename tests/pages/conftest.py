"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest


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
        yield lambda: patch.setattr("core.ui.experiments.awaited", again)
