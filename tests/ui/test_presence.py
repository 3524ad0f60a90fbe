"""Whose window it is: one browser is one person, however its cookie is written."""

from __future__ import annotations

import secrets

import pytest
from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

from core.ui.frame import presence
from core.ui.frame.presence import browser_of


def test_a_cookie_is_the_same_browsers_however_it_is_masked() -> None:
    token = secrets.token_bytes(16)
    texts = {generate_xsrf_token_string(token, 1_700_000_000) for _ in range(5)}
    assert len(texts) == 5 and {browser_of(text) for text in texts} == {token}
    assert browser_of(generate_xsrf_token_string(secrets.token_bytes(16), 1_700_000_000)) != token


@pytest.mark.parametrize("odd", ["", "greedy", "2|", "2|zz|00|1", "2||00|1", "3|00|00|1", "|||", "é" * 9])
def test_a_forged_cookie_is_taken_as_it_is(odd: str) -> None:
    assert browser_of(odd) == odd.encode()


def test_who_has_no_window_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert presence.present("server")
    monkeypatch.setitem(presence._sessions, "gone", "no such session")
    assert presence.present("gone"), "outside a server nobody can be asked"


def test_a_window_is_there_while_its_session_is(monkeypatch: pytest.MonkeyPatch) -> None:
    open_sessions = {"one"}

    class Server:
        def is_active_session(self, session: str) -> bool:
            return session in open_sessions

    monkeypatch.setattr(presence, "exists", lambda: True)
    monkeypatch.setattr(presence, "get_instance", Server)
    monkeypatch.setattr(presence, "_sessions", {"ada": "one", "bob": "two"})
    assert presence.present("ada") and not presence.present("bob") and presence.present("server")
    presence._forget_closed()
    assert presence._sessions == {"ada": "one"}
    assert not presence.present("bob"), "who is forgotten has not come back"
