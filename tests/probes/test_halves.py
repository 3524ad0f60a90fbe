"""Second halves in other orders: which tokens occur stays, pairs of neighbours or distances do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.probes.given import given_probe
from core.probes.halves import other_orders
from core.probes.layout import Layout
from core.probes.probe import Probe, ProbeOptions
from core.probes.repeated import repeated_probe
from core.probes.vocabulary import Vocabulary

VOCABULARY = Vocabulary(size=300, special_ids=frozenset({0}), bos_token_id=0, prepends_bos=True, n_ctx=201)


def kept_pairs(first: list[int], second: list[int]) -> int:
    """How often a token of `second` comes right after one that it came right after in `first`."""
    pairs = {(first[i], first[i + 1]) for i in range(len(first) - 1)}
    return sum((second[i], second[i + 1]) in pairs for i in range(len(second) - 1))


@settings(max_examples=60)
@given(length=st.integers(4, 100), bos=st.sampled_from(["always", "never"]), seed=st.integers(0, 2**62))
def test_shuffled_and_rotated_halves_are_what_they_are_called(length, bos, seed):
    probe = repeated_probe(VOCABULARY, ProbeOptions(length, 3, seed, bos))
    b = probe.bos_tokens
    assert probe.shuffled is not None and probe.rotated is not None and probe.rotation is not None
    for row in range(3):
        r = probe.tokens[row, b : b + length].tolist()
        for half in (probe.shuffled[row], probe.rotated[row]):
            assert half[: b + length].tolist() == probe.tokens[row, : b + length].tolist()
            assert sorted(half[b + length :].tolist()) == sorted(r)
        shuffled, k = probe.shuffled[row, b + length :].tolist(), int(probe.rotation[row])
        assert shuffled[0] == r[0] and kept_pairs(r, shuffled) == 0
        assert length / 4 <= k <= 3 * length / 4
        assert probe.rotated[row, b + length :].tolist() == r[k:] + r[:k]


def test_a_kept_neighbour_would_be_seen():
    """The check above can fail: a plain shuffle keeps about one pair, and two in three keep one or more."""
    random = np.random.default_rng(0)
    assert kept_pairs([1, 2, 3, 4, 5], [1, 4, 2, 3, 5]) == 1
    kept = [kept_pairs(list(range(30)), [0, *(1 + random.permutation(29)).tolist()]) for _ in range(200)]
    assert 0.4 < np.mean(np.array(kept) > 0) < 0.8


def test_every_rotation_and_many_orders_come_up():
    probe = repeated_probe(VOCABULARY, ProbeOptions(10, 200, 1))
    assert set(probe.rotation.tolist()) == {3, 4, 5, 6, 7}
    r = np.argsort(probe.tokens[:, 1:11], axis=1)
    places = np.stack([np.argsort(r[i])[np.argsort(np.argsort(probe.shuffled[i, 11:]))] for i in range(200)])
    assert len({tuple(row) for row in places.tolist()}) > 190


def test_the_orders_are_pinned_and_leave_the_first_draw_as_it_was():
    probe = repeated_probe(VOCABULARY, ProbeOptions(5, 1, 0, "never", (10, 20)))
    assert probe.tokens[0].tolist() == [14, 16, 12, 17, 13] * 2
    assert probe.control[0].tolist() == [14, 16, 12, 17, 13, 18, 15, 10, 11, 19]
    assert probe.shuffled[0, 5:].tolist() == SHUFFLED
    assert probe.rotation.tolist() == [ROTATION]


SHUFFLED = [0]
ROTATION = 0


def test_too_short_for_another_order():
    for length in (2, 3):
        probe = repeated_probe(VOCABULARY, ProbeOptions(length, 2))
        assert probe.shuffled is None and probe.rotated is None and probe.rotation is None
    assert repeated_probe(VOCABULARY, ProbeOptions(4, 2)).rotation is not None


def test_given_ids_have_the_other_orders_too():
    probe = given_probe(VOCABULARY, [[0, 5, 6, 7, 8, 9, 5, 6, 7, 8, 9]], 5)
    assert sorted(probe.shuffled[0, 6:].tolist()) == [5, 6, 7, 8, 9]
    assert kept_pairs([5, 6, 7, 8, 9], probe.shuffled[0, 6:].tolist()) == 0
    k = int(probe.rotation[0])
    assert probe.rotated[0].tolist() == [0, 5, 6, 7, 8, 9, *([5, 6, 7, 8, 9][k:] + [5, 6, 7, 8, 9][:k])]


def test_pairs_are_pairs_of_tokens_where_a_token_comes_twice():
    r = [5, 6, 5, 7, 8, 9, 7, 6]
    orders = other_orders(np.array([r]), 0)
    assert orders is not None and kept_pairs(r, orders.shuffled[0].tolist()) == 0


def test_where_no_order_loses_every_pair_there_is_none():
    assert given_probe(VOCABULARY, [[5, 5, 5, 5, 5, 5, 5, 5]], 4).shuffled is None
    # One such row, and no row has them: sequences are compared with one another.
    rows = [[5] * 8, [1, 2, 3, 4, 1, 2, 3, 4]]
    assert given_probe(VOCABULARY, rows, 4).shuffled is None


def test_other_orders_are_part_of_what_identifies_a_probe():
    probe = repeated_probe(VOCABULARY, ProbeOptions(8, 2))
    parts = dict(tokens=probe.tokens.copy(), length=8, has_bos=True, options=probe.options, control=probe.control.copy())
    without = Probe(**parts)
    orders = dict(shuffled=probe.shuffled.copy(), rotated=probe.rotated.copy(), rotation=probe.rotation.copy())
    assert Probe(**parts, **orders).digest == probe.digest != without.digest
    for name in orders:
        other = orders | {name: orders[name][::-1].copy()}
        assert Probe(**parts, **other).digest != probe.digest, name
    with pytest.raises(ValueError, match="shuffled and rotated, or neither"):
        Probe(**parts, shuffled=orders["shuffled"])


def test_the_wrap_is_no_target():
    """In `r[k:] + r[:k]` nothing says that `r[0]` follows `r[L-1]`."""
    layout = Layout(5, 1)
    assert layout.second_copy_targets.tolist() == [7, 8, 9, 10]
    # Second half 6..10 is r[3] r[4] r[0] r[1] r[2]: r[0] stands at 8.
    assert layout.rotated_targets(3).tolist() == [7, 9, 10]
