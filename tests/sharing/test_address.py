"""Addresses: every view comes back from its address, and no forged address does harm."""

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.attention.scores import ALL_SCORES
from core.heads import Head
from core.probes.probe import MAX_LENGTH, MAX_SEQUENCES
from core.probes.repeated import repeated_probe
from core.probes.vocabulary import BOS_POLICIES
from core.quantities.table import QUANTITIES
from core.settings.experiment import CURVES, MAX_PARAGRAPH, SOURCES, Experiment
from core.settings.modes import MODES
from core.settings.request import Request
from core.settings.text_choice import (
    MAX_WINDOW_LENGTH,
    MAX_WINDOWS,
    MIN_WINDOW_LENGTH,
    MIN_WINDOWS,
    SHOWN_EDGES,
    TextChoice,
)
from core.settings.tour_progress import STEPS, TourProgress
from core.settings.view import (
    CORRECTIONS,
    MAX_TEXT_CHARACTERS,
    RECORDED_MODELS,
    ROW_KINDS,
    Axes,
    Corrections,
    RowChoice,
    View,
    fit_view,
)
from core.sharing.address import (
    MAX_ADDRESS_CHARACTERS,
    MAX_PICKED,
    MAX_SEED,
    PARAMETERS,
    all_params_of,
    control_values,
    params_of,
    said_by_controls,
    view_from,
)
from core.sharing.commands import score_command
from tests.helpers.identity import TINY

heads = some.builds(Head, some.integers(0, 200), some.integers(0, 200))
token_ranges = some.none() | some.tuples(some.integers(0, 500), some.integers(501, 10**6))


def hundredths(most: int) -> some.SearchStrategy[float]:
    return some.integers(0, most).map(lambda percent: percent / 100)


views = some.builds(
    View,
    request=some.builds(
        Request,
        model=some.from_regex(r"[A-Za-z0-9][\w./-]{0,40}", fullmatch=True),
        length=some.integers(2, MAX_LENGTH),
        sequences=some.integers(1, MAX_SEQUENCES),
        seed=some.integers(0, MAX_SEED),
        bos=some.sampled_from(BOS_POLICIES),
        token_range=token_ranges,
    ),
    score=some.sampled_from(list(ALL_SCORES)),
    threshold=hundredths(100),
    head=some.none() | heads,
    experiment=some.builds(
        Experiment,
        mode=some.sampled_from(MODES),
        source=some.sampled_from(SOURCES),
        heads=some.sets(heads, max_size=9).map(lambda x: tuple(sorted(x))),
        floor=hundredths(500),
        effect_floor=hundredths(90),
        first=hundredths(100),
        second=hundredths(100),
        curves=some.sampled_from(CURVES),
        paragraph=some.text(max_size=80).map(str.strip),
    ),
    row=some.builds(
        RowChoice,
        kind=some.sampled_from(ROW_KINDS),
        sequence=some.integers(0, MAX_SEQUENCES - 1),
        text=some.text(max_size=80).map(str.strip),
    ),
    corrections=some.builds(Corrections, **{name: some.booleans() for name in CORRECTIONS}),
    recorded=some.sampled_from(RECORDED_MODELS),
    axes=some.builds(
        Axes,
        x=some.sampled_from(list(QUANTITIES)),
        y=some.sampled_from(list(QUANTITIES)),
        colour=some.sampled_from(["", *QUANTITIES]),
    ),
    text=some.builds(
        TextChoice,
        corpus=some.from_regex(r"[A-Za-z0-9][\w./-]{0,40}", fullmatch=True),
        column=some.from_regex(r"[A-Za-z0-9]\w{0,40}", fullmatch=True),
        pasted=some.text(max_size=80).map(str.strip),
        windows=some.integers(MIN_WINDOWS, MAX_WINDOWS),
        length=some.integers(MIN_WINDOW_LENGTH, MAX_WINDOW_LENGTH),
        edges=some.sampled_from(SHOWN_EDGES),
    ),
    tour=some.builds(
        TourProgress,
        step=some.integers(0, STEPS),
        done=some.sets(some.integers(1, STEPS)).map(lambda steps: tuple(sorted(steps))),
    ),
)
# Nothing of it at its default.
CHANGED = View(
    Request("two-layer", length=9, sequences=7, seed=5, bos="never", token_range=(3, 90)),
    score="sink",
    threshold=0.25,
    head=Head(1, 2),
    experiment=Experiment(
        mode="zero",
        source="both",
        heads=(Head(0, 1), Head(1, 0)),
        floor=0.3,
        effect_floor=0.4,
        first=0.1,
        second=0.9,
        curves="all",
        paragraph="Once\nthere was & is = 50 %.",
    ),
    row=RowChoice("text", 3, "a b  a b?"),
    corrections=Corrections(*(True for _ in CORRECTIONS)),
    recorded=RECORDED_MODELS[1],
    axes=Axes("imported", "effect", "layer"),
    text=TextChoice("pasted", "body", "One day & = 50 %.\nAnother.", 12, 32, "tenths"),
    tour=TourProgress(3, (1, 2)),
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
        "TRUE",
        "yes",
        "a" * 1001 + " ",
    ]
)


