"""A page without a browser: opened at an address, and what it shows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from streamlit.testing.v1 import AppTest

from core.figures.base.overlay import resolved

APP = Path(__file__).resolve().parents[2] / "app.py"
# A probe that is measured quickly.
SHORT = {"length": "20", "sequences": "2"}


def open_page(path: str, *, opened: Iterable[str] = (), **parameters: str) -> AppTest:
    """The page at `path` ("pages/1_Heads.py", or "app.py"), as a new session sees it at an address with these parameters.

    opened: the keys of what is folded, and opened here.
    """
    at = AppTest.from_file(str(APP), default_timeout=120)
    if path != APP.name:
        # A link opens this page first, so the home page is not run before it.
        at.switch_page(path)
    for name, value in parameters.items():
        at.query_params[name] = value
    for key in opened:
        at.session_state[f"fold-{key}"] = True
    return at.run()


def settled(at: AppTest) -> AppTest:
    """The page once no work is under way: run again, as its own polling would."""
    # By the clock, not by how often: a page that draws little runs very often while work takes its time.
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not any(str(button.label) == "Cancel" for button in at.button):
            return at
        at.run()
    raise AssertionError("the work did not end")


def let_work_end() -> None:
    """Wait for work that pages began: all tests of a process share one source of random numbers."""
    # The warm start is a timer first, and then a job.
    for kind in (lambda thread: isinstance(thread, threading.Timer), lambda thread: thread.name.startswith("job ")):
        for thread in filter(kind, threading.enumerate()):
            thread.join(120)
            assert not thread.is_alive(), thread.name


def figures(at: AppTest) -> list[dict[str, Any]]:
    """The plotly figures on the page, in order."""
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def sent(at: AppTest) -> list[bytes]:
    """What the browser gets for each plotly figure: the same bytes are not sent again."""
    return [chart.proto.SerializeToString(deterministic=True) for chart in at.get("plotly_chart")]


def overlays(at: AppTest) -> dict[str, list[dict[str, Any]]]:
    """What is drawn over the page's figures at the page's threshold, by the figure's key."""
    marks, states = (
        {data["panel"].removeprefix("panel-"): data for data in _data_of(at, name)}
        for name in ("headscope_figure_overlay_layer", "headscope_figure_overlay")
    )
    return {
        key: [part for mark in marks[key]["marks"] if (part := resolved(mark, state["threshold"])) is not None]
        for key, state in states.items()
    }


def _data_of(at: AppTest, component: str) -> list[dict[str, Any]]:
    """What each component of that name was given."""
    found = [part.proto for part in at.get("bidi_component") if part.proto.component_name == component]
    return [json.loads(proto.json) for proto in found]


def address(at: AppTest) -> dict[str, str]:
    """The parameters of the page's address: a test's own are lists, the page's are words."""
    return {name: value if isinstance(value, str) else value[0] for name, value in at.query_params.items()}


def said(at: AppTest) -> str:
    """All running text of the page, without the marks that keep it from being read as Markdown."""
    return "\n".join(str(markdown.value).replace("\\", "") for markdown in at.markdown)


def tables(at: AppTest) -> dict[str, list[list[str]]]:
    """The page's own tables, by what they are called: the headings, then the rows."""
    bodies = [html.proto.body for html in at.get("html")]
    found = [ElementTree.fromstring(body[body.index("<table") :].removesuffix("</div>")) for body in bodies if "<table" in body]
    return {
        table.get("aria-label", ""): [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in found
    }
