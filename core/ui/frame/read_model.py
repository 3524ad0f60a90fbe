"""A model whose files this machine has not met yet: they are read whole once, as a job that everybody shares."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.models.identity import model_identity, reading_key
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_job


def read_model(name: str) -> None:
    """Show how far the reading of a model's files is; when that is done, the page is drawn with it.

    Raises ModelUnavailable, with the reason, for files that turn out to be broken.
    """
    doing = f"Reading the files of {verbatim(name)}; this happens once for each model"
    if await_job(reading_key(name), partial(model_identity, name), doing) is not None:
        st.rerun()
