"""The view that the address, the controls and the session agree on.

The address is read when a session starts and when the browser goes back or forward; otherwise the controls decide, and
the address follows them. The parameters are not bound to the widgets by Streamlit's own binding, because it would put
display labels in the address and drop what it cannot use without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.attention.cached import existing_heads
from core.heads import Head, missing_head
from core.runtime.cache import if_cached
from core.settings.experiment import Experiment
from core.settings.subject import Subject
from core.settings.view import View, fit_view
from core.sharing.address import PARAMETERS, all_params_of, control_values, params_of, said_by_controls, too_long, view_from
from core.transformer.card import ModelIdentity
from core.ui.guard.sessions import put_in_controls

_VIEW = "view"
_NOTES = "view_notes"
_NOTED_FOR = "view_noted_for"
_POLLED = "polled"
_UNCONFIRMED = "controls_unconfirmed"
_CHANGED = "controls_changed"
_SENT_AGAIN = "controls_sent_again"
_OFFERED = "views_offered"
_PAGE = "page_of_the_controls"


def current_view() -> View:
    """The view as the controls, or at a session's start the address, say; fills the controls' session state."""
    state = st.session_state
    polled, followed = state.get(_POLLED), _followed_an_offer()
    if _VIEW not in state or followed or _went_through_history():
        view, notes = view_from(st.query_params.to_dict())
        _set_controls(view)
        state[_UNCONFIRMED] = True
    elif polled is not None and state[_UNCONFIRMED]:
        chosen = {name: state[name] for name, value in polled.items() if name in state and state[name] != value}
        view, notes = state[_VIEW], state[_NOTES]
        if chosen:
            view, notes = view_from(said_by_controls(control_values(view) | chosen))
        _set_controls(view)
    else:
        # Streamlit forgets the controls of a page that is left; the session's view remembers them.
        arrived = state.get(_PAGE) != _this_page()
        changed = bool(state.pop(_CHANGED, False))
        state[_UNCONFIRMED] = arrived or changed or any(name not in state for name in PARAMETERS)
        _set_controls(state[_VIEW], only_missing=True)
        view, notes = view_from(said_by_controls({name: state[name] for name in PARAMETERS}))
        # Values that the page before has left are read, but never reach the new page's controls by themselves. And where
        # controls were sent again while the person changed one, the browser has put it back: it would say so at the next click.
        if arrived or state.get(_SENT_AGAIN, False):
            _set_controls(view)
    _keep(view, notes)
    return view


def note_poll() -> None:
    """Say that the run to come is no doing of the person's: the browser polled and something is there to show.

    The values of new controls, and those that a click on something else has changed, reach the browser once. If the next
    run comes before a slow browser has drawn them, they are lost, and it would answer with every control at its lowest
    value or at the one before. So until the person does something, runs that follow a poll send them again. What is changed
    between the poll and that run is the person's: what the controls hold at the poll is remembered, to tell it from that.
    """
    state = st.session_state
    state[_POLLED] = {name: state[name] for name in PARAMETERS if name in state}


def fitted_view(view: View, identity: ModelIdentity) -> View:
    """`view` with what does not fit the model corrected, in the controls, too: call it before they are drawn."""
    fitted, notes = fit_view(view, identity)
    if fitted != view:
        _set_controls(fitted)
        st.session_state[_UNCONFIRMED] = True
        _keep(fitted, st.session_state[_NOTES] + notes)
    return fitted


def without_a_missing_head(view: View, subject: Subject) -> View:
    """`view` without a picked head that its layer does not have, as far as that is known; before the controls are drawn.

    A layer without attention has none, which no config says in a way of its own.
    """
    known = None if view.head is None else if_cached(partial(existing_heads, subject))
    if view.head is None or known is None or known[view.head]:
        return view
    fitted = replace(view, head=None)
    _set_controls(fitted)
    st.session_state[_UNCONFIRMED] = True
    _keep(fitted, [*st.session_state[_NOTES], f"{missing_head(view.head, subject.card.name)} No head is picked."])
    return fitted


def corrections() -> list[str]:
    """One sentence for each thing that was corrected, until a control is moved."""
    return list(st.session_state.get(_NOTES, []))


def held(name: str) -> Any:
    """What the control `name` holds: the value that it is drawn with, so that a browser that has not drawn it begins there.

    What is put in a control reaches the browser once. A run that is overtaken has sent nothing of it, and the next would draw
    the control at its lowest value or its first choice, beside numbers for another.
    """
    return st.session_state[name]


def held_place(name: str, options: Sequence[object]) -> int:
    """The place of what the control `name` holds among its options; the first, which Streamlit would take, where it is none."""
    return options.index(held(name)) if held(name) in options else 0


def held_radio(label: str, options: Sequence[Any], name: str, words: Callable[[Any], str] = str) -> None:
    """The control `name` as choices in a row; `words` are what each is called."""
    st.radio(label, list(options), held_place(name, options), key=name, horizontal=True, format_func=words)


def set_control(name: str, value: object) -> None:
    """Set the control `name` from elsewhere. For callbacks: a control that is already drawn cannot be set any more."""
    st.session_state[name] = value
    st.session_state[_CHANGED] = True


def show_view(view: View) -> None:
    """Set every control to what `view` says. For callbacks, as `set_control`."""
    for name, value in control_values(view).items():
        set_control(name, value)


def change_view(change: Callable[[View], View]) -> None:
    """Make this window's view what `change` makes of it, whatever its controls hold. Call it before the view is asked for."""
    if _VIEW in st.session_state:
        st.session_state[_VIEW] = change(st.session_state[_VIEW])
        show_view(st.session_state[_VIEW])


