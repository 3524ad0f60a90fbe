"""Every quantity of the table is what the topic that measures it says, and nothing is computed that was only asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Lfm2Config

from core.ablation.cached import prune
from core.ablation.cached_copying import token_copying
from core.ablation.cached_map import causal_map, estimated_map
from core.attention.cached import score_heads, sensitivity
from core.attention.scores import ALL_SCORES
from core.circuits.cached import circuit
from core.errors import BadInput, Withheld
from core.heads import Head
from core.quantities.cached import SOURCES, Asked, _WordList, obtained, reading_head, source_of
from core.quantities.imported import read_numbers
from core.quantities.table import QUANTITIES
from core.runtime.cache import if_cached
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.stats import student_intervals
from core.text.cached import chosen_windows_of, natural_scores
from core.text.text_pass import measure_text
from core.text.words import value_sentence
from core.verdicts.cached import judge
from core.verdicts.tables import verdict_rows
from tests.helpers.architectures import make_pair

SUBJECT = bind(Request("two-layer", length=20, sequences=3))
ASKED = Asked(SUBJECT, imported=read_numbers("L0H1,2\nL1H3,-1", 2, 4))


def test_every_quantity_has_numbers_of_the_models_heads() -> None:
    for name, quantity in QUANTITIES.items():
        if quantity.source == "concept_copying":
            continue
        axis = obtained(name, ASKED)
        assert axis.name == name == quantity.name and axis.values.shape == (2, 4) and np.isfinite(axis.values).any(), name
        assert quantity.meaning and quantity.unit and quantity.title[0].isupper()
        known = ~np.isnan(axis.low) & ~np.isnan(axis.values)
        assert (axis.low[known] <= axis.values[known]).all() and (axis.values[known] <= axis.high[known]).all(), name
        if quantity.limits is not None:
            low, high = quantity.limits
            assert np.nanmin(axis.values) >= low and np.nanmax(axis.values) <= high, name


@pytest.mark.parametrize("name", ALL_SCORES)
def test_scores_are_the_scores_with_their_interval_and_chance(name: str) -> None:
    scores, axis = score_heads(SUBJECT), obtained(name, ASKED)
    np.testing.assert_allclose(axis.values, scores.mean(name), rtol=1e-6)
    interval = np.clip(student_intervals(scores.sequences(name)), *ALL_SCORES[name].possible)
    np.testing.assert_allclose([axis.low, axis.high], interval, rtol=1e-6)
    np.testing.assert_allclose(axis.chance, scores.chance(name))


def test_measures_on_text_are_the_text_pages() -> None:
    found = natural_scores(SUBJECT, chosen_windows_of(SUBJECT, TextChoice()))
    for name, measure in (("natural_induction", "natural_induction"), ("lift", "lift"), ("text_sink", "sink")):
        axis, measured = obtained(name, ASKED), found.measured(measure)
        np.testing.assert_allclose([axis.values, axis.low, axis.high], [measured.value, measured.low, measured.high])
    np.testing.assert_allclose(obtained("natural_induction", ASKED).chance, found.chance["natural_induction"])
    assert not np.allclose(obtained("text_sink", ASKED).values, obtained("sink", ASKED).values)


def test_a_measure_on_text_that_is_not_there_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is read by hooks does not show its values; a text may have no token that comes back."""
    model, ids = make_pair("bloom_alibi").loaded, np.random.default_rng(0).integers(1, 12, size=(4, 24))
    for rows, said in (
        (ids, "Value-weighted natural induction, on text is withheld: this architecture is measured by its patterns"),
        (np.arange(4, 28)[None], "Value-weighted natural induction, on text is withheld: no token of these windows comes back"),
    ):
        found = measure_text(model, rows, b=0, engine="hooks")
        monkeypatch.setitem(SOURCES, "text", replace(SOURCES["text"], work=lambda asked, found=found: found))
        with pytest.raises(Withheld, match=said):
            obtained("text_value_weighted", ASKED)
        assert np.isfinite(obtained("text_sink", ASKED).values).any()
        assert value_sentence(found).startswith("Value-weighted natural induction is withheld: this arch") == (rows is ids)


def test_effects_are_the_causal_maps_in_the_mode_asked_for() -> None:
    for mode in ("mean", "zero"):
        asked, found = Asked(SUBJECT, mode), causal_map(SUBJECT, mode)
        np.testing.assert_array_equal(obtained("effect", asked).values, found.effect)
        for name, end in zip(("effect_low", "effect_high"), found.interval, strict=True):
            np.testing.assert_array_equal(obtained(name, asked).values, end)
        np.testing.assert_allclose(obtained("estimate", asked).values, estimated_map(SUBJECT, mode))
    assert not np.allclose(obtained("effect", ASKED).values, obtained("effect", Asked(SUBJECT, "zero")).values)


def test_what_verdicts_say_is_what_the_verdicts_table_says() -> None:
    rows = {row["head"]: row for row in verdict_rows(judge(SUBJECT))}
    for name in ("total_effect", "direct_effect", "copying", "q"):
        axis = obtained(name, ASKED)
        for place, row in rows.items():
            head = Head.parse(place)
            assert head is not None
            assert axis.values[head] == pytest.approx(np.nan if row[name] is None else row[name], nan_ok=True)
    measured = sum(row["total_effect"] is not None for row in rows.values())
    assert 0 < measured < 8 and f"of the {measured} heads that match" in obtained("total_effect", ASKED).picked
    assert obtained("direct_effect", ASKED).picked == ""


def test_movement_is_the_range_over_settings() -> None:
    found = sensitivity(SUBJECT, "induction")
    spreads = [spread.mean for factor in ("length", "seed", "bos") for spread in found.of(Head(1, 2), factor)]
    assert obtained("movement", ASKED).values[1, 2] == pytest.approx(max(spreads) - min(spreads))


