"""The command line's contract: one JSON value on stdout, one `error:` line and exit 2 for bad input, never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from core.cli import main
from core.heads import Head
from core.models.built_in.circuit_spec import expected_prefix_matching, standard_spec

pytestmark = pytest.mark.usefixtures("empty_store")


def run(capsys, *words: str):
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, err


def test_score_prints_the_contract(capsys):
    status, out, _ = run(
        capsys, "score", "--model", "by-construction", "--length", "50", "--sequences", "3", "--seed", "3", "--json"
    )
    assert status == 0
    result = json.loads(out)
    assert {"model", "probe", "loss", "behaviour", "scores", "chance"} <= set(result)
    assert {"name", "n_layers", "n_heads"} <= set(result["model"])
    assert {"length", "sequences", "seed", "bos", "has_bos", "n_tokens"} <= set(result["probe"])
    assert set(result["loss"]) == {"first_copy", "second_copy", "gain", "ln_length"}
    names = {"induction", "previous_token", "duplicate_token", "current_token", "sink", "entropy"}
    names |= {"contrast", "rotation_contrast", "specificity", "value_weighted"}
    assert set(result["scores"]) == set(result["chance"]) == names
    assert all(np.shape(matrix) == (2, 4) for matrix in result["scores"].values())
    [head] = standard_spec().of_kind("induction")
    assert result["scores"]["induction"][head.layer][head.head] == pytest.approx(
        expected_prefix_matching(50, 1, 10.0), abs=1e-5
    )
    assert (
        result["behaviour"]["state"] == "present"
        and set(result["behaviour"]) == {"state", "e", "low", "rep", "rot", "shuf", "fresh", "top1"}
        and result["probe"]["n_tokens"] == 101
        and result["probe"]["has_bos"] is True
    )


def test_stdout_holds_nothing_but_the_json():
    """A fresh process: whatever libraries print at import must not reach stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "core", "score", "--model", "by-construction", "--sequences", "1", "--json"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["name"] == "by-construction"
    assert done.stdout.count("\n") == 1


def test_given_tokens(capsys, tmp_path):
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps([[0, 5, 6, 7, 5, 6, 7]]))
    status, out, _ = run(capsys, "score", "--model", "by-construction", "--tokens", str(file), "--length", "3", "--json")
    probe = json.loads(out)["probe"]
    assert status == 0 and probe["has_bos"] is True and probe["n_tokens"] == 7 and probe["seed"] is None


