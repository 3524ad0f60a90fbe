"""From a subject and windows of a text to what its heads do there; each computed once for everybody.

Nothing here imports torch until something must really be computed.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from jaxtyping import Float
from tokenizers.models import WordLevel

from core.attention.cached import check_existing
from core.errors import BadInput
from core.heads import Head
from core.models.built_in.word_tokenizer import BOS, UNK, word_list
from core.numbers import counted, is_or_are
from core.runtime.cache import cached
from core.runtime.lru import Lru
from core.runtime.store import Stored
from core.settings.cost import expected_seconds
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.text_choice import DEFAULT_WINDOW_LENGTH, MIN_WINDOW_LENGTH, OFFERED, PASTED, TextChoice
from core.text.corpus import Corpus, built_in_corpus, offered_corpus, pasted_corpus
from core.text.natural_scores import Edges, NaturalScores
from core.text.windows import TextWindows, WindowOptions, fitting_windows_of, windows_of
from core.transformer.card import ModelIdentity

TEXT_VERSION = 3
_EDGES = ("edges", "tenths")
_ARRAYS = ("token_loss", "repeat", "lags", "tenth_counts")
# Windows whose patterns two heads are compared on.
LIKENESS_WINDOWS = 4
_windows: Lru[tuple[str, ...], TextWindows] = Lru(8)


def chosen_windows_of(subject: Subject, choice: TextChoice) -> TextWindows:
    """The windows of the text that a person chose on a page; seed and BOS policy are the request's.

    Raises BadInput for a text that there is not, or that cannot be measured on this model.
    """
    return text_windows(subject, chosen_corpus(subject, choice), choice.windows, choice.length)


def chosen_corpus(subject: Subject, choice: TextChoice) -> Corpus:
    """The text that a person chose on a page; raises BadInput where there is no such text."""
    if choice.corpus == PASTED:
        return pasted_corpus(choice.pasted)
    if choice.corpus.startswith(OFFERED):
        return offered_corpus(choice.corpus.removeprefix(OFFERED), choice.column)
    return built_in_corpus(choice.corpus, words=own_words(subject.identity))


def text_windows(subject: Subject, corpus: Corpus, windows: int, length: int) -> TextWindows:
    """`windows_of` this subject's tokenizer, seed and BOS policy; the last few stay. Raises as that.

    The default length is as long as the model and the text have room for, and a warning says so; any other is a person's own,
    and is refused with the reason.
    """
    request, room = subject.request, subject.card.n_ctx - 1
    by_default = length == DEFAULT_WINDOW_LENGTH
    length = min(length, room) if by_default and room >= MIN_WINDOW_LENGTH else length
    options = WindowOptions(windows, length, request.seed, request.bos)
    identity = subject.identity
    key = (identity.weights_digest, identity.reading, corpus.name, corpus.digest, repr(options), str(by_default))
    make = fitting_windows_of if by_default else windows_of
    return _windows.get_or_make(key, lambda: make(identity, corpus, options))


def own_words(identity: ModelIdentity) -> frozenset[str] | None:
    """The words that a model knows, where its tokens are words of the bundled models' list, all or some; else None."""
    if identity.tokenizer is None or not isinstance(identity.tokenizer.backend.model, WordLevel):
        return None
    words = frozenset(identity.tokenizer.backend.get_vocab()) - {BOS, UNK}
    return words if words <= frozenset(word_list()) else None


def natural_scores(asked: Subject | Request | str, windows: TextWindows) -> NaturalScores:
    """Every measure of every head on `windows`, each token's loss, and the edges that were kept.

    Raises BadInput or ModelUnavailable with one clear sentence.
    """
    subject = bind(asked)

    def compute() -> Stored:
        from core.text.text_pass import measure_text

        return _stored(
            measure_text(subject.load(windows.tokens.shape[1]), windows.tokens, b=windows.b, uncounted=windows.uncounted)
        )

    return _scores_from(cached(text_key(subject, "natural-scores", windows), compute))


def text_key(subject: Subject, kind: str, windows: TextWindows, **parts: object) -> str:
    """The content key of something measured on `windows`: their ids, the weights, and `parts`."""
    return subject.model_key(kind, windows=windows.digest, text_version=TEXT_VERSION, **parts)


def likeness(subject: Subject, windows: TextWindows, head: Head) -> Float[np.ndarray, "n_layers n_heads"]:
    """The correlation of every head's pattern with that of `head` on the first few windows, the first key left out.

    NaN for heads that do not exist or whose pattern does not vary. Raises BadInput for a head that the model does not have.
    """
    check_existing(subject, head)

    def compute() -> Stored:
        from core.text.likeness import pattern_likeness

        return Stored(
            {"likeness": pattern_likeness(subject.load(windows.tokens.shape[1]), windows.tokens[:LIKENESS_WINDOWS], head)}, {}
        )

    return cached(text_key(subject, "likeness", windows, head=head.name), compute).arrays["likeness"]


def text_seconds(subject: Subject, windows: TextWindows, passes: float = 1.2) -> float:
    """How long so many passes over the windows are expected to take here."""
    per_token = expected_seconds(subject, 1.0) / (subject.request.sequences * (2 * subject.request.length + 1))
    return passes * per_token * windows.tokens.size


def _stored(scores: NaturalScores) -> Stored:
    arrays = {f"measure.{name}": values for name, values in scores.per_window.items()}
    arrays |= {f"chance.{name}": levels for name, levels in scores.chance.items()}
    arrays |= {name: getattr(scores, name) for name in _ARRAYS}
    for name in _EDGES:
        edges = getattr(scores, name)
        arrays |= {f"{name}.{field.name}": getattr(edges, field.name) for field in fields(Edges)}
    return Stored(arrays, {"engine": scores.engine, "paired": None if np.isnan(scores.paired) else scores.paired})


def _scores_from(stored: Stored) -> NaturalScores:
    arrays = stored.arrays

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    paired = stored.meta["paired"]
    return NaturalScores(
        per_window=under("measure."),
        chance=under("chance."),
        paired=float("nan") if paired is None else paired,
        edges=Edges(**under("edges.")),
        tenths=Edges(**under("tenths.")),
        engine=stored.meta["engine"],
        **{name: arrays[name] for name in _ARRAYS},
    )


def check_enough(windows: TextWindows, fewest: int) -> None:
    """Raises BadInput where there are too few windows for halves of their own."""
    if windows.n_windows < fewest:
        raise BadInput(
            f"There {is_or_are(windows.n_windows)} {counted(windows.n_windows, 'window')} of {windows.source}; at least "
            f"{fewest} are needed for this."
        )
