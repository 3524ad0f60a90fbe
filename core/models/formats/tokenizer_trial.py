"""A tokenizer from somebody's folder is read in a process of its own first, with bounded time and memory.

A few lines can make one that turns a letter into gigabytes, or that stops the process that reads it. Whether a file has passed
is kept under its digest, so each is tried once on a machine.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from pathlib import Path
from typing import Any

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
# What one letter may become by a tokenizer's own replacements; those of Unicode are apart, and make 18 letters of one at most.
MOST_GROWTH = 1000
# Another number for another trial: what passed an earlier one is tried again.
TRIAL = 2
# Every printable letter of ASCII, alone and side by side, some others, and all that its own rules name, many times over; and of
# every script some letter, as many times as a text may be long: what grows without bound, or never comes to an end, shows.
_TRIAL = """
import json, resource, sys, unicodedata
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
scripts = [chr(code) for code in range(0x100, 0x1F900, 0x80) if unicodedata.category(chr(code))[0] in "LNPSM"]
long = [letter * 200 for letter in sorted(named)[:100]] + [letter * 2000 for letter in ["a", " ", "1", "!", "\\n", *scripts]]
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
    key = result_key("tokenizer-trial", trial=TRIAL, file=file_sha256(path), libraries=library_versions())
    found = cached(key, lambda: Stored({}, {"problem": _problem(path)})).meta["problem"]
    if found:
        raise ModelUnavailable(f"{whose} {found}.")


def _problem(path: Path) -> str:
    """What is wrong with a tokenizer, as the rest of a sentence; empty for one that passes."""
    growth = _growth_by(_rules(path))
    if growth > MOST_GROWTH:
        return f"has rules that make {min(growth, 10**18):,.0f} letters of one, so it is not used"
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


def _rules(path: Path) -> list[Any]:
    """What a tokenizer does to a text before it cuts it, and to pieces that it puts together; empty where it says nothing."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return [said.get("normalizer"), said.get("decoder")]
    except (OSError, ValueError, RecursionError, AttributeError):
        return []  # what is wrong with it shows in the trial


def _growth_by(rule: Any) -> float:
    """How many letters one letter becomes at most, by replacements in this rule and in all that it is made of.

    A text that a trial did not think of may be the very one that a rule is for: what a rule could do is read off the rule.
    """
    if isinstance(rule, list):
        return math.prod(map(_growth_by, rule))
    if not isinstance(rule, dict):
        return 1.0
    if rule.get("type") == "Replace":
        content, pattern = str(rule.get("content", "")), rule.get("pattern")
        literal = pattern.get("String") if isinstance(pattern, dict) else None
        # A regular expression may stand for no letter at all.
        return max(1.0, len(content) / len(literal) if isinstance(literal, str) and literal else 1.0 + len(content))
    if rule.get("type") == "Prepend":
        return 1.0 + len(str(rule.get("prepend", "")))
    if rule.get("type") == "Precompiled":
        return _longest_of(rule.get("precompiled_charsmap"))
    return math.prod(_growth_by(part) for name, part in rule.items() if isinstance(part, (dict, list)) and name != "pattern")


def _longest_of(charsmap: Any) -> float:
    """The longest text in a compiled map: the length of its index in four bytes, the index, then texts between NULs."""
    try:
        data = base64.b64decode(charsmap)
    except (ValueError, TypeError):
        return 1.0
    texts = data[4 + int.from_bytes(data[:4], "little") :].split(b"\0")
    return float(max(1, *(len(text.decode("utf-8", "replace")) for text in texts)))
