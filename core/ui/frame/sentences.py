"""Sentences on screen: errors that a person can act on, and texts from outside shown as they are."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import HeadScopeError
from core.numbers import signed
from core.runtime.files import as_text

_log = logging.getLogger("headscope")
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def verbatim(text: str) -> str:
    """`text` as it is, except that what stands between backticks is shown as code.

    Everything else that Markdown gives a meaning is escaped: an address must not bring in a picture or a link.
    """
    text = as_text(text)
    # A line that ends a paragraph would end the code, too, and what follows would be Markdown.
    text = " ".join(text.split()) if "`" in text else text
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _escaped(text)
    return "".join(_escaped(part) if i % 2 == 0 else f"`{part}`" for i, part in enumerate(parts) if part or i % 2 == 0)


def metric_change(change: float, digits: int = 2) -> str:
    """A change in nats as a metric's delta: the direction of the arrow is read off an ASCII minus."""
    return f"{signed(change, digits)} nats".replace("−", "-")


def _escaped(text: str) -> str:
    # Addresses become links by themselves, escaped or not: an invisible joiner keeps them text.
    unlinked = text.replace("://", ":\u2060//").replace("www.", "www\u2060.")
    return _MARKUP.sub(r"\\\1", unlinked)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Show what is raised inside as one sentence; an unexpected error also with a reference to find it in the log.

    Streamlit's own signals for stop and rerun are not errors and pass through.
    """
    try:
        yield
    except HeadScopeError as error:
        st.error(verbatim(str(error)), icon=":material/error:")
    except Exception:
        reference = secrets.token_hex(4)
        _log.exception("unexpected error, reference %s", reference)
        st.error(
            f"Something went wrong here, and it is a defect of HeadScope. Reload the page to go on; the log of the server "
            f"has the details under the reference {reference}.",
            icon=":material/error:",
        )
