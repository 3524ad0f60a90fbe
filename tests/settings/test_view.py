"""Addresses: every view comes back from its address, and no forged address does harm."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.attention.cached import ScoreRequest
from core.attention.scores import ALL_SCORES
from core.heads import MODES
from core.probes.repeated import BOS_POLICIES, MAX_LENGTH, MAX_SEQUENCES, ProbeOptions, repeated_probe
from core.settings.experiment import CURVES, SOURCES, Experiment
from core.settings.view import (
    MAX_SEED,
    PARAMETERS,
    View,
    fit_view,
    measured_on,
    params_of,
    parse_head,
    score_command,
    view_from,
)
from core.transformer.card import ModelCard, ModelIdentity

CARD = ModelCard("tiny", "test", 3, 4, 8, 2, 100, 64, 1000, "bundled")
IDENTITY = ModelIdentity(CARD, "0" * 64, bos_token_id=0, prepends_bos=True, special_ids=frozenset({0, 1}))

token_ranges = some.none() | some.tuples(some.integers(0, 500), some.integers(501, 10**6))
views = some.builds(
    View,
    request=some.builds(
        ScoreRequest,
        model=some.from_regex(r"[A-Za-z0-9][\w./-]{0,40}", fullmatch=True),
        options=some.builds(
            ProbeOptions,
            length=some.integers(2, MAX_LENGTH),
            sequences=some.integers(1, MAX_SEQUENCES),
            seed=some.integers(0, MAX_SEED),
            bos=some.sampled_from(BOS_POLICIES),
            token_range=token_ranges,
        ),
    ),
    score=some.sampled_from(list(ALL_SCORES)),
    threshold=some.integers(0, 100).map(lambda percent: percent / 100),
    head=some.none() | some.tuples(some.integers(0, 200), some.integers(0, 200)),
    experiment=some.builds(
        Experiment,
        mode=some.sampled_from(MODES),
        source=some.sampled_from(SOURCES),
        heads=some.sets(some.tuples(some.integers(0, 200), some.integers(0, 200)), max_size=9).map(lambda x: tuple(sorted(x))),
        floor=some.integers(0, 500).map(lambda percent: percent / 100),
        first=some.integers(0, 100).map(lambda percent: percent / 100),
        second=some.integers(0, 100).map(lambda percent: percent / 100),
        curves=some.sampled_from(CURVES),
        paragraph=some.text(min_size=1, max_size=80).filter(lambda text: text == text.strip() != ""),
    ),
)
junk = some.text(max_size=60) | some.sampled_from(
    [
        "-1",
        "1e9",
        "NaN",
        "inf",
        "0x10",
        "٣",
        "½",
        "9" * 400,
        "L1H",
        "l2h3",
        "5:2",
        "1:2:3",
        " 7 ",
        "<script>",
        "none",
        "\x00",
        "0.5.5",
    ]
)


@given(views)
def test_every_view_comes_back_from_its_address(view: View) -> None:
    assert view_from(params_of(view)) == (view, [])


def test_defaults_vanish_from_the_address() -> None:
    assert params_of(View()) == {}
    assert params_of(replace(View(), threshold=0.6, head=(5, 7))) == {"threshold": "0.60", "head": "L5H7"}


@given(some.dictionaries(some.sampled_from([*PARAMETERS, "unknown"]), junk))
def test_junk_gives_a_usable_view_and_a_sentence_for_each_correction(params: dict[str, str]) -> None:
    view, notes = view_from(params)
    assert view_from(params_of(view)) == (view, [])
    assert all(note.endswith(".") and len(note) < 300 for note in notes)
    fitted, _ = fit_view(view, IDENTITY)
    repeated_probe(IDENTITY.vocabulary, replace(fitted.options, sequences=1))
    assert fitted.head is None or (fitted.head[0] < 3 and fitted.head[1] < 4)


@pytest.mark.parametrize(
    "params, attribute, value, said",
    [
        ({"length": "0"}, "options.length", 2, "length must be from 2"),
        ({"length": "fifty"}, "options.length", 50, "whole number"),
        ({"sequences": "99999"}, "options.sequences", MAX_SEQUENCES, "from 1 to"),
        ({"bos": "maybe"}, "options.bos", "auto", "auto, always, never"),
        ({"tokens": "9:3"}, "options.token_range", None, "whole vocabulary"),
        ({"score": "charm"}, "score", "induction", "one of induction"),
        ({"threshold": "7"}, "threshold", 1.0, "from 0 to 1"),
        ({"threshold": "nan"}, "threshold", 0.5, "from 0 to 1"),
        ({"head": "5,7"}, "head", None, "L5H7"),
    ],
)
def test_each_correction_says_what_would_be_right(params: dict[str, str], attribute: str, value: object, said: str) -> None:
    view, notes = view_from(params)
    found: object = view
    for part in attribute.split("."):
        found = getattr(found, part)
    assert found == value
    assert len(notes) == 1
    assert said in notes[0]


@pytest.mark.parametrize(
    "options, head, said",
    [
        (ProbeOptions(length=32), None, "is now 31"),
        (ProbeOptions(token_range=(2, 20), length=25), None, "is now 18"),
        (ProbeOptions(token_range=(50, 101), length=5), None, "whole vocabulary"),
        (ProbeOptions(token_range=(0, 2), length=5), None, "whole vocabulary"),
        (ProbeOptions(length=5), (3, 0), "no head L3H0"),
    ],
)
def test_what_does_not_fit_the_model_is_corrected(options: ProbeOptions, head: tuple[int, int] | None, said: str) -> None:
    fitted, notes = fit_view(View(ScoreRequest("tiny", options), head=head), IDENTITY)
    assert len(notes) == 1
    assert said in notes[0]
    assert fit_view(fitted, IDENTITY) == (fitted, [])


def test_a_model_without_bos_cannot_always_have_one() -> None:
    without = replace(IDENTITY, bos_token_id=None, prepends_bos=False)
    fitted, notes = fit_view(View(ScoreRequest("tiny", ProbeOptions(length=5, bos="always"))), without)
    assert fitted.options.bos == "auto"
    assert "has no BOS token" in notes[0]


def test_what_was_measured_on_stands_in_one_sentence() -> None:
    options = ProbeOptions(length=10, sequences=1, seed=3, token_range=(5, 60))
    sentence = measured_on(repeated_probe(IDENTITY.vocabulary, options), IDENTITY)
    assert sentence == "tokens drawn from ids 5 to 59, 1 sequence of length 10 repeated once, BOS in front, seed 3"
    assert "the whole vocabulary (100 tokens)" in measured_on(
        repeated_probe(IDENTITY.vocabulary, replace(options, token_range=None)), IDENTITY
    )


def test_the_command_says_the_same_as_the_address() -> None:
    view = View(ScoreRequest("my models/a;b", ProbeOptions(length=9, seed=4, bos="never", token_range=(7, 70))))
    command = score_command(view)
    assert command.startswith("python -m core score --model 'my models/a;b' --length 9")
    assert "--token-range 7:70" in command


@given(some.integers(0, 9999), some.integers(0, 9999))
def test_head_names_are_read_back(layer: int, head: int) -> None:
    assert parse_head(f"L{layer}H{head}") == (layer, head)
