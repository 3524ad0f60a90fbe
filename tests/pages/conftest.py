"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from tests.helpers.app import let_work_end


@pytest.fixture(scope="module", autouse=True)
def no_work_left_behind() -> Iterator[None]:
    """Work that a page began ends before the same process tests anything else."""
    yield
    let_work_end()


@pytest.fixture
def nothing_is_computed() -> Iterator[Callable[[], None]]:
    """A call from which on an experiment that would have to be computed is an error."""

    def again(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be computed")

    with pytest.MonkeyPatch.context() as patch:

        def from_now_on() -> None:
            # All are imported first: one that were imported between two changes would keep `again` for ever.
            places = [import_module(f"core.ui.{name}") for name in ("frame.waiting", "components.results", "panels.head_card")]
            for place in places:
                patch.setattr(place, "await_job", again)

        yield from_now_on
