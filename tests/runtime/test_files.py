"""Files appear whole or not at all: a write that fails, or a process that dies, leaves the old file and nothing beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.runtime.files import TEMPORARY, whole_file, write_whole


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


def test_a_file_is_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_whole(path, "Grüße ✓\n")
    assert path.read_bytes() == "Grüße ✓\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_of_the_block_the_old_file_stands(old: Path) -> None:
    with whole_file(old) as temporary:
        assert temporary.parent == old.parent and temporary != old and temporary.name.endswith(TEMPORARY)
        temporary.write_text("new")
        assert old.read_text() == "old"
    assert old.read_text() == "new" and list(old.parent.iterdir()) == [old]


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(old: Path) -> None:
    def fail() -> None:
        with whole_file(old) as temporary:
            temporary.write_text("half")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    assert old.read_text() == "old" and list(old.parent.iterdir()) == [old]


def test_an_error_leaves_no_file_where_none_was(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_file(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file_and_nothing_else(old: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(old, "new")
    assert old.read_text() == "old" and list(old.parent.iterdir()) == [old]


def test_a_block_that_writes_nothing_is_an_error(old: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(old):
        pass
    assert old.read_text() == "old" and list(old.parent.iterdir()) == [old]


def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "absent" / "file", "new")
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_leaves_the_old_file(old: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from core.runtime.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os._exit(9)\n"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code, str(old)], timeout=60, cwd=root).returncode == 9
    assert old.read_text() == "old"
    # What it left behind is hidden, and the store finds it by its ending.
    [left] = [path for path in old.parent.iterdir() if path != old]
    assert left.name.startswith(".") and left.suffix == TEMPORARY


def test_of_many_writers_one_wins_and_a_reader_sees_no_mixture(old: Path) -> None:
    texts = {"old", *(letter * 20_000 for letter in "abcdefgh")}

    def work(letter: str) -> bool:
        seen = []
        for _ in range(10):
            write_whole(old, letter * 20_000)
            seen.append(old.read_text())
        return set(seen) <= texts

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, "abcdefgh"))
    assert old.read_text() in texts - {"old"} and list(old.parent.iterdir()) == [old]
