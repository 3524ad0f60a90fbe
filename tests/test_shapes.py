"""That arrays are held to the shapes in signatures while the tests run, and that nothing else is in the way."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from core.errors import BadInput
from core.heads import check_head, parse_heads
from core.stats import estimate, student_intervals


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.zeros(3, int)], ids=["two axes", "integers"])
def test_an_array_of_another_shape_or_number_format_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(TypeCheckError):
        estimate(wrong)


def test_only_functions_with_arrays_are_wrapped() -> None:
    assert hasattr(student_intervals, "__wrapped__")
    assert not hasattr(parse_heads, "__wrapped__")
    with pytest.raises(BadInput):
        check_head(*parse_heads("L5H7"), 2, 4)
