"""The process behind an address, for tests and benchmarks that look at what it takes."""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil


def server_at(address: str) -> psutil.Process:
    """The dashboard's process that listens at `address`."""
    port = str(urlsplit(address).port)
    [found] = [
        each
        for each in psutil.process_iter(["cmdline"])
        if port in (each.info["cmdline"] or []) and "core" in (each.info["cmdline"] or [])
    ]
    return found
