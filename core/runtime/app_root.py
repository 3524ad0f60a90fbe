"""Where the dashboard's own files lie: a checkout has them beside `core`, an installation under its data folder."""

from __future__ import annotations

import sysconfig
from functools import lru_cache
from pathlib import Path

from core.errors import HeadScopeError

INSTALLED = Path("share") / "headscope"


@lru_cache(maxsize=1)
def app_root() -> Path:
    """The folder of `app.py`, `pages/`, `static/` and `.streamlit/`.

    Raises HeadScopeError if they are nowhere.
    """
    checkout = Path(__file__).resolve().parents[2]
    installed = Path(sysconfig.get_path("data")) / INSTALLED
    for folder in (checkout, installed):
        if (folder / "app.py").is_file() and (folder / "pages").is_dir():
            return folder
    raise HeadScopeError(f"The dashboard's files are neither in {checkout} nor in {installed}: install HeadScope again.")
