"""Checkpoints that VSE-infinity's released program saved, of its region models.

A checkpoint holds two state dicts, of the image encoder and of the text encoder; the score has no
parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.errors import WeightsError
from zoo.importers import (
    Account,
    Checkpoint,
    GivenWords,
    Imported,
    Importer,
    bert_sizes,
    bert_unused,
    shape_of,
)

State = Mapping[str, Tensor]

POOLING = (("pooling.gru", "gpool.gru"), ("pooling.weight", "gpool.linear"))
IMAGE = (
    ("project", "fc"),
    ("perceptron.hidden.weight", "mlp.layers.0.weight"),
    ("perceptron.norm", "mlp.bns.0"),
    ("perceptron.output", "mlp.layers.1"),
    *POOLING,
)
BIAS, MEAN = "mlp.layers.0.bias", "mlp.bns.0.running_mean"
IMAGE_UNUSED = {
    BIAS: "a bias that is in the mean of the batch norm after it",
    "mlp.bns.1": "a batch norm that the released program never applies",
}
BERT = (("reader.bert", "bert"), ("reader.project", "linear"), *POOLING)
BIGRU = (("reader.embed", "embed"), ("reader.rnn", "rnn"), *POOLING)
GRID = ("backbone.", "image_encoder.")
DROP = 0.2


class VseInftyImporter(Importer):
    """VSE-infinity on region features, with BERT or BiGRU."""

    def read(self, checkpoint: Checkpoint, words: GivenWords) -> Imported:
        image, text = checkpoint.states("image encoder", "text encoder")
        options, account = checkpoint.options, Account()
        options.require(no_imgnorm=False, no_txtnorm=False)
        _check_regions(image, checkpoint)
        ours, theirs = "image_encoder.", "image encoder "
        account.take(image, IMAGE, ours=ours, theirs=theirs, ignored=IMAGE_UNUSED)
        account.tensors[f"{ours}perceptron.norm.running_mean"] = _folded(image)
        dim, feature_dim = shape_of(image, "fc.weight", 2, theirs=theirs)
        reads_bert = any(name.startswith("bert.") for name in text)
        reader, files = (_bert if reads_bert else _bigru)(text, dim, words, account)
        variant = "" if reads_bert else ".bigru_butd"
        return Imported(
            parts={
                "image_encoder": {
                    "type": "vse_infty_regions",
                    "feature_dim": feature_dim,
                    "dim": dim,
                    "region_drop": DROP,
                },
                "text_encoder": {"type": "vse_infty_words", "reader": reader},
                "aligner": {"type": "cosine"},
            },
            features={"kind": "butd", "regions": 36, "dim": feature_dim},
            account=account,
            files=files,
            card=options.dataset and f"vse-infty-{options.dataset}{variant}",
        )


def _check_regions(image: State, checkpoint: Checkpoint) -> None:
    """Raise `WeightsError` for a model that reads pictures by a network of its own."""
    if any(name.startswith(GRID) for name in image):
        raise WeightsError(
            f"{checkpoint.path} is a grid model, which reads pictures by a network of its own, and "
            "the zoo has VSE-infinity on region features. Import one of its region models."
        )


def _folded(image: State) -> Tensor:
    """The mean that the first batch norm takes away, the bias of the layer before it in it."""
    mean, bias = (shape_of(image, name, 1, theirs="image encoder ") for name in (MEAN, BIAS))
    if mean != bias:
        raise WeightsError(
            f"The checkpoint's {BIAS} and {MEAN} differ in length. It is damaged, or was made by "
            "another version of the program."
        )
    return image[MEAN] - image[BIAS]


def _bert(
    text: State, dim: int, words: GivenWords, account: Account
) -> tuple[dict[str, Any], Mapping[str, str]]:
    account.take(text, BERT, ours="text_encoder.", theirs="text encoder ", ignored=bert_unused())
    sizes = bert_sizes(text)
    config = {
        "type": "bert",
        "bert": sizes,
        "dim": dim,
        "word_drop": DROP,
        "unit_length": False,
    }
    return config, words.pieces(sizes["vocab_size"])


def _bigru(
    text: State, dim: int, words: GivenWords, account: Account
) -> tuple[dict[str, Any], Mapping[str, str]]:
    account.take(text, BIGRU, ours="text_encoder.", theirs="text encoder ")
    rows, word_dim = shape_of(text, "embed.weight", 2)
    files, mask = words.vocabulary(rows, masked=True)
    config = {
        "type": "bigru",
        "word_dim": word_dim,
        "dim": dim,
        "word_drop": DROP if mask else 0.0,
        "mask_token": mask,
        "unit_length": False,
    }
    return config, files
