"""Every bound at once: as soon as may be, for it holds from then on."""

from __future__ import annotations

from core.runtime.limits import bound_request_headers
from core.ui.guard.files import answer_impossible_names
from core.ui.guard.messages import bound_messages
from core.ui.guard.polls import poll_without_values
from core.ui.guard.sessions import share_locks
from core.ui.guard.values import check_values


def stand_guard() -> None:
    """Put every bound in place, once in a process; to ask again costs nothing."""
    bound_request_headers()
    bound_messages()
    check_values()
    share_locks()
    poll_without_values()
    answer_impossible_names()
