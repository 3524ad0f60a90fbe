"""Open files: a room of windows needs more than the 256 or 1,024 that a process is often given."""

from __future__ import annotations

import resource
import subprocess
import sys

from core.runtime.limits import MOST_DESCRIPTORS


def test_the_soft_limit_is_raised_to_what_the_system_allows() -> None:
    code = (
        "import resource\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))\n"
        "from core.runtime.limits import raise_descriptor_limit\n"
        "print(raise_descriptor_limit(), raise_descriptor_limit(), hard)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    once, twice, hard = map(int, done.stdout.split())
    expected = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    assert once == twice == expected > 128
