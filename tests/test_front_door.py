"""`from core import ...`: lazy, documented by examples that run, and the same functions as the pages'."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

import core

pytestmark = pytest.mark.usefixtures("own_store")
WITH_EXAMPLES = ("core", *sorted({core._HOME[name] for name in core.__all__} - {"core.heads", "core.settings.request"}))


def test_importing_it_costs_no_torch() -> None:
    code = (
        "import sys\n"
        "from core import Head, Request, ablate, ablate, causal_map, circuit, heads_above, judge, score_heads, sweep\n"
        "import core\n"
        "assert set(core.__all__) <= set(dir(core))\n"
        "assert not {'torch', 'transformers', 'transformer_lens', 'streamlit', 'plotly'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'score_head'"):
        core.score_head  # noqa: B018


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_its_examples_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0 and found.failed == 0


@pytest.mark.parametrize("name", sorted(set(core.__all__) - {"Head", "Request", "heads_above"}))
def test_each_function_has_an_example(name: str) -> None:
    assert ">>> from core import" in (getattr(core, name).__doc__ or "")
