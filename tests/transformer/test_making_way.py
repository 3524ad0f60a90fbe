"""A pass that stands between two blocks: others go through the same model meanwhile, and nobody sees another's hooks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.ablation.ablator import Ablator
from core.errors import JobCancelled
from core.heads import Head
from core.runtime.jobs import JobControl, JobPool, current_control, running
from core.runtime.pass_lock import PassLock, let_go
from core.settings.modes import Mode
from core.transformer.flops import flops_of_pass
from core.transformer.loaded import LoadedModel
from core.transformer.passes import batching
from core.transformer.passes.batching import bytes_per_row, even_passes, rows_per_pass
from core.transformer.passes.hooks import Hook, attached, pattern_hook, run_body, z_hook
from tests.helpers.architectures import D_VOCAB, make_pair

SOON = 20


def ids(rows: int, tokens: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows).integers(1, D_VOCAB, (rows, tokens)))


def doubled(z: torch.Tensor) -> torch.Tensor:
    return z * 2


def zeroed(activation: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(activation)


@torch.no_grad()
def one_pass(model: LoadedModel, rows: int, hooks: list[Hook], twin: bool, makes_way: bool = True) -> list[torch.Tensor]:
    module = model.bare if twin else model.module
    body = run_body(model, ids(rows), hooks, keep_inputs=True, module=module, makes_way=makes_way)
    return [*body.inputs, body.final]


def held_at(layer: int, meanwhile: Callable[[], object]) -> Hook:
    def hold(z: torch.Tensor) -> None:
        meanwhile()

    return z_hook(layer), hold


@pytest.mark.parametrize("twin", [True, False])
@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", "native_grouped"])
def test_a_pass_goes_through_while_another_stands_and_both_are_as_alone(name: str, twin: bool) -> None:
    model = make_pair(name).loaded
    pattern = [] if twin else [(pattern_hook(0), zeroed), (pattern_hook(2), zeroed)]
    long_hooks: list[Hook] = [(z_hook(0), doubled), (z_hook(2), doubled)]
    short_hooks: list[Hook] = [(z_hook(1), zeroed), *pattern]
    alone = one_pass(model, 3, long_hooks, twin), one_pass(model, 2, short_hooks, twin)
    pool, order, standing, submitted = JobPool(), [], threading.Event(), threading.Event()

    def begin() -> None:
        standing.set()
        assert submitted.wait(SOON)

    def long(control: JobControl) -> list[torch.Tensor]:
        found = one_pass(model, 3, [*long_hooks, held_at(1, begin)], twin)
        order.append("long")
        return found

    def short(control: JobControl) -> list[torch.Tensor]:
        found = one_pass(model, 2, short_hooks, twin)
        order.append("short")
        return found

    first = pool.submit("long", long, background=True)
    assert standing.wait(SOON)
    second = pool.submit("short", short)
    submitted.set()
    together = first.result(SOON), second.result(SOON)
    assert order == ["short", "long"]
    for mine, expected in zip(together, alone, strict=True):
        assert len(mine) == len(expected)
        assert all(torch.equal(one, two) for one, two in zip(mine, expected, strict=True))


def test_a_pass_is_cancelled_between_two_blocks_and_leaves_nothing_behind() -> None:
    model = make_pair("llama_grouped").loaded
    pool, standing, cancelled, later = JobPool(), threading.Event(), threading.Event(), []

    def begin() -> None:
        standing.set()
        assert cancelled.wait(SOON)

    def work(control: JobControl) -> None:
        one_pass(model, 3, [held_at(0, begin), held_at(1, lambda: later.append("layer 1"))], True)

    job = pool.submit("long", work)
    assert standing.wait(SOON)
    job.cancel()
    cancelled.set()
    with pytest.raises(JobCancelled):
        job.result(SOON)
    assert later == []
    hooks = [part for part in model.bare.modules() if part._forward_pre_hooks or part._forward_hooks]
    assert hooks == []
    free = threading.Event()
    threading.Thread(target=lambda: (model.lock.__enter__(), model.lock.__exit__(None, None, None), free.set())).start()
    assert free.wait(SOON)


def test_who_holds_the_model_whole_makes_no_way_and_who_holds_nothing_takes_nothing() -> None:
    lock, free = PassLock(), []

    def taken(seconds: float) -> bool:
        inside = threading.Event()

        def take() -> None:
            with lock:
                inside.set()

        threading.Thread(target=take, daemon=True).start()
        return inside.wait(seconds)

    def look() -> None:
        with let_go() as may:
            free.append((may, taken(SOON if may else 0.1)))

    with lock.passing(), lock.passing():
        look()
        assert free == [(True, True)]
        assert not taken(0.1), "it is held again afterwards"
        with lock:
            look()
            assert free[1:] == [(False, False)], "held whole: no way was made"
    look()
    assert free[2:] == [(True, True)]


MODES: tuple[Mode, ...] = ("zero", "mean", "resample", "pattern")


@pytest.mark.parametrize("mode", MODES)
def test_very_many_sequences_are_taken_some_at_a_time(mode: Mode) -> None:
    model, tokens = make_pair("llama_grouped").loaded, ids(11).numpy()
    sets = [(Head(0, 1),), (Head(1, 2), Head(2, 0)), (Head(0, 1), Head(2, 3))]
    whole, parts = (Ablator(model, tokens, ids(5).numpy()) for _ in range(2))
    parts._nodes_per_pass = whole._nodes_per_pass = 1
    parts._rows_per_pass = 4
    shapes: list[int] = []
    run = parts._blocks.run
    parts._blocks.run = lambda layer, hidden, edit: shapes.append(len(hidden)) or run(layer, hidden, edit)  # type: ignore
    np.testing.assert_allclose(parts.token_loss(sets, mode), whole.token_loss(sets, mode), atol=2e-6, rtol=0)
    assert (max(shapes) <= 4) == (mode != "pattern")


@pytest.mark.parametrize("kind", ["between two steps", "while it waits"])
def test_no_turn_is_given_away_with_a_model_that_the_next_in_line_needs(kind: str) -> None:
    """As pruning does, whose scores are measured step by step inside hooks."""
    model = make_pair("gpt2").loaded
    pool, standing, submitted = JobPool(), threading.Event(), threading.Event()
    alone = one_pass(model, 2, [], False)

    def holding(control: JobControl) -> str:
        with attached(model, [(z_hook(0), zeroed)]):
            standing.set()
            assert submitted.wait(SOON)
            if kind == "while it waits":
                with current_control().waiting():
                    assert second.wait(SOON)
            else:
                current_control().checkpoint()
        return "done"

    second = threading.Event()

    def other(control: JobControl) -> list[torch.Tensor]:
        found = one_pass(model, 2, [], False)
        second.set()
        return found

    first = pool.submit("holding", holding, background=True)
    assert standing.wait(SOON)
    job = pool.submit("other", other)
    submitted.set()
    assert all(torch.equal(one, two) for one, two in zip(job.result(SOON), alone, strict=True))
    assert first.result(SOON) == "done"


class LetsGo(JobControl):
    """Hands on its turn at every step."""

    def checkpoint(self) -> None:
        with let_go():
            time.sleep(0.0002)


def test_many_passes_at_once_end_and_are_as_alone() -> None:
    """Each stands where others have hooks: one that is removed meanwhile is called once more."""
    model = make_pair("gpt2").loaded
    alone = [one_pass(model, rows, [(z_hook(rows % 3), zeroed)], True) for rows in range(1, 7)]
    wrong: list[object] = []

    def person(rows: int) -> None:
        try:
            with running(LetsGo()):
                for _ in range(30):
                    found = one_pass(model, rows, [(z_hook(rows % 3), zeroed)], True)
                    if not all(torch.equal(one, two) for one, two in zip(found, alone[rows - 1], strict=True)):
                        wrong.append(rows)
        except Exception as error:
            wrong.append(error)

    people = [threading.Thread(target=person, args=(rows,)) for rows in range(1, 7)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join(120)
    assert not wrong
    assert not any(thread.is_alive() for thread in people)


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", "native_solu"])
def test_a_pass_that_makes_way_is_larger_and_no_step_of_it_is_longer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_pair(name).loaded
    layers, a_row = model.card.n_layers, flops_of_pass(model.card, 30)
    monkeypatch.setattr(batching, "CPU_FLOPS_PER_PASS", 4.5 * a_row)
    assert rows_per_pass(model, 30) == 4
    rows = rows_per_pass(model, 30, makes_way=True)
    assert 4 < rows <= 13
    assert rows * a_row / layers <= 4.5 * a_row, "between two blocks it makes way"
    # What memory allows is no more for being done in steps.
    monkeypatch.setattr(batching, "free_bytes", lambda _: 4.5 * bytes_per_row(model, 30, patterns=True))
    assert rows_per_pass(model, 30, makes_way=True) == rows_per_pass(model, 30) == 2


@given(st.integers(0, 300), st.integers(1, 40))
def test_passes_are_as_even_as_can_be_and_no_more_than_they_must_be(count: int, most: int) -> None:
    passes = even_passes(count, most)
    assert [place for rows in passes for place in range(count)[rows]] == list(range(count))
    sizes = [rows.stop - rows.start for rows in passes]
    assert len(passes) == math.ceil(count / most)
    assert not sizes or (max(sizes) <= most and max(sizes) - min(sizes) <= 1 and min(sizes) > 0)
