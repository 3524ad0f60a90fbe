"""What the plan of the house promises and the import contract cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from grimp import build_graph

from benchmarks.house import between_rooms, circles

ROOT = Path(__file__).resolve().parents[1]
FIGURES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "core" / "figures").rglob("*.py")
    if path.name != "__init__.py"
)
# What a figure has no business with: models that are fetched, work that waits in line, the library that runs models.
HEAVY = ("core.models.fetching", "core.runtime.jobs", "huggingface_hub", "torch", "transformers", "streamlit")


def test_importing_figures_loads_neither_hub_nor_job_pool() -> None:
    code = f"import sys, {', '.join(FIGURES)}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert len(FIGURES) > 20
    assert done.stdout.split() == []


def test_loading_a_model_never_reaches_what_fetches_one() -> None:
    code = (
        "import sys, core.models.load, core.settings.subject\n"
        "print(*[name for name in sys.modules if 'models.fetching' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == []
    graph = build_graph("core", cache_dir=None)
    reached = graph.find_upstream_modules("core.models.load")
    assert not [name for name in reached if name.startswith("core.models.fetching")]


def test_rooms_do_not_import_each_other_in_circles() -> None:
    assert circles(between_rooms(build_graph("core", cache_dir=None))) == []


def test_tests_mirror_core() -> None:
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {
        "__pycache__",
        "helpers",
        "pages",
        "browser",
        "zoo",
        "load",
        "hostile",
    }
    assert rooms <= {path.name for path in (ROOT / "core").iterdir() if path.is_dir()}


def test_no_table_on_screen_says_none_where_there_is_nothing() -> None:
    """Every grid says what stands for nothing: Streamlit's own word for it is None."""
    calls = [
        (path.name, node.lineno, {keyword.arg for keyword in node.keywords})
        for path in [*(ROOT / "core" / "ui").rglob("*.py"), *(ROOT / "pages").glob("*.py")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "dataframe"
    ]
    assert len(calls) > 5
    assert [(name, line) for name, line, given in calls if "placeholder" not in given] == []
