"""Training: deterministic, whole folders only; and every bundled model does what its recipe says."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge.sources.native import NativeModel
from transformers import AutoTokenizer

from core.errors import BadInput
from core.models.built_in import train as training
from core.models.built_in.recipes import FIRST_WORD_ID, RECIPES, Batches, Recipe, Rows, draw_rows
from core.models.built_in.train import build_model, check_output, choose_checkpoints, fit, measure, train, train_recipe
from core.models.built_in.word_tokenizer import BOS_ID, UNK_ID, build_tokenizer, save_tokenizer, vocab_size, word_list
from core.runtime.jobs import running
from tests.helpers.progress import Heard

BUNDLED = Path(training.__file__).parent / "bundled"
TINY = Recipe(
    name="tiny",
    title="Tiny",
    description="Only for this test.",
    seed=5,
    n_layers=2,
    n_heads=2,
    d_model=32,
    n_ctx=64,
    rows=Rows(repeat=1, bigram=1, embedded=1, offset=1, period=(3, 8), phrase=(3, 5), offset_distance=4),
    batches=(Batches(24, 8),),
    steps=8,
    snapshot_every=2,
    checkpoints=4,
)


def load_native(folder: Path, weights: str = "model.safetensors") -> NativeModel:
    """The model of a bundled folder, with every parameter taken from the file."""
    about = json.loads((folder / "headscope.json").read_text())
    model = NativeModel(TransformerBridgeConfig(**about["config"], device="cpu"))
    state = {name: tensor.float() for name, tensor in load_file(folder / weights).items()}
    assert set(state) == {name for name, _ in model.named_parameters()}
    model.load_state_dict(state, strict=False)
    return model


# --- training


def test_same_recipe_gives_the_same_weights_and_leaves_the_callers_randomness_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, _ = fit(TINY)
    assert torch.equal(torch.rand(3), expected)
    second, _ = fit(TINY)
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    other, _ = fit(replace(TINY, seed=6))
    assert not torch.equal(other.head.weight, first.head.weight)


def test_training_writes_a_whole_folder(tmp_path: Path):
    heard = Heard()
    with running(heard):
        folder = train_recipe(TINY, tmp_path / "models" / "tiny")
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoints",
        "headscope.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"], "no scratch folder is left behind"
    assert heard.shares == sorted(heard.shares) and heard.shares[-1] == 1.0

    about = json.loads((folder / "headscope.json").read_text())
    assert (about["format"], about["name"], about["family"]) == (1, "tiny", "bundled")
    assert (about["bos_token_id"], about["special_ids"]) == (0, [0, 1])
    assert about["recipe"]["seed"] == 5 and about["recipe"]["rows"]["period"] == [3, 8]
    record = about["training"]
    assert record["steps"] == [0, 2, 4, 6, 8]
    assert {len(record[key]) for key in ("loss", "second_copy_loss", "prefix_matching_max")} == {5}

    trained = load_native(folder)
    again, _ = fit(TINY)
    assert torch.equal(trained.head.weight, again.head.weight)
    checkpoints = sorted(p.name for p in (folder / "checkpoints").iterdir())
    assert len(checkpoints) == 4
    assert checkpoints[0] == "step-000000.safetensors" and checkpoints[-1] == "step-000008.safetensors"
    start = load_native(folder, "checkpoints/step-000000.safetensors")
    torch.testing.assert_close(start.head.weight, build_model(TINY).head.weight, atol=1e-3, rtol=1e-3)


def test_training_again_replaces_the_folder_and_a_failure_leaves_the_old_one(tmp_path: Path, monkeypatch):
    folder = train_recipe(TINY, tmp_path / "tiny")
    before = (folder / "model.safetensors").read_bytes()
    train_recipe(replace(TINY, seed=6), folder)
    after = (folder / "model.safetensors").read_bytes()
    assert after != before

    def full_disk(*_args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(training, "save_tokenizer", full_disk)
    with pytest.raises(BadInput, match=r"cannot be written to .*: No space left on device\."):
        train_recipe(TINY, folder)
    assert (folder / "model.safetensors").read_bytes() == after
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_what_no_training_has_written_is_never_replaced(tmp_path: Path):
    folder, file = tmp_path / "thesis", tmp_path / "file"
    folder.mkdir()
    (folder / "chapter.tex").write_text("x")
    file.write_text("y")
    for output in (folder, file):
        with pytest.raises(BadInput, match="something else than a model that was trained here"):
            train_recipe(TINY, output)
    for about in ("{}", "[]", "no json"):
        (folder / "headscope.json").write_text(about)
        with pytest.raises(BadInput, match="something else"):
            check_output(folder)
    assert (folder / "chapter.tex").read_text() == "x" and file.read_text() == "y"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "thesis"]


@pytest.mark.parametrize("beside", ["notes.txt", "checkpoints/curve.png"])
def test_what_somebody_put_beside_a_trained_model_is_not_lost(tmp_path: Path, beside: str):
    folder = train_recipe(TINY, tmp_path / "tiny")
    check_output(folder)
    (folder / beside).write_text("mine")
    with pytest.raises(BadInput, match="something else"):
        train_recipe(TINY, folder)
    assert (folder / beside).read_text() == "mine"


def test_what_comes_while_it_trains_is_not_lost(tmp_path: Path, monkeypatch):
    output = tmp_path / "tiny"

    def meanwhile(recipe: Recipe) -> object:
        output.mkdir()
        (output / "chapter.tex").write_text("x")
        return fit(recipe)

    monkeypatch.setattr(training, "fit", meanwhile)
    with pytest.raises(BadInput, match="something else"):
        train_recipe(TINY, output)
    assert (output / "chapter.tex").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_an_interrupt_leaves_the_old_model_or_the_new_one(tmp_path: Path, monkeypatch, before: int):
    """before: how many of the two moves are done by then."""
    folder = train_recipe(TINY, tmp_path / "tiny")
    old = (folder / "model.safetensors").read_bytes()
    moved, move = [], Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if len(moved) == before:
            moved.append(None)
            raise KeyboardInterrupt
        moved.append(None)
        return move(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with nullcontext() if before == 2 else pytest.raises(KeyboardInterrupt):
        train_recipe(replace(TINY, seed=6), folder)
    assert ((folder / "model.safetensors").read_bytes() == old) == (before < 2)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("output", ["file/tiny", "a" * 300, "/proc/tiny", "/dev/null/tiny"])
def test_a_place_that_cannot_be_written_is_said_before_anything_is_trained(tmp_path: Path, monkeypatch, output: str):
    (tmp_path / "file").write_text("y")
    monkeypatch.setattr(training, "fit", lambda recipe: pytest.fail("it was trained first"))
    with pytest.raises(BadInput, match="cannot be written to"):
        train_recipe(TINY, tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_unknown_recipe_is_refused_by_name(tmp_path: Path):
    with pytest.raises(BadInput, match=r"no recipe 'ten-layer'.*two-layer"):
        train("ten-layer", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_checkpoints_crowd_where_the_model_changes():
    _, snapshots = fit(TINY)
    shape = snapshots[0].measured
    curve = [6.0] * 10 + [5.0, 4.0, 3.0, 2.0, 1.0] + [0.5] * 10
    made = [replace(snapshots[0], step=i, measured=replace(shape, second_copy_loss=loss)) for i, loss in enumerate(curve)]
    chosen = [s.step for s in choose_checkpoints(made, 9)]
    assert chosen[0] == 0 and chosen[-1] == 24 and len(chosen) == 9
    assert sum(10 <= step <= 15 for step in chosen) >= 4


# --- rows


@pytest.mark.parametrize("kind", ["repeat", "bigram", "embedded", "offset"])
def test_rows_begin_with_bos_and_hold_words_only(kind: str):
    rows = replace(Rows(repeat=0), **{kind: 1.0})
    tokens = draw_rows(rows, 16, 64, vocab_size(), torch.Generator().manual_seed(0))
    assert tokens.shape == (16, 65)
    assert (tokens[:, 0] == BOS_ID).all()
    assert tokens[:, 1:].min() >= FIRST_WORD_ID and tokens.max() < vocab_size()


def test_repeat_rows_repeat_distinct_words_with_periods_of_their_own():
    tokens = draw_rows(Rows(period=(6, 32)), 64, 64, vocab_size(), torch.Generator().manual_seed(0))[:, 1:]
    periods = []
    for row in tokens:
        period = next(p for p in range(1, 64) if torch.equal(row[p:], row[:-p]))
        assert len(set(row[:period].tolist())) == period
        periods.append(period)
    assert 6 <= min(periods) < max(periods) <= 32


def test_offset_rows_copy_from_a_fixed_distance_but_for_the_noise():
    rows = Rows(repeat=0, offset=1, offset_distance=25, offset_noise=0.1, offset_words=8)
    tokens = draw_rows(rows, 64, 128, vocab_size(), torch.Generator().manual_seed(0))[:, 1:]
    same = (tokens[:, 25:] == tokens[:, :-25]).float().mean()
    # Noise draws from eight words, so an eighth of it repeats the copied word by luck.
    assert float(same) == pytest.approx(1 - 0.1 * 7 / 8, abs=0.02)


def test_embedded_rows_bring_a_phrase_back():
    rows = Rows(repeat=0, embedded=1, phrase=(8, 8), bigram_successors=6)
    tokens = draw_rows(rows, 32, 64, vocab_size(), torch.Generator().manual_seed(0))[:, 1:]
    for row in tokens.tolist():
        windows = [tuple(row[i : i + 8]) for i in range(len(row) - 7)]
        assert len(set(windows)) < len(windows)


# --- tokenizer


def test_tokenizer_round_trips_every_word(tmp_path: Path):
    save_tokenizer(tmp_path, n_ctx=256)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    words = word_list()
    assert len(words) == len(set(words)) and all(word.isalpha() and word.islower() for word in words)
    ids = tokenizer(" ".join(words)).input_ids
    assert ids == [BOS_ID, *range(FIRST_WORD_ID, vocab_size())]
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == words
    assert (tokenizer.bos_token_id, tokenizer.unk_token_id, tokenizer.model_max_length) == (BOS_ID, UNK_ID, 256)


def test_tokenizer_lowercases_and_marks_unknown_words():
    encoding = build_tokenizer().encode("Apple\tzzyzx  BREAD")
    assert encoding.tokens == ["<bos>", "apple", "<unk>", "bread"]


# --- the bundled models, as they are in the repository

ALL = sorted(RECIPES)
INDUCTIVE = ["mixture", "solu", "two-layer"]
CONTROLS = ["bigram", "one-layer"]


def fresh_probe(length: int, sequences: int = 16) -> torch.Tensor:
    """`[BOS, r, r]`, drawn here and not by the trainer: ids without replacement from the whole vocabulary."""
    generator = torch.Generator().manual_seed(99)
    r = torch.rand(sequences, vocab_size() - 2, generator=generator).argsort(-1)[:, :length] + 2
    return torch.cat([torch.zeros(sequences, 1, dtype=torch.long), r, r], dim=1)


@torch.no_grad()
def observe(model: NativeModel, tokens: torch.Tensor, length: int) -> tuple[float, float, torch.Tensor, torch.Tensor]:
    """First- and second-copy loss in nats, prefix matching and previous-token score of every head [layer, head]."""
    patterns: list[torch.Tensor] = []
    hooks = [block.attn.register_forward_hook(lambda _m, _i, out: patterns.append(out[1])) for block in model.layers]
    logits = model(tokens)
    for hook in hooks:
        hook.remove()
    losses = -logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
    by_head = torch.stack(patterns, dim=1)
    prefix = torch.stack([by_head[..., q, q - length + 1] for q in range(length + 1, 2 * length + 1)]).mean((0, 1))
    previous = torch.stack([by_head[..., q, q - 1] for q in range(2, 2 * length + 1)]).mean((0, 1))
    return float(losses[:, :length].mean()), float(losses[:, length + 1 :].mean()), prefix, previous


def test_every_recipe_is_bundled_and_nothing_else():
    assert sorted(p.name for p in BUNDLED.iterdir() if p.is_dir()) == ALL


@pytest.mark.parametrize("name", ALL)
def test_bundled_folder_matches_its_recipe(name: str):
    folder = BUNDLED / name
    about = json.loads((folder / "headscope.json").read_text())
    recipe = RECIPES[name]
    assert about["recipe"] == json.loads(json.dumps(recipe.as_json())), "train it again: the recipe has changed"
    assert about["config"] == recipe.config()
    assert (about["title"], about["description"]) == (recipe.title, recipe.description)
    checkpoints = sorted((folder / "checkpoints").iterdir())
    assert 12 <= len(checkpoints) == recipe.checkpoints
    for path in checkpoints:
        load_native(folder, f"checkpoints/{path.name}")
    last = load_native(folder, f"checkpoints/{checkpoints[-1].name}")
    torch.testing.assert_close(last.head.weight, load_native(folder).head.weight, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ALL)
def test_the_record_is_what_the_weights_do(name: str):
    about = json.loads((BUNDLED / name / "headscope.json").read_text())
    found = measure(load_native(BUNDLED / name))
    assert found.second_copy_loss == pytest.approx(about["training"]["second_copy_loss"][-1], abs=2e-3)
    assert float(found.prefix_matching.max()) == pytest.approx(about["training"]["prefix_matching_max"][-1], abs=2e-3)


@pytest.mark.parametrize("length", [25, 50])
@pytest.mark.parametrize("name", INDUCTIVE)
def test_bundled_models_do_induction(name: str, length: int):
    first, second, prefix, previous = observe(load_native(BUNDLED / name), fresh_probe(length), length)
    assert second < 0.5 * math.log(length) < first
    assert (prefix > 0.6).sum() >= 2
    assert (previous > 0.6).any()
    assert (prefix[0] < 0.2).all(), "an induction head needs a previous-token head in a layer below"


@pytest.mark.parametrize("length", [25, 50])
@pytest.mark.parametrize("name", CONTROLS)
def test_controls_cannot_do_induction(name: str, length: int):
    _, second, prefix, _ = observe(load_native(BUNDLED / name), fresh_probe(length), length)
    assert second > 0.9 * math.log(length)
    assert (prefix < 0.2).all()


@pytest.mark.parametrize("name", INDUCTIVE)
def test_checkpoints_cover_the_phase_change(name: str):
    folder = BUNDLED / name
    training_record = json.loads((folder / "headscope.json").read_text())["training"]
    loss_at = dict(zip(training_record["steps"], training_record["second_copy_loss"], strict=True))
    kept = [loss_at[int(path.stem.removeprefix("step-"))] for path in sorted((folder / "checkpoints").iterdir())]
    start, end = kept[0], kept[-1]
    between = [loss for loss in kept if end + 0.1 * (start - end) < loss < end + 0.9 * (start - end)]
    assert len(between) >= 4
