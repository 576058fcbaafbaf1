"""Words to ids for the small text encoders trained here: a closed vocabulary, so that unknown words can be named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from flextok.loading.errors import CheckpointError
from flextok.loading.json_file import MAX_JSON_BYTES

PAD, UNKNOWN = "[PAD]", "[UNK]"
FILE_NAME = "tokenizer.json"


class WordTokenizer:
    """One id a word (lower case) and one a punctuation mark; id 0 pads, id 1 is any word outside the vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        for token, index in ((PAD, 0), (UNKNOWN, 1)):
            if tokenizer.token_to_id(token) != index:
                raise ValueError(f"a word tokenizer has {token} at id {index}")
        self.tokenizer = tokenizer

    @classmethod
    def from_words(cls, words: Sequence[str]) -> WordTokenizer:
        """A tokenizer of these words (lower case), numbered in sorted order."""
        vocabulary = {word: index for index, word in enumerate((PAD, UNKNOWN, *sorted(set(words))))}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # splits off punctuation too
        return cls(tokenizer)

    @classmethod
    def load(cls, folder: Path) -> WordTokenizer:
        """From `tokenizer.json` in `folder`.

        Raises:
            CheckpointError: the file is missing, too large or no word tokenizer.
        """
        path = folder / FILE_NAME
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{FILE_NAME} is missing in {folder} or larger than {MAX_JSON_BYTES // 10**6} MB")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:
            raise CheckpointError(f"{path} is not a word tokenizer: {error}") from error

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / FILE_NAME))

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], max_words: int = 64) -> Tensor:
        """Ids (b, s) int64, padded with 0 to the longest text of the batch and cut at `max_words`."""
        rows = [encoding.ids[:max_words] for encoding in self.tokenizer.encode_batch(list(texts))]
        ids = torch.zeros(len(rows), max((len(row) for row in rows), default=1) or 1, dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return ids

    def unknown_words(self, text: str) -> list[str]:
        """The words of `text` that are not in the vocabulary, as written, each once, in order."""
        encoding = self.tokenizer.encode(text)
        words = [text[start:end] for i, (start, end) in zip(encoding.ids, encoding.offsets, strict=True) if i == 1]
        return list(dict.fromkeys(words))
