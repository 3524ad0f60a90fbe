"""What a server may take: of the operating system, for every window a few file descriptors; of a request, its first lines."""

from __future__ import annotations

import contextlib
import math
from typing import Any

MOST_DESCRIPTORS = 65_536
# A request's address and headers, cookies included: as nginx has it in deploy/.
MOST_HEADER_BYTES = 65_536


def raise_descriptor_limit() -> int:
    """As many open files as the system lets this process have, up to `MOST_DESCRIPTORS`; the limit afterwards, 0 if unknown."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def bound_request_headers() -> None:
    """From now on a request is cut off whose address and headers are longer than `MOST_HEADER_BYTES`.

    The web server's fast reader of requests has no such bound: a cookie of many megabytes was taken in, and kept as long as its
    connection was. Its slow one, which is used where the fast one is not installed, has this very bound.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Reader
    except ImportError:
        return
    received, begun, complete = Reader.data_received, Reader.on_message_begin, Reader.on_headers_complete
    if hasattr(received, "bounded"):
        return

    def data_received(self: Any, data: bytes) -> None:
        self.header_bytes = getattr(self, "header_bytes", 0) + len(data)
        if self.header_bytes <= MOST_HEADER_BYTES + len(data):
            received(self, data)
        elif not self.transport.is_closing():
            self.send_400_response("The address and headers of this request are too long.")

    def on_message_begin(self: Any) -> None:
        self.header_bytes = 0
        begun(self)

    def on_headers_complete(self: Any) -> None:
        # What follows is the body, which has bounds of its own.
        self.header_bytes = -math.inf
        complete(self)

    data_received.bounded = True  # type: ignore[attr-defined]
    for method in (data_received, on_message_begin, on_headers_complete):
        setattr(Reader, method.__name__, method)
