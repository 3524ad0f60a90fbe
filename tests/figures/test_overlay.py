"""Marks for every threshold: what is left of them at one."""

from __future__ import annotations

import numpy as np
import pytest

from core.figures.base.overlay import Overlay, boxes, crosses, resolved, rings, symbols, threshold_line, words
from core.figures.base.style import Look
from core.heads import Head

LOOK = Look()


def test_a_line_and_its_words_stand_at_the_threshold() -> None:
    line = resolved(threshold_line("x", LOOK), 0.42)
    assert line is not None and line["at"] == 0.42
    said = resolved(words("threshold {threshold}", "right", "threshold", colour="", size=1), 0.42)
    assert said is not None and (said["text"], said["y"], said["x"]) == ("threshold 0.42", 0.42, "right")


def test_marks_with_a_score_are_there_strictly_above_the_threshold() -> None:
    scores = np.array([[0.5, 0.6], [np.nan, 0.4]])
    found = resolved(rings(scores, LOOK), 0.5)
    assert found is not None and found["at"] == [(1, 0)] and "above" not in found
    name = words("L0H1", 1, 0, colour="", size=1, above=0.5)
    assert resolved(name, 0.5) is None and resolved(name, 0.49) is not None
    dots = resolved(symbols([1, 2], [0.1, 0.9], 8, above=[0.1, 0.9], colour="", fill=None), 0.5)
    assert dots is not None and dots["at"] == [(2, 0.9)]


def test_a_cross_without_a_score_is_always_there() -> None:
    mark = crosses([Head(0, 0), Head(1, 2)], [None, 0.3], LOOK, numbered=True)
    counts = []
    for threshold in (0.0, 0.3, 1.0):
        found = resolved(mark, threshold)
        assert found is not None
        counts.append(len(found["at"]))
    assert counts == [2, 1, 1]


def test_a_cross_leaves_a_number_free_and_is_larger_where_there_is_none() -> None:
    beside, alone = (crosses([Head(1, 2)], [None], LOOK, numbered=numbered) for numbered in (True, False))
    assert beside["at"] != [(2, 1)] == alone["at"] and alone["cells"] > beside["cells"]


def test_counts_and_boxes_are_of_the_scores_on_their_side() -> None:
    for are_above, count in ((True, "1"), (False, "2")):
        counted = {"scores": [0.1, 0.5, 0.9], "are_above": are_above}
        found = resolved(words("{count}", "left", "top", colour="", size=1, counted=counted), 0.5)
        assert found is not None and found["text"] == count
    bars = resolved(boxes([(0, 1, [0.2, 0.3]), (1, 2, [0.9, 0.4]), (2, 3, [0.8, 0.7])], LOOK), 0.5)
    assert bars is not None and bars["at"] == [(1, 2, 1, 2), (2, 3, "bottom", 2)]


@pytest.mark.parametrize(("threshold", "aside"), [(0.11, -18), (0.09, 18), (0.5, 0)])
def test_words_make_way_for_what_they_would_meet(threshold: float, aside: int) -> None:
    avoids = {"at": 0.1, "within": 0.06, "by": 18}
    found = resolved(words("{threshold}", "right", "threshold", colour="", size=1, avoids=avoids), threshold)
    assert found is not None and found["shift"][1] == aside


def test_an_overlays_parts_are_its_marks_at_its_threshold() -> None:
    overlay = Overlay("", 0.5, (threshold_line("y", LOOK), words("x", 0, 0, colour="", size=1, above=0.2)))
    assert [part["kind"] for part in overlay.parts] == ["line"] and len(overlay.marks) == 2
