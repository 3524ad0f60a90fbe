"""The results that travel with the project are there, are right, and need no heavy library to be read."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.attention.cached import behaviour_key, score_heads, score_key
from core.attention.score_pass import measure_heads
from core.models.load import load_model
from core.runtime.cache import if_cached
from core.runtime.store import BUNDLED_RESULTS
from core.settings.subject import bind
from core.sharing.bundle import bundled_requests
from core.verdicts.conformance import conformance_key

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("empty_store")


@pytest.mark.parametrize("request_", bundled_requests(), ids=lambda request: request.model)
def test_each_bundled_model_has_its_first_result_and_it_is_right(request_):
    """A stale file (a retrained model, a mended score without a new version) must not be served: `make bundled-results`."""
    stored = if_cached(partial(score_heads, request_))
    assert stored is not None, f"{request_.model} has no bundled result: run `make bundled-results`"
    model = load_model(request_.model)
    fresh = measure_heads(model, bind(request_).probe)
    for name, values in fresh.per_sequence.items():
        assert np.allclose(stored.per_sequence[name], values, atol=1e-5, equal_nan=True), name
    assert np.allclose(stored.token_loss, fresh.token_loss, atol=1e-4, equal_nan=True)


def test_nothing_else_travels():
    files = list(BUNDLED_RESULTS.glob("??/*.safetensors"))
    keys = {key(bind(request)) for request in bundled_requests() for key in (score_key, behaviour_key, conformance_key)}
    assert keys <= {file.stem for file in files} and len(files) <= len(keys) + 4
    assert sum(file.stat().st_size for file in files) < 1_000_000


def test_the_first_screens_numbers_need_no_torch():
    code = (
        "import sys\n"
        "from functools import partial\n"
        "from core.sharing.bundle import bundled_requests\n"
        "from core.attention.cached import score_heads\n"
        "from core.attention.cached import induction_example\n"
        "from core.runtime.cache import if_cached\n"
        "assert all(if_cached(partial(score_heads, r)) is not None for r in bundled_requests())\n"
        "assert if_cached(induction_example) is not None\n"
        "assert not {'torch', 'transformers', 'transformer_lens'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_first_screen_imports_nothing_that_it_could_do_without():
    code = (
        "import sys\n"
        "from tests.helpers.app import open_page\n"
        "at = open_page('pages/1_Heads.py', head='L1H3')\n"
        "assert not at.exception and len(at.get('plotly_chart')) == 3\n"
        "assert not {'torch', 'transformers', 'transformer_lens', 'pandas', 'scipy'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)


def test_a_result_at_hand_is_served_where_one_would_be_computed(monkeypatch):
    """Whoever asks gets the bundled numbers, and the model is neither loaded nor run; the guard itself is seen to bite."""

    class Computed(Exception):
        pass

    def computing(*_: object, **__: object) -> None:
        raise Computed

    monkeypatch.setattr("core.settings.subject.Subject.load", computing)
    monkeypatch.setattr("core.attention.score_pass.measure_heads", computing)
    for request in bundled_requests():
        at_hand, asked = if_cached(partial(score_heads, request)), score_heads(request)
        assert at_hand is not None and asked.per_sequence.keys() == at_hand.per_sequence.keys()
        assert all(np.array_equal(asked.sequences(name), at_hand.sequences(name), equal_nan=True) for name in at_hand.names)
        assert np.array_equal(asked.token_loss, at_hand.token_loss, equal_nan=True)
    other = bind(bundled_requests()[0]).at(seed=1)
    assert if_cached(partial(score_heads, other)) is None
    with pytest.raises(Computed):
        score_heads(other)
