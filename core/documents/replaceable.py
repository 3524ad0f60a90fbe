"""Files that a command writes: put there whole or not at all, and never over what is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from core.runtime.files import write_whole


@dataclass(frozen=True)
class FileKind:
    """What is written. name: in sentences; example: a file's name.

    is_ours: whether a file is of the kind, by its first `looked_at` bytes; otherwise: what is said of one that is not.
    """

    name: str
    example: str
    is_ours: Callable[[bytes], bool]
    otherwise: str
    looked_at: int = 200


def check_replaceable(path: Path, kind: FileKind) -> None:
    """Whether such a file may be put at `path`; raises BadInput with the reason if not."""
    try:
        is_folder, has_folder, is_there = path.is_dir(), path.parent.is_dir(), path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise BadInput(f"The {kind.name} cannot be written there: {error.strerror}.") from None
    if is_folder:
        raise BadInput(f"{path} is a folder: name a file, such as {path / kind.example}.")
    if not has_folder:
        raise BadInput(f"The folder {path.parent} does not exist: make it first, or choose another one.")
    if is_there:
        # Whoever opens a pipe waits for somebody to write to it.
        if not path.is_file():
            raise BadInput(f"{path} is no ordinary file, so it is left alone: choose another name.")
        try:
            with path.open("rb") as file:
                ours = kind.is_ours(file.read(kind.looked_at))
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
        if not ours:
            raise BadInput(f"{path} exists and {kind.otherwise}, so it is left alone: choose another name.")


def write_replacing(path: Path, written: str | bytes, kind: FileKind) -> None:
    """Put `written` at `path`; an earlier file of the kind is replaced. Raises BadInput as `check_replaceable`."""
    check_replaceable(path, kind)
    try:
        write_whole(path, written)
    except OSError as error:
        raise BadInput(f"The {kind.name} cannot be written to {path}: {error.strerror}.") from None
