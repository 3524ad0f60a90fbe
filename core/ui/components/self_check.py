"""The self-check on screen: does this machine compute the known answers? Runs once in a process, in the background."""

from __future__ import annotations

import streamlit as st

from core.attention.self_check import DoctorReport
from core.numbers import NOTHING
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_job

_reports: list[DoctorReport] = []


def self_check() -> None:
    """Show the self-check's result, or its progress while it runs."""
    report = _reports[0] if _reports else await_job("self-check", _run, "Checking this machine", background=True)
    if report is None:
        return
    if report.ok:
        st.success(
            f"**This machine computes the known answers:** {len(report.checks)} of {len(report.checks)} checks of a circuit "
            f"whose scores are known exactly ({verbatim(report.device)}).",
            icon=":material/check_circle:",
        )
    else:
        wrong = ", ".join(check.name for check in report.checks if not check.ok)
        st.error(
            f"**This machine computes wrong answers ({verbatim(wrong)}): trust no number from it.** Restart, or try another "
            f"device ({verbatim(report.device)}).",
            icon=":material/error:",
        )
    with st.expander("All checks", icon=":material/table:"):
        rows = [
            {"check": check.name, "expected": check.expected, "measured": check.measured, "passed": check.ok}
            for check in report.checks
        ]
        numbers = {name: st.column_config.NumberColumn(format="%.6f") for name in ("expected", "measured")}
        st.dataframe(rows, hide_index=True, height="content", column_config=numbers, placeholder=NOTHING)


def _run() -> DoctorReport:
    from core.attention.self_check import run_doctor

    report = run_doctor()
    _reports[:] = [report]
    return report
