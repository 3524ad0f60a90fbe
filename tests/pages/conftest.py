"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store of the module's own, empty at first: nothing measured elsewhere can make a test pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSCOPE_STORE", str(tmp_path_factory.mktemp("store")))
        yield
