"""Where models are kept, and which folder a name from a person may mean: never one outside the model folder."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import ModelUnavailable
from core.runtime.files import as_text, is_file

NATIVE_FILE = "headscope.json"
HF_FILE = "config.json"


def models_root() -> Path:
    """The folder that holds every model brought in or put there by hand: `HEADSCOPE_MODELS`, else a cache folder."""
    given = os.environ.get("HEADSCOPE_MODELS", "").strip()
    return Path(given).expanduser() if given else Path.home() / ".cache" / "headscope" / "models"


def bundled_root() -> Path:
    """The folder of the models that come with HeadScope."""
    return Path(__file__).parent / "built_in" / "bundled"


def staging_folder(name: str) -> Path:
    """Where a model is put together before it is moved into place; kept when interrupted, so that it can go on."""
    return models_root() / ".partial" / folder_name(name)


def folder_name(name: str) -> str:
    """The folder a catalogue name is kept under: one level, so `owner/model` becomes `owner--model`."""
    return name.replace("/", "--")


def shown(folder: Path) -> str:
    """A model folder's name as sentences give it, and as it may be typed: `owner/model` where it came from the hub."""
    root = models_root().resolve()
    if folder.is_relative_to(root) and not folder.is_relative_to(root / ".partial"):
        below = as_text(folder.relative_to(root).as_posix())
        # What is kept from the hub lies at the top; a folder within another has the name that its owner gave it.
        return below if "/" in below else below.replace("--", "/", 1)
    return as_text(folder.name).replace("--", "/", 1)


def is_model_folder(folder: Path) -> bool:
    """Whether a folder looks like a model: the project's own format, or the Hugging Face one."""
    return is_file(folder / NATIVE_FILE) or is_file(folder / HF_FILE)


def local_folder(name: str) -> Path | None:
    """The model folder under the root that `name` means, or None if there is no folder of that name.

    `name` is a path relative to the root, or a path to a folder under the root.

    Raises ModelUnavailable for anything that leads outside, by `..`, an absolute path or a symlink.
    """
    root = models_root()
    try:
        resolved_root = root.resolve()
        # No account's home is looked for: whether `~user` is one is nobody's business.
        if name.startswith("~"):
            raise outside(name)
        places = [root / name] + ([Path(name)] if os.sep in name else [])
        for place in places:
            resolved = place.resolve()
            if resolved != resolved_root and resolved.is_relative_to(resolved_root):
                if resolved.is_dir():
                    return resolved
            elif leads_outside(name) or place.is_symlink():
                raise outside(name)
    except (OSError, ValueError, RuntimeError):  # a name too long, a NUL byte, a symlink loop, an unknown ~user
        return None
    return None


def leads_outside(name: str) -> bool:
    """Whether a name is written as a path that is not below the root."""
    return Path(name).is_absolute() or name.startswith("~") or ".." in Path(name).parts


def outside(name: str) -> ModelUnavailable:
    """The sentence for a folder outside the model folder."""
    return ModelUnavailable(
        f"The folder {name[:80]!r} is outside the model folder: put the model there, "
        "or set HEADSCOPE_MODELS to the folder that holds it."
    )


def model_file(folder: Path, name: str) -> Path | None:
    """A file of a model folder, or None if it is missing.

    Raises ModelUnavailable if a symlink leads to it out of the root, so that a folder cannot smuggle other files in.
    """
    path = folder / name
    if not is_file(path):
        return None
    # The file itself may be a link, or a folder on the way to it.
    roots = (models_root().resolve(), bundled_root().resolve())
    whole = folder.resolve() / name
    if whole != (resolved := path.resolve()) and not any(resolved.is_relative_to(root) for root in roots):
        raise ModelUnavailable(f"The file {name} of {folder.name} is a link that leads outside the model folder.")
    return path
