"""The report's recipe, on a circuit whose answers are known, and each correction against brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.attention.cached import score_heads
from core.figures.base.style import Look
from core.figures.replication import correction_steps, describe_steps
from core.heads import Head
from core.models.built_in.circuit_spec import expected_prefix_matching, standard_spec
from core.models.load import load_model
from core.probes.layout import Layout
from core.replication.cached import reproduce, step_by_step
from core.replication.recipe import report_recipe, second_copy_diagonal, second_copy_value, whole_diagonal
from core.replication.tables import step_rows, table_rows
from core.replication.words import behaviour_of_the_report, questions_note, recipe_words, step_labels, steps_words
from core.settings.provenance import measured_on
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.view import CORRECTIONS, Corrections
from core.transformer.passes.hooks import pattern_hook, run_body, z_hook
from core.transformer.passes.readout import token_losses

MODEL = "by-construction"
REQUEST = Request(MODEL)
[INDUCTION] = standard_spec().of_kind("induction")
PLACE = Head(INDUCTION.layer, INDUCTION.head)
ALL = Corrections(*(True for _ in CORRECTIONS))


pytestmark = pytest.mark.usefixtures("own_store")


@pytest.mark.parametrize("length", [2, 20, 100])
@pytest.mark.parametrize("b", [0, 1])
def test_the_whole_diagonal_caps_a_perfect_head(length, b):
    """Every second-copy query on exactly the right key, every other query on itself: L of L+1 entries, of L+2 with a BOS."""
    n = 2 * length + b
    pattern = torch.eye(n)
    for query in range(length + b, n):
        pattern[query] = torch.nn.functional.one_hot(torch.tensor(query - length + 1), n)
    pattern = pattern[None, None]
    assert second_copy_diagonal(pattern, length).item() == 1.0
    assert whole_diagonal(pattern, length - 1).item() == pytest.approx(length / (length + 1 + b))


def test_the_whole_diagonal_on_the_circuit():
    """Both readings of the induction head, cell by cell off its pattern: the ids repeat, so there is no closed form."""
    found = reproduce(bind(REQUEST))
    probe, patterns = found.recipe.subject.probe, []
    run_body(load_model(MODEL), torch.from_numpy(np.array(probe.tokens)), [(pattern_hook(PLACE[0]), patterns.append)])
    own = patterns[0][:, PLACE[1]].double().numpy()
    back = probe.length - 1
    cells = [own[:, query, query - back].mean() for query in range(back, probe.n_tokens)]
    assert found.measured.whole[PLACE] == pytest.approx(np.mean(cells), abs=1e-5)
    assert found.measured.rows[PLACE] == pytest.approx(np.mean(cells[1:]), abs=1e-5)
    assert (
        found.measured.whole[PLACE] < found.measured.rows[PLACE] < expected_prefix_matching(probe.length, 0, INDUCTION.strength)
    )


@pytest.mark.parametrize("bos", [False, True])
def test_corrected_scores_are_those_of_the_scores_page(bos):
    found = reproduce(bind(REQUEST), replace(ALL, bos=bos, baselines=False))
    again = score_heads(found.recipe.subject)
    assert found.recipe.subject.probe.has_bos == bos
    # There are no fresh tokens beside ids drawn with replacement from so few: what needs them is NaN on both sides.
    assert repr(found.behaviour) == repr(again.behaviour)
    np.testing.assert_allclose(found.scores, again.mean("induction"), atol=1e-6)
    assert found.rows[0].value == pytest.approx(again.losses().second_copy, abs=1e-5)


def sized(**sizes: int) -> Subject:
    """The model, said to have other sizes."""
    subject = bind(REQUEST)
    return replace(subject, identity=replace(subject.identity, card=replace(subject.card, **sizes)))


def test_the_recipe_where_it_fits():
    recipe = report_recipe(sized(d_vocab=50_000, n_ctx=1024))
    assert recipe.notes == ()
    probe = recipe.subject.probe
    assert probe.tokens.shape == (4, 200) and not probe.has_bos
    assert probe.tokens.min() >= 1000 and probe.tokens.max() <= 9999
    np.testing.assert_array_equal(probe.tokens[:, :100], probe.tokens[:, 100:])
    assert recipe_words(recipe) == (
        "4 sequences of 100 tokens, ids drawn with replacement from 1,000 to 9,999, each sequence twice, no BOS, seed 0"
    )


def test_ids_are_drawn_with_replacement():
    """58 % of 100 draws from 9,000 have no id twice: exp of the sum of ln(1 - i/9000)."""
    distinct = np.exp(np.log1p(-np.arange(100) / 9000).sum())
    subject = sized(d_vocab=50_000, n_ctx=1024)
    rows = [row[:100] for seed in range(60) for row in report_recipe(subject.at(seed=seed)).subject.probe.tokens]
    found = np.mean([len(set(row.tolist())) == 100 for row in rows])
    assert distinct == pytest.approx(0.576, abs=0.01) and found == pytest.approx(distinct, abs=0.12)


@pytest.mark.parametrize(
    "sizes,length,token_range,notes",
    [
        ({"d_vocab": 50_000, "n_ctx": 64}, 31, (1000, 10_000), 1),
        ({"d_vocab": 5_000, "n_ctx": 1024}, 100, (1000, 5_000), 1),
        ({"d_vocab": 1_100, "n_ctx": 1024}, 100, (0, 1_100), 1),
        ({"d_vocab": 60, "n_ctx": 1024}, 100, (0, 60), 1),
    ],
)
def test_what_does_not_fit_is_said(sizes, length, token_range, notes):
    recipe = report_recipe(sized(**sizes))
    probe = recipe.subject.probe
    assert (probe.length, recipe.token_range, len(recipe.notes)) == (length, token_range, notes)
    assert token_range[0] <= probe.tokens.min() and probe.tokens.max() < token_range[1]


def test_a_bos_is_all_that_differs():
    subject = bind(REQUEST)
    without, with_bos = (report_recipe(subject, bos=bos).subject.probe for bos in (False, True))
    np.testing.assert_array_equal(with_bos.tokens[:, 1:], without.tokens)
    lacking = report_recipe(replace(subject, identity=replace(subject.identity, bos_token_id=None)), bos=True)
    assert not lacking.subject.probe.has_bos and any("no BOS" in note for note in lacking.notes)


def test_the_sign_is_only_a_sign():
    own, corrected = reproduce(bind(REQUEST)), reproduce(bind(REQUEST), Corrections(sign=True))
    for before, after in zip(own.rows, corrected.rows, strict=True):
        assert after.value == -before.value and after.heads == before.heads
    assert own.rows[0].value < 0


def test_the_reports_mean_leaves_out_the_first_token_of_the_second_copy():
    """Targets 101 to 199 of 200: it read 199 predictions and took those of the last 99."""
    loss = np.array([np.nan, 1.0, 2.0, 30.0, 4.0, 5.0])
    layout = Layout(length=3, b=0)
    assert second_copy_value(loss, layout, Corrections(sign=True)) == pytest.approx(4.5)
    assert second_copy_value(loss, layout, Corrections()) == pytest.approx(-4.5)
    assert Layout(100, 0).second_copy_targets.tolist() == list(range(101, 200))


def test_the_table_by_brute_force():
    """The ablated rows again, with the heads' outputs zeroed in a pass of our own."""
    model = load_model("two-layer")
    found = reproduce(bind(Request("two-layer")), Corrections(sign=True))
    tokens = torch.from_numpy(np.array(found.recipe.subject.probe.tokens))
    length = found.recipe.subject.probe.length
    for row in found.rows[1:]:
        assert row.heads == tuple(sorted(map(tuple, np.argwhere(found.measured.whole > row.threshold).tolist())))

        def zero(layer, heads=row.heads):
            def edit(z):
                for place, head in heads:
                    if place == layer:
                        z = z.clone()
                        z[:, :, head] = 0
                return z

            return edit

        with torch.no_grad():
            final = run_body(model, tokens, [(z_hook(layer), zero(layer)) for layer in range(2)]).final
            loss = token_losses(model, final, tokens).numpy()
        assert row.value == pytest.approx(loss[:, length + 1 :].mean(), abs=1e-4)


