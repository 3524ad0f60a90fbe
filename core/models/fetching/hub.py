"""The Hugging Face hub, asked in short questions: is it there, what does a repository hold, fetch this file.

Files are fetched in pieces that survive an interruption, and checked against the digest the hub states for them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from core.errors import HeadScopeError, ModelUnavailable
from core.models.paths import models_root, shown
from core.transformer.memory import gigabytes

MODELS_MAX_GB = "HEADSCOPE_MODELS_MAX_GB"
DEFAULT_MODELS_MAX_GB = 100.0
REACH_SECONDS = 3.0
REQUEST_SECONDS = 10.0
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository at one commit: its files with their sizes in bytes (0 where the hub does not say)."""

    repo_id: str
    commit: str
    sizes: dict[str, int]


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, read at every call so that a server can be chosen at run time."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def check_reachable() -> None:
    """Raise ModelUnavailable within a few seconds unless the hub answers at all.

    Asked once before anything else, because the hub's own client tries again and again for a minute.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "TRUE", "YES", "ON"):
        raise ModelUnavailable("HF_HUB_OFFLINE is set, so the model hub is not asked: unset it, or choose an available model.")
    answered = threading.Event()

    def ask() -> None:
        from huggingface_hub.utils import get_session

        with contextlib.suppress(Exception):
            get_session().head(endpoint(), timeout=REACH_SECONDS)
            answered.set()

    # A name server that does not answer cannot be given a timeout from inside, so the question gets a thread of its own.
    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(REACH_SECONDS + 1)
    if not answered.is_set():
        raise ModelUnavailable(
            f"The model hub at {endpoint()} cannot be reached: check the network, or choose a model that is available offline."
        )


def repository(repo_id: str) -> Repository:
    """What a repository holds at its newest commit.

    Raises ModelUnavailable if it does not exist, is gated, or the hub fails.
    """
    from huggingface_hub import HfApi

    with _said_plainly(repo_id):
        info = HfApi(endpoint=endpoint()).model_info(repo_id, files_metadata=True, timeout=REQUEST_SECONDS)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    return Repository(repo_id=repo_id, commit=info.sha or "main", sizes=sizes)


def fetch(repo: Repository, filename: str, folder: Path, report: Callable[[int], None] | None = None) -> Path:
    """Fetch one file into `folder`, going on from where an earlier attempt stopped; check its digest.

    Args:
        report: told the bytes that are there so far.

    Raises ModelUnavailable if it cannot be fetched, or differs from what the hub says it is.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    target = folder / filename
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _said_plainly(repo.repo_id):
        url = hf_hub_url(repo.repo_id, filename, revision=repo.commit, endpoint=endpoint())
        metadata = get_hf_file_metadata(url, timeout=REQUEST_SECONDS, endpoint=endpoint())
        etag = metadata.etag or "none"
        partial = target.with_name(f"{target.name}.{etag[:16]}.part")
        _stream(url, metadata.location, partial, metadata.size, report or (lambda done: None))
    if (metadata.size is not None and partial.stat().st_size != metadata.size) or not _digest_is(partial, etag):
        partial.unlink()
        raise ModelUnavailable(
            f"The file {filename} of {repo.repo_id} arrived damaged (its digest is not the hub's) "
            "and was thrown away: try again."
        )
    os.replace(partial, target)
    return target


def _stream(url: str, location: str, partial: Path, size: int | None, report: Callable[[int], None]) -> None:
    """Append what is missing to the partial file."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    done = partial.stat().st_size if partial.is_file() else 0
    if size is not None and done == size:
        return
    if size is not None and done > size:
        partial.unlink()
        done = 0
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if urlparse(location).netloc != urlparse(url).netloc:  # a person's token is for the hub, not for its file servers
        headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with get_session().stream("GET", location, headers=headers, timeout=REQUEST_SECONDS) as response:
        hf_raise_for_status(response)
        resumed = done > 0 and response.status_code == 206
        done = done if resumed else 0
        with partial.open("ab" if resumed else "wb") as file:
            # Pieces as they come: collecting larger ones would lose the last of them when the connection breaks.
            for chunk in response.iter_bytes():
                file.write(chunk)
                done += len(chunk)
                report(done)


def _digest_is(path: Path, etag: str) -> bool:
    """Whether a file is what its ETag says: sha256 for large files, git's sha1 for small ones, else unknown."""
    if _SHA256.fullmatch(etag):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == etag
    if _GIT_SHA1.fullmatch(etag):
        hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        hasher.update(path.read_bytes())
        return hasher.hexdigest() == etag
    return True


@contextlib.contextmanager
def _said_plainly(repo_id: str) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise _gated(repo_id) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"The hub has no repository {repo_id}, or it is private: check the spelling, or log in with `hf auth login`."
        ) from error
    except EntryNotFoundError as error:
        raise ModelUnavailable(f"A file of {repo_id} is missing on the hub.") from error
    except HFValidationError as error:
        raise ModelUnavailable(f"{repo_id!r} is not a repository name such as owner/model.") from error
    except OfflineModeIsEnabled as error:
        raise ModelUnavailable("The model hub is switched off here (HF_HUB_OFFLINE was set at the start).") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise _gated(repo_id) from error
        raise ModelUnavailable(f"The hub answered {status} for {repo_id}: try again later.") from error
    except HeadScopeError:
        raise
    except Exception as error:
        # Connection errors come as the classes of whichever HTTP library the hub's client uses.
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ModelUnavailable(f"The disk is full: {repo_id} could not be stored.") from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ModelUnavailable(f"The model folder cannot be written: {error}.") from error
        raise ModelUnavailable(
            f"The network failed while fetching {repo_id} ({type(error).__name__}): "
            "run it again, and it goes on where it stopped."
        ) from error


def _gated(repo_id: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{repo_id} is gated: accept its terms on its page on the hub, then log in with `hf auth login` and try again."
    )


def check_disk(folder: Path, n_bytes: int, what: str) -> None:
    """Raise ModelUnavailable if a download would not fit on the folder's disk, or in what the model folder may hold."""
    held, most = _size_of(models_root()), most_bytes()
    if held + n_bytes > most:
        raise ModelUnavailable(
            f"{what} needs {gigabytes(n_bytes)}, but the model folder may hold {gigabytes(most)} and holds {gigabytes(held)}: "
            f"take a model out of it, or set {MODELS_MAX_GB} to more."
        )
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise ModelUnavailable(f"{what} needs {gigabytes(n_bytes)} on disk, but only {gigabytes(free)} is free in {folder}.")


def most_bytes() -> int:
    """What the model folder may hold: `HEADSCOPE_MODELS_MAX_GB`, or the default where that is no positive number."""
    try:
        found = float(os.environ.get(MODELS_MAX_GB, ""))
    except ValueError:
        found = 0.0
    return int((found if 0 < found < float("inf") else DEFAULT_MODELS_MAX_GB) * 1e9)


def _size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def read_json(path: Path) -> dict[str, Any]:
    """A fetched JSON file.

    Raises ModelUnavailable if it is not a JSON object.
    """
    import json

    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelUnavailable(f"The file {path.name} of {shown(path.parent)} is not JSON.") from error
    if not isinstance(value, dict):
        raise ModelUnavailable(f"The file {path.name} of {shown(path.parent)} is not a JSON object.")
    return value
