"""Patterns to look at: against the model library's eager attention weights, in full, in two bytes a cell and in one."""

from functools import partial

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from core.attention.cached import head_pattern, row_patterns, score_heads
from core.attention.cells import induction_cells
from core.attention.pattern_pass import measure_head_pattern, measure_losses, measure_patterns
from core.attention.patterns import RowPatterns, grid_limit
from core.attention.rows import TokenRow, probe_row, repeated_token_cells, text_row
from core.errors import BadInput
from core.heads import Head, check_head
from core.probes.layout import Layout
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.probes.vocabulary import Vocabulary
from core.runtime.cache import if_cached
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.view import MAX_TEXT_CHARACTERS
from core.transformer.card import ModelCard, ModelIdentity
from core.transformer.tokenizer import ModelTokenizer
from tests.helpers.architectures import D_VOCAB, N_HEADS, N_LAYERS, make_pair

SOME_ARCHITECTURES = ("gpt2", "gpt_neox", "llama_grouped", "bloom_alibi", "native_attention_only", "native_solu")
OPTIONS = ProbeOptions(length=9, sequences=2, seed=3, bos="always")
LAYOUT = Layout(9, 1)


@pytest.fixture(scope="module")
def ids() -> tuple[int, ...]:
    vocabulary = Vocabulary(size=D_VOCAB, special_ids=frozenset({0}), bos_token_id=0)
    return tuple(int(i) for i in repeated_probe(vocabulary, OPTIONS).tokens[0])


@pytest.mark.parametrize("architecture", SOME_ARCHITECTURES)
def test_patterns_are_the_eager_attention_weights(architecture: str, ids: tuple[int, ...]) -> None:
    pair = make_pair(architecture)
    logits, eager = pair.eager(torch.tensor([ids]))
    quantised, losses = measure_patterns(pair.loaded, ids)
    patterns = RowPatterns(losses, quantised)
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            weights = eager[layer][0, head].float().numpy()
            exact = measure_head_pattern(pair.loaded, ids, Head(layer, head))
            assert np.abs(exact - weights).max() < 1e-5
            assert np.abs(patterns.head(Head(layer, head)) - exact).max() <= 0.5 / 65535 + 1e-7
            triangle = weights[np.tril_indices(len(ids))]
            assert np.abs(patterns.coarse()[layer, head] / 255 - triangle).max() <= 0.5 / 255 + 1e-5
    wanted = torch.nn.functional.cross_entropy(logits[0, :-1].float(), torch.tensor(ids[1:]), reduction="none")
    assert np.isnan(losses[0])
    assert np.abs(losses[1:] - wanted.numpy()).max() < 1e-4
    assert np.array_equal(losses[1:], measure_losses(pair.loaded, ids)[1:])


def test_overflowing_attention_is_said_and_not_drawn(ids: tuple[int, ...]) -> None:
    loaded = make_pair("gpt2").loaded
    with torch.no_grad():
        next(p for name, p in loaded.module.named_parameters() if "wte" in name).fill_(float("nan"))
    with pytest.raises(BadInput, match="float32"):
        measure_patterns(loaded, ids)
    with pytest.raises(BadInput, match="float32"):
        measure_head_pattern(loaded, ids, Head(0, 0))


def test_repeated_tokens_of_a_probe_are_the_induction_cells(ids: tuple[int, ...]) -> None:
    found, wanted = repeated_token_cells(ids), induction_cells(LAYOUT)
    assert np.array_equal(found[0], wanted[0])
    assert np.array_equal(found[1], wanted[1])


def test_every_earlier_occurrence_is_marked_and_what_is_no_word_is_no_repetition() -> None:
    queries, keys = repeated_token_cells((5, 6, 5, 7, 5))
    assert list(zip(queries.tolist(), keys.tolist(), strict=True)) == [(2, 1), (4, 1), (4, 3)]
    assert len(repeated_token_cells((1, 6, 1, 1), frozenset({1}))[0]) == 0


def test_a_token_right_after_itself_is_not_where_induction_looks() -> None:
    """Counting it would give a head that looks at its own token a high number, beside a chance level that is as wrong."""
    assert [part.tolist() for part in repeated_token_cells((5, 5, 6, 5))] == [[3, 3], [1, 2]]
    again = text_row(_identity(), "a a b a", "never")
    assert again.chance_on_cells() == pytest.approx(1 / 4)
    own = np.eye(4)
    assert again.mean_on_cells(own) == 0.0, "a head that looks at its own token"
    assert text_row(_identity(), "a a", "never").chance_on_cells() is None


def test_a_bos_inside_a_typed_text_is_no_token_that_comes_back() -> None:
    row = text_row(_identity(), "a b <bos> b a <bos> a")
    assert row.ids == (0, 2, 3, 0, 3, 2, 0, 2)
    pairs = {(q, p + 1) for q in range(8) for p in range(q - 1) if row.ids[p] == row.ids[q] and row.ids[q] in (2, 3)}
    assert set(zip(*(part.tolist() for part in row.cells), strict=True)) == pairs


@pytest.mark.usefixtures("empty_store")
def test_mean_on_the_cells_of_a_probe_row_is_the_induction_score() -> None:
    subject = bind(Request("two-layer", length=12, sequences=2))
    scores = score_heads(subject).per_sequence["induction"]
    for sequence in range(2):
        row = probe_row(subject, sequence)
        assert row.mean_on_cells(head_pattern(subject, row, Head(1, 2))) == pytest.approx(scores[1, 2, sequence], abs=1e-5)
    assert row.chance_on_cells() == pytest.approx(np.mean(1 / np.arange(14, 26)))


