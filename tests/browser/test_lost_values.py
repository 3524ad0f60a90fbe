"""What is sent for a control apart from it is lost on the way: the control shows what the numbers are for all the same."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.browser.conftest import NewPage
from tests.helpers.screen import calm, only

pytestmark = pytest.mark.browser
LINK = (
    "model=two-layer&length=20&sequences=3&seed=2&bos=never&score=contrast&threshold=0.25&head=L1H2"
    "&mode=resample&set=picked&heads=L0H1"
)
HELD = ("set_value", "value", "values", "raw_value", "raw_values")


def lose_values(page: Page) -> list[str]:
    """From now on nothing that a control holds reaches the browser; gives the kinds of control that lost theirs."""
    lost: list[str] = []

    def without_values(message: str | bytes) -> str | bytes:
        parsed = ForwardMsg.FromString(message) if isinstance(message, bytes) else ForwardMsg()
        kind = parsed.delta.new_element.WhichOneof("type")
        control = getattr(parsed.delta.new_element, kind) if kind else None
        if not getattr(control, "set_value", False):
            return message
        lost.append(str(kind))
        for name in HELD:
            if name in control.DESCRIPTOR.fields_by_name:
                control.ClearField(name)
        return parsed.SerializeToString()

    def connected(here: WebSocketRoute) -> None:
        here.connect_to_server().on_message(lambda message: here.send(without_values(message)))

    page.route_web_socket(re.compile("/_stcore/stream"), connected)
    return lost


def shows_what_it_is_asked(page: Page, mode: str, threshold: str) -> None:
    expect(only(page.get_by_role("radio", name=mode))).to_be_checked()
    expect(only(page.get_by_role("radio", name="picked by hand"))).to_be_checked()
    expect(only(page.get_by_role("textbox", name="Heads picked by hand"))).to_have_value("L0H1")
    expect(only(page.get_by_role("slider", name="Threshold"))).to_have_value(threshold)
    expect(only(page.get_by_role("spinbutton", name="Length"))).to_have_value("20")
    expect(only(page.get_by_role("combobox", name="Score"))).to_have_value("Contrast")
    expect(only(page.get_by_role("combobox", name="Picked head"))).to_have_value("L1H2")


def test_a_control_whose_value_is_lost_shows_what_the_numbers_are_for(server: str, new_page: NewPage) -> None:
    page = new_page()
    lost = lose_values(page)
    page.goto(f"{server}/Ablation?{LINK}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    # While it is drawn again what was there before can stay beside it.
    calm(page)
    shows_what_it_is_asked(page, "Resample", "0.25")
    # What the browser holds goes back to the server with whatever is done next: it changes nothing else.
    page.get_by_text("Zero", exact=True).click()
    expect(page).to_have_url(re.compile("mode=zero"))
    page.get_by_role("slider", name="Threshold").press("ArrowRight")
    expect(page).to_have_url(re.compile("threshold=0.26"))
    calm(page)
    shows_what_it_is_asked(page, "Zero", "0.26")
    assert {"set=picked", "heads=L0H1", "score=contrast", "head=L1H2", "length=20", "seed=2"} <= set(
        page.url.split("?")[1].split("&")
    )
    assert {"selectbox", "slider", "radio", "text_input", "number_input"} <= set(lost)
    # Also those that a page has beside the sidebar's.
    page.goto(f"{server}/Head_card?{LINK.replace('L1H2', 'L1H0')}")
    expect(page.get_by_role("combobox", name="Another head")).to_have_value(re.compile("^L1H0 "))
    calm(page)
    page.get_by_role("slider", name="Threshold").press("ArrowRight")
    expect(page).to_have_url(re.compile("threshold=0.26"))
    calm(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^L1H0 "))
    page.goto(f"{server}/Circuits?{LINK.replace('resample', 'zero').replace('L1H2', 'L1H1')}")
    expect(page.get_by_role("radio", name="Zero")).to_be_checked()
    page.get_by_text("What one head reads of every earlier head").click()
    expect(page.get_by_role("combobox", name="Induction head")).to_have_value("L1H1")
