"""A run of a page that a newer one overtakes: the two never touch what the window remembers at once, and no choice is lost."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState

from core.ui.guard import sessions
from core.ui.guard.polls import poll_without_values
from core.ui.guard.sessions import put_in_controls, share_locks


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


def test_a_choice_that_comes_while_an_older_run_waits_to_write_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    share_locks()
    memory = SessionState()
    overtaken, waits = threading.Event(), threading.Event()

    def stop_if_overtaken() -> None:
        if overtaken.is_set():
            raise StopException

    older, newer = SafeSessionState(memory, stop_if_overtaken), SafeSessionState(memory, lambda: None)
    stopped: list[bool] = []

    def context() -> SimpleNamespace:
        waits.set()
        return SimpleNamespace(session_state=older)

    monkeypatch.setattr(sessions, "get_script_run_ctx", context)

    def write() -> None:
        try:
            put_in_controls({"set": "threshold"})
        except StopException:
            stopped.append(True)

    # As a run begins: it holds the memory, and what was chosen is in it, before the older one writes.
    with newer._lock:
        writer = threading.Thread(target=write)
        writer.start()
        waits.wait()
        overtaken.set()
        newer["set"] = "picked"
    writer.join()
    assert stopped and newer["set"] == "picked"


def _says(**controls: str) -> WidgetStates:
    return WidgetStates(widgets=[WidgetState(id=name, string_value=value) for name, value in controls.items()])


@pytest.mark.parametrize("auto", [True, False], ids=["a poll", "a click"])
def test_only_a_person_changes_a_choice_that_no_run_has_read_yet(auto: bool) -> None:
    """An answer from before the choice has put the browser's control back when the next message is sent."""
    poll_without_values()
    waiting = ScriptRequests()
    assert waiting.request_rerun(RerunData(widget_states=_says(set="picked", threshold="0.5")))
    assert waiting.request_rerun(
        RerunData(widget_states=_says(set="threshold", threshold="0.6"), fragment_id="watch", is_auto_rerun=auto)
    )
    asked = waiting.on_scriptrunner_ready().rerun_data
    assert asked.widget_states is not None and not asked.fragment_id_queue
    said = {control.id: control.string_value for control in asked.widget_states.widgets}
    assert said == ({"set": "picked", "threshold": "0.5"} if auto else {"set": "threshold", "threshold": "0.6"})


def test_a_poll_alone_asks_for_its_own_part_of_the_page() -> None:
    poll_without_values()
    waiting = ScriptRequests()
    assert waiting.request_rerun(RerunData(widget_states=_says(set="threshold"), fragment_id="watch", is_auto_rerun=True))
    asked = waiting.on_scriptrunner_ready().rerun_data
    assert asked.widget_states is None and asked.fragment_id_queue == ["watch"]