@pytest.mark.usefixtures("empty_store")
def test_a_pattern_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, head = bind(Request("two-layer", length=6, sequences=1)), Head(1, 0)
    row = probe_row(subject, 0, control=True)
    assert if_cached(partial(head_pattern, subject, row, head)) is None
    first = head_pattern(subject, row, head)
    patterns = row_patterns(subject, row)
    monkeypatch.setattr("core.settings.subject.Subject.load", lambda _: pytest.fail("loaded the model again"))
    assert np.array_equal(head_pattern(subject, row, head), first)
    assert np.array_equal(row_patterns(subject, row).quantised, patterns.quantised)
    assert np.abs(patterns.head(head) - first).max() <= 0.5 / 65535 + 1e-7


@pytest.mark.usefixtures("empty_store")
def test_a_row_too_long_for_the_grid_has_losses_and_no_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = bind(Request("two-layer", length=8, sequences=1))
    row = probe_row(subject, 0)
    whole = row_patterns(subject, row)
    monkeypatch.setattr("core.attention.patterns.MAX_GRID_TOKENS", 5)
    monkeypatch.setattr("core.attention.cached.PATTERN_VERSION", -1)
    long = row_patterns(subject, row)
    assert long.quantised is None
    assert np.array_equal(long.token_loss[1:], whole.token_loss[1:])
    for look in (lambda: long.head(Head(0, 0)), long.coarse):
        with pytest.raises(ValueError, match="no patterns"):
            look()


def test_the_grid_of_a_large_model_fits_one_message() -> None:
    card = _card(n_layers=48, n_heads=25, n_ctx=1024)
    limit = grid_limit(card)
    assert 48 * 25 * limit * (limit + 1) // 2 <= 12_000_000 < 48 * 25 * (limit + 1) * (limit + 2) // 2
    assert grid_limit(_card(n_ctx=32)) == 32
    assert grid_limit(_card()) == 257


def test_a_head_that_the_model_lacks() -> None:
    for head in (Head(2, 0), Head(0, 4)):
        with pytest.raises(BadInput, match=f"no head {head.name}: this model has layers 0 to 1 with heads 0 to 3"):
            check_head(head, 2, 4)
    subject = bind(Request("two-layer", length=6, sequences=1))
    with pytest.raises(BadInput, match="no head L2H0: this model has layers 0 to 1 with heads 0 to"):
        head_pattern(subject, probe_row(subject, 0), Head(2, 0))


@pytest.mark.parametrize(
    ("shape", "kind"), [((2, 4, 5), np.uint16), ((2, 4, 6), np.uint8), ((8, 6), np.uint16)], ids=["cells", "type", "axes"]
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_patterns_that_do_not_fit_their_row_are_refused(shape: tuple[int, ...], kind: type) -> None:
    with pytest.raises(ValueError, match="uint16"):
        RowPatterns(np.zeros(3, dtype=np.float32), np.zeros(shape, dtype=kind))


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_row_whose_cells_lie_outside_is_refused() -> None:
    for cells in ((np.array([3]), np.array([1])), (np.array([1]), np.array([2])), (np.array([1, 2]), np.array([0]))):
        with pytest.raises(ValueError, match="cells"):
            TokenRow((1, 2, 3), cells)


def test_text_is_tokenized_once_with_the_bos_in_front() -> None:
    row = text_row(_identity(), " a b a zebra ")
    assert row.ids == (0, 2, 3, 2, 1)
    assert row.warnings[0].startswith("1 of the text's 4 tokens")
    assert list(zip(*(i.tolist() for i in row.cells), strict=True)) == [(3, 2)]
    assert text_row(_identity(), "a b", "never").ids == (2, 3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "at least one word"), ("  \n ", "at least one word"), ("a " * 40, "2 to 16"), ("a" * 1001, "1001 characters")],
)
def test_a_text_that_cannot_be_looked_at(text: str, sentence: str) -> None:
    assert MAX_TEXT_CHARACTERS == 1000
    with pytest.raises(BadInput, match=sentence):
        text_row(_identity(), text)


def test_a_text_needs_a_tokenizer_that_fits_the_model() -> None:
    with pytest.raises(BadInput, match="without a tokenizer"):
        text_row(ModelIdentity(_card(), "digest"), "a b")
    with pytest.raises(BadInput, match="ids go from 0 to 2"):
        text_row(_identity(d_vocab=3), "a b")
    with pytest.raises(BadInput, match="2 to 16"):
        text_row(_identity(), "a", "never")


def test_rows_that_a_probe_does_not_have() -> None:
    subject = bind(Request("two-layer", length=6, sequences=2))
    with pytest.raises(BadInput, match="0 to 1"):
        probe_row(subject, 2)


def _card(*, n_layers: int = 2, n_heads: int = 4, n_ctx: int = 512, d_vocab: int = 8) -> ModelCard:
    return ModelCard(
        "small", "random", n_layers, n_heads, d_model=8, d_head=2, d_vocab=d_vocab, n_ctx=n_ctx, n_params=1, source="local"
    )


def _identity(d_vocab: int = 8) -> ModelIdentity:
    backend = Tokenizer(models.WordLevel({"<bos>": 0, "<unk>": 1, "a": 2, "b": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return ModelIdentity(_card(n_ctx=16, d_vocab=d_vocab), "digest", ModelTokenizer(backend), bos_token_id=0, prepends_bos=True)
