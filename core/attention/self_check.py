"""The self-check: the circuit by construction, on this device, against its closed form.

A device that gets these wrong (a broken kernel, a wrong library version, a driver fault) would give plausible, wrong
scores for every other model too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import ModelUnavailable
from core.models.built_in.circuit_spec import PlantedHead, expected_prefix_matching, expected_second_copy_loss, standard_spec
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

LENGTH = 50
# Half-precision softmax weights carry about three digits.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 3e-3}


@dataclass(frozen=True)
class Check:
    """One known answer and what this device made of it."""

    name: str
    expected: float
    measured: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether they agree; NaN never does."""
        return abs(self.measured - self.expected) <= self.tolerance


@dataclass(frozen=True)
class DoctorReport:
    """All checks on one device."""

    device: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def run_doctor(device: str = "auto", *, dtype: str = "float32", model: LoadedModel | None = None) -> DoctorReport:
    """Measure the circuit by construction and compare with the closed form.

    `model` stands in for the freshly built circuit; its weights must be the standard specification's. Raises
    ModelUnavailable or BadInput for a device that is not there.
    """
    from core.attention.score_pass import measure_heads
    from core.models.built_in.construction import build
    from core.transformer.device import checked_device, note_passed

    where = checked_device(device)
    circuit = model or build(device=where, dtype=dtype)
    spec = standard_spec()
    probe = repeated_probe(circuit.vocabulary, ProbeOptions(length=LENGTH, sequences=4))
    tolerance = TOLERANCE[dtype]
    try:
        scores = measure_heads(circuit, probe)
    except ModelUnavailable:
        # The circuit's own numbers are small: only a broken device makes them infinite or undefined.
        return DoctorReport(f"{circuit.device}, {dtype}", (Check("share of finite numbers", 1.0, float("nan"), tolerance),))
    [previous], [induction] = spec.of_kind("previous_token"), spec.of_kind("induction")
    [impostor], [duplicate], [sink] = spec.of_kind("positional"), spec.of_kind("duplicate_token"), spec.of_kind("sink")
    beta = induction.strength

    def measured(name: str, head: PlantedHead) -> float:
        return float(scores.mean(name)[head.layer, head.head])

    expected = expected_prefix_matching(LENGTH, 1, beta)
    loss = expected_second_copy_loss(LENGTH, 1, beta, spec.d_vocab)
    report = DoctorReport(
        device=f"{circuit.device}, {dtype}",
        checks=(
            Check("prefix matching of the induction head", expected, measured("induction", induction), tolerance),
            Check("second-copy loss in nats", loss, scores.losses().second_copy, max(tolerance, 10 * tolerance * loss)),
            Check("previous-token score of the previous-token head", 1.0, measured("previous_token", previous), tolerance),
            Check("contrast of the positional impostor", 0.0, measured("contrast", impostor), tolerance),
            Check(
                "duplicate-token score of the duplicate-token head",
                _one_match(beta),
                measured("duplicate_token", duplicate),
                tolerance,
            ),
            Check("sink score of the sink", _one_match_all(beta), measured("sink", sink), tolerance),
        ),
    )
    if report.ok and dtype == "float32":
        note_passed(circuit.device.type)
    return report


def _one_match(beta: float) -> float:
    """A softmax with one key at `beta` and the others at 0, averaged over second-copy queries with a BOS in front."""
    import numpy as np

    queries = np.arange(LENGTH + 1, 2 * LENGTH + 1)
    return float(np.mean(np.exp(beta) / (np.exp(beta) + queries)))


def _one_match_all(beta: float) -> float:
    """The same, averaged over all queries but the first."""
    import numpy as np

    queries = np.arange(1, 2 * LENGTH + 1)
    return float(np.mean(np.exp(beta) / (np.exp(beta) + queries)))
