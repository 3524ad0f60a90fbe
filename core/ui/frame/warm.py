"""Warm start: what the first computation needs is imported and loaded while the first page is being read.

Importing the libraries takes seconds. A page with a stored result does not wait for them, and the first new computation
should not either.
"""

from __future__ import annotations

import gc
import logging
import threading

from core.errors import HeadScopeError
from core.models.catalogue import DEFAULT_MODEL
from core.runtime.jobs import JobControl, default_pool
from core.runtime.limits import bound_request_headers, raise_descriptor_limit

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
    bound_request_headers()
    # The browser is still fetching the page's scripts; imports on this side would hold that up.
    timer = threading.Timer(_HEAD_START_SECONDS, _submit)
    timer.daemon = True
    timer.start()


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
