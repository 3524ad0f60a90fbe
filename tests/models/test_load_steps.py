"""A load goes in steps: it says how far it is, makes way between them, and stops where nobody wants the model any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import JobCancelled, ModelUnavailable
from core.models import load as load_module
from core.models.formats import load_steps
from core.models.load import load_model, loaded_names
from core.runtime.jobs import JobControl, JobPool, running
from core.transformer.memory import bytes_needed
from tests.models.test_loading import write_llama, write_native

pytestmark = pytest.mark.usefixtures("root")


class Watched(JobControl):
    """Counts the steps; nobody wants the result any more at the given one."""

    def __init__(self, stop_at: int = -1) -> None:
        super().__init__()
        self.steps, self.said, self.stop_at = 0, [], stop_at  # type: ignore[var-annotated]

    def checkpoint(self) -> None:
        self.steps += 1
        if self.steps == self.stop_at:
            raise JobCancelled("nobody wants it")

    def report(self, fraction: float, message: str) -> None:
        self.said.append(message)


@pytest.fixture(params=["native", "llama"])
def model(root: Path, request: pytest.FixtureRequest) -> str:
    (write_native if request.param == "native" else write_llama)(root / "small")
    return "small"


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tensor takes as long as a large one does."""
    steps = load_steps.in_steps

    def slow(items: Any, of: int, doing: str) -> Iterator[Any]:
        for item in steps(items, of, doing):
            time.sleep(0.15)
            yield item

    monkeypatch.setattr(load_steps, "in_steps", slow)


def test_every_tensor_is_a_step_that_is_told(model: str) -> None:
    control = Watched()
    with running(control):
        loaded = load_model(model)
    tensors = len(list(loaded.module.parameters()))
    assert control.steps >= tensors
    assert f"loading small, {tensors - 1} of {tensors} tensors" in control.said
    loading = [message for message in control.said if "tensors" in message]
    assert loading == [f"loading small, {done} of {tensors} tensors" for done in range(tensors)]


@pytest.mark.parametrize("step", [1, 7])
def test_who_wants_it_no_more_stops_it_at_a_step(model: str, step: int) -> None:
    with running(Watched(stop_at=step)), pytest.raises(JobCancelled):
        load_model(model)
    assert loaded_names() == () and not load_module._under_way
    assert load_model(model).card.n_layers == 2, "and the next one gets it"


def test_bars_of_others_are_left_alone(root: Path) -> None:
    from transformers.utils import logging

    write_llama(root / "small")
    seen: list[Any] = []
    before = logging.set_tqdm_hook(None)
    try:
        logging.set_tqdm_hook(lambda factory, args, kwargs: seen.append(args) or args[0])
        load_steps._hooked = False
        load_model("small")
        assert not seen
        list(logging.tqdm([1, 2]))
        assert seen == [([1, 2],)]
    finally:
        logging.set_tqdm_hook(before)


@pytest.mark.usefixtures("slow_steps")
def test_others_have_their_turn_between_its_steps_and_may_want_the_very_same_model(root: Path) -> None:
    write_llama(root / "small")
    pool, order = JobPool(), []

    def use(name: str) -> Any:
        loaded = load_model("small")
        order.append(name)
        return loaded

    first = pool.submit("first", lambda control: use("first"), "a", seconds=100.0)
    while not first.message:
        time.sleep(0.01)
    short = pool.submit("short", lambda control: order.append("short"), "b", seconds=0.1)
    same = pool.submit("same", lambda control: use("same"), "c", seconds=1.0)
    short.result(20)
    assert order == ["short"] and not first.finished
    assert first.result(30) is same.result(30) and set(order) == {"short", "first", "same"}


@pytest.mark.usefixtures("slow_steps")
def test_who_waits_for_a_load_can_be_cancelled_and_the_load_goes_on(root: Path) -> None:
    write_llama(root / "small")
    pool = JobPool(2)
    first = pool.submit("first", lambda control: load_model("small"), "a")
    while not first.message:
        time.sleep(0.01)
    second = pool.submit("second", lambda control: load_model("small"), "b")
    time.sleep(0.2)
    second.cancel("b")
    with pytest.raises(JobCancelled):
        second.result(2)
    assert not first.finished and first.result(30).card.name == "small"


def test_two_loads_at_once_do_not_count_on_the_same_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write_llama(root / name)
    needed = bytes_needed(load_module.model_identity("one").card.n_params)
    monkeypatch.setattr(load_module, "free_bytes", lambda device: int(1.5 * needed))
    inside, most, read, reached = [], [], load_module.read_hf, threading.Event()

    def slow(*args: Any) -> Any:
        inside.append(args)
        most.append(len(inside))
        reached.set()
        time.sleep(0.4)
        inside.pop()
        return read(*args)

    monkeypatch.setattr(load_module, "read_hf", slow)
    other = threading.Thread(target=load_model, args=("one",))
    other.start()
    assert reached.wait(20)
    load_model("two")
    other.join()
    assert most == [1, 1]
    monkeypatch.setattr(load_module, "free_bytes", lambda device: needed // 2)
    write_llama(root / "three", intermediate_size=32)
    with pytest.raises(ModelUnavailable, match="of memory in float32, but only"):
        load_model("three")
