"""How long windows are where nobody said it, and where somebody did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import BadInput
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.text.cached import chosen_windows_of


def test_the_default_length_is_as_long_as_fits_and_any_other_is_a_persons_own() -> None:
    subject = bind(Request("two-layer"))
    short = replace(subject, identity=replace(subject.identity, card=replace(subject.identity.card, n_ctx=40)))
    assert 32 <= chosen_windows_of(short, TextChoice()).tokens.shape[1] <= 40
    with pytest.raises(BadInput):
        chosen_windows_of(short, TextChoice(length=64))
