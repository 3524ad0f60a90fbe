"""`report`: its JSON, its answers, and the page that stands alone."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import plotly.graph_objects as go
import pytest

from core.cli import main
from core.commands.report import text as text_of
from core.documents.standalone import MARK, Picture, Section, standalone_page, write_page
from core.errors import BadInput
from core.replication.words import QUESTIONS
from core.settings.view import View
from core.sharing.commands import report_command
from tests.helpers.html import Page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """What the command prints and the page it writes, from one run."""
    folder = tmp_path_factory.mktemp("report")
    path, out = folder / "report.html", folder / "out.json"
    words = ["report", "--model", "by-construction", "--length", "20", "--sequences", "2", "--baselines", "3"]
    words += ["--json", "--threshold", "0.3", "--html", str(path)]
    with out.open("w") as file, contextlib.redirect_stdout(file):
        assert main(words) == 0
    return json.loads(out.read_text()), path.read_text(encoding="utf-8")


def test_the_pictures_of_the_page_have_the_line_that_was_asked_for(written: tuple[dict, str]) -> None:
    page = written[1]
    assert "above 0.30" in page and "above 0.50" not in page
    assert "--threshold 0.30 --html x" in report_command(View(threshold=0.3), "--html", "x")


def test_json_holds_published_and_live(written: tuple[dict, str]) -> None:
    result, _ = written
    assert set(result["published"]["models"]) == {"solu-8l-old", "gpt2-small"}
    assert [row["log_probability"] for row in result["published"]["table"]] == [
        -6.096261024475098,
        -8.345271110534668,
        -9.745206832885742,
    ]
    assert result["published"]["models"]["gpt2-small"]["heads_above"]["0.5"] == 5
    steps = result["run"]["steps"]
    assert [len(step["corrections"]) for step in steps] == [0, 1, 2, 3, 4]
    assert steps[0]["rows"][0]["value"] == -steps[1]["rows"][0]["value"]
    assert [item["question"] for item in result["questions"]] == list(QUESTIONS.values())
    assert all(len(item["answer"]) > 80 for item in result["questions"])
    assert len(result["run"]["induction"]["whole_diagonal"]) == 2


def test_the_page_parses_and_asks_the_network_for_nothing(written: tuple[dict, str]) -> None:
    page = Page(written[1])
    for tag, name, value in page.attributes:
        assert name not in ("src", "href", "srcset", "action", "data"), (tag, name, value)
        assert "//" not in value, (tag, name, value)
    library = max(page.scripts, key=len)
    assert len(library) > 1_000_000, "the figure library must be inside"
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1, "once"
    for script in page.scripts:
        if script is not library:
            assert not re.search(r"https?://|import\s*\(", script)
    assert "default-src 'none'" in written[1] and "@import" not in written[1].split("<script")[0]


def test_answers_say_how_heads_were_taken_away_and_what_came_before_and_after(written: tuple[dict, str]) -> None:
    sweep, pruning, *_ = (item["answer"] for item in written[0]["questions"])
    assert f"taking them away ({written[0]['mode']} ablation) brings" in sweep and "select" in sweep and "keep" not in sweep
    assert "Taking it away (zero ablation)" in pruning
    both = r"second-copy loss \d+\.\d{2,} → \d+\.\d{2,} nats"
    assert re.search(both + r", [+−]\d+\.\d{2,} nats \(95 % interval", pruning)


def test_the_page_has_live_figures_and_every_answer(written: tuple[dict, str]) -> None:
    result, text = written
    page = Page(text)
    assert text.count("Plotly.newPlot(") - page.scripts[0].count("Plotly.newPlot(") >= 9
    said = " ".join(page.text)
    for item in result["questions"]:
        assert item["answer"] in said
    assert "−9.745" in said and " 9.745" in said
    # What travels with the project is at hand.
    assert "by-construction (set by hand)" in said and "one-layer" in said
    assert {model["name"]: model["behaviour"] for model in result["models"]}["one-layer"]["state"] == "absent"


def test_the_page_and_the_command_say_which_probe_each_number_is_from(written: tuple[dict, str]) -> None:
    result, text = written
    said = " ".join(Page(text).text)
    assert result["questions_note"] in said and "2 sequences of length 20" in result["questions_note"]
    printed = text_of(result | {"html": None})
    assert result["questions_note"] in printed and "log-probability: untouched −6.096" in printed
    for title in ("Induction scores", "The table", "What each correction changes"):
        section = said[said.index(title) :]
        assert "no BOS but where that is corrected" in section[: section.index(", seed 0") + 10], title


def test_text_is_escaped() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    figure = go.Figure(go.Scatter(x=[1], y=[2], name=evil))
    page = Page(standalone_page(evil, [Section(evil, (evil,), [{evil: evil}], [Picture(figure, evil)], (evil,))]))
    assert not any(tag == "img" or name == "onerror" for tag, name, _ in page.attributes)
    assert sum("alert(1)" in script for script in page.scripts) == 1, "only inside the figure's own JSON"
    assert all("</script" not in script for script in page.scripts)


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "notes.html"
    mine.write_text("<p>my notes</p>")
    with pytest.raises(BadInput, match="left alone"):
        write_page(mine, MARK)
    assert mine.read_text() == "<p>my notes</p>"
    with pytest.raises(BadInput, match="is a folder"):
        write_page(tmp_path, MARK)
    with pytest.raises(BadInput, match="does not exist"):
        write_page(tmp_path / "nowhere" / "page.html", MARK)


def test_a_page_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_page(path, standalone_page("one", []))
    write_page(path, standalone_page("two", []))
    assert "<h1>two</h1>" in path.read_text() and list(tmp_path.iterdir()) == [path]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.runtime.files.os.fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        write_page(path, standalone_page("three", []))
    assert "<h1>two</h1>" in path.read_text() and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("words,says", [(["--tokens", "x.json"], "cannot be read"), (["--html", "/"], "is a folder")])
def test_bad_input_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--model", "by-construction", *words]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert err[-1].startswith("error: ") and says in err[-1]
