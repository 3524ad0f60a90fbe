"""Folders of one's own training runs: a vocabulary of one's own, code of one's own, other names for files, edited configs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from core.ablation.cached import ablate
from core.attention.rows import text_row
from core.cli import main
from core.errors import BadInput, ModelUnavailable
from core.models.catalogue import catalogue, find_entry
from core.models.fetching.add import add_model
from core.models.identity import model_identity
from core.models.load import load_model
from core.models.paths import shown
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.facts import envelope
from core.text.paragraph import PARAGRAPH, why_left_out
from core.transformer.checks import conformance_sentence
from core.verdicts.conformance import conformance
from tests.models.test_loading import VOCAB, write_llama

pytestmark = pytest.mark.usefixtures("root", "empty_store")
# A config that nobody filled in holds the library's own: 1.
LIBRARYS_BOS = 1


def words(count: int, front: str = "") -> Tokenizer:
    """A vocabulary of one's own: its BOS is id 0, and id 1 is a word."""
    names = ["<|endoftext|>", *(f"w{number}" for number in range(1, count))]
    made = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="w2"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<|endoftext|>"])
    if front:
        used = [(name, names.index(name)) for name in set(front.split())]
        made.post_processor = processors.TemplateProcessing(single=f"{front} $A", special_tokens=used)
    return made


def written(root: Path, name: str, tokenizer: Tokenizer | None = None, **changes: object) -> Path:
    folder = root / name
    write_llama(folder, bos_token_id=LIBRARYS_BOS)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<|endoftext|>"}))
    said = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def test_the_bos_is_what_the_tokenizer_names_and_not_what_a_config_was_left_with(root: Path) -> None:
    folder = written(root, "own-words", words(VOCAB))
    assert model_identity("own-words").bos_token_id == 0
    subject = bind(Request("own-words", length=6, sequences=2, bos="always"))
    assert set(subject.probe.tokens[:, 0]) == {0}
    # In memory, too, where a word of the text would have been put in front.
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words(VOCAB), bos_token="<|endoftext|>")
    given = write_llama(folder, bos_token_id=LIBRARYS_BOS)
    probe = bind(Request(given, length=6, sequences=2, bos="always", tokenizer=tokenizer)).probe
    assert set(probe.tokens[:, 0]) == {0}


def test_what_a_config_states_is_the_bos_where_the_tokenizer_names_none(root: Path) -> None:
    folder = written(root, "unnamed", words(VOCAB))
    (folder / "tokenizer_config.json").unlink()
    assert model_identity("unnamed").bos_token_id == LIBRARYS_BOS
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "nowhere"}))
    assert model_identity("unnamed").bos_token_id == LIBRARYS_BOS