def pick_head(head: Head | None) -> None:
    """Pick a head. For callbacks, as `set_control`."""
    set_control("head", "" if head is None else head.name)


def change_experiment(change: Callable[[Experiment], Experiment]) -> None:
    """Set the controls of what is ablated to what `change` makes of the present view's. For callbacks, as `set_control`."""
    view = st.session_state[_VIEW]
    values = all_params_of(replace(view, experiment=change(view.experiment)))
    for name in ("set", "heads"):
        set_control(name, values[name])


def link_to(path: str, label: str, icon: str, view: View | None = None) -> None:
    """A link to another page that shows the same view, or `view`.

    It carries the view: a bare one would leave a step in the browser's history that goes back to the defaults.
    """
    params = params_of(st.session_state[_VIEW] if view is None else view)
    if view is not None:
        offered = st.session_state[_OFFERED][1]
        if params not in offered:
            offered.append(params)
    st.page_link(path, label=label, icon=icon, query_params=params)


def write_address(view: View) -> None:
    """Make the address one that shows `view` again; parameters of others are left alone. Call it once controls are drawn."""
    # Not sooner: a run that is interrupted before it has drawn the controls has not arrived, and has sent nothing again.
    state = st.session_state
    state[_PAGE] = _this_page()
    state[_SENT_AGAIN] = state.get(_POLLED) is not None and state[_UNCONFIRMED]
    state[_POLLED] = None
    wanted = params_of(view)
    if too_long(st.query_params.to_dict()):
        # Whatever else was in it: the session would keep all of it.
        st.query_params.clear()
    present = st.query_params.to_dict()
    for name in PARAMETERS:
        if name in present and name not in wanted:
            del st.query_params[name]
    changed = {name: value for name, value in wanted.items() if present.get(name) != value}
    if changed:
        st.query_params.update(changed)


def _followed_an_offer() -> bool:
    """Whether this run follows a link to another view, which then decides, not the controls.

    Such a link is known by its address, and by the page having changed: an address alone can be a late one, from before
    a control was moved. What a page offers is remembered until another page is opened: a click can come while a run has
    not drawn its links again yet.
    """
    page = _this_page()
    offered_on, offered = st.session_state.get(_OFFERED, (page, []))
    present = {name: value for name, value in st.query_params.to_dict().items() if name in PARAMETERS}
    arrived = page != offered_on
    st.session_state[_OFFERED] = (page, [] if arrived else offered)
    return arrived and present in offered


def _keep(view: View, notes: list[str]) -> None:
    """Remember the view; notes stay as long as it is the same, so that a rerun by itself does not take them away."""
    state = st.session_state
    if notes or state.get(_NOTED_FOR) != view:
        state[_NOTES], state[_NOTED_FOR] = notes, view
    state[_VIEW] = view


def _set_controls(view: View, *, only_missing: bool = False) -> None:
    state = st.session_state
    put_in_controls({name: value for name, value in control_values(view).items() if not only_missing or name not in state})


def _this_page() -> str:
    """Which page's script runs."""
    context = get_script_run_ctx()
    return "" if context is None else context.page_script_hash


def _went_through_history() -> bool:
    """Whether this run follows the browser's back or forward: the address then decides, not the controls."""
    context = get_script_run_ctx()
    return context is not None and bool(getattr(context, "is_history_navigation", False))
