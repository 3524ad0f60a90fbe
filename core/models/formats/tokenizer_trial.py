"""A tokenizer from somebody's folder is read in a process of its own first, with bounded time and memory.

A few lines can make one that turns a letter into gigabytes, or that stops the process that reads it. Whether a file has passed
is kept under its digest, so each is tried once on a machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.formats.bounded_process import TookTooLong, run_bounded
from core.models.formats.digest import file_sha256
from core.models.paths import bundled_root, shown
from core.runtime.keys import result_key
from core.runtime.versions import library_versions

SECONDS = 60
MOST_BYTES = 200_000_000
# What the process may take beside the file itself, which a tokenizer keeps several times over.
MEMORY = 2_000_000_000
# Every printable letter of ASCII, alone and side by side, some others, and all that its own rules name, many times over: what
# grows without bound, or never comes to an end, shows.
_TRIAL = """
import json, resource, sys
path, memory = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(path)
tokenizer.no_truncation()
tokenizer.no_padding()
letters = [chr(code) for code in range(32, 127)] + list("\\n\\t\\u00a0\\u00df\\u00e9\\u0416\\u05d0\\u4e2d\\U0001f600")
rules = json.load(open(path, encoding="utf-8"))
named = set(json.dumps([rules.get("normalizer"), rules.get("pre_tokenizer")], ensure_ascii=False)) - set(letters)
letters += sorted(named)[:500]
long = [letter * 200 for letter in sorted(named)[:100]]
for text in (*letters, "".join(letters), "The quick brown fox. " * 8, *long):
    ids = tokenizer.encode(text, add_special_tokens=True).ids
    if len(ids) > 64 + 64 * len(text):
        sys.exit(3)
    tokenizer.decode(ids)
tokenizer.get_vocab(with_added_tokens=True)
"""


def check_tokenizer_file(path: Path) -> None:
    """Raises ModelUnavailable, with one sentence, for a tokenizer that does not read, or that goes out of bounds."""
    if path.resolve().is_relative_to(bundled_root().resolve()):
        return
    # Of a chosen model alone: a figure that names models needs no store.
    from core.runtime.cache import cached
    from core.runtime.store import Stored

    whose = f"The file {path.name} of {shown(path.parent)}"
    if path.stat().st_size > MOST_BYTES:
        raise ModelUnavailable(f"{whose} is larger than {MOST_BYTES // 1_000_000} MB, which no tokenizer is.")
    key = result_key("tokenizer-trial", file=file_sha256(path), libraries=library_versions())
    found = cached(key, lambda: Stored({}, {"problem": _problem(path)})).meta["problem"]
    if found:
        raise ModelUnavailable(f"{whose} {found}.")


def _problem(path: Path) -> str:
    """What is wrong with a tokenizer, as the rest of a sentence; empty for one that passes."""
    if sys.platform == "win32":  # no limits can be set there
        return ""
    memory = MEMORY + 20 * path.stat().st_size
    try:
        done = run_bounded(_TRIAL, str(path), str(memory), seconds=SECONDS)
    except TookTooLong:
        return f"takes more than {SECONDS} s to read a few letters, so it is not used"
    if done.returncode == 0:
        return ""
    if done.returncode == 3:
        return "turns a few letters into very many tokens, so it is not used"
    if done.returncode < 0 or b"MemoryError" in done.stderr or b"memory allocation" in done.stderr:
        return "takes too much memory to read a few letters, or stops whoever reads it, so it is not used"
    return "is not a readable tokenizer"
