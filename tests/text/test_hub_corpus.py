"""Data sets of the hub, read from a local server that speaks its protocol, with the library that a person would install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from core.text.corpus import HUB_ROWS
from tests.helpers.hub_server import HubServer

_ROWS = HUB_ROWS + 100
# The library reads the hub's address when it is imported: a process of its own.
_READ = """
import json, sys
from core.errors import BadInput
from core.text.corpus import corpus_named

found = {}
for asked in sys.argv[1:]:
    name, column = asked.split(" ")
    try:
        corpus = corpus_named(name, column)
        found[asked] = [corpus.name, len(corpus.documents), corpus.documents[0], corpus.documents[-1]]
    except BadInput as error:
        found[asked] = str(error)
print(json.dumps(found))
"""


@pytest.fixture
def hub(tmp_path: Path) -> HubServer:
    server = HubServer(tmp_path / "hub")
    lines = [json.dumps({"text": f"note {number}", "title": f"title {number}", "stars": number}) for number in range(_ROWS)]
    (server.repo("datasets/somebody/notes") / "train.jsonl").write_text("\n".join(lines))
    table = server.repo("datasets/somebody/table") / "data"
    table.mkdir()
    cells = pyarrow.table({"text": [f"cell {number}" for number in range(_ROWS)]})
    pyarrow.parquet.write_table(cells, table / "train-00000-of-00001.parquet")
    code = server.repo("datasets/somebody/code")
    (code / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    return server


def read(asked: list[str], hub: HubServer, home: Path, *, offline: bool = False) -> list[Any]:
    """Of each: the corpus's name, how many documents, the first and the last; or the sentence that says why there is none."""
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": str(int(offline))}
    command = [sys.executable, "-c", _READ, *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return [found[one] for one in asked]


def test_a_data_set_is_streamed_bounded_and_never_runs_code(hub: HubServer, tmp_path: Path) -> None:
    asked = ["notes text", "notes title", "notes missing", "table text", "code text", "nothing text"]
    asked = [f"hub:somebody/{name}" for name in asked]
    with hub:
        notes, titles, missing, table, code, nothing = read(asked, hub, tmp_path)
    last = HUB_ROWS - 1
    assert notes == [f"somebody/notes (train, first {HUB_ROWS} rows)", HUB_ROWS, "note 0", f"note {last}"]
    assert titles[2:] == ["title 0", f"title {last}"]
    assert table[1:] == [HUB_ROWS, "cell 0", f"cell {last}"]
    assert missing == "There is no column 'missing' in somebody/notes: it has text, title, stars."
    assert nothing.startswith("The data set somebody/nothing cannot be read here: ") and "doesn't exist" in nothing
    assert code.startswith("The data set somebody/code cannot be read here: ") and not (tmp_path / "ran").exists()
    for said in (missing, code, nothing):
        assert "\n" not in said and hub.url not in said
    # The library reads a file twice each time a data set is opened, and no more.
    assert len(hub.fetched("train.jsonl")) <= 6


def test_a_data_set_out_of_reach_is_one_sentence(hub: HubServer, tmp_path: Path) -> None:
    [said] = read(["hub:somebody/notes text"], hub, tmp_path, offline=True)
    assert said.startswith("The data set somebody/notes cannot be read here: ") and "\n" not in said
    assert not hub.requests
