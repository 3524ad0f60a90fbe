"""A model that is known but not on this machine: say so, and bring it in when the person asks for it."""

from __future__ import annotations

import os

import streamlit as st
from streamlit.runtime import exists

from core.errors import HeadScopeError, ModelUnavailable
from core.models.catalogue import find_entry
from core.models.folders import CatalogueEntry
from core.runtime.jobs import current_control
from core.runtime.reachable import is_loopback
from core.ui.frame.sentences import verbatim
from core.ui.frame.visitors import sent_on
from core.ui.frame.waiting import await_job

_WANTED = "models_wanted"


def offer_to_bring_in(name: str, reason: ModelUnavailable) -> None:
    """Show why the model cannot be used, and a button that fetches it where that would help."""
    entry = _missing(name)
    if entry is None:
        st.error(verbatim(str(reason)), icon=":material/error:")
        return
    if not downloads_allowed():
        st.warning(verbatim(str(reason)), icon=":material/cloud_off:")
        st.caption(
            "This server is open to others, so visitors cannot bring models in. Whoever runs it can, with "
            f"`python -m core models add {entry.name}`, or allow it with `HEADSCOPE_ALLOW_DOWNLOADS=1`."
        )
        return
    wanted: set[str] = st.session_state.setdefault(_WANTED, set())
    if entry.name not in wanted:
        st.warning(verbatim(str(reason)), icon=":material/cloud_off:")
        st.button(
            f"Bring in {entry.name} now",
            on_click=wanted.add,
            args=(entry.name,),
            icon=":material/download:",
            help="Fetches the model over the network and keeps it on this machine.",
        )
        return
    if await_job(f"bring in {entry.name}", lambda: _bring_in(entry.name), f"Bringing in {verbatim(entry.name)}"):
        wanted.discard(entry.name)
        st.rerun()


def _missing(name: str) -> CatalogueEntry | None:
    """The catalogue's entry, if the model is known and not here; a folder that cannot be measured is not missing."""
    try:
        entry = find_entry(name)
    except HeadScopeError:
        return None
    return None if entry.available or entry.problem else entry


def _bring_in(name: str) -> str:
    from core.models.fetching.add import add_model

    # The network may take its time: the turn to compute is somebody else's meanwhile.
    with current_control().waiting():
        return str(add_model(name))


def downloads_allowed() -> bool:
    """Whether a visitor may bring a model in: as `HEADSCOPE_ALLOW_DOWNLOADS` says, else only where nobody else can visit."""
    said = os.environ.get("HEADSCOPE_ALLOW_DOWNLOADS", "").strip().lower()
    if said:
        return said in ("1", "true", "yes", "on")
    return not exists() or (is_loopback(st.get_option("server.address")) and not sent_on())
