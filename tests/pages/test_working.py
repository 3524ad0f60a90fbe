"""Waiting on screen: progress, cancelling, errors, and starting again."""

import threading
import time
from collections.abc import Iterator

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.testing.v1 import AppTest

from core.errors import BadInput
from core.runtime.jobs import JobPool, current_control
from core.ui.frame import waiting


class Work:
    """Work that waits until it is let go, and counts how often it was started."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        self.started += 1
        while not self.go.wait(0.02):
            current_control().progress(0.25, "counting sheep")
        if self.error is not None:
            raise self.error
        return "forty-two"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """The work that the page below waits for, in a pool of its own."""
    made, pool = Work(), JobPool()
    monkeypatch.setattr(waiting, "default_pool", lambda: pool)
    monkeypatch.setattr(waiting, "work_under_test", made, raising=False)
    yield made
    made.go.set()


def waiting_page() -> AppTest:
    def script() -> None:
        import streamlit as st

        from core.ui.frame import waiting
        from core.ui.frame.sentences import errors_as_sentences

        with errors_as_sentences():
            answer = waiting.await_job("answer", waiting.work_under_test, "Looking for the answer")  # type: ignore[attr-defined]
            if answer is not None:
                st.write("the answer is " + answer)
            st.write("and this comes after it")

    return AppTest.from_function(script, default_timeout=30)


def page_with_two_parts() -> AppTest:
    def script() -> None:
        import streamlit as st

        from core.ui.frame import waiting
        from core.ui.frame.sentences import errors_as_sentences

        with errors_as_sentences():
            for part in ("one", "two"):
                answer = waiting.await_job("answer", waiting.work_under_test, "Looking for the answer")  # type: ignore[attr-defined]
                if answer is not None:
                    st.write(f"part {part}: {answer}")

    return AppTest.from_function(script, default_timeout=30)


def said(at: AppTest) -> str:
    return "\n".join(str(part.value) for part in [*at.markdown, *at.info, *at.error]).replace("\\", "")


def run_until(at: AppTest, words: str) -> AppTest:
    deadline = time.monotonic() + 20
    while words not in said(at.run()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert words in said(at)
    return at


def test_progress_is_shown_and_then_the_result(work: Work) -> None:
    at = waiting_page().run()
    assert "Looking for the answer" in said(at)
    assert "the answer is" not in said(at)
    [progress] = at.get("progress")
    assert "counting sheep: 25 %" in progress.proto.text
    work.go.set()
    run_until(at, "the answer is forty-two")
    assert work.started == 1


def test_two_parts_of_a_page_wait_for_the_same_work_in_one_place(work: Work) -> None:
    at = page_with_two_parts().run()
    assert not at.exception and [str(button.label) for button in at.button] == ["Cancel"]
    at.button[0].click().run()
    run_until(at, "You cancelled this computation")
    assert not at.exception and [str(button.label) for button in at.button] == ["Start again"]
    work.error = BadInput("The length must be even.")
    work.go.set()
    at.button[0].click().run()
    run_until(at, "The length must be even.")
    assert not at.exception and [str(button.label) for button in at.button] == ["Try again"]
    work.error = None
    at.button[0].click().run()
    run_until(at, "part two: forty-two")
    assert "part one: forty-two" in said(at) and work.started == 3


def test_two_sessions_share_one_computation(work: Work) -> None:
    first, second = waiting_page().run(), waiting_page().run()
    work.go.set()
    run_until(first, "the answer is forty-two")
    run_until(second, "the answer is forty-two")
    assert work.started == 1


def test_cancel_stops_the_work_and_it_can_be_started_again(work: Work) -> None:
    at = waiting_page().run()
    at.button[0].click().run()
    run_until(at, "You cancelled this computation")
    at.button[0].click().run()
    work.go.set()
    run_until(at, "the answer is forty-two")
    assert work.started == 2


def test_one_session_that_cancels_does_not_take_the_result_from_another(work: Work) -> None:
    first, second = waiting_page().run(), waiting_page().run()
    first.button[0].click().run()
    work.go.set()
    run_until(second, "the answer is forty-two")
    assert "You cancelled" in said(first.run())
    assert work.started == 1


def test_an_error_is_a_sentence_and_is_not_repeated_by_itself(work: Work) -> None:
    work.error = BadInput("The length must be even.")
    work.go.set()
    at = run_until(waiting_page(), "The length must be even.")
    at.run()
    at.run()
    assert work.started == 1
    work.error = None
    at.button[0].click().run()
    run_until(at, "the answer is forty-two")
    assert work.started == 2


def test_a_poll_that_overtakes_the_page_leaves_no_gap_in_it(work: Work) -> None:
    """Streamlit drops what a fragment has drawn and not sent when the fragment runs again; the rest must fit without it."""
    sent: list[ForwardMsg] = []
    ForwardMsgQueue.on_before_enqueue_msg(sent.append)
    try:
        at = waiting_page().run()
    finally:
        ForwardMsgQueue.on_before_enqueue_msg(None)
    assert "and this comes after it" in said(at)
    queue = ForwardMsgQueue()
    for message in sent:
        queue.enqueue(message)
    fragments = [message.delta.fragment_id for message in sent if message.delta.fragment_id]
    assert fragments
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=fragments)
    children = {(0,): 0, (1,): 0}
    for message in queue.flush():
        if not message.HasField("delta"):
            continue
        *block, place = message.metadata.delta_path
        assert place <= children[tuple(block)], f"nothing stands at {place - 1} of {block}"
        children[tuple(block)] = max(children[tuple(block)], place + 1)
        if message.delta.HasField("add_block"):
            children.setdefault((*block, place), 0)
