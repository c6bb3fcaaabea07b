"""Words by BERT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import nn

from ..batch import Fragments, Tokens
from ..errors import InputError, WeightsError
from ..interfaces import Noise, TextEncoder
from ..ops import l2_normalize
from ..options import check_choice, check_share
from .captions import checked, tokens

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class BERT(TextEncoder[Tokens, Fragments]):
    """BERT's last states, projected: w = h / (||h|| + 1e-8), h = W BERT(x) + b.

    [CLS] and [SEP] count as words, and a longer caption than `longest` is cut.

    vocabulary: text of `vocab.txt` of the model's folder, one word piece a line
    bert:       values of transformers' `BertConfig`; those of bert-base-uncased where absent
    word_drop:  share of the words that noise changes, all pieces of a word alike: of half of them
                each piece becomes the mask token, of a tenth a random entry, the rest are left
                out; [CLS] and [SEP] always stay
    longest:    how many word pieces of a caption are read, [CLS] and [SEP] among them; None for
                all that BERT can read, 512 in the published size
    unit_length: False: w = h, for methods that pool words before they bring them to length 1
    """

    def __init__(
        self,
        vocabulary: str,
        bert: Mapping[str, Any] | None = None,
        dim: int = 1024,
        word_drop: float = 0.0,
        lowercase: bool = True,
        longest: int | None = None,
        unit_length: bool = True,
    ) -> None:
        super().__init__()
        check_share("word_drop", word_drop)
        self.vocabulary, self.word_drop, self.dim = vocabulary, word_drop, dim
        self.unit_length = unit_length
        pieces = {piece: number for number, piece in enumerate(_lines(vocabulary))}
        _check_pieces(pieces)
        self.mask, self.size = pieces["[MASK]"], len(pieces)
        self.bert = _bert({"vocab_size": len(pieces), **(bert or {})})
        self.tokenizer = _tokenizer(pieces, lowercase, _length(longest, self.bert.config))
        self.project = nn.Linear(self.bert.config.hidden_size, dim)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        try:
            vocabulary = files["vocab.txt"]
        except KeyError:
            raise WeightsError(
                f"The text encoder needs vocab.txt and there is {', '.join(files) or 'no file'}. "
                "Put the word pieces that the model was trained with beside its weights."
            ) from None
        return cls(vocabulary, **config)

    def files(self) -> Mapping[str, str]:
        return {"vocab.txt": self.vocabulary}

    def load_initial(self, path: Path) -> None:
        """Start BERT from a file of pretrained weights, in a folder as transformers saves it."""
        from transformers import BertModel

        try:
            pretrained, report = BertModel.from_pretrained(
                path.parent,
                config=self.bert.config,
                add_pooling_layer=False,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused here
            )
        except OSError as error:
            raise WeightsError(
                f"{path.parent} has no model.safetensors of a BERT that can be read ({error}). "
                "Load and save it with transformers (save_pretrained), which writes that file."
            ) from error
        faults = [f"lacks {name}" for name in sorted(report["missing_keys"])]
        faults += [
            f"has {name} of shape {tuple(found)}, wanted {tuple(wanted)}"
            for name, found, wanted in sorted(report["mismatched_keys"])
        ]
        if faults:
            raise WeightsError(
                f"{path} does not fit this BERT: it {faults[0]} ({len(faults)} faults in all). "
                "Give the weights of a whole BERT of the size that the recipe's `bert` says."
            )
        self.bert.load_state_dict(pretrained.state_dict())

    def prepare(self, items: Sequence[str], noise: Noise | None = None) -> Tokens:
        encodings = [self._read(caption) for caption in checked(items)]
        ids = [np.array(encoding.ids) for encoding in encodings]
        if noise is None or not self.word_drop:
            return tokens(ids)
        words = [encoding.word_ids for encoding in encodings]
        disturbed = [self._disturb(*row) for row in zip(ids, words, noise, strict=True)]
        return tokens(*zip(*disturbed, strict=True))

    def words(self, text: str) -> list[str]:
        return list(self._read(text).tokens)

    def forward(self, batch: Tokens) -> Fragments:
        states = self.bert(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        words = self.project(states)
        if self.unit_length:
            words = l2_normalize(words)
        return Fragments(words.masked_fill(~batch.mask[..., None], 0), batch.mask)

    def _read(self, caption: str) -> Any:
        # Halves of characters, which no tokenizer takes, are joined where they meet, else replaced.
        whole = caption.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self.tokenizer.encode(whole)

    def _disturb(
        self, ids: np.ndarray, words: Sequence[int | None], generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids that are left, some of them changed, and the place that each had."""
        # One draw a word, shared by its pieces, decides whether it is changed (below 1) and how;
        # the last entry stands for [CLS] and [SEP], which belong to no word.
        count = 1 + max((word for word in words if word is not None), default=-1)
        draws = np.append(generator.random(count) / self.word_drop, np.inf)
        fate = draws[[count if word is None else word for word in words]]
        anything = generator.integers(self.size, size=len(ids))
        changed = np.select([fate < 0.5, fate < 0.6], [self.mask, anything], ids)
        kept = (fate < 0.6) | (fate >= 1)
        return changed[kept], kept.nonzero()[0]


def _lines(text: str) -> list[str]:
    # Not `splitlines`, which also splits at characters that are word pieces.
    return text.removesuffix("\n").split("\n")


def _bert(values: Mapping[str, Any]) -> Any:
    try:
        from transformers import BertConfig, BertModel
    except ModuleNotFoundError as error:
        raise InputError(
            "This model reads text with BERT and transformers is not installed. "
            "Install it: pip install 'itm-zoo[text]'."
        ) from error
    for name in values:
        check_choice("A key of bert", name, BertConfig().to_dict())
    # The pooler is never used, so it is not made.
    return BertModel(BertConfig(**values), add_pooling_layer=False)


def _length(longest: int | None, bert: Any) -> int:
    most: int = bert.max_position_embeddings
    if longest is not None and not 3 <= longest <= most:
        raise InputError(
            f"longest is {longest}, and this BERT reads 3 to {most} word pieces. "
            "Choose such a number, or None for all that it can read."
        )
    return longest or most


def _tokenizer(pieces: dict[str, int], lowercase: bool, longest: int) -> Any:
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(pieces, lowercase=lowercase)
    tokenizer.enable_truncation(longest)
    return tokenizer


def _check_pieces(pieces: Mapping[str, int]) -> None:
    missing = [piece for piece in SPECIALS if piece not in pieces]
    if missing:
        raise WeightsError(
            f"vocab.txt lacks {', '.join(missing)}. "
            "Take the vocab.txt of the BERT that the model was made from, whole."
        )
