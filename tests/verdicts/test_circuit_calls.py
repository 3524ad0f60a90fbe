"""What is called on the circuit by construction, whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.circuits.cached import circuit_heads
from core.heads import Head
from core.models.built_in.circuit_spec import standard_spec
from core.replication.words import detector_answer
from core.settings.request import Request
from core.settings.subject import bind
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


def test_a_head_that_only_matches_is_no_induction_head_of_the_circuit_nor_of_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = judge("two-layer")
    first, *others = (verdict for verdict in judged.verdicts if verdict.label == "induction")
    undecided = replace(first, label="undecided", role_route=None)
    changed = replace(judged, verdicts=tuple(undecided if verdict is first else verdict for verdict in judged.verdicts))
    assert first.head in circuit_heads(bind("two-layer"))[1]
    monkeypatch.setattr("core.circuits.cached.judge", lambda *_, **__: changed)
    assert set(circuit_heads(bind("two-layer"))[1]) == {verdict.head for verdict in others}
    assert f"give {len(others)} induction heads, " in detector_answer(changed)
    assert f"; 1 more matches: {first.name}." in detector_answer(changed)
