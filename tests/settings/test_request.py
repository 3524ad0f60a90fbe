"""A request: what is unambiguous is taken as what it says, and the rest is refused in one sentence that names the argument."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.attention.cached import score_heads
from core.errors import BadInput
from core.settings.request import Request
from core.settings.subject import bind

ROWS = ((5, 6, 7, 8, 5, 6, 7, 8), (9, 8, 7, 6, 9, 8, 7, 6))


@pytest.mark.parametrize(
    "name, given, plain",
    [
        *(
            (name, given, 8)
            for name in ("length", "sequences", "seed")
            for given in (np.int64(8), np.array(8), torch.tensor(8))
        ),
        *(("dtype", getattr(torch, name), name) for name in ("float32", "bfloat16", "float16")),
        *(("device", torch.device(name), name) for name in ("cpu", "cuda:0", "mps")),
        ("model", Path("my models") / "own", str(Path("my models") / "own")),
        *(
            ("token_range", given, (0, 100))
            for given in ([0, 100], (np.int64(0), 100), np.array([0, 100]), torch.tensor([0, 100]))
        ),
        *(("tokens", given, ROWS) for given in (list(map(list, ROWS)), np.array(ROWS), torch.tensor(ROWS))),
        *(
            ("tokens", given, ROWS)
            for given in (list(np.array(ROWS)), list(torch.tensor(ROWS)), [list(np.array(ROWS[0])), ROWS[1]])
        ),
        ("tokens", np.array(ROWS, dtype=np.uint8), ROWS),
    ],
    ids=str,
)
def test_what_is_unambiguous_is_taken_as_what_it_says(name: str, given: Any, plain: Any) -> None:
    found, same = Request(**{name: given}), Request(**{name: plain})
    assert found == same and hash(found) == hash(same) and repr(found) == repr(same)


def test_results_of_the_same_question_have_the_same_key() -> None:
    plain = bind(Request("by-construction", length=4, tokens=ROWS, device="cpu"))
    given = bind(
        Request(
            Path("by-construction"),  # type: ignore[arg-type]
            length=np.int64(4),  # type: ignore[arg-type]
            tokens=np.array(ROWS),  # type: ignore[arg-type]
            device=torch.device("cpu"),  # type: ignore[arg-type]
            dtype=torch.float32,  # type: ignore[arg-type]
        )
    )
    assert given.key("anything") == plain.key("anything") and given.request == plain.request
    assert given.at(length=np.int64(4)).request == plain.request
    assert np.array_equal(score_heads(given).mean("induction"), score_heads(plain).mean("induction"))


@pytest.mark.parametrize(
    "name, given",
    [
        *(
            (name, given)
            for name in ("length", "sequences", "seed")
            for given in (None, "10", 10.5, 10.0, True, [10], np.float64(10))
        ),
        *((name, given) for name in ("device", "dtype", "bos") for given in (None, 0, ["cpu"], float)),
        *(("device", torch.float32), ("dtype", torch.device("cpu")), ("dtype", np.dtype("float32"))),
        *(
            ("token_range", given)
            for given in (5, "05", (0,), (0, 1, 2), (0, 1.5), (0, True), {0, 9}, np.zeros(2), np.zeros((2, 2), int))
        ),
    ],
    ids=str,
)
def test_another_kind_is_refused_by_the_name_of_its_argument(name: str, given: Any) -> None:
    with pytest.raises(BadInput, match=rf"^A request's {name} must be .*, not .*\.$") as said:
        Request(**{name: given})
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "given, says",
    [
        *(
            (given, "Tokens must be a JSON list")
            for given in (5, "abc", [5, 6], [], [[]], [[5], []], {(5, 6)}, np.array([5, 6]))
        ),
        *((given, "Token ids must be whole numbers") for given in ([[5.0, 6]], [[True, 6]], [["5"]], np.array(ROWS, float))),
        *(
            (given, "Token ids must be whole numbers")
            for given in (np.array(ROWS) > 5, torch.tensor(ROWS) > 5, [[None]], [[[5]]])
        ),
    ],
    ids=repr,
)
def test_tokens_that_are_no_rows_of_whole_numbers_are_refused(given: Any, says: str) -> None:
    with pytest.raises(BadInput, match=f"^{says}.*\\.$"):
        Request(tokens=given)


def test_a_request_costs_no_torch() -> None:
    code = "import sys; from core import Request; Request(length=9, tokens=[[1, 2]]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
