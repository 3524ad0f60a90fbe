"""A request bound once: whose weights, which ids, on what; every result is a function of this, and its key holds it.

Nothing here imports torch until a model must really be loaded, so that a stored result is on screen without waiting for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.errors import BadInput, ModelUnavailable
from core.models.identity import model_identity
from core.probes.given import given_probe
from core.probes.layout import Layout
from core.probes.probe import Probe
from core.probes.repeated import repeated_probe
from core.runtime.keys import result_key
from core.runtime.versions import library_versions
from core.settings.request import Request
from core.transformer.card import ModelCard, ModelIdentity
from core.transformer.device import best_device

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel


@dataclass(frozen=True, eq=False)
class Subject:
    """What a run is about. Made by `bind`; everything that is measured takes one.

    device: the class of device, `cpu`, `cuda` or `mps`: results are the same bits on one class, not across classes.
    in_memory: the model, where it was handed over instead of named; stamp: what its weights were at when that happened.
    """

    request: Request
    identity: ModelIdentity
    device: str
    in_memory: LoadedModel | None = field(default=None, repr=False)
    stamp: tuple[int, ...] = ()

    @property
    def card(self) -> ModelCard:
        """The model's sizes and origin."""
        return self.identity.card

    @cached_property
    def probe(self) -> Probe:
        """The ids; raises BadInput where the request's options do not fit the model."""
        if self.request.tokens is not None:
            return given_probe(self.identity.vocabulary, self.request.tokens, self.request.length)
        return repeated_probe(self.identity.vocabulary, self.request.options)

    @property
    def layout(self) -> Layout:
        """Where the copies are."""
        return self.probe.layout

    @property
    def dtype(self) -> str:
        """The number format: the request's, or that of a model in memory."""
        return self.request.dtype if self.in_memory is None else str(self.in_memory.dtype).removeprefix("torch.")

    @cached_property
    def digest(self) -> str:
        """What identifies the model and the probe together."""
        return self.key("subject")

    def key(self, kind: str, **parts: Any) -> str:
        """The content key of something measured on the probe: as `model_key`, the ids, and `parts`."""
        return self.model_key(kind, probe=self.probe.digest, **parts)

    def model_key(self, kind: str, **parts: Any) -> str:
        """The content key of something about the model: weights, number format, kind of device, libraries, and `parts`."""
        return result_key(
            kind,
            weights=self.identity.weights_digest,
            dtype=self.dtype,
            device=self.device,
            libraries=library_versions(),
            **parts,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels to another process as what was asked, and as the key that it must have there (`_arrived`)."""
        if self.in_memory is not None:
            raise TypeError("a model in memory stays in its process")
        return _arrived, (self.request, self.model_key("subject"))

    def at(self, **changes: Any) -> Subject:
        """The same model under another request; only what is named in `changes` differs."""
        return replace(self, request=replace(self.request, **changes))

    def load(self, *lengths: int, unchecked: bool = False) -> LoadedModel:
        """The model, from memory if it is there.

        lengths: of the sequences that will be run, in tokens; by default the probe's. A model that was handed over is tried at
        each of them before anything is measured, for a notebook has no badge that says what does not hold. unchecked: for
        whoever makes the checks, and for what is of the weights alone.

        Raises BadInput or ModelUnavailable with one clear sentence.
        """
        if self.in_memory is not None:
            from core.models.fingerprint import weights_stamp

            if weights_stamp(self.in_memory.module) != self.stamp:
                raise BadInput("The weights were changed after the model was handed over: hand it over again.")
            if not unchecked:
                self._check_in_memory(self.in_memory, lengths or (self.probe.n_tokens,))
            return self.in_memory
        from core.models.load import load_model

        return load_model(self.request.model, device=self.request.device, dtype=self.request.dtype)

    def placed(self) -> LoadedModel:
        """The model as it is in memory, without a look at its weights: what is kept beside it is of this one and no other.

        Raises as `load`.
        """
        return self.load() if self.in_memory is None else self.in_memory

    @staticmethod
    def _check_in_memory(model: LoadedModel, lengths: tuple[int, ...]) -> None:
        from core.transformer.conformance import check_at

        for n_tokens in sorted(set(lengths)):
            check_at(model, n_tokens)


def bind(asked: Subject | Request | str) -> Subject:
    """The subject of a request, or of a model's name with everything else at its default; a subject is given back.

    Raises BadInput or ModelUnavailable with one clear sentence.
    """
    if isinstance(asked, Subject):
        return asked
    request = asked if isinstance(asked, Request) else Request(asked)
    if isinstance(request.model, str):
        return Subject(request, model_identity(request.model), _device_class(request.device))
    from core.models.fingerprint import weights_stamp
    from core.models.in_memory import adopt

    loaded = adopt(request.model, request.tokenizer)
    return Subject(request, loaded.identity, loaded.device.type, loaded, weights_stamp(loaded.module))


def _arrived(request: Request, key: str) -> Subject:
    """The subject of `request`, bound anew where it came to; raises ModelUnavailable if results would have other keys there."""
    subject = bind(request)
    if subject.model_key("subject") != key:
        raise ModelUnavailable(f"{request.model} has other weights here, or the libraries or the device are others.")
    return subject


def _device_class(device: str) -> str:
    return best_device() if device == "auto" else device.split(":")[0]
