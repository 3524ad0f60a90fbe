"""The rule in three states: by hand, on losses whose truth is known, and on models that cannot do it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from core.attention.score_pass import measure_heads
from core.attention.words import behaviour_sentence, losses_sentence
from core.behaviour import Behaviour, behaviour_of, strongest
from core.models.built_in.circuit_spec import CircuitSpec, PlantedHead, expected_second_copy_loss
from core.models.built_in.construction import build
from core.models.load import load_model
from core.numbers import share
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from tests.helpers.architectures import make_pair
from tests.helpers.rivals import duplicate_gated

REP, ROT = np.array([3.0, 3.5, 4.0]), np.array([4.0, 4.0, 4.6])
SHUF, FRESH = np.array([12.0, 13.0, 12.5]), np.array([13.0, 13.5, 13.0])


def rule(rep=REP, rot=ROT, shuf=SHUF, fresh=FRESH, length=50) -> Behaviour:
    rep, rot, shuf, fresh = (np.asarray(part, float) for part in (rep, rot, shuf, fresh))
    return behaviour_of(rep, rot, shuf, fresh, np.full(len(rep), 0.5), length)


def test_the_rule_spelled_out():
    """e and low as science section 2 has them, with scipy's interval."""
    found = rule()
    unit = min(SHUF.mean(), FRESH.mean())
    differences = [base - w for base in (SHUF, FRESH) for w in (REP, ROT)]
    lows = [stats.t.interval(0.95, 2, d.mean(), stats.sem(d))[0] for d in differences]
    assert found.e == pytest.approx(min(d.mean() for d in differences) / unit)
    assert found.low == pytest.approx(min(lows) / unit)
    assert (found.rep, found.rot, found.shuf, found.fresh) == tuple(part.mean() for part in (REP, ROT, SHUF, FRESH))
    assert found.state == "present" and found.top1 == 0.5


@pytest.mark.parametrize(
    "low,state", [(0.2501, "present"), (0.2499, "weak"), (0.0501, "weak"), (0.0499, "absent"), (-0.3, "absent")]
)
def test_the_lower_end_decides(low, state):
    """Without spread the lower end is the mean itself."""
    base = np.full(3, 10.0)
    found = rule(base * (1 - low), base * (1 - low), base, base)
    assert found.low == pytest.approx(low) and found.state == state
    # A large mean with a wide interval is not enough.
    wide = rule(np.array([0.0, 9.0, 1.0]), base * 0.3, base, base)
    assert wide.e > 0.6 and wide.state == "absent"


@pytest.mark.parametrize("which", ["rep", "rot", "shuf", "fresh"])
def test_each_half_counts(which):
    """A half that does not fit the behaviour is enough: none of the four can be left out of the rule."""
    wrong = {"rep": np.full(3, 13.0), "rot": np.full(3, 13.0), "shuf": np.full(3, 3.0), "fresh": np.full(3, 3.0)}
    assert rule(**{which: wrong[which]}).state == "absent"


def test_too_few_sequences_or_tokens_have_no_state():
    two = rule(REP[:2], ROT[:2], SHUF[:2], FRESH[:2])
    assert two.state is None and two.more_needed == 1 and two.e > 0.6
    assert "1 more sequence is needed" in behaviour_sentence(two) and share(two.e) in behaviour_sentence(two)
    one = rule(REP[:1], ROT[:1], SHUF[:1], FRESH[:1])
    assert one.state is None and one.more_needed == 2 and math.isnan(one.low)
    assert "2 more sequences are needed" in behaviour_sentence(one) and "interval)" not in behaviour_sentence(one)
    assert rule(length=3).state is None and "4 or more" in behaviour_sentence(rule(length=3))


def test_what_was_not_measured_and_what_is_no_number_has_no_state():
    unknown = np.full(3, np.nan)
    found = rule(rot=unknown, shuf=unknown)
    assert found.state is None and not found.measured and "cannot be said" in behaviour_sentence(found)
    assert "–" in losses_sentence(found) and "nan" not in losses_sentence(found)
    assert rule(np.array([np.nan, 1, 1])).state is None


def test_sentences_agree_with_their_numbers():
    assert behaviour_sentence(rule()) == (
        "Induction is present on this probe: repeated and rotated tokens are both predicted better than shuffled and fresh "
        f"ones, by 66 % of the loss without a copy ({round(100 * rule().low)} % at the lower end of its 95 % interval), above "
        "25 %."
    )
    assert "no better" in behaviour_sentence(rule(rot=FRESH)) and "not above 5 %" in behaviour_sentence(rule(rot=FRESH))


