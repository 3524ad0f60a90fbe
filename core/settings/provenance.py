"""What numbers were measured on, in words, to stand beside them."""

from __future__ import annotations

from core.settings.subject import Subject


def measured_on(subject: Subject) -> str:
    """Which tokens, how many sequences of which length, BOS and seed."""
    probe = subject.probe
    count = f"{probe.n_sequences} sequence{'s' if probe.n_sequences > 1 else ''}"
    return (
        f"tokens drawn from {drawn_from(subject, counted=True)}, {count} of length {probe.length} repeated once, "
        f"{bos_words(subject)}, seed {probe.options.seed}"
    )


def drawn_from(subject: Subject, *, counted: bool = False) -> str:
    """Which ids tokens are drawn from; with `counted`, how many the whole vocabulary has."""
    low, high = subject.probe.token_range
    if (low, high) != (0, subject.card.d_vocab):
        return f"ids {low:,} to {high - 1:,}"
    return f"the whole vocabulary ({high:,} tokens)" if counted else "the whole vocabulary"


def bos_words(subject: Subject) -> str:
    """`BOS in front` or `no BOS`."""
    return "BOS in front" if subject.probe.has_bos else "no BOS"
