"""Heads planted to be taken for something else: every one of them is called what it is, wherever it sits."""

from __future__ import annotations

import os

import pytest

from tests.helpers.hard_cases import HARD_CASES, HardCase, hard_model, hard_probes
from tests.helpers.judging import judged

# A rule that is wrong on a kind is wrong in most places; the full simulation takes them all.
PLACEMENTS = 200 if os.environ.get("HEADSCOPE_SIMULATIONS") == "full" else 4


@pytest.mark.parametrize("case", HARD_CASES, ids=[case.name for case in HARD_CASES])
def test_a_hard_case_is_called_what_it_is(case: HardCase) -> None:
    wrong = []
    for seed in range(PLACEMENTS):
        model, head = hard_model(case, seed)
        probes = hard_probes(case, model, seed)
        found = {verdict.head: verdict for verdict in judged(model, probes)}
        if found[head].label != case.label:
            wrong.append((seed, found[head]))
        # The true induction head beside it is always found, and nothing else is called.
        called = {other: verdict.label for other, verdict in found.items() if verdict.label == "induction"}
        assert len(called) == 1 + (case.label == "induction"), (seed, called)
    assert not wrong
