"""`compare` as a script meets it: the same numbers as the other commands', imported files, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.cli import main
from core.models.built_in.circuit_spec import standard_spec
from core.quantities.table import QUANTITIES
from tests.helpers.cli import run_json

PROBE = ("--model", "by-construction", "--length", "20", "--sequences", "3")


def test_its_numbers_are_those_of_the_commands_that_measure_them() -> None:
    found = run_json("compare", *PROBE, "--x", "induction", "--y", "effect", "--colour", "copying", "--mode", "zero")
    np.testing.assert_allclose(found["x"]["values"], run_json("score", *PROBE)["scores"]["induction"], rtol=1e-6)
    causal = run_json("causal", *PROBE, "--mode", "zero")
    for name, key in (("effect", "values"), ("low", "low"), ("high", "high")):
        np.testing.assert_allclose(found["y"][key], causal[name], rtol=1e-6)
    assert found["colour"]["name"] == "copying" and found["mode"] == "zero" and found["withheld"] is None
    assert set(found["rank_correlation"]) == {"value", "low", "high", "n_heads"} and found["rank_correlation"]["n_heads"] == 8
    [planted] = standard_spec().of_kind("induction")
    assert np.unravel_index(np.argmax(found["x"]["values"]), (2, 4)) == (planted.layer, planted.head)
    # All heads but the planted ones attend alike: which of them are among the highest is no fact.
    assert found["top"] is None and found["x_only"] == found["y_only"] == []
    assert "too many are equal in Induction (prefix matching)" in found["sentences"][1]
    assert {"headscope", "date", "model", "conformance", "probe"} <= set(found)


def test_the_head_that_reads_is_said_also_where_none_was_named() -> None:
    found = run_json("compare", *PROBE, "--x", "induction", "--y", "path_patch_drop")
    assert found["reader"] is not None and f"of {found['reader']}," in found["y"]["title"]
    assert run_json("compare", *PROBE, "--x", "induction", "--y", "contrast")["reader"] is None


def test_a_file_of_numbers_is_the_second_axis(tmp_path: Path) -> None:
    scores = run_json("score", *PROBE)["scores"]["induction"]
    rows = [f"{layer};{head};{scores[layer][head]!r}" for layer in range(2) for head in range(4)]
    file = tmp_path / "paper.csv"
    file.write_text("layer;head;table 3\n" + "\n".join(rows), encoding="utf-8")
    found = run_json("compare", *PROBE, "--import", str(file))
    assert found["y"]["name"] == "imported" and found["y"]["title"] == "Imported numbers (table 3)"
    assert found["rank_correlation"]["value"] == pytest.approx(1) and found["imported"]["n_heads"] == 8
    assert found["x_only"] == found["y_only"] == []


def test_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *PROBE, "--y", "contrast"]) == 0
    out, _ = capsys.readouterr()
    assert "rank correlation" in out and "over 8 heads" in out and "highest: L1H" in out and "Traceback" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--x", "charm"], "invalid choice: 'charm'"),
        (["--y", "imported"], "There are no imported numbers"),
        (["--import", "missing.csv"], "missing.csv cannot be read"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["compare", *PROBE, *words]) == 2
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert out == "" and last.startswith("error: ") and said in last and "Traceback" not in err


def test_a_hostile_file_is_one_printable_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "evil.json"
    file.write_text(json.dumps({"L0H0": "\x1b[2J=1+1"}), encoding="utf-8")
    assert main(["compare", *PROBE, "--import", str(file)]) == 2
    _, err = capsys.readouterr()
    assert "\x1b" not in err and "The value of L0H0 is no number" in err


def test_the_help_names_every_quantity(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in QUANTITIES)