@pytest.mark.parametrize(
    ("front", "habit"),
    [
        ("<|endoftext|> w3", "probes begin with <|endoftext|> alone, where they begin with a BOS."),
        ("w3 <|endoftext|>", "probes begin with nothing, unless a BOS is asked for."),
    ],
)
def test_two_tokens_in_front_of_every_text_are_a_remark_wherever_numbers_are(
    root: Path, front: str, habit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is withheld for it, so nothing says so: what was measured is right on what it was measured on."""
    written(root, "two-in-front", words(VOCAB, front))
    subject = bind(Request("two-in-front", length=6, sequences=2))
    said = f"Its tokenizer begins every text with {front}, and {habit}"
    found = conformance(subject)
    assert conformance_sentence(found).endswith(f"at length 6: nothing is withheld. {said}")
    assert envelope(subject)["conformance"] == {"length": 6, "passed": False, "withheld": [], "remarks": [said]}
    assert main(["score", "--model", "two-in-front", "--length", "6", "--sequences", "2"]) == 0
    assert f"warning: {said}" in capsys.readouterr().err


def test_a_text_that_nobody_gave_stands_in_no_removals_way(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens that were added to the tokenizer and not to the model."""
    larger = words(VOCAB + 40)
    larger.model.unk_token = f"w{VOCAB + 30}"
    written(root, "larger", larger)
    found = ablate(Request("larger", length=6, sequences=4), ["L1H1"], "zero")
    assert found.text is None and found.ablated_losses.second_copy > 0
    ids = f"the id {VOCAB + 30} in the built-in text, and the model's ids go to {VOCAB - 1}, so"
    assert ids in why_left_out(model_identity("larger"), PARAGRAPH)
    assert main(["ablate", "--model", "larger", "--heads", "L1H1", "--length", "6", "--mode", "zero"]) == 0
    assert ids in capsys.readouterr().out


def test_another_config_file_is_not_read_in_the_place_of_the_one_whose_digest_is_taken(root: Path) -> None:
    folder = written(root, "versions", configuration_files=["config.5.0.0.json"])
    (folder / "config.5.0.0.json").write_text((folder / "config.json").read_text())
    for road in (model_identity, load_model):
        with pytest.raises(ModelUnavailable, match="'configuration_files' that other files than its own are to be loaded"):
            road("versions")


@pytest.mark.parametrize(
    ("brought", "named", "own"),
    [
        ({"AutoModelForCausalLM": "modeling_mine.MineForCausalLM"}, ["MineForCausalLM"], True),
        ({"AutoModelForCausalLM": "somebody/repo--modeling_mine.MineForCausalLM"}, None, True),
        ({"AutoModel": "modeling_mine.MineModel"}, ["MineModel"], True),
        # As older folders have it of a kind that the library knows by now.
        ({"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"}, ["LlamaForCausalLM"], False),
        ({"AutoTokenizer": ["tokenization_mine.MineTokenizer", None]}, ["LlamaForCausalLM"], False),
    ],
)
def test_a_class_of_ones_own_is_never_measured_as_the_librarys(
    root: Path, brought: dict[str, object], named: list[str] | None, own: bool
) -> None:
    written(root, "mine", auto_map=brought, architectures=named)
    if not own:
        assert load_model("mine").card.n_layers == 2
        return
    with pytest.raises(ModelUnavailable, match="needs code that comes with its weights"):
        load_model("mine")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_scaling": {"rope_type": "yarn"}}, r"no valid one of its kind \(llama\): .*factor.* Mend that field"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, r"no valid one of its kind \(llama\): .*low_freq_factor"),
        (
            {"rope_scaling": {"rope_type": "ntk-aware", "factor": 2.0}},
            "'ntk-aware' where the model library knows no such thing",
        ),
        ({"hidden_act": "swishglu"}, "'swishglu' where the model library knows no such thing. Mend that field"),
    ],
)
def test_an_edited_config_is_told_which_field(root: Path, changes: dict[str, object], said: str) -> None:
    folder = written(root, "edited")
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters", None)
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelUnavailable, match=said):
        load_model("edited")


@pytest.mark.parametrize("name", ["consolidated.safetensors", "model.fp16.safetensors", "model-00001-of-00001.safetensors"])
def test_weights_of_another_name_are_said_in_the_list_and_not_only_at_the_load(root: Path, name: str) -> None:
    folder = written(root, "renamed")
    (folder / "model.safetensors").rename(folder / name)
    said = f"renamed holds {name}, and neither model.safetensors nor model.safetensors.index.json"
    roads: list[Callable[[str], object]] = [model_identity, load_model]
    for road in roads:
        with pytest.raises(ModelUnavailable, match=said):
            road("renamed")
    assert said in find_entry("renamed").problem


def test_a_folder_within_another_is_called_what_can_be_typed(root: Path) -> None:
    run = root / "lr--1e-3" / "checkpoint-5"
    write_llama(run)
    assert shown(run) == "lr--1e-3/checkpoint-5"
    assert load_model(shown(run)).card.n_layers == 2
    assert shown(root / "owner--model") == "owner/model"


def test_a_tokenizer_in_files_that_are_not_read_is_not_said_to_be_missing_without_saying_which_file_is(root: Path) -> None:
    folder = written(root, "older-files")
    words(VOCAB).model.save(str(folder))
    with pytest.raises(BadInput, match=r"older-files came without a tokenizer \(of a folder tokenizer.json is read\), so it"):
        text_row(model_identity("older-files"), "w3 w4 w3 w4")


