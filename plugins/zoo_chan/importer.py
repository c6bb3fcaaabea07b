"""Checkpoints that CHAN's released program saved.

A checkpoint holds four state dicts: of the image encoder, the text encoder, the matcher and the
loss; the last two are empty. What the tensors cannot tell (coding, pooling, temperatures) stands in
its options, and is read there and nowhere else: the recipes changed between releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from zoo.importers import (
    Account,
    Checkpoint,
    GivenWords,
    Imported,
    Importer,
    Settings,
    bert_sizes,
    bert_unused,
    shape_of,
)

State = Mapping[str, Tensor]

PARTS = ("image encoder", "text encoder", "matcher", "loss")
CONTEXTS = {"basic": "basic", "selfattention": "self_attention"}
CODINGS = {"VHACoding": "vha", "THACoding": "tha", "VSACoding": "vsa"}
POOLINGS = {
    "LSEPooling": "lse",
    "MeanPooling": "mean",
    "SumPooling": "sum",
    "MaxPooling": "max",
    "SoftmaxPooling": "softmax",
}
IMAGE = (("project", "fc"),)
SELF_ATTENTION = (("context.norm", "feedforward.ln"), ("context.attention", "feedforward.attn"))
BIGRU = (("embed", "embed"), ("rnn", "rnn"))
BIGRU_UNUSED = {"fc": "a layer after the GRU that the released program never applies"}
BERT = (("bert", "bert"), ("project", "linear"))
DROP = 0.2


class ChanImporter(Importer):
    """CHAN with BiGRU or BERT, of any coding and pooling that its program has."""

    def read(self, checkpoint: Checkpoint, words: GivenWords) -> Imported:
        image, text, matcher, loss = checkpoint.states(*PARTS)
        options, account = checkpoint.options, Account()
        options.require(no_imgnorm=False, no_txtnorm=False)
        context = options.choose("precomp_enc_type", CONTEXTS)
        names = IMAGE if context == "basic" else IMAGE + SELF_ATTENTION
        account.take(image, names, ours="image_encoder.", theirs="image encoder ")
        reads_bert = any(name.startswith("bert.") for name in text)
        text_encoder, files = (_bert if reads_bert else _bigru)(text, options, words, account)
        account.take(matcher, (), theirs="matcher ")
        account.leave(loss, "the loss's, which is no part of a model", theirs="loss ")
        dim, feature_dim = shape_of(image, "fc.weight", 2)
        return Imported(
            parts={
                "image_encoder": {
                    "type": "chan_regions",
                    "feature_dim": feature_dim,
                    "dim": dim,
                    "context": context,
                    "region_drop": _dropped(options, None if reads_bert else "obj_drop_rate"),
                },
                "text_encoder": text_encoder,
                "aligner": _aligner(options),
            },
            features={"kind": "butd", "regions": 36, "dim": feature_dim},
            account=account,
            files=files,
            card=options.dataset and f"chan-{options.dataset}{'.bert_butd' if reads_bert else ''}",
            notes=tuple(_notes(options, reads_bert)),
        )


def _bigru(
    text: State, options: Settings, words: GivenWords, account: Account
) -> tuple[dict[str, Any], Mapping[str, str]]:
    account.take(text, BIGRU, ours="text_encoder.", theirs="text encoder ", ignored=BIGRU_UNUSED)
    rows, word_dim = shape_of(text, "embed.weight", 2)
    files, mask = words.vocabulary(rows, own=options.get("word2idx"), masked=True)
    config = {
        "type": "bigru",
        "word_dim": word_dim,
        "dim": shape_of(text, "rnn.weight_hh_l0", 2)[1],
        "word_drop": _dropped(options) if mask else 0.0,
        "mask_token": mask,
    }
    return config, files


def _bert(
    text: State, options: Settings, words: GivenWords, account: Account
) -> tuple[dict[str, Any], Mapping[str, str]]:
    account.take(text, BERT, ours="text_encoder.", theirs="text encoder ", ignored=bert_unused())
    sizes = bert_sizes(text)
    config = {
        "type": "bert",
        "dim": shape_of(text, "linear.weight", 2)[0],
        "bert": sizes,
        "word_drop": _dropped(options),
    }
    return config, words.pieces(sizes["vocab_size"])


def _aligner(options: Settings) -> dict[str, Any]:
    coding = options.choose("coding_type", CODINGS)
    soft = {"coding_temperature": options.number("alpha", 0.1)} if coding == "vsa" else {}
    return {
        "type": "hard_alignment",
        "coding": coding,
        "pooling": options.choose("pooling_type", POOLINGS),
        "temperature": options.number("belta", 0.1),
        **soft,
    }


def _dropped(options: Settings, rate: str | None = None) -> float:
    """The share that training left out: a fifth, unless there is an option for it."""
    if not options.choose("drop", {True: True, False: False}, default=False):
        return 0.0
    return DROP if rate is None else options.number(rate, DROP)


def _notes(options: Settings, reads_bert: bool) -> Iterator[str]:
    if reads_bert:
        yield (
            f"It was trained with {options['pooling_type']} and is scored so. The released program "
            "trained BERT models with LSEPooling first and with MeanPooling later, and no source "
            "says which of the two the paper's results are of."
        )
    yield (
        "The released evaluation encodes in half precision and the zoo in float32, so that a few "
        "ranks may differ."
    )
