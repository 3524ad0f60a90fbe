"""Rows of tokens to look at: one sequence of a probe, its control, or a typed text, and where induction would look in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.attention.cells import Cells, induction_cells, uniform_share
from core.errors import BadInput
from core.numbers import is_or_are
from core.probes.layout import Layout
from core.probes.vocabulary import BosPolicy, check_ids, use_bos
from core.settings.subject import Subject
from core.settings.view import MAX_TEXT_CHARACTERS
from core.transformer.card import ModelIdentity

MAX_TOKENS = 513


@dataclass(frozen=True)
class TokenRow:
    """One row of ids to look at, used as they are, and which cells of its pattern induction would light up.

    cells: queries and keys of the induction stripe; empty where no token comes back.
    layout: where the copies are, for a probe or its control; None for typed text.
    warnings: sentences for the person who asked for this row.
    """

    ids: tuple[int, ...]
    cells: Cells
    layout: Layout | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        queries, keys = self.cells
        if len(self.ids) < 2 or queries.shape != keys.shape or (keys > queries).any() or (queries >= len(self.ids)).any():
            raise ValueError(f"{len(self.ids)} ids cannot have the cells {self.cells}")

    @property
    def n_tokens(self) -> int:
        """Tokens in the row, BOS included."""
        return len(self.ids)

    def mean_on_cells(self, pattern: Float[np.ndarray, "tokens tokens"]) -> float | None:
        """The mean attention on the marked cells, None where there are none: on a probe's row, its induction score."""
        queries, keys = self.cells
        return float(pattern[queries, keys].mean(dtype=np.float64)) if len(queries) else None

    def chance_on_cells(self, window: int = 0) -> float | None:
        """What uniform attention to all that a layer sees (0: everything) gives the marked cells; None if that is unknown."""
        return uniform_share(self.cells, window) if len(self.cells[0]) and window >= 0 else None


def probe_row(subject: Subject, sequence: int, *, control: bool = False) -> TokenRow:
    """Row `sequence` of the subject's probe, or of its control, with the cells that the induction score averages.

    Raises BadInput if there is no such row, or if it is too long to look at.
    """
    probe = subject.probe
    if not 0 <= sequence < probe.n_sequences:
        raise BadInput(f"There is no sequence {sequence}: this probe has 0 to {probe.n_sequences - 1}.")
    if probe.n_tokens > MAX_TOKENS:
        raise BadInput(
            f"A pattern of {probe.n_tokens} tokens is too large to look at: choose a length of at most "
            f"{(MAX_TOKENS - probe.bos_tokens) // 2}."
        )
    tokens = probe.control if control else probe.tokens
    if tokens is None:
        raise BadInput("This probe has no control: its tokens leave too few others for a fresh second half.")
    layout = probe.layout
    return TokenRow(tuple(int(i) for i in tokens[sequence]), induction_cells(layout), layout)


def text_row(identity: ModelIdentity, text: str, bos: BosPolicy = "auto") -> TokenRow:
    """Typed text as ids: tokenized once, by the model's own tokenizer, with a BOS in front as `bos` says.

    Raises BadInput for a model without a tokenizer, a text that is empty or too long, or ids that the model lacks.
    """
    if identity.tokenizer is None:
        raise BadInput(f"{identity.no_tokenizer}, so it cannot read a text: look at a probe sequence instead.")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadInput(f"The text has {len(text)} characters; at most {MAX_TEXT_CHARACTERS} can be looked at.")
    words = identity.tokenizer.encode(text.strip(), special_tokens=False)
    if not words:
        raise BadInput("This model's tokenizer knows nothing of that text." if text.strip() else "Type at least one word.")
    vocabulary = identity.vocabulary
    front = [vocabulary.bos_token_id] if use_bos(vocabulary, bos) and vocabulary.bos_token_id is not None else []
    ids = tuple(front + words)
    limit = min(vocabulary.n_ctx, MAX_TOKENS)
    if not 2 <= len(ids) <= limit:
        raise BadInput(f"The text is {len(ids)} tokens for this model; it can be looked at with 2 to {limit}.")
    check_ids(ids, vocabulary)
    unknown = identity.tokenizer.unknown_id
    count = 0 if unknown is None else words.count(unknown)
    warning = (
        f"{count} of the text's {len(words)} tokens {is_or_are(count)} not in this model's vocabulary, so it sees the same "
        "unknown token."
    )
    return TokenRow(ids, repeated_token_cells(ids, identity.uncounted), warnings=(warning,) if count else ())


def repeated_token_cells(ids: tuple[int, ...], uncounted: frozenset[int] = frozenset()) -> Cells:
    """For every token that came before, the token after each earlier occurrence: where induction would look.

    On `[BOS] + r + r` with distinct tokens these are the cells of the induction score. In "A A" the token after the first A is
    the query itself, where no induction head looks. Two of the ids `uncounted` are never one word that comes back.
    """
    row = np.asarray(ids)
    same = np.tril((row[:, None] == row[None, :]) & ~np.isin(row, list(uncounted)), k=-2)
    queries, earlier = np.nonzero(same)
    return queries, earlier + 1
