"""A subject's conformance, computed once for a length and kept under its weights' digest."""

from __future__ import annotations

from core.runtime.cache import cached
from core.runtime.store import Stored
from core.settings.subject import Subject
from core.transformer.checks import Check, Conformance

CONFORMANCE_VERSION = 6


def conformance(subject: Subject) -> Conformance:
    """Every check of the subject's model at the length of its probe. Imports no torch where it was checked before.

    Raises ModelUnavailable if the model cannot be loaded.
    """

    def compute() -> Stored:
        from core.transformer.conformance import bos_check, conform
        from core.verdicts.attribution import attributed

        found = conform(
            subject.load(unchecked=True), subject.layout.length, subject.layout.b, lambda *given: attributed(*given)[1]
        )
        return Stored({}, {"checks": [vars(check) for check in (*found.checks, bos_check(subject.identity))]})

    checks = cached(conformance_key(subject), compute).meta["checks"]
    return Conformance(subject.layout.length, tuple(Check(**check) for check in checks))


def conformance_key(subject: Subject) -> str:
    """The content key of `conformance(subject)`: the same for all probes of a length, and of the tokenizer's habit."""
    layout, tokenizer, vocabulary = subject.layout, subject.identity.tokenizer, subject.identity.vocabulary
    front = None if tokenizer is None else tokenizer.put_in_front()
    habit = [vocabulary.bos_token_id, vocabulary.prepends_bos, front]
    return subject.model_key("conformance", length=layout.length, bos=layout.b, habit=habit, version=CONFORMANCE_VERSION)
