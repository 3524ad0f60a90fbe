"""The whole report as one page that needs no server and no network."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.documents.replication import report_page
from core.replication.cached import run_report
from core.replication.run import REPORT_MODE, ReportRun
from core.runtime.cache import if_cached
from core.sharing.commands import report_command
from core.ui.frame.page import Page


def download_panel(page: Page) -> None:
    """A button for the page, once everything that it holds is measured; and the command that writes the same."""
    run = if_cached(partial(run_report, page.subject, floor=page.view.experiment.effect_floor))
    if run is None:
        st.caption("The page can be downloaded here as soon as everything above is measured.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "The report as one page",
            partial(_whole_page, run, page.view.threshold),
            f"{page.stem}-report.html",
            "text/html",
            key="report-page",
            on_click="ignore",
            icon=":material/download:",
        )
        st.caption("One file of about 5 MB with live figures, which needs no network. The same without a browser:")
    st.code(report_command(page.view, "--html", "report.html"), language=None, wrap_lines=True)


def _whole_page(run: ReportRun, threshold: float) -> bytes:
    """Made only when somebody asks for it: it holds the whole figure library."""
    return report_page(run, threshold, REPORT_MODE).encode()
