"""Checkpoints that SGRAF's released program saved, with either head.

A checkpoint holds three state dicts: of the image encoder, of the text encoder, and of everything
between the two. What pools one side is among the last; ours belongs to that side's encoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.errors import WeightsError
from zoo.importers import Account, Checkpoint, GivenWords, Imported, Importer, shape_of

State = Mapping[str, Tensor]

IMAGE = (("project", "fc"),)
TEXT = (("reader.embed", "embed"), ("reader.rnn", "cap_rnn"))
BETWEEN = (
    ("image_encoder.pooling.local", "v_global_w.embedding_local"),
    ("image_encoder.pooling.overall", "v_global_w.embedding_global"),
    ("image_encoder.pooling.weight", "v_global_w.embedding_common.0"),
    ("text_encoder.pooling.local", "t_global_w.embedding_local"),
    ("text_encoder.pooling.overall", "t_global_w.embedding_global"),
    ("text_encoder.pooling.weight", "t_global_w.embedding_common.0"),
    ("aligner.local", "sim_tranloc_w"),
    ("aligner.whole", "sim_tranglo_w"),
    ("aligner.score", "sim_eval_w"),
)
STEP = (("query", "graph_query_w"), ("key", "graph_key_w"), ("change", "sim_graph_w"))
SIGNIFICANCE = "aligner.head.weight"
FILTRATION = ((SIGNIFICANCE, "SAF_module.attn_sim_w"),)
FOLDED = ("attn_sim_w.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
SAME_FOR_ALL = "a bias that is the same for everything that a softmax weighs"
UNUSED = {
    "v_global_w.embedding_common.0.bias": SAME_FOR_ALL,
    "t_global_w.embedding_common.0.bias": SAME_FOR_ALL,
    "SAF_module.bn": "a batch norm that is folded into the layer before it",
}
NOTES = (
    "The paper's results are those of two models together, SGR and SAF: `zoo join` makes one model "
    "of both.",
    "The main branch of the released program is for Python 2.7 alone, and a copy changed to run "
    "under Python 3 may have read captions as b'...'. If this model was trained so, set "
    "text_encoder.reader.legacy_bytes_repr to true in config.json.",
)


class SgrafImporter(Importer):
    """SGRAF with BiGRU, and SGR or SAF."""

    def read(self, checkpoint: Checkpoint, words: GivenWords) -> Imported:
        image, text, between = checkpoint.states("image encoder", "text encoder", "similarity")
        options, account = checkpoint.options, Account()
        options.require(no_imgnorm=False, no_txtnorm=False)
        account.take(image, IMAGE, ours="image_encoder.", theirs="image encoder ")
        account.take(text, TEXT, ours="text_encoder.", theirs="text encoder ")
        steps = _take_between(between, account)
        dim, feature_dim = shape_of(image, "fc.weight", 2, theirs="image encoder ")
        rows, word_dim = shape_of(text, "embed.weight", 2, theirs="text encoder ")
        (slots,) = shape_of(between, "v_global_w.embedding_local.1.weight", 1)
        files, mask = words.vocabulary(rows)
        head = "sgr" if steps else "saf"
        return Imported(
            parts={
                "image_encoder": {
                    "type": "sgraf_regions",
                    "feature_dim": feature_dim,
                    "dim": dim,
                    "slots": slots,
                },
                "text_encoder": {"type": "sgraf_words", "reader": _reader(word_dim, dim, mask)},
                "aligner": {
                    "type": "similarity_vectors",
                    "dim": dim,
                    "similarity_dim": shape_of(between, "sim_tranloc_w.weight", 2)[0],
                    "head": head,
                    "steps": steps or 3,
                },
            },
            features={"kind": "butd", "regions": slots, "dim": feature_dim},
            account=account,
            files=files,
            card=options.dataset and f"sgraf-{options.dataset}.bigru_butd_{head}",
            notes=NOTES,
        )


def _reader(word_dim: int, dim: int, mask: bool) -> dict[str, Any]:
    return {"type": "bigru", "word_dim": word_dim, "dim": dim, "dropout": 0.4, "mask_token": mask}


def _take_between(between: State, account: Account) -> int:
    """Take what is between the encoders; how many steps SGR has, 0 for an SAF model."""
    found = (re.match(r"SGR_module\.(\d{1,3})\.", name) for name in between)
    steps = sorted({int(step[1]) for step in found if step})
    reasoning = [
        (f"aligner.head.steps.{step}.{ours}", f"SGR_module.{step}.{theirs}")
        for step in steps
        for ours, theirs in STEP
    ]
    keys = {f"SGR_module.{step}.graph_key_w.bias": SAME_FOR_ALL for step in steps}
    account.take(
        between,
        [*BETWEEN, *(reasoning or FILTRATION)],
        theirs="similarity ",
        ignored={**UNUSED, **keys},
    )
    if not steps:
        account.tensors |= _folded(between)
    return len(steps)


def _folded(between: State) -> State:
    """SAF's layer, with what the batch norm after it does in evaluation, by our names."""
    bias, scale, shift, mean, variance = (_one(between, f"SAF_module.{name}") for name in FOLDED)
    factor = scale / (variance + 1e-5).sqrt()
    weight = "SAF_module.attn_sim_w.weight"
    shape_of(between, weight, 2, theirs="similarity ")
    return {
        f"{SIGNIFICANCE}.weight": factor * between[weight],
        f"{SIGNIFICANCE}.bias": factor * (bias - mean) + shift,
    }


def _one(between: State, name: str) -> Tensor:
    shape = shape_of(between, name, 1, theirs="similarity ")
    if shape != (1,):
        raise WeightsError(
            f"The checkpoint's {name} holds {shape[0]} numbers where one is wanted. "
            "It was made by another version of the program."
        )
    return between[name]
