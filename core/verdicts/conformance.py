"""A subject's conformance, computed once for a length and kept under its weights' digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.runtime.cache import cached
from core.runtime.store import Stored
from core.settings.subject import Subject

if TYPE_CHECKING:
    from core.transformer.conformance import Conformance

CONFORMANCE_VERSION = 1


def conformance(subject: Subject) -> Conformance:
    """Every check of the subject's model at the length of its probe."""
    from core.transformer.conformance import Check, Conformance, conform

    def compute() -> Stored:
        from core.verdicts.attribution import attributed

        found = conform(subject.load(), subject.layout.length, subject.layout.b, lambda *given: attributed(*given)[1])
        return Stored({}, {"checks": [vars(check) for check in found.checks]})

    layout = subject.layout
    key = subject.model_key("conformance", length=layout.length, bos=layout.b, version=CONFORMANCE_VERSION)
    return Conformance(layout.length, tuple(Check(**check) for check in cached(key, compute).meta["checks"]))
