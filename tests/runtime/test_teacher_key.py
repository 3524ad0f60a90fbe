"""The key of the teacher's page: drawn once, or given, and nothing else opens it."""

from __future__ import annotations

import pytest

from core.runtime.teacher_key import TEACHER_KEY, drawn_key, given_key, opens, teacher_key


def test_a_key_is_drawn_once_and_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TEACHER_KEY, raising=False)
    assert teacher_key() == drawn_key() == drawn_key() and len(drawn_key()) >= 16 and given_key() == ""
    assert opens(drawn_key())
    assert not any(opens(wrong) for wrong in ("", "x", drawn_key()[:-1], drawn_key() + " ", "é"))


def test_a_given_key_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEACHER_KEY, " chalk ")
    assert opens("chalk") and not opens(drawn_key()) and not opens("")


def test_an_empty_key_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEACHER_KEY, "  ")
    assert not opens("") and opens(drawn_key())
