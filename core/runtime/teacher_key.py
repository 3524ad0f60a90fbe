"""The key that opens the teacher's page: given by whoever starts the server, else drawn once for this process."""

from __future__ import annotations

import hmac
import os
import secrets
from functools import cache

TEACHER_KEY = "HEADSCOPE_TEACHER_KEY"


def given_key() -> str:
    """The key that the server was started with; empty where it was started without one."""
    return os.environ.get(TEACHER_KEY, "").strip()


def teacher_key() -> str:
    """The key: the given one, else this process's own."""
    return given_key() or drawn_key()


@cache
def drawn_key() -> str:
    """A key that nobody can guess, the same as long as the process lives."""
    return secrets.token_urlsafe(12)


def opens(said: str) -> bool:
    """Whether `said` is the key; it takes as long for a wrong one as for the right one."""
    return hmac.compare_digest(said.encode(), teacher_key().encode())
