"""Scores beside size: what is at hand, what is missing, and that one broken model does not hold up the others."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from core.attention.cached import score_heads
from core.errors import JobCancelled
from core.models.catalogue import BY_CONSTRUCTION
from core.models.paths import bundled_root
from core.replication.cached import measure_models, reproduce, size_request, sized_models
from core.replication.size import missing
from core.replication.tables import size_notes, size_rows
from core.replication.words import size_answer
from core.runtime.jobs import JobControl, JobPool
from core.settings.request import Request
from core.settings.subject import bind

BUNDLED = {"one-layer", "bigram", "two-layer", "solu", "mixture", BY_CONSTRUCTION}


@pytest.fixture
def models(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder with a copy of a bundled model in it, and nothing measured but what travels with the project."""
    root = tmp_path / "models"
    shutil.copytree(bundled_root() / "one-layer", root / "own", ignore=shutil.ignore_patterns("checkpoints"))
    # Other weights, so that the original's results are not its own.
    about = json.loads((root / "own" / "headscope.json").read_text(encoding="utf-8"))
    about["config"]["n_ctx"] = about["config"]["n_ctx"] // 2
    (root / "own" / "headscope.json").write_text(json.dumps(about), encoding="utf-8")
    monkeypatch.setenv("HEADSCOPE_MODELS", str(root))
    return root


def test_bundled_models_are_there_without_measuring_and_others_are_missing(models: Path) -> None:
    found = {model.name: model for model in sized_models()}
    assert set(found) == BUNDLED | {"own"}
    assert missing(tuple(found.values())) == ("own",)
    scores = score_heads(size_request("two-layer"))
    top = found["two-layer"].top
    assert top is not None and top[1] == scores.mean("induction").max() == scores.mean("induction")[top[0]]
    sizes = [model.n_params for model in sized_models()]
    assert sizes == sorted(sizes)
    rows = {row["model"]: row for row in size_rows(sized_models())}
    assert rows["own"]["behaviour"] == "not measured yet" and rows["own"]["highest induction score"] == "–"
    assert rows["one-layer"]["behaviour"] == "absent" and rows["two-layer"]["behaviour"] == "present"
    # At this length the planted positional head looks at the very place: only its contrast tells.
    planted = rows[f"{BY_CONSTRUCTION} (set by hand)"]
    assert (planted["highest induction score"], planted["that head's contrast"]) == ("1.00", "0.00")
    assert float(rows["two-layer"]["that head's contrast"]) > 0.5


def test_one_that_fails_does_not_hold_up_the_others(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = measure_models(["nowhere", "own"])
    assert list(problems) == ["nowhere"] and "no model called" in problems["nowhere"]
    found = next(model for model in sized_models() if model.name == "own")
    assert found.state == "absent" and not missing(sized_models())


def test_a_broken_or_too_big_model_is_told_and_not_asked_for(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.models.catalogue.available_bytes", lambda: 10)
    (models / "own" / "tokenizer.json").write_text("{", encoding="utf-8")
    found = sized_models()
    assert missing(found) == ()
    [own] = [model for model in found if model.name == "own"]
    assert own.problem and any(note.startswith("own: ") for note in size_notes(found))


def test_a_cancelled_job_measures_no_further_model(models: Path) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def work(_: JobControl) -> dict[str, str]:
        begun.set()
        assert cancelled.wait(60)
        return measure_models(["own"])

    job = JobPool().submit("scale", work)
    assert begun.wait(60)
    job.cancel()
    cancelled.set()
    with pytest.raises(JobCancelled):
        job.result(timeout=60)
    assert missing(sized_models()) == ("own",)


def test_the_answer_names_the_ends_of_the_trained_models_that_show_the_behaviour(models: Path) -> None:
    subject = bind(Request("two-layer", length=20, sequences=2))
    own = reproduce(subject)
    said = size_answer(subject.card, own, sized_models())
    assert "cannot say" in said and "3 are known to show the behaviour" in said
    assert "from two-layer (99.2k weights)" in said and "to mixture (166k weights)" in said
    assert "on one and the same probe" not in size_answer(subject.card, own, ())