@given(views)
def test_every_view_comes_back_from_its_address(view: View) -> None:
    assert view_from(params_of(view)) == (view, [])
    assert view_from(all_params_of(view)) == (view, [])


@given(views)
def test_every_view_comes_back_from_the_controls(view: View) -> None:
    assert view_from(said_by_controls(control_values(view))) == (view, [])


def test_every_parameter_is_in_the_address_of_a_view_with_nothing_at_its_default() -> None:
    assert params_of(CHANGED) == {
        "model": "two-layer",
        "length": "9",
        "sequences": "7",
        "seed": "5",
        "bos": "never",
        "tokens": "3:90",
        "score": "sink",
        "threshold": "0.25",
        "head": "L1H2",
        "mode": "zero",
        "set": "both",
        "heads": "L0H1,L1H0",
        "floor": "0.30",
        "effect_floor": "0.40",
        "first": "0.10",
        "second": "0.90",
        "curves": "all",
        "paragraph": "Once\nthere was & is = 50 %.",
        "row": "text",
        "sequence": "3",
        "text": "a b  a b?",
        "correct_sign": "true",
        "correct_rows": "true",
        "correct_bos": "true",
        "correct_controls": "true",
        "recorded": "gpt2-small",
        "x": "imported",
        "y": "effect",
        "colour": "layer",
        "corpus": "pasted",
        "column": "body",
        "pasted": "One day & = 50 %.\nAnother.",
        "windows": "12",
        "window_length": "32",
        "edges": "tenths",
        "step": "3",
        "done": "1,2",
    }
    assert set(params_of(CHANGED)) == set(PARAMETERS)
    assert view_from(params_of(CHANGED)) == (CHANGED, [])


def test_defaults_vanish_from_the_address() -> None:
    assert params_of(View()) == {}
    assert params_of(replace(View(), threshold=0.6, head=Head(5, 7))) == {"threshold": "0.60", "head": "L5H7"}


@given(some.dictionaries(some.sampled_from([*PARAMETERS, "unknown"]), junk))
def test_junk_gives_a_usable_view_and_a_sentence_for_each_correction(params: dict[str, str]) -> None:
    view, notes = view_from(params)
    assert view_from(params_of(view)) == (view, [])
    assert all(note.endswith(".") and len(note) < 300 for note in notes)
    fitted, _ = fit_view(view, TINY)
    repeated_probe(TINY.vocabulary, replace(fitted.request, sequences=1).options)
    assert fitted.head is None or (fitted.head[0] < 3 and fitted.head[1] < 4)
    assert all(layer < 3 and head < 4 for layer, head in fitted.experiment.heads)
    assert 0 <= fitted.row.sequence < fitted.request.sequences


