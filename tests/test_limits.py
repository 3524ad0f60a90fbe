"""The page of limits says what the code holds."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "limits.md"
ROW = re.compile(r"^\| .* \| ([\d,]+)[^|]*\| `([\w.]+)\.(\w+)` \|$", re.MULTILINE)


def test_every_bound_on_the_page_of_limits_is_the_codes() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) == PAGE.read_text(encoding="utf-8").count("| `core.") > 20, "a row of the table is not read"
    for said, module, name in rows:
        assert getattr(import_module(module), name) == int(said.replace(",", "")), f"{module}.{name}"