def test_copying_is_of_the_next_token_and_of_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    found = token_copying(SUBJECT)
    axis = obtained("token_copying", ASKED)
    np.testing.assert_allclose(axis.values, found.first.mean(-1))
    np.testing.assert_allclose([axis.low, axis.high], student_intervals(found.first))
    np.testing.assert_allclose(obtained("token_copying_control", ASKED).values, found.first_control.mean(-1))
    # This model's tokenizer knows every word whole.
    with pytest.raises(Withheld, match="rarer words"):
        obtained("concept_copying", ASKED)
    monkeypatch.setattr("core.quantities.cached._word_list", lambda asked: _WordList("", "words of a test"))
    monkeypatch.setitem(SOURCES, "concept_copying", replace(SOURCES["concept_copying"], work=lambda asked: found))
    np.testing.assert_allclose(obtained("concept_copying", ASKED).values, found.later.mean(-1))
    np.testing.assert_allclose(obtained("concept_copying_control", ASKED).values, found.later_control.mean(-1))


def test_compositions_and_path_patching_are_the_circuits_of_the_reading_head() -> None:
    reader, senders = Head(1, 3), tuple(Head(0, number) for number in range(4))
    asked = replace(ASKED, reader=reader)
    found = circuit(SUBJECT, "mean", previous=senders, induction=(reader,))
    edges = {edge.previous: edge for edge in found.edges}
    assert len(edges) == 4
    for name, value in (
        *((f"{letter}_composition", f"{letter}_composition") for letter in "kqv"),
        ("path_patch_drop", "drop"),
    ):
        axis = obtained(name, asked)
        assert reader.name in axis.words and np.isnan(axis.values[1]).all()
        for head, edge in edges.items():
            assert axis.values[head] == pytest.approx(getattr(edge, value), abs=1e-7), (name, head)
    np.testing.assert_allclose(obtained("k_composition", asked).chance, [found.baseline, np.nan])
    # Other modes have nothing to put in a path's place but the mean; zero has its own.
    assert not np.allclose(
        obtained("path_patch_drop", replace(asked, mode="zero")).values[0], obtained("path_patch_drop", asked).values[0]
    )
    # Nobody picked one: the later head with the highest induction score.
    means = score_heads(SUBJECT).mean("induction")
    assert reading_head(ASKED) == Head(1, int(means[1].argmax()))
    with pytest.raises(Withheld, match="first layer"):
        obtained("k_composition", replace(asked, reader=Head(0, 1)))


def test_an_effect_that_is_known_of_no_head_says_why() -> None:
    asked = Asked(bind(Request("one-layer", length=20, sequences=2)))
    for name in ("direct_effect", "total_effect"):
        with pytest.raises(Withheld, match="is a share of what the repeat is worth to the model, and the"):
            obtained(name, asked)


def test_layers_and_imported_numbers() -> None:
    assert obtained("layer", ASKED).values.tolist() == [[0] * 4, [1] * 4]
    values = obtained("imported", ASKED).values
    assert values[0, 1] == 2 and values[1, 3] == -1 and np.isnan(values).sum() == 6
    with pytest.raises(BadInput, match="no imported numbers"):
        obtained("imported", Asked(SUBJECT))


def test_nothing_is_computed_that_is_only_looked_for(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = bind(Request("two-layer", length=21, sequences=2, seed=77))

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded although nobody asked to compute")

    monkeypatch.setattr("core.models.load.load_model", loaded)
    for name, quantity in QUANTITIES.items():
        if quantity.source not in ("import", "concept_copying"):
            assert if_cached(partial(obtained, name, Asked(subject))) is None, name


def test_what_takes_minutes_is_offered_and_what_every_page_measures_is_not() -> None:
    assert {name for name, source in SOURCES.items() if source.offered} >= {"causal_map", "verdicts", "sensitivity", "estimate"}
    assert not source_of("induction").offered and not source_of("imported").offered
    assert set(SOURCES) == {quantity.source for quantity in QUANTITIES.values()}
    assert all(source.seconds(ASKED) >= 0 and source.doing for source in SOURCES.values())


def test_a_name_that_there_is_not_and_numbers_that_are_withheld() -> None:
    with pytest.raises(BadInput, match=r"one of induction, .*, not 'charm'"):
        obtained("charm", ASKED)
    short = Asked(bind(Request("two-layer", length=3, sequences=2)))
    with pytest.raises(Withheld, match="withheld"):
        obtained("specificity", short)
    with pytest.raises(Withheld, match="at least 2 sequences"):
        obtained("effect_low", Asked(bind(Request("two-layer", length=20, sequences=1))))


def test_a_layer_without_attention_has_no_head_to_be_cut_or_to_read(empty_store: Path) -> None:
    torch.manual_seed(0)
    kinds = ["full_attention", "conv", "full_attention"]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96}
    config = Lfm2Config(num_hidden_layers=3, layer_types=kinds, max_position_embeddings=64, **sizes)
    subject = bind(Request(AutoModelForCausalLM.from_config(config).eval(), length=10, sequences=2))
    lost = obtained("path_patch_drop", Asked(subject, reader=Head(2, 1))).values
    assert np.isfinite(lost[0]).all() and np.isnan(lost[1:]).all()
    for ask in (
        lambda: obtained("path_patch_drop", Asked(subject, reader=Head(1, 0))),
        lambda: obtained("k_composition", Asked(subject, reader=Head(1, 0))),
        lambda: circuit(subject, previous=(Head(1, 0),), induction=(Head(2, 1),)),
        lambda: prune(subject, Head(1, 0)),
    ):
        with pytest.raises(BadInput, match="There is no head L1H0"):
            ask()
