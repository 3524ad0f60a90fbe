"""The bundled models' tokenizer: one readable English word is one token.

The ids are fixed by the order of `words.txt`, so a trained model, its checkpoints and its tokenizer always agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

BOS = "<bos>"
UNK = "<unk>"
BOS_ID = 0
UNK_ID = 1
WORDS_FILE = Path(__file__).with_name("words.txt")


def word_list() -> list[str]:
    """The words in id order; the word at index `i` has token id `i + 2`, after `<bos>` and `<unk>`."""
    return WORDS_FILE.read_text(encoding="utf-8").split()


def vocab_size() -> int:
    """Number of token ids, the two special ones included."""
    return len(word_list()) + 2


def build_tokenizer(words: Sequence[str] | None = None) -> Tokenizer:
    """A word-level tokenizer over `words` (all by default): lowercases, splits on whitespace and punctuation, prepends `<bos>`.

    A word that is not in the list becomes `<unk>`.
    """
    known = word_list() if words is None else words
    vocab = {BOS: BOS_ID, UNK: UNK_ID} | {word: index for index, word in enumerate(known, start=2)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, BOS_ID)]
    )
    tokenizer.add_special_tokens([BOS, UNK])
    return tokenizer


def save_tokenizer(folder: Path, n_ctx: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into `folder`, readable by `AutoTokenizer` offline.

    Args:
        folder: an existing folder.
        n_ctx: the longest sequence the model takes, in tokens, `<bos>` included.
    """
    build_tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "unk_token": UNK,
        "model_max_length": n_ctx,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
