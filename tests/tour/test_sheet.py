"""The sheets, as a command writes them: what stands on them, and what must not."""

from __future__ import annotations

import re
import zlib
from base64 import a85decode
from pathlib import Path

import pytest

from core.cli import main
from core.documents.tour_sheet import tour_sheet
from core.tour.check import found_for
from core.tour.steps import STEPS
from tests.helpers.cli import run_json

ADDRESS = "http://192.168.1.20:8501/Tour?step=1"


def printed(sheet: bytes) -> str:
    """All text of a PDF of ours, pages in order, a space between its lines."""
    packed = re.findall(rb"stream\r?\n(.*?)~>\s*endstream", sheet, re.S)
    streams = [zlib.decompress(a85decode(part)) for part in packed]
    words = [text for stream in streams for text in re.findall(rb"\(((?:\\.|[^()\\])*)\) Tj", stream)]
    escaped = b" ".join(word.strip() for word in words)
    return " ".join(re.sub(rb"\\([0-7]{3}|.)", _unescaped, escaped).decode("cp1252").split())


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8)]) if len(code) == 3 else code


def pages(sheet: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", sheet))


def test_the_tasks_are_on_one_page_without_an_answer() -> None:
    sheet = tour_sheet(address=ADDRESS)
    said = printed(sheet)
    assert sheet.startswith(b"%PDF-") and pages(sheet) == 1
    assert ADDRESS in said and b"/Subtype /Image" in sheet
    for step in STEPS:
        assert step.title in said
        assert found_for(step).teaches[:40] not in said
    # Words between pieces that are slanted come apart.
    assert "One head is taken away here, and the loss rises a little." in said
    assert "arXiv:2209.11895" in said and "■" not in said


def test_the_answers_have_the_numbers_and_the_hints() -> None:
    said = printed(tour_sheet(answers=True))
    for step in STEPS:
        found = found_for(step)
        assert step.choices.get(found.right, found.right) in said
        # Where a word of it is slanted, the pieces come apart.
        assert step.hints[1].rpartition("*")[2].strip() in said
    assert "(2 + 1) / (18 + 1) = 0.158" in said
    assert "Open http" not in said


def test_the_same_tour_gives_the_same_bytes() -> None:
    assert tour_sheet() == tour_sheet()


def test_an_address_is_text_and_no_markup() -> None:
    assert "http://x/<b>&amp;" in printed(tour_sheet(address="http://x/<b>&amp;")).replace(" ", "")


def test_the_command_writes_a_sheet_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "tour.pdf"
    told = run_json("tour", "--sheet", str(path), "--address", ADDRESS)
    assert told["sheet"] == str(path) and path.read_bytes() == tour_sheet(address=ADDRESS)
    assert [step["page"] for step in told["steps"]] == [step.page for step in STEPS]
    # One of ours is replaced.
    run_json("tour", "--sheet", str(path), "--answers")
    assert path.read_bytes() == tour_sheet(answers=True)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--sheet", "{here}/tour.txt"], "ends in .pdf"),
        (["--sheet", "{here}"], "is a folder"),
        (["--sheet", "{here}/no/tour.pdf"], "does not exist"),
        (["--sheet", "{here}/letter.pdf"], "is no sheet of HeadScope's, so it is left alone"),
        (["--sheet", "{here}/thesis.pdf"], "is no sheet of HeadScope's, so it is left alone"),
        (["--address", ADDRESS], "--sheet FILE"),
        (["--sheet", "{here}/tour.pdf", "--address", "a\nb"], "no line breaks"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.pdf").write_text("not one of ours")
    (tmp_path / "thesis.pdf").write_bytes(tour_sheet().replace(b"(HeadScope)", b"(Somebody)"))
    assert main(["tour", *(word.replace("{here}", str(tmp_path)) for word in words)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and told[0].startswith("error: ") and said in told[0]
    assert (tmp_path / "letter.pdf").read_text() == "not one of ours"
    assert b"(Somebody)" in (tmp_path / "thesis.pdf").read_bytes()


def test_it_can_be_read_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tour", "--answers"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The tour: 7 tasks, about 50 minutes.") and "positional impostor. Right: its score is 1.00" in said