def test_zeroing_values_is_zeroing_outputs():
    """The report zeroes `v` at every position; here `z` is zeroed: the same, because z is a mean of values."""
    model = load_model("two-layer")
    tokens = torch.from_numpy(np.array(report_recipe(bind("two-layer")).subject.probe.tokens))[:1]

    def zero_head(activation):
        changed = activation.clone()
        changed[:, :, 2] = 0
        return changed

    with torch.no_grad():
        by_output = run_body(model, tokens, [(z_hook(1), zero_head)]).final
        as_heads = _as_heads(zero_head, model.card.n_heads)
        handle = model.module.layers[1].attn.v.register_forward_hook(lambda module, given, values: as_heads(values))
        by_value = run_body(model, tokens).final
        handle.remove()
    torch.testing.assert_close(by_output, by_value, atol=1e-5, rtol=1e-5)


def _as_heads(edit, n_heads):
    def hook(v):
        shaped = v if v.ndim == 4 else v.view(*v.shape[:2], n_heads, -1)
        return edit(shaped).view(v.shape)

    return hook


def test_step_by_step_adds_one_correction_at_a_time():
    steps = step_by_step(bind(REQUEST), count=3)
    on = [sum(getattr(step.corrections, name) for name in CORRECTIONS) for step in steps]
    assert on == [0, 1, 2, 3, 4] and steps[-1].corrections == ALL
    last = steps[-1].rows[1]
    assert last.heads == (PLACE,) and len(last.baselines) > 3
    assert last.value > last.range[1], "the induction head must cost more than every other set"
    assert all(len(row.baselines) == 0 for step in steps[:-1] for row in step.rows)


