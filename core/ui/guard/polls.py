"""A page that asks by itself whether there is something to show says nothing of its controls.

Streamlit sends along what every control holds in the browser, where a choice that was just sent can be put back for a moment by
an answer from before it. Where both wait for the same run, the later message would win, and the choice be gone.
"""

from __future__ import annotations

from dataclasses import replace

from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests


def poll_without_values() -> None:
    """From now on a poll leaves every control with what the person chose last."""
    asked = ScriptRequests.request_rerun
    if hasattr(asked, "without_values"):
        return

    def request_rerun(self: ScriptRequests, new_data: RerunData) -> bool:
        return asked(self, replace(new_data, widget_states=None) if new_data.is_auto_rerun else new_data)

    request_rerun.without_values = True  # type: ignore[attr-defined]
    ScriptRequests.request_rerun = request_rerun  # type: ignore[method-assign]
