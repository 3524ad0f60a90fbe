"""`docs/add-a-score.md`, followed to the letter in a copy of the project, from the files of a clean clone to the screen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# What a person would see: the chosen score's name, and the heat map's numbers.
ON_SCREEN = """
import base64, json
import numpy as np
from tests.helpers.app import figures, open_page, settled
page = settled(open_page("pages/1_Heads.py", model="two-layer", score="two_back"))
[heat] = [trace for figure in figures(page) for trace in figure["data"] if trace["type"] == "heatmap"]
z = heat["z"]
if isinstance(z, dict):
    z = np.frombuffer(base64.b64decode(z["bdata"]), z["dtype"]).reshape([int(part) for part in z["shape"].split(",")]).tolist()
print(json.dumps({
    "errors": [str(error.value) for error in (*page.exception, *page.error)],
    "chosen": page.selectbox(key="score").format_func(page.selectbox(key="score").value),
    "heat": z,
}))
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that a clone has or will have, with the page's three steps taken."""
    copy = tmp_path_factory.mktemp("clone") / "headscope"
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    cells, imported, row, line = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "add-a-score.md").read_text(), re.DOTALL)
    with (copy / "core/attention/cells.py").open("a", encoding="utf-8") as file:
        file.write("\n\n" + cells)
    _put_above(copy / "core/attention/scores.py", "    sink_cells,\n", imported)
    _put_above(copy / "core/attention/scores.py", '        Score(\n            "entropy",\n', row)
    _put_above(copy / "tests/attention/test_scores.py", '        "sink": mean(', line)
    return copy


def _put_above(path: Path, anchor: str, text: str) -> None:
    whole = path.read_text(encoding="utf-8")
    assert whole.count(anchor) == 1, f"the page names a place that {path.name} does not have once: {anchor!r}"
    path.write_text(whole.replace(anchor, text + anchor), encoding="utf-8")


def _run(followed: Path, *words: str) -> str:
    environment = {**os.environ, "HEADSCOPE_STORE": str(followed.parent / "store")}
    done = subprocess.run(
        [sys.executable, *words], cwd=followed, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _run_scores_test(followed: Path, chosen: str) -> str:
    return _run(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/attention/test_scores.py", "-k", chosen)


def test_the_brute_force_line_holds(followed: Path) -> None:
    chosen = "equals_the_librarys_eager_attention and (gpt2 or llama_grouped)"
    said = _run_scores_test(followed, chosen)
    assert re.search(r"\b[2-9] passed", said), said


def test_a_wrong_cell_would_be_seen(followed: Path) -> None:
    """The test of step 3 can fail: with cells that are one off, it does."""
    path = followed / "core/attention/cells.py"
    right = path.read_text(encoding="utf-8")
    path.write_text(right.replace("return queries, queries - 2", "return queries, queries - 1"), encoding="utf-8")
    try:
        with pytest.raises(AssertionError, match="1 failed"):
            _run_scores_test(followed, "equals_the_librarys_eager_attention and gpt2]")
    finally:
        path.write_text(right, encoding="utf-8")


def test_the_command_line_and_the_screen_have_it_although_a_result_was_stored_without_it(followed: Path) -> None:
    command = json.loads(_run(followed, "-m", "core", "score", "--model", "two-layer", "--json"))
    assert len(command["scores"]["two_back"]) == 2 and 0 < command["chance"]["two_back"] < 0.2
    seen = json.loads(_run(followed, "-c", ON_SCREEN).splitlines()[-1])
    assert seen["errors"] == []
    assert seen["chosen"] == "Two tokens back"
    assert np.allclose(seen["heat"], command["scores"]["two_back"], atol=5e-4) or np.allclose(
        seen["heat"][::-1], command["scores"]["two_back"], atol=5e-4
    )