def test_random_sets_are_boxes_beside_their_step_and_on_no_point():
    steps = step_by_step(bind(REQUEST), count=3)
    figure = correction_steps(steps, Look())
    boxes = [trace for trace in figure.data if trace.fill == "toself"]
    known = [row for row in steps[-1].rows if len(row.baselines)]
    assert len(boxes) == len(known) > 0
    assert [(min(box.y), max(box.y)) for box in boxes] == [row.range[:2] for row in known]
    edges = [(min(box.x), max(box.x)) for box in boxes]
    assert edges[0][0] > len(steps) - 2 and all(a[1] < b[0] for a, b in pairwise(edges))
    assert edges[-1][1] < figure.layout.xaxis2.range[1] and {box.yaxis for box in boxes} == {"y2"}


def test_numbers_that_are_written_alike_lie_together():
    """What rounding leaves of three equal losses was drawn from the bottom of the axis to its top."""
    steps = [
        replace(
            step, rows=[replace(row, value=7.0 + 1e-9 * place, baselines=np.empty(0)) for place, row in enumerate(step.rows)]
        )
        for step in step_by_step(bind(REQUEST), count=0)
    ]
    layout = correction_steps(steps, Look()).layout
    for axis in (layout.yaxis1, layout.yaxis2):
        low, high = axis.range
        assert low < 7.0 - 0.05 and high > 7.0 + 0.05
    apart = [replace(step, rows=[replace(row, value=2.0 * place) for place, row in enumerate(step.rows)]) for step in steps]
    assert correction_steps(apart, Look()).layout.yaxis1.range is None


def test_a_sign_and_a_unit_are_no_effect_and_have_an_axis_of_their_own():
    """No line leads from a log-probability to a loss, and each panel holds one unit."""
    steps = step_by_step(bind(REQUEST), count=3)
    figure = correction_steps(steps, Look())
    axes = (figure.layout.xaxis, figure.layout.xaxis2)
    assert [label for axis in axes for label in axis.ticktext] == step_labels(steps)
    assert axes[0].domain[1] < axes[1].domain[0] and axes[1].domain[1] == pytest.approx(1)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    for panel, sign in (("y1", False), ("y2", True)):
        shown = [trace.y for trace in lines if trace.yaxis == panel.replace("y1", "y")]
        wanted = [[step.rows[i].value for step in steps if step.corrections.sign == sign] for i in range(len(steps[0].rows))]
        assert [list(y) for y in shown] == wanted
    assert "log-probability" in figure.layout.yaxis.title.text and "nats" in figure.layout.yaxis2.title.text


