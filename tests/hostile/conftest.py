"""What the hostile tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.models.load import forget_models


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model folder, which many hands may write to."""
    forget_models()
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("HEADSCOPE_MODELS", str(folder))
    return folder
