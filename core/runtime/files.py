"""Files that appear whole or not at all, however many processes write at once and whenever one is killed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".tmp"


def as_text(name: str) -> str:
    """`name` as a browser can be sent it: a byte of a file's name that is no UTF-8, or half a letter, by its number."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def is_file(path: Path) -> bool:
    """Whether there is such a file; False, too, for a name that is longer than any can be, of which `Path.is_file` raises."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def printable(text: str, also: str = "") -> str:
    """`text` for a terminal or a sentence: what cannot be printed, and would move the cursor or change colours, by its number.

    also: letters that stay as they are.
    """
    return "".join(letter if letter.isprintable() or letter in also else repr(letter)[1:-1] for letter in text)


def shown_name(name: str) -> str:
    """A name for a sentence: printable, and not too long."""
    return printable(name)[:80]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; when the block ends without an error, that file takes `path`'s place.

    Raises OSError where it cannot be written, or nothing was; nothing is left behind then.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with _held(temporary):
            yield temporary
        if not temporary.stat().st_size:
            raise FileNotFoundError(f"nothing was written for {path.name}")
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _held(temporary: Path) -> Iterator[None]:
    """The file is there and locked while it is written, so that nobody takes it for one that was left behind."""
    with open(temporary, "ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_being_written(temporary: Path) -> bool:
    """Whether some process is writing this file now; False, too, for one that is gone."""
    if fcntl is None:
        return False
    try:
        with open(temporary, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_whole(path: Path, data: bytes | str) -> None:
    """Put `data` (text as UTF-8) at `path`. Raises OSError as `whole_file`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