def test_the_heads_stand_beside_each_number_that_was_measured_without_them():
    subject, name = bind("two-layer"), "two-layer"
    own, corrected = reproduce(subject), reproduce(subject, Corrections(bos=True))
    assert own.rows[-1].heads != corrected.rows[-1].heads, "a BOS changes which heads are above the threshold"
    row = table_rows(own, corrected, name)[-1]
    for found, title in ((own, f"heads of {name}, its recipe"), (corrected, f"heads of {name}, corrected")):
        assert row[title] == ", ".join(head.name for head in found.rows[-1].heads)
    columns = list(row)
    assert columns.index(f"heads of {name}, its recipe") == columns.index(f"{name}, its recipe, log-probability") + 1
    assert f"heads of {name}" in table_rows(own, own, name)[-1] and f"heads of {name}, corrected" not in columns[:-1]


def test_what_varies_over_the_steps_is_said():
    steps = step_by_step(bind(REQUEST), count=3)
    assert "each sequence twice, no BOS but where that is corrected, there one in front, seed 0" in steps_words(steps)
    assert steps_words(steps[:2]) == recipe_words(steps[0].recipe) and "no BOS, seed" in steps_words(steps[:2])


def test_the_answers_say_that_their_probe_is_not_the_recipes():
    subject = bind(Request(MODEL, length=20))
    assert measured_on(subject) in questions_note(subject) and "length 20" in questions_note(subject)


def test_no_other_sets_have_a_reason():
    steps = step_by_step(bind(REQUEST), count=3)
    *before, last = steps
    few = replace(
        last, rows=(last.rows[0], replace(last.rows[1], baselines=np.empty(0), note="There are too few."), last.rows[2])
    )
    none = replace(last, rows=tuple(replace(row, heads=(), baselines=np.empty(0), note="") for row in last.rows))
    shown = [row["other heads, range"] for row in step_rows([*before, few])]
    assert shown[0] == "– (none drawn)" and shown[-1].startswith("above 0.6: – (there are too few); above 0.5: ")
    assert step_rows(steps)[0]["heads above 0.6 zeroed"].endswith(f" (without {PLACE.name})")
    assert step_rows([*before, none])[-1]["heads above 0.6 zeroed"].endswith(" (no head)")
    assert step_rows([*before, none])[-1]["other heads, range"].count("– (nothing is taken away)") == 2
    table = table_rows(steps[0], few, MODEL)
    assert [row["other heads, range"] for row in table[:2]] == ["– (nothing is taken away)", "– (there are too few)"]


def test_every_series_is_seen_where_all_are_the_same_and_minus_signs_are_the_apps():
    steps = step_by_step(bind(REQUEST), count=0)
    alike = [replace(step, rows=[replace(row, value=-7.0, heads=()) for row in step.rows]) for step in steps]
    lines = [trace for trace in correction_steps(alike, Look()).data if trace.mode == "lines+markers"]
    for axis in ("y", "y2"):
        sizes = [trace.marker.size for trace in lines if trace.yaxis == axis]
        assert len(sizes) == 3 and all(lower > 1.5 * upper for lower, upper in pairwise(sizes)), "smaller on top"
    assert {trace.customdata[0][0] for trace in lines} == {"−7.000"} and all("%{y" not in t.hovertemplate for t in lines)
    written = " ".join([describe_steps(alike), *(row["untouched"] for row in step_rows(alike))])
    assert "−7.00" in written and "-7" not in written


def test_a_kept_result_runs_no_model(monkeypatch):
    first = reproduce(bind(REQUEST))
    monkeypatch.setattr("core.models.load.load_model", lambda *a, **k: pytest.fail("the model was loaded again"))
    again = reproduce(bind(REQUEST))
    np.testing.assert_array_equal(first.scores, again.scores)
    assert [row.value for row in first.rows] == [row.value for row in again.rows]


def test_what_the_reports_own_numbers_say():
    """ln 9000 - 6.096 = 3.0; by set down to ln 100; without the three heads above the bound again; no claim of absence."""
    said = behaviour_of_the_report()
    for number in ("ln 9,000 = 9.10", "6.10", "3.0 nats", "ln 100 = 4.61", "3 heads above 0.5", "9.75"):
        assert number in said, number
    assert "did not show" not in said
