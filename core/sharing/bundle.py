"""Results that travel with the project: every bundled model on the default probe, as ordinary store entries.

`make bundled-results` writes them again: after a model was trained, the scores' version or a pinned library changed. Entries
under old keys would never be read again, so the folder is made anew.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from core.attention.cached import induction_example, score_heads
from core.models.catalogue import catalogue
from core.runtime.store import BUNDLED_RESULTS, default_store
from core.settings.request import Request
from core.settings.subject import bind
from core.verdicts.conformance import conformance


def bundled_requests() -> tuple[Request, ...]:
    """The requests whose results travel: what each bundled model shows when it is first chosen."""
    return tuple(Request(entry.name) for entry in catalogue() if entry.source == "bundled")


def write_bundled_results() -> int:
    """Compute them and copy their store entries; how many there are.

    The store must be empty at the start (`HEADSCOPE_STORE` names a fresh folder), so that it holds just these at the end.
    """
    shutil.rmtree(BUNDLED_RESULTS, ignore_errors=True)
    for request in bundled_requests():
        score_heads(request)
        conformance(bind(request))
    induction_example()
    root = default_store().root
    entries = sorted(root.glob("??/*.safetensors"))
    for entry in entries:
        target = BUNDLED_RESULTS / entry.parent.name / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry, target)
    return len(entries)


if __name__ == "__main__":
    print(f"{write_bundled_results()} results in {Path(BUNDLED_RESULTS).name}", file=sys.stderr)
