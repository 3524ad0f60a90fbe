"""What the operating system allows a server: every open window takes a few file descriptors."""

from __future__ import annotations

import contextlib

MOST_DESCRIPTORS = 65_536


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