@pytest.mark.parametrize(
    "words,says",
    [
        (["score", "--model", "nobody"], "nobody"),
        (["score", "--model", "../../etc"], "etc"),
        (["score", "--model", "by-construction", "--length", "500"], "longest length that fits is 103"),
        (["score", "--model", "by-construction", "--length", "zero"], "invalid int value"),
        (["score", "--model", "by-construction", "--token-range", "5"], "two whole numbers"),
        (["score", "--model", "by-construction", "--token-range", "5:9"], "holds only 4"),
        (["score", "--model", "by-construction", "--tokens", "missing.json"], "cannot be read"),
        (["score", "--model", "by-construction", "--device", "tpu"], "auto, cpu, cuda, cuda:N or mps"),
        (["score", "--nonsense"], "nonsense; see `python -m core score --help`"),
        (["call", "--model", "by-construction", "--sequences", "8"], "see `python -m core call --help`"),
        (["attention", "--model", "by-construction", "--head", "L9H9"], "There is no head L9H9"),
        (["attention", "--model", "by-construction", "--head", "L0H0,L0H1"], "one head at a time"),
        (["attention", "--model", "by-construction", "--head", "L0H0", "--sequence", "99"], "There is no sequence 99"),
        (["attention", "--model", "by-construction", "--head", "L0H0", "--row", "text", "--text", " "], "at least one word"),
        (
            ["attention", "--model", "two-layer", "--head", "L0H0", "--row", "control", "--text", "a b"],
            "leave one of the two out",
        ),
        (["sensitivity", "--model", "by-construction", "--heads", "L9H9"], "There is no head L9H9"),
        (["ablate", "--model", "by-construction"], "either --threshold T or --heads"),
        (["fly"], "fly"),
        ([], "name a command"),
        (["train", "nothing"], "nothing"),
        (["models", "add"], "name the model"),
        (["models", "add", "nobody-at-all"], "nobody-at-all"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, words, says):
    status, out, err = run(capsys, *words)
    assert status == 2 and out == ""
    lines = err.strip().splitlines()
    assert lines[-1].startswith("error: ") and says in lines[-1]
    assert "Traceback" not in err


def test_what_a_model_cannot_read_is_said_beside_the_texts_loss(capsys):
    words = ["ablate", "--model", "mixture", "--length", "10", "--sequences", "2", "--heads", "L0H0", "--baselines", "0"]
    for more, says in (
        (["--text", "rabbit river xylophone"], "1 of the text's 3 tokens is not in the vocabulary of mixture"),
        (["--text", "rabbit river rabbit"], ""),
        ([], "76 of the text's 100 tokens are not in the vocabulary of mixture"),
    ):
        status, out, _ = run(capsys, *words, *more)
        [beside] = [line for line in out.splitlines() if line.startswith("text ")]
        told = out.splitlines()[out.splitlines().index(beside) + 1 :]
        assert status == 0 and len(told) == bool(says) and says in "".join(told)


def test_one_sequence_has_no_interval_and_no_number_for_one(capsys):
    words = ["causal", "--model", "by-construction", "--length", "10", "--mode", "zero", "--sequences"]
    _, one, _ = run(capsys, *words, "1")
    _, two, _ = run(capsys, *words, "2")
    assert "on one sequence, which gives no interval" in one and "nan" not in one and " to " not in one
    assert "95 % interval over sequences" in two and " to " in two


def test_a_score_that_is_withheld_says_why_in_words_and_in_json(capsys):
    words, why = ("score", "--model", "two-layer", "--length", "2"), "is withheld: sequences of 2 tokens have no other order"
    _, out, _ = run(capsys, *words)
    assert all(f"{title} {why}" in out for title in ("Rotation contrast", "Specificity"))
    _, out, _ = run(capsys, *words, "--json")
    found = json.loads(out)
    assert list(found["withheld"]) == [name for name, scores in found["scores"].items() if scores is None]
    assert why in found["withheld"]["specificity"] and not found["not_measured"]
    for command in ("sensitivity", "sweep"):
        status, _, error = run(capsys, command, *words[1:], "--score", "specificity")
        assert status == 2 and f"Specificity {why}" in error


def test_an_ablation_is_told_in_the_pages_words_with_its_interval_or_why_there_is_none(capsys):
    _, out, _ = run(capsys, "ablate", "--model", "bigram", "--length", "20", "--heads", "L1H0")
    assert "(gain lost: no sure gain)" in out and "nan" not in out and "-0." not in out
    assert "which is not surely above zero" in out and "(95 % interval" in out.partition("Total effect")[2]
    words = ("ablate", "--model", "two-layer", "--length", "20", "--heads", "L1H2", "--sequences")
    _, one, _ = run(capsys, *words, "1")
    assert "on the one sequence, and one sequence has no interval: take more." in one and "no unit" not in one
    _, two, _ = run(capsys, *words, "2")
    assert "of what the earlier copy gives it (95 % interval" in two and "**" not in two


@pytest.mark.parametrize("words", [("causal", "--mode", "zero"), ("sensitivity", "--score", "contrast"), ("circuit",)])
def test_numbers_of_commands_have_one_minus_and_no_sign_for_nothing(capsys, words):
    _, out, _ = run(capsys, words[0], "--model", "two-layer", "--length", "20", "--sequences", "3", *words[1:])
    assert not re.search(r"(?<![\w-])-\d", out) and not re.search(r"[+−]0\.0+(?!\d)", out)


def test_a_tokens_file_that_is_not_json(capsys, tmp_path):
    file = tmp_path / "tokens.json"
    for text in ("not json", '{"a": 1}', "[1, 2]", '[["a"]]', "[[1, 2], [1]]"):
        file.write_text(text)
        status, _, err = run(capsys, "score", "--model", "by-construction", "--tokens", str(file), "--length", "2")
        assert status == 2 and err.startswith("error: "), text


def test_models_lists_bundled_first(capsys):
    status, out, _ = run(capsys, "models", "--json")
    rows = json.loads(out)
    assert status == 0 and rows[0]["source"] == "bundled"
    assert {"by-construction", "mixture", "two-layer", "solu", "one-layer", "smollm2-135m", "solu-8l-old", "gpt2-small"} <= {
        row["name"] for row in rows
    }
    assert {"name", "family", "n_layers", "n_heads", "d_model", "n_params", "source", "available"} <= set(rows[0])


def test_doctor(capsys):
    status, out, _ = run(capsys, "doctor", "--json")
    assert status == 0 and json.loads(out)["ok"] is True


def test_text_output_names_what_was_measured(capsys):
    status, out, _ = run(capsys, "score", "--model", "by-construction", "--sequences", "3")
    assert status == 0 and "behaviour PRESENT" in out and "3 sequences of length 50" in out and "chance" in out


def test_text_output_says_where_a_head_looks(capsys):
    [planted] = standard_spec().of_kind("induction")
    name = Head(planted.layer, planted.head).name
    words = ("attention", "--model", "by-construction", "--length", "20", "--sequences", "2", "--head", name)
    status, out, _ = run(capsys, *words)
    assert status == 0 and f"{name} on 41 tokens (repeated)" in out and "looks most at" in out
    on_stripe = expected_prefix_matching(20, 1, 10.0)
    assert f"on the token after an earlier copy {on_stripe:.2f}" in out
    _, out, _ = run(capsys, *words, "--row", "control")
    assert "on the cells where a repeated half would have the earlier copy 0." in out and "after an earlier copy" not in out


def test_a_text_alone_is_what_is_looked_at(capsys):
    words = ("attention", "--model", "two-layer", "--head", "L1H0", "--text", "river stone river stone")
    status, out, _ = run(capsys, *words)
    assert status == 0 and "(text)" in out


def test_text_output_says_how_a_score_moves(capsys):
    [planted] = standard_spec().of_kind("induction")
    name = Head(planted.layer, planted.head).name
    status, out, _ = run(capsys, "sensitivity", "--model", "by-construction", "--threshold", "0.8")
    assert status == 0 and f"  {name} length 25: 0.99" in out
    assert out.strip().endswith(f"above 0.80 at every setting: {name}")