@pytest.mark.parametrize(
    "params, attribute, value, said",
    [
        ({"length": "0"}, "request.length", 2, "length must be from 2"),
        ({"length": "fifty"}, "request.length", 50, "whole number"),
        ({"sequences": "99999"}, "request.sequences", MAX_SEQUENCES, "from 1 to"),
        ({"bos": "maybe"}, "request.bos", "auto", "auto, always, never"),
        ({"tokens": "9:3"}, "request.token_range", None, "whole vocabulary"),
        ({"score": "charm"}, "score", "induction", "one of induction"),
        ({"threshold": "7"}, "threshold", 1.0, "from 0 to 1"),
        ({"threshold": "nan"}, "threshold", 0.5, "from 0 to 1"),
        ({"head": "5,7"}, "head", None, "L5H7"),
        ({"heads": "L1H2,x,l0h3"}, "experiment.heads", (Head(0, 3), Head(1, 2)), "not 'x': it is now L0H3,L1H2."),
        ({"effect_floor": "1"}, "experiment.effect_floor", 0.9, "from 0 to 0.9"),
        ({"paragraph": "ab " * 400}, "experiment.paragraph", ("ab " * 400)[:MAX_PARAGRAPH].strip(), "its first 1000"),
        ({"row": "columns"}, "row.kind", "repeated", "one of repeated, control, text"),
        ({"sequence": "-1"}, "row.sequence", 0, f"from 0 to {MAX_SEQUENCES - 1}"),
        ({"sequence": str(MAX_SEQUENCES)}, "row.sequence", MAX_SEQUENCES - 1, f"from 0 to {MAX_SEQUENCES - 1}"),
        ({"sequence": "first"}, "row.sequence", 0, "whole number"),
        ({"text": "ab " * 400}, "row.text", ("ab " * 400)[:MAX_TEXT_CHARACTERS].strip(), "its first 1000"),
        *(
            ({name: "yes"}, f"corrections.{part}", False, f"{name} must be true or false, not 'yes': it is now false.")
            for name, part in [
                ("correct_sign", "sign"),
                ("correct_rows", "rows"),
                ("correct_bos", "bos"),
                ("correct_controls", "baselines"),
            ]
        ),
        ({"x": "charm"}, "axes.x", "induction", "such as induction"),
        ({"colour": "<b>"}, "axes.colour", "", "it is now none."),
        ({"step": "8"}, "tour.step", STEPS, f"from 0 to {STEPS}"),
        ({"done": "2,9,<b>,2"}, "tour.done", (2,), "not '9, <b>': it is now 2."),
        ({"done": "-1"}, "tour.done", (), "such as 1,2, not '-1': it is now none."),
        ({"recorded": "gpt3"}, "recorded", "solu-8l-old", "one of solu-8l-old, gpt2-small"),
    ],
)
def test_each_correction_says_what_would_be_right(params: dict[str, str], attribute: str, value: object, said: str) -> None:
    view, notes = view_from(params)
    assert reduce(getattr, attribute.split("."), view) == value
    assert len(notes) == 1
    assert said in notes[0]


def test_what_a_person_may_write_otherwise_is_read_without_a_word() -> None:
    view, notes = view_from(
        {"head": "l5h7", "heads": " L6H0; l5h7, L6H0", "correct_sign": "TRUE", "correct_bos": "False", "text": "  a b \n"}
    )
    assert not notes
    assert (view.head, view.experiment.heads) == (Head(5, 7), (Head(5, 7), Head(6, 0)))
    assert view.corrections == Corrections(sign=True) and view.row.text == "a b"


def test_an_address_does_not_pick_more_heads_than_a_page_can_take() -> None:
    named = ",".join(f"L{layer}H{head}" for layer in range(30) for head in range(30))
    for words in (named, f"nine,{named}"):
        view, [note] = view_from({"heads": words})
        assert len(view.experiment.heads) == MAX_PICKED
        assert "at most 512 of them" in note and note.endswith("it is now the first 512 by layer and head.")


@pytest.mark.parametrize("params", [{"text": "x" * MAX_ADDRESS_CHARACTERS}, {f"n{n}": "x" * 90 for n in range(300)}])
def test_of_an_address_longer_than_any_nothing_is_read(params: dict[str, str]) -> None:
    view, notes = view_from({"seed": "7"} | params)
    assert view == View() and notes == ["An address has at most 20,000 characters: of this one nothing was read."]


def test_the_longest_view_has_an_address_that_is_read() -> None:
    heads = tuple(Head(layer, head) for layer in range(100, 132) for head in range(100, 116))
    view = View(
        Request("m" * 300, seed=MAX_SEED),
        experiment=Experiment(heads=heads[:MAX_PICKED], paragraph="p" * MAX_PARAGRAPH),
        row=RowChoice("text", text="t" * MAX_TEXT_CHARACTERS),
        text=TextChoice(corpus="c" * 200, column="d" * 200, pasted="q" * 4000),
    )
    assert view_from(params_of(view)) == (view, [])


def test_the_command_says_the_same_as_the_address() -> None:
    view = View(Request("my models/a;b", length=9, seed=4, bos="never", token_range=(7, 70)))
    command = score_command(view)
    assert command.startswith("python -m core score --model 'my models/a;b' --length 9")
    assert "--token-range 7:70" in command
