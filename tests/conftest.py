"""What tests of all topics share: results that never mix with a person's own, nor with another test's."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from jaxtyping import config as shape_checks

from tests.helpers.shapes import check_arrays_of

# Every array in a signature of ours is held to its number format and shape in every call; before anything of ours is imported.
check_arrays_of("core")
# How long an example takes on a busy machine says nothing of what it tries.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
LONGEST = "tests/load/"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test` runs the tests marked `alone` after all others; without this option all run."""
    parser.addoption(
        "--alone", choices=("only", "without"), help="only the tests that need the machine for themselves, or all others"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes begins first: at the end, where one worker would wait for another, tests are short."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    if part := config.getoption("--alone"):
        of_part, of_the_other = [], []
        for item in items:
            (of_part if (item.get_closest_marker("alone") is not None) == (part == "only") else of_the_other).append(item)
        config.hook.pytest_deselected(items=of_the_other)
        items[:] = of_part


def pytest_collection_finish() -> None:
    """What is imported by now is no test's garbage, and looking through it at every collection took a tenth of their time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def session_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of this test run's own, which its workers share: what one has measured the others need not.

    Results lie under everything that they depend on, so sharing changes no number. A test that puts something else in the
    place of what measures, or counts what is measured, takes a store of its own.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "session-store"
    with _store_at(folder) as store:
        yield store


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of the module's own, empty at first: nothing measured elsewhere can make a test pass."""
    with _store_at(tmp_path_factory.mktemp("store")) as folder:
        yield folder


@pytest.fixture
def empty_store(tmp_path: Path) -> Iterator[Path]:
    """A store of the test's own, empty at first."""
    with _store_at(tmp_path / "store") as folder:
        yield folder


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Arrays of the wrong shape reach the code, whose own refusal is what the test asks for."""
    shape_checks.update("jaxtyping_disable", True)
    yield
    shape_checks.update("jaxtyping_disable", False)


@contextmanager
def _store_at(folder: Path) -> Iterator[Path]:
    # Only now, when shapes are checked.
    from core.runtime import jobs

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSCOPE_STORE", str(folder))
        # Finished jobs answer for what they measured, as a store does.
        patch.setattr(jobs, "_default_pool", None)
        yield folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The machine's Chromium."""
    from playwright.sync_api import sync_playwright

    from tests.helpers.browser import FLAGS, find_browser

    found = find_browser()
    assert found is not None, "no Chromium was found: `make browser` brings one in"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        yield chromium
        chromium.close()