@pytest.mark.parametrize(
    ("rep", "state", "said"),
    [
        # Better by 54 % on the average of four sequences, and one of them that is not.
        ([1.0, 12.0, 1.5, 8.0], "absent", "Induction is not shown by the 4 sequences of this probe, which differ too much"),
        ([2.0, 9.0, 3.0, 6.0], "weak", "Induction is shown to be weak only by the 4 sequences of this probe, which differ too"),
        ([11.9, 12.1, 12.0, 12.0], "absent", "Induction is absent on this probe"),
    ],
)
def test_few_sequences_that_differ_are_not_said_to_show_its_absence(rep: list[float], state: str, said: str) -> None:
    found = rule(rep=rep, rot=rep, shuf=np.full(4, 12.4), fresh=np.full(4, 12.5))
    assert found.state == state
    assert found.unsure == (found.e > 0.1)
    words = behaviour_sentence(found)
    assert words.startswith(said)
    assert words.endswith("Take more sequences.") == found.unsure


def test_what_is_sure_is_not_called_unsure():
    assert not rule().unsure
    assert not rule(rep=REP[:2], rot=ROT[:2], shuf=SHUF[:2], fresh=FRESH[:2]).unsure, "what has no state is said in its own way"


def test_several_probes_show_what_the_best_of_them_shows():
    assert strongest(["absent", "weak", None]) == "weak" and strongest([None, "present", "absent"]) == "present"
    assert strongest([None, None]) is None and strongest([]) is None


def test_noise_is_not_called_and_a_real_difference_is():
    """Losses of one sequence scatter by about a tenth. Where rotation does not help, nothing else makes it a behaviour."""
    random = np.random.default_rng(0)
    for sequences in (3, 4, 8, 16, 24):
        called = 0
        for _ in range(400):
            rep, rot, shuf, fresh = random.normal([4.0, 12.0, 12.0, 13.0], 1.2, (sequences, 4)).T
            called += rule(rep, rot, shuf, fresh).state != "absent"
        assert called <= 400 * 0.025 + 3 * math.sqrt(400 * 0.025 * 0.975), sequences
        states = [rule(*random.normal([4.0, 4.8, 13.0, 13.5], 1.2, (sequences, 4)).T).state for _ in range(400)]
        if sequences >= 4:
            assert np.mean(np.array(states) == "present") >= 0.9


@pytest.mark.parametrize("name", ["llama_grouped", "gpt2", "native_attention_only"])
def test_random_weights_are_never_called(name):
    """24 cases an architecture, none called."""
    states = []
    for seed in range(3):
        model = make_pair(name, seed=seed).loaded
        for length in (10, 25):
            for sequences in (4, 8, 16, 24):
                probe = repeated_probe(model.vocabulary, ProbeOptions(length, sequences, seed))
                states.append(measure_heads(model, probe).behaviour.state)
    assert set(states) == {"absent"} and len(states) == 24


@pytest.mark.parametrize("name", ["one-layer", "bigram"])
def test_trained_models_that_cannot_are_never_called(name):
    model = load_model(name)
    for length in (10, 20, 30):
        for sequences in (4, 16):
            probe = repeated_probe(model.vocabulary, ProbeOptions(length, sequences, length))
            assert measure_heads(model, probe).behaviour.state == "absent", (length, sequences)


@pytest.mark.parametrize("length", [10, 25, 50])
@pytest.mark.parametrize("bos", ["always", "never"])
def test_the_circuit_by_construction_is_present_with_its_exact_losses(length, bos):
    model = load_model("by-construction")
    probe = repeated_probe(model.vocabulary, ProbeOptions(length, 4, 1, bos))
    found = measure_heads(model, probe).behaviour
    assert found.state == "present" and found.low > 0.97
    # Without a BOS the very first token looks like its own predecessor, and the first target is a tie.
    assert found.top1 == pytest.approx(1.0 if probe.has_bos else (length - 2) / (length - 1))
    exact = expected_second_copy_loss(length, probe.bos_tokens, 10.0, 128)
    assert found.rep == pytest.approx(exact, abs=1e-5)
    # The wrap target, which nobody can know, would add a logit's worth of loss.
    assert abs(found.rot - exact) < 0.02


def fixed_offset_copier(length: int) -> CircuitSpec:
    """Copies the token `length - 1` back, whatever it is."""
    return CircuitSpec((PlantedHead(1, 0, "positional", 20.0, copying=1.0, offset=length - 1),))


def test_a_fixed_offset_copier_is_absent_although_it_beats_ln_length_and_the_shuffle():
    model = build(fixed_offset_copier(20))
    found = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(20, 8)))
    losses, behaviour = found.losses(), found.behaviour
    assert losses.second_copy < 0.1 < losses.ln_length and behaviour.rep < behaviour.shuf - 5
    assert behaviour.rot > 5 and behaviour.state == "absent"


def test_a_duplicate_gated_copier_is_absent():
    model = duplicate_gated(20)
    behaviour = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(20, 8))).behaviour
    assert behaviour.rep < 0.1 and behaviour.rot > 5 and behaviour.state == "absent"


def test_a_set_knower_is_absent():
    """A model that knows which tokens occur and not their order gains on all halves but the fresh one."""
    known = np.full(8, math.log(50))
    assert rule(known, known, known, np.full(8, 11.0)).state == "absent"
