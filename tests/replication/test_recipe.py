"""The report's recipe, on a circuit whose answers are known, and each correction against brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.attention.cached import score_heads
from core.figures.base.style import Look
from core.figures.replication import correction_steps
from core.heads import Head
from core.models.built_in.circuit_spec import expected_prefix_matching, standard_spec
from core.models.load import load_model
from core.probes.layout import Layout
from core.replication.cached import reproduce, step_by_step
from core.replication.recipe import report_recipe, second_copy_diagonal, second_copy_value, whole_diagonal
from core.replication.words import step_labels
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.view import CORRECTIONS, Corrections
from core.transformer.passes.hooks import run_body, z_hook
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
    """Both readings of the induction head: the closed form, and the closed form diluted by one entry that is not induction."""
    found = reproduce(bind(REQUEST))
    length = found.recipe.subject.probe.length
    exact = expected_prefix_matching(length, 0, INDUCTION.strength)
    assert found.measured.rows[PLACE] == pytest.approx(exact, abs=1e-5)
    whole = found.measured.whole[PLACE]
    assert length / (length + 1) * exact <= whole + 1e-6
    assert whole == pytest.approx(exact * length / (length + 1), abs=1 / (length + 1))
    assert whole < exact


@pytest.mark.parametrize("bos", [False, True])
def test_corrected_scores_are_those_of_the_scores_page(bos):
    found = reproduce(bind(REQUEST), replace(ALL, bos=bos, baselines=False))
    options = found.recipe.subject.probe.options
    again = score_heads(
        Request(MODEL, length=options.length, sequences=4, seed=0, bos=options.bos, token_range=options.token_range)
    )
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


@pytest.mark.parametrize(
    "sizes,length,token_range,notes",
    [
        ({"d_vocab": 50_000, "n_ctx": 64}, 31, (1000, 10_000), 1),
        ({"d_vocab": 5_000, "n_ctx": 1024}, 100, (1000, 5_000), 1),
        ({"d_vocab": 1_100, "n_ctx": 1024}, 100, (0, 1_100), 1),
        ({"d_vocab": 60, "n_ctx": 1024}, 58, (0, 60), 2),
    ],
)
def test_what_does_not_fit_is_said(sizes, length, token_range, notes):
    recipe = report_recipe(sized(**sizes))
    probe = recipe.subject.probe
    assert (probe.length, probe.token_range, len(recipe.notes)) == (length, token_range, notes)


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


def test_targets_with_and_without_the_first():
    loss = np.array([np.nan, 1.0, 2.0, 30.0, 4.0, 5.0])
    layout = Layout(length=3, b=0)
    assert second_copy_value(loss, layout, Corrections(sign=True)) == pytest.approx(13.0)
    assert second_copy_value(loss, layout, Corrections(sign=True, targets=True)) == pytest.approx(4.5)
    assert second_copy_value(loss, layout, Corrections()) == pytest.approx(-13.0)


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
        assert row.value == pytest.approx(loss[:, length:].mean(), abs=1e-4)


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
    assert on == [0, 1, 2, 3, 4, 5] and steps[-1].corrections == ALL
    last = steps[-1].rows[1]
    assert last.heads == (PLACE,) and len(last.baselines) == 3
    assert last.value > last.band[1], "the induction head must cost more than random heads of its layer"
    assert all(len(row.baselines) == 0 for step in steps[:-1] for row in step.rows)


def test_random_sets_are_boxes_beside_their_step_and_on_no_point():
    steps = step_by_step(bind(REQUEST), count=3)
    figure = correction_steps(steps, Look())
    boxes = [trace for trace in figure.data if trace.fill == "toself"]
    known = [row for row in steps[-1].rows if len(row.baselines)]
    assert len(boxes) == len(known) > 0
    assert [(min(box.y), max(box.y)) for box in boxes] == [row.band[:2] for row in known]
    edges = [(min(box.x), max(box.x)) for box in boxes]
    assert edges[0][0] > len(steps) - 1 and all(a[1] < b[0] for a, b in pairwise(edges))
    assert edges[-1][1] < figure.layout.xaxis.range[1]
    assert list(figure.layout.xaxis.ticktext) == step_labels(steps)


def test_a_kept_result_runs_no_model(monkeypatch):
    first = reproduce(bind(REQUEST))
    monkeypatch.setattr("core.models.load.load_model", lambda *a, **k: pytest.fail("the model was loaded again"))
    again = reproduce(bind(REQUEST))
    np.testing.assert_array_equal(first.scores, again.scores)
    assert [row.value for row in first.rows] == [row.value for row in again.rows]
