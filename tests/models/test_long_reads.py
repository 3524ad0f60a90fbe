"""Weights files that take minutes to read: long work as any other, and never a page's own."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.cli import main
from core.commands import progress
from core.errors import JobCancelled, ModelUnavailable
from core.models.catalogue import DEFAULT_MODEL, catalogue
from core.models.formats import digest
from core.models.formats.weights_file import MAX_HEADER_BYTES
from core.models.identity import model_identity, reading_key
from core.replication.cached import sized_models
from core.runtime.cache import if_cached
from core.runtime.jobs import default_pool
from tests.helpers.app import open_page, settled
from tests.models.test_loading import write_llama, write_native

pytestmark = pytest.mark.usefixtures("root", "empty_store")
GB = 10**9
# A page that waited for this would not be drawn in the time of the test.
MINUTES = 150 * GB


def grow(folder: Path, size: int) -> Path:
    """Give a model's weights file one more tensor of `size` bytes, a hole on the disk."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    header["filler"] = {"dtype": "U8", "shape": [size], "data_offsets": [len(data), len(data) + size]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    os.truncate(path, path.stat().st_size + size)
    return path


def button(at: AppTest, label: str) -> list[AppTest]:
    return [each for each in at.button if str(each.label) == label]


def test_a_page_waits_for_a_large_file_as_for_any_long_work(root: Path) -> None:
    write_llama(root / "large")
    grow(root / "large", MINUTES)
    begin = time.monotonic()
    one, other = (open_page("pages/1_Heads.py", model="large") for _ in range(2))
    assert time.monotonic() - begin < 60
    [job] = [default_pool().get(reading_key("large"))]
    assert job is not None and job.state == "running" and len(job.viewers) == 2, "one job for both"
    while job.fraction == 0:
        time.sleep(0.05)
    one.run()
    [bar] = one.get("progress")
    assert "reading the weights once to know them again" in bar.proto.text and "of 150.0 GB" in bar.proto.text
    # Others are served meanwhile, from what is computed between two of its steps.
    bystander = settled(open_page("pages/1_Heads.py", model=DEFAULT_MODEL, length="12", sequences="2", seed="77"))
    assert not bystander.error and not button(bystander, "Cancel") and job.state == "running"
    button(one, "Cancel")[0].click().run()
    assert job.state == "running" and button(one, "Start again"), "the other one still waits for it"
    button(other, "Cancel")[0].click().run()
    with pytest.raises(JobCancelled):
        job.result(timeout=20)


def test_a_file_read_once_opens_its_pages_at_once(root: Path) -> None:
    write_native(root / "middling")
    path = grow(root / "middling", digest.INLINE_BYTES)
    assert if_cached(lambda: model_identity("middling")) is None, "too large for a page's own script"
    found = model_identity("middling")
    config = {key: value for key, value in json.loads((root / "middling/headscope.json").read_text())["config"].items()}
    expected = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    expected.update(hashlib.sha256(path.read_bytes()).digest())
    assert found.weights_digest == expected.hexdigest()
    again = if_cached(lambda: model_identity("middling"))
    assert again is not None and again.weights_digest == found.weights_digest


def test_many_shards_are_one_large_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "INLINE_BYTES", 1000)
    shards = [root / f"{number}.safetensors" for number in range(4)]
    for number, path in enumerate(shards):
        path.write_bytes(bytes([number]) * 300)
    assert if_cached(lambda: digest.weights_digest({}, shards)) is None
    assert if_cached(lambda: digest.weights_digest({}, shards[:3])) is not None
    assert if_cached(lambda: digest.weights_digest({}, shards)) is not None, "three are known, and the fourth is small"


def test_a_file_that_changes_while_it_is_read_is_not_known_by_half_of_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "changing.safetensors"
    path.write_bytes(bytes(300))
    monkeypatch.setattr(digest, "INLINE_BYTES", 0)
    monkeypatch.setattr(digest._Reading, "_report", lambda self: path.write_bytes(bytes(400)))
    with pytest.raises(ModelUnavailable, match="was written to while it was read"):
        digest.file_sha256(path)
    monkeypatch.undo()
    assert digest.file_sha256(path) == hashlib.sha256(bytes(400)).hexdigest()


def test_a_command_says_how_far_the_reading_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    write_llama(root / "middling")
    grow(root / "middling", 2 * digest.INLINE_BYTES)
    assert main(["score", "--model", "middling", "--length", "6"]) == 2, "a tensor of no model is left over"
    said = capsys.readouterr()
    assert "reading the weights once to know them again, 8 MB of 200 MB: 4 %" in said.err and not said.out


def test_a_table_of_what_is_known_reads_no_large_file(root: Path) -> None:
    write_llama(root / "large")
    grow(root / "large", MINUTES)
    [row] = [model for model in sized_models() if model.name == "large"]
    assert row.scores is None and row.n_layers == 2


def test_a_file_whose_header_does_not_describe_it_is_refused_before_it_is_read(root: Path) -> None:
    write_llama(root / "longer")
    path = grow(root / "longer", MINUTES)
    os.truncate(path, path.stat().st_size + 1)
    with pytest.raises(ModelUnavailable, match="corrupt or incomplete, 150,"):
        model_identity("longer")
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(ModelUnavailable, match="corrupt or incomplete, 150,.* instead of"):
        model_identity("longer")


@pytest.mark.parametrize("shift", [-4, 4])
def test_tensors_that_overlap_or_leave_gaps_are_refused(root: Path, shift: int) -> None:
    write_llama(root / "holes")
    path = grow(root / "holes", GB)
    with path.open("rb+") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        begin, end = header["filler"]["data_offsets"]
        header["filler"] = {"dtype": "U8", "shape": [GB], "data_offsets": [begin + shift, end + shift]}
        text = json.dumps(header).encode().ljust(length)[:length]
        file.seek(8)
        file.write(text)
    os.truncate(path, path.stat().st_size + shift)
    with pytest.raises(ModelUnavailable, match="its tensors overlap or leave gaps between them"):
        model_identity("holes")


def test_a_header_that_takes_seconds_to_read_is_refused_by_its_length(root: Path) -> None:
    write_llama(root / "wordy")
    path = root / "wordy/model.safetensors"
    path.write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1))
    os.truncate(path, 2 * MAX_HEADER_BYTES)
    [entry] = [entry for entry in catalogue() if entry.name == "wordy"]
    assert not entry.available and "no safetensors file" in entry.description
