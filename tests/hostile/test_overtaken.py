"""A run of a page that a newer one overtakes: the two never touch what the window remembers at once."""

from __future__ import annotations

import threading

from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState

from core.ui.guard.sessions import share_locks


def two_runs_at_once(rounds: int) -> list[Exception]:
    """What one run of a window fails with that reads all it remembers while another run writes."""
    share_locks()
    memory = SessionState()
    overtaken, newer = (SafeSessionState(memory, lambda: None) for _ in range(2))
    failed: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                len(overtaken.filtered_state)
        except Exception as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(rounds):
        newer[f"key {number % 500}"] = number
        if number % 500 == 499:
            for key in range(500):
                del newer[f"key {key}"]
    done.set()
    reader.join()
    return failed


def test_one_run_reads_what_a_window_remembers_while_another_writes() -> None:
    assert not two_runs_at_once(3000)


def test_windows_do_not_wait_for_one_another() -> None:
    share_locks()
    first, second = (SafeSessionState(SessionState(), lambda: None) for _ in range(2))
    with first._lock:
        told = threading.Thread(target=second.__setitem__, args=("key", 1), daemon=True)
        told.start()
        told.join(timeout=5)
        assert not told.is_alive()
