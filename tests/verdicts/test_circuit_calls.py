"""What is called on the circuit by construction, whose answers are known."""

from __future__ import annotations

import pytest

from core.heads import Head
from core.models.built_in.circuit_spec import standard_spec
from core.settings.request import Request
from core.verdicts.cached import judge
from core.verdicts.words import sentence

CIRCUIT = Request("by-construction")


def test_calls_on_the_circuit() -> None:
    judged = judge(CIRCUIT)
    [head] = standard_spec().of_kind("induction")
    [called] = judged.called
    assert (called.head, called.label, called.role_route) == ((head.layer, head.head), "induction", "direct")
    # The circuit is the one head: without it nothing of the gain is left.
    assert called.total_effect.value == pytest.approx(1, abs=0.02) and called.direct_effect.value == pytest.approx(1, abs=0.02)
    assert called.copying == pytest.approx(1, abs=1e-6) and judged.behaviour == "present"
    [impostor] = standard_spec().of_kind("positional")
    impostor_verdict = judged.of(Head(impostor.layer, impostor.head))
    assert impostor_verdict.label == "positional impostor"
    assert "looks at a position" in sentence(impostor_verdict, judged)
    assert judge(CIRCUIT, floor=0.995).called == ()
    assert judged.stability.lengths == {25: 1.0, 50: 1.0, 100: 1.0} and judged.stability.resampled == (1.0, 1.0, 1.0)
    with pytest.raises(KeyError, match="L9H9"):
        judged.of(Head(9, 9))