@pytest.mark.parametrize("typed", ["owner/mini", "models--owner--mini"])
def test_a_model_in_the_hubs_own_cache_is_not_told_to_be_brought_in(root: Path, typed: str) -> None:
    """As where the model folder is the model library's."""
    blobs, snapshot = root / "models--owner--mini" / "blobs", root / "models--owner--mini" / "snapshots" / "5f1c"
    write_llama(blobs)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    (blobs / "config.json").rename(blobs / "c0ffee")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../blobs/c0ffee")
    there = "models--owner--mini/snapshots/5f1c"
    with pytest.raises(ModelUnavailable, match=f"{typed} lies here as the hub's own cache keeps it: name its folder, {there}"):
        load_model(typed)
    assert load_model(there).card.n_layers == 2


def test_what_was_added_to_a_model_or_stands_in_the_place_of_its_end_is_named(root: Path) -> None:
    folder = written(root, "trained")
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"v_head.summary.weight": torch.zeros(1, 16)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match="1 tensor is left over, the first is v_head.* without what was added"):
        load_model("trained")
    tensors["score.weight"] = tensors.pop("lm_head.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match="1 tensor is missing, the first is lm_head.* The file has score.weight"):
        load_model("trained")


def test_a_folder_with_the_name_of_a_bundled_model_stands_in_the_place_of_none(root: Path) -> None:
    for name in ("mixture", "by-construction"):
        bundled = model_identity(name).weights_digest
        write_llama(root / name)
        assert model_identity(name).weights_digest == bundled and find_entry(name).source == "bundled"
        listed = next(entry for entry in catalogue() if entry.name == f"./{name}")
        assert not listed.available and listed.problem == find_entry(str(root / name)).problem
        for asked in (model_identity, add_model):
            with pytest.raises(
                ModelUnavailable, match=f"^The folder '{name}' has the name of a model that comes with .*: rename it.$"
            ):
                asked(f"./{name}")


def test_a_folder_with_the_name_of_a_known_model_and_other_sizes_is_said_to_be_what_it_is(root: Path) -> None:
    for name in ("gpt2-small", "smollm2-135m"):
        write_llama(root / name)
        [listed] = [entry for entry in catalogue() if entry.name == name]
        assert listed == find_entry(name) and listed.source == "local" and listed.title == name and not listed.description
        card = model_identity(name).card
        assert (listed.n_layers, listed.n_heads, listed.d_model) == (card.n_layers, card.n_heads, card.d_model)
        assert card.title == name and card.source == "local"
    # Who asks for the model itself does not get the folder.
    for asked in ("gpt2", "openai-community/gpt2"):
        entry = find_entry(asked)
        assert (entry.name, entry.available) == ("openai-community/gpt2", False)


def test_two_sets_of_weights_are_refused_and_an_index_alone_says_nothing(root: Path) -> None:
    folder = root / "resumed"
    model = write_llama(folder)
    model.save_pretrained(root / "shards", max_shard_size=4_000)
    shards = sorted((root / "shards").glob("model-*.safetensors"))
    index = "model.safetensors.index.json"
    assert len(shards) > 1
    (folder / index).write_bytes((root / "shards" / index).read_bytes())
    whole = model_identity("resumed").weights_digest
    (folder / shards[-1].name).write_bytes(shards[-1].read_bytes())
    sentence = f"^resumed holds two sets of weights, model.safetensors and {shards[-1].name} with .* take one away.$"
    with pytest.raises(ModelUnavailable, match=sentence):
        model_identity("resumed")
    assert "two sets of weights" in find_entry("resumed").problem
    (folder / index).unlink()
    assert model_identity("resumed").weights_digest == whole
    # One whose only file is the one beside it is of one set.
    (folder / index).write_text(json.dumps({"weight_map": {name: "model.safetensors" for name in load_file(shards[0])}}))
    assert model_identity("resumed").weights_digest == whole


def test_a_tensor_that_is_in_two_files_is_refused(root: Path) -> None:
    folder = root / "twice"
    write_llama(folder).save_pretrained(folder, max_shard_size=4_000)
    (folder / "model.safetensors").unlink(missing_ok=True)
    first, *_, last = sorted(folder.glob("model-*.safetensors"))
    assert model_identity("twice").card.n_params > 0
    doubled = sorted(load_file(first))[0]
    save_file(load_file(last) | {doubled: load_file(first)[doubled] + 1}, last, {"format": "pt"})
    sentence = f"^twice has the tensor {doubled} twice, in {first.name} and in {last.name}, and which of them is meant"
    with pytest.raises(ModelUnavailable, match=sentence):
        model_identity("twice")
    assert find_entry("twice").problem
