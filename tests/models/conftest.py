"""What tests of models share: an empty model folder, and no model in memory before or after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.models.load import forget_models


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The model folder of the test's own, with no hub to fetch from."""
    forget_models()
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("HEADSCOPE_MODELS", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield folder
    forget_models()
