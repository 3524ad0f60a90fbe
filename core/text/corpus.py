"""Texts to measure on: built in and offline, or a person's own: pasted, a file, a folder, a column, a data set by name.

Whatever is wrong with a text is one sentence. Nothing of a text is ever run, and how much of one is read is bounded.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.runtime.files import shown_name
from core.settings.text_choice import OFFERED
from core.text.stories import stories

BUILT_IN = {
    "topics": "the English documentation of the language that every Python carries",
    "passages": "short passages written for HeadScope: prose, dialogue, code, lists, repeated names, two languages",
    "words": "short stories in the bundled models' own words",
}
DEFAULT = "builtin"
PASSAGES = Path(__file__).with_name("passages")
# Where a page looks for a person's own texts: a server's visitors see what lies there, and nothing else of its disk.
TEXTS = "HEADSCOPE_TEXTS"
MOST_BYTES = 1 << 26
# Of a packed file, for a few kilobytes can stand for gigabytes.
MOST_UNPACKED = 8 * MOST_BYTES
MOST_FILES = 2000
MOST_ROWS = 20_000
MOST_CHARACTERS = 8_000_000
HUB_ROWS = 500
SUFFIXES = (".txt", ".jsonl", ".parquet")
_HUB = "hub:"


@dataclass(frozen=True)
class Corpus:
    """Documents of text under the name by which sentences call them."""

    name: str
    documents: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """What identifies the text itself."""
        hasher = hashlib.sha256()
        for document in self.documents:
            hasher.update(f"{len(document)} ".encode() + document.encode("utf-8", "surrogatepass"))
        return hasher.hexdigest()


def built_in_corpus(name: str = DEFAULT, *, words: frozenset[str] | None = None) -> Corpus:
    """A built-in text. `builtin` is the topics, or for a model whose tokens are words of a short list, stories in these.

    words: that list.

    Raises BadInput for a name that is none of them.
    """
    wanted = ("topics" if words is None else "words") if name == DEFAULT else name
    if wanted == "topics":
        from pydoc_data.topics import topics

        return Corpus("topics", tuple(topics[key] for key in sorted(topics)))
    if wanted == "passages":
        files = sorted(PASSAGES.glob("*.txt"))
        return Corpus("passages", tuple(path.read_text(encoding="utf-8") for path in files))
    if wanted == "words":
        return Corpus("words", stories(words))
    raise BadInput(f"The built-in texts are {', '.join((DEFAULT, *BUILT_IN))}; {name[:60]!r} is none of them.")


def pasted_corpus(text: str) -> Corpus:
    """Text that was typed or pasted. Raises BadInput for none."""
    if not text.strip():
        raise BadInput("The pasted text is empty: paste some sentences.")
    return _bounded("the pasted text", iter([text]))


def corpus_at(path: Path, column: str = "text") -> Corpus:
    """A .txt, .jsonl or .parquet file, or every such file of a folder. column: of a row of the last two, the text.

    Raises BadInput for what cannot be read, is no text, is empty, or lacks the column.
    """
    name = shown_name(path.name)
    try:
        there, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError):  # a name too long, a NUL byte
        there = is_folder = False
    if is_folder:
        root = path.resolve()
        files = sorted(place for place in islice(path.rglob("*"), 10 * MOST_FILES) if place.suffix.lower() in SUFFIXES)
        inside = [place for place in files if place.is_file() and place.resolve().is_relative_to(root)]
        if not inside:
            raise BadInput(f"The folder {name} has no {', '.join(SUFFIXES)} file.")
        return _bounded(name, (text for place in inside[:MOST_FILES] for text in _documents(place, column)))
    if not there:
        raise BadInput(
            f"There is no file or folder {name}: give a {', '.join(SUFFIXES)} file, a folder of them, or a built-in text."
        )
    if not path.is_file():  # who opens a pipe waits for somebody to write to it
        raise BadInput(f"{name} is no ordinary file or folder: give a {', '.join(SUFFIXES)} file, or a folder of them.")
    return _bounded(name, _documents(path, column))


def corpus_named(name: str, column: str = "text", *, words: frozenset[str] | None = None) -> Corpus:
    """What a command's `--corpus` means: a built-in text, `hub:NAME`, `texts/NAME` of the folder of texts, or a path.

    Raises BadInput as the functions above.
    """
    if name == DEFAULT or name in BUILT_IN:
        return built_in_corpus(name, words=words)
    if name.startswith(OFFERED) and texts_root() is not None:
        return offered_corpus(name.removeprefix(OFFERED), column)
    if name.startswith(_HUB):
        return hub_corpus(name.removeprefix(_HUB), column)
    return corpus_at(Path(name), column)


def texts_root() -> Path | None:
    """The folder of texts that pages offer; None where the server has none."""
    said = os.environ.get(TEXTS, "").strip()
    return Path(said).expanduser() if said else None


def offered_texts() -> tuple[str, ...]:
    """The files and folders that lie directly in the folder of texts, by name."""
    root = texts_root()
    if root is None or not root.is_dir():
        return ()
    try:
        places = islice(sorted(root.iterdir()), MOST_FILES)
        # What no address can say (`core.sharing.address`) cannot be chosen, and a name that is no text cannot even be shown.
        inside = (place for place in places if place.name.isprintable() and not place.name.startswith("."))
        return tuple(place.name for place in inside if place.is_dir() or place.suffix.lower() in SUFFIXES)
    except OSError:
        return ()


def offered_corpus(name: str, column: str = "text") -> Corpus:
    """A text of the folder of texts. Raises BadInput for a name that leads out of it, by whatever way."""
    root = texts_root()
    if root is None:
        raise BadInput(f"This server has no folder of texts: {TEXTS} names it. Paste the text instead.")
    place = root / name
    try:
        resolved = place.resolve()
        inside = resolved.is_relative_to(root.resolve()) and resolved != root.resolve() and place.exists()
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise BadInput(f"The text {shown_name(name)} is not in the folder of texts.")
    return corpus_at(place, column)


def hub_corpus(name: str, column: str = "text", *, split: str = "train") -> Corpus:
    """The first rows of a data set of the hub, streamed: nothing is downloaded whole, and no code of it is run.

    Raises BadInput where the `datasets` library is not installed, there is no such data set or column, or it is out of reach.
    """
    if not name.strip():
        raise BadInput(f"Which data set? {_HUB} is followed by its name, such as {_HUB}owner/name.")
    try:
        import datasets
    except ImportError:
        raise BadInput(
            "A data set by name needs the library `datasets`: `pip install headscope[datasets]`, or give a file."
        ) from None
    try:
        rows = list(islice(datasets.load_dataset(name, split=split, streaming=True), HUB_ROWS))
    except Exception as error:  # the library raises whatever its readers raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(f"The data set {shown_name(name)} cannot be read here: {first}") from None
    return _bounded(f"{shown_name(name)} ({split}, first {len(rows)} rows)", (_cell(row, column, name) for row in rows))


def _documents(path: Path, column: str) -> Iterator[str]:
    name = shown_name(path.name)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadInput(f"{name} has {size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are read: give a part of it.")
        suffix = path.suffix.lower()
        if suffix == ".parquet":
            yield from _parquet(path, column)
        elif suffix == ".jsonl":
            yield from _lines(_decoded(path.read_bytes(), name), column, name)
        elif suffix == ".txt":
            yield _decoded(path.read_bytes(), name)
        else:
            raise BadInput(f"{name} is not a {', '.join(SUFFIXES)} file.")
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror or 'it is no file'}.") from None


def _decoded(found: bytes, name: str) -> str:
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8 (byte {error.start} is 0x{found[error.start]:02x}): save it as UTF-8.") from None


def _lines(text: str, column: str, name: str) -> Iterator[str]:
    # By line feeds alone: other ends of lines, such as U+2028, may stand in a JSON text as they are.
    for number, line in enumerate(islice(io.StringIO(text, newline="\n"), MOST_ROWS), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise BadInput(
                f"Line {number} of {name} is not JSON: each line must be an object such as {{{column!r}: '...'}}."
            ) from None
        yield _cell(row, column, f"line {number} of {name}")


def _parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    name = shown_name(path.name)
    try:
        about = pyarrow.parquet.read_metadata(path)
        names = about.schema.to_arrow_schema().names
        if column not in names:
            raise BadInput(f"{name} has no column {column[:60]!r}: it has {', '.join(map(shown_name, names[:8]))}.")
        for group in range(about.num_row_groups):
            parts = [about.row_group(group).column(place) for place in range(about.num_columns)]
            unpacked = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == column)
            if unpacked > MOST_UNPACKED:
                raise BadInput(
                    f"{name} unpacks to {unpacked / 1e6:,.0f} MB at once; at most {MOST_UNPACKED / 1e6:.0f} MB are read: "
                    "write it in smaller row groups."
                )
        # A text that comes in many rows is stored once: it is not made again for each row before that row's turn.
        once = [column] if column in {about.schema.column(place).path for place in range(about.num_columns)} else []
        table = pyarrow.parquet.ParquetFile(path, read_dictionary=once)
        values = (value for batch in table.iter_batches(batch_size=256, columns=[column]) for value in batch.column(0))
        for value in islice(values, MOST_ROWS):
            if value.is_valid:
                yield _cell({column: value.as_py()}, column, name)
    except (pyarrow.ArrowException, UnicodeDecodeError):
        raise BadInput(f"{name} is not a parquet file that can be read.") from None
    except OSError as error:
        if error.errno is not None:
            raise
        # The library's own word for a file that contradicts itself.
        raise BadInput(f"{name} is not a parquet file that can be read.") from None


def _cell(row: Any, column: str, where: str) -> str:
    if not isinstance(row, dict) or column not in row:
        there = f" it has {', '.join(map(shown_name, list(row)[:8]))}" if isinstance(row, dict) else " it is no object"
        raise BadInput(f"There is no column {column[:60]!r} in {shown_name(where)}:{there}.")
    if not isinstance(row[column], str):
        raise BadInput(f"The column {column[:60]!r} of {shown_name(where)} holds a {type(row[column]).__name__}, not text.")
    return str(row[column])


def _bounded(name: str, found: Iterator[str]) -> Corpus:
    """At most so much of it, and a sentence if there was more."""
    documents: list[str] = []
    left, more = MOST_CHARACTERS, False
    for text in found:
        if left <= 0:
            more = True
            break
        if text.strip():
            # What no tokenizer takes.
            documents.append(text[:left].encode("utf-8", "replace").decode("utf-8"))
        more = more or len(text) > left
        left -= len(text)
    if not documents:
        raise BadInput(f"{name} is empty: there is no text in it.")
    said = (f"Of {name} the first {MOST_CHARACTERS:,} characters are read.",) if more else ()
    return Corpus(name, tuple(documents), said)
