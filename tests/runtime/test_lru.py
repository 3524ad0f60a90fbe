"""A bounded memory: never more than it may hold, and what was used longest ago goes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.runtime.lru import Lru


def filled(most: int, keys: str) -> Lru[str, str]:
    lru: Lru[str, str] = Lru(most)
    for key in keys:
        lru.put(key, key.upper())
    return lru


def test_what_was_used_longest_ago_goes_first() -> None:
    lru = filled(3, "abc")
    assert lru.get("a") == "A"
    assert lru.in_order() == ("b", "c", "a")
    lru.put("d", "D")
    assert lru.in_order() == ("c", "a", "d") and lru.get("b") is None
    lru.put("c", "new")
    assert lru.in_order() == ("a", "d", "c") and lru.get("c") == "new"


def test_looking_for_what_is_not_there_and_listing_change_nothing() -> None:
    lru = filled(3, "abc")
    assert lru.get("z") is None
    assert lru.in_order() == lru.in_order() == ("a", "b", "c")
    lru.put("d", "D")
    assert lru.in_order() == ("b", "c", "d")


def test_a_value_is_made_once_while_it_is_there() -> None:
    lru, made = Lru[str, int](2), []

    def make(value: int) -> int:
        made.append(value)
        return value

    assert lru.get_or_make("a", lambda: make(1)) == lru.get_or_make("a", lambda: make(2)) == 1
    assert lru.get_or_make("b", lambda: make(3)) == 3 and lru.get_or_make("a", lambda: make(4)) == 1
    lru.put("c", 5)
    assert lru.in_order() == ("a", "c")
    assert lru.get_or_make("b", lambda: make(6)) == 6
    assert made == [1, 3, 6]


def test_what_cannot_be_made_is_not_remembered() -> None:
    lru = filled(2, "a")

    def fail() -> str:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        lru.get_or_make("b", fail)
    assert lru.in_order() == ("a",) and lru.get_or_make("b", lambda: "B") == "B"


@pytest.mark.parametrize("most, gone, left", [(0, 4, ""), (1, 3, "a"), (2, 2, "da"), (4, 0, "bcda"), (9, 0, "bcda")])
def test_shrinking_lets_the_oldest_go_and_says_how_many(most: int, gone: int, left: str) -> None:
    lru = filled(4, "abcd")
    lru.get("a")
    assert lru.shrink(most) == gone and lru.in_order() == tuple(left)
    # The bound itself stays.
    for key in "wxyz":
        lru.put(key, key)
    assert lru.in_order() == tuple("wxyz")


def test_a_memory_of_nothing_holds_nothing() -> None:
    lru = filled(0, "ab")
    assert lru.get("a") is None and lru.in_order() == () and lru.shrink(0) == 0
    assert lru.get_or_make("a", lambda: "made") == "made"
    assert lru.get("a") is None


def test_everything_is_forgotten() -> None:
    lru = filled(3, "abc")
    lru.clear()
    assert lru.in_order() == () and lru.get("a") is None
    lru.put("d", "D")
    assert lru.in_order() == ("d",)


@given(
    some.integers(0, 4),
    some.lists(some.tuples(some.sampled_from(["get", "put", "shrink"]), some.integers(0, 5)), max_size=40),
)
def test_it_is_a_list_that_is_cut_at_its_old_end(most: int, steps: list[tuple[str, int]]) -> None:
    lru: Lru[int, int] = Lru(most)
    order: list[int] = []
    for step, number in steps:
        if step == "shrink":
            lru.shrink(number)
            order = order[max(0, len(order) - number) :]
        elif step == "put" or number in order:
            lru.put(number, -number) if step == "put" else lru.get(number)
            order = ([key for key in order if key != number] + [number])[-most:] if most else []
        assert lru.in_order() == tuple(order)


def test_many_threads_never_fill_it_beyond_its_bound() -> None:
    lru: Lru[int, int] = Lru(5)

    def work(start: int) -> bool:
        right = True
        for i in range(400):
            key = (start + i * 7) % 23
            right &= lru.get_or_make(key, lambda key=key: key * key) == key * key
            right &= len(lru.in_order()) <= 5
            if i % 50 == 0:
                lru.shrink(2)
        return right

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
