"""Warm start: what the first computation needs is imported and loaded while the first page is being read.

Importing the libraries takes seconds. A page with a stored result does not wait for them, and the first new computation
should not either.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
from urllib.parse import quote

import streamlit as st

from core.errors import HeadScopeError
from core.models.catalogue import DEFAULT_MODEL
from core.runtime.jobs import JobControl, default_pool
from core.runtime.limits import raise_descriptor_limit
from core.runtime.reachable import address_for_others, is_loopback
from core.runtime.teacher_key import given_key, teacher_key

_log = logging.getLogger("headscope")
_HEAD_START_SECONDS = 4.0
_started = threading.Event()
_lock = threading.Lock()


def start_warm_up() -> None:
    """Import the model library and load the default model in the background, once in this process.

    As a job, because jobs have turns: two threads that import the same large library at once can see it half imported.
    """
    with _lock:
        if _started.is_set():
            return
        _started.set()
    raise_descriptor_limit()
    _tell_the_key()
    # The browser is still fetching the page's scripts; imports on this side would hold that up.
    timer = threading.Timer(_HEAD_START_SECONDS, _submit)
    timer.daemon = True
    timer.start()


def _tell_the_key() -> None:
    """Say once, where the server was started, what opens the teacher's page; this machine itself needs no key."""
    listens_on = st.get_option("server.address")
    if not given_key() and not is_loopback(listens_on):
        base = address_for_others(listens_on, st.get_option("server.port"))
        print(f"The teacher's page: {base}/Teacher?key={quote(teacher_key())}", file=sys.stderr, flush=True)


def _submit() -> None:
    try:
        default_pool().submit("warm up", _warm_up, viewer="server", background=True)
    except HeadScopeError:
        _log.info("no warm start: the machine is busy")


def _warm_up(control: JobControl) -> None:
    from core.models.load import load_model

    load_model(DEFAULT_MODEL)
    # What was imported stays for good: taken out of the collector's sight, a new session starts ten times faster.
    gc.collect()
    gc.freeze()
