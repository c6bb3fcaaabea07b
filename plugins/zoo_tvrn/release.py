"""Released TVRN checkpoints: their configuration, their tensors under our names, their scores.

A checkpoint holds three state dicts: of the image encoder, of the text encoder, and of everything
between the two. Here they are plain dicts of tensors, however they were read.

What is between the two in released code is shared by both sides; ours belongs to the side that uses
it, so some released tensors become several of ours. In evaluation that makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.batch import Regions
from zoo.errors import InputError, WeightsError
from zoo.importers import Account, shape_of

from .model import RefinedAligner, RegionEncoder, WordEncoder

State = Mapping[str, Tensor]

IMAGE = (("project", "fc"),)
TEXT = (("reader.embed", "embed"), ("reader.rnn", "cap_rnn"))
IMAGE_SHARED = (
    ("content.query", "scan_attention.fcq"),
    ("content.key", "scan_attention.fck"),
    ("spatial.query", "fcq"),
    ("spatial.key", "fck"),
    ("reading.gru", "img_rnn"),
    ("pooling.local.linear", "v_global_w.embedding_local.0"),
    ("pooling.local.norm", "v_global_w.embedding_local.1"),
    ("pooling.overall.linear", "v_global_w.embedding_global.0"),
    ("pooling.overall.norm", "v_global_w.embedding_global.1"),
    ("pooling.weight.weight", "v_global_w.embedding_common.0.weight"),
    ("offer.key", "scan_attention.fck"),
    ("offer.inputs.weight", "cap_rnn.weight_ih_l0"),
)
TEXT_SHARED = (
    ("refine.content.query", "scan_attention.fcq"),
    ("refine.content.key", "scan_attention.fck"),
    ("refine.query", "scan_attention.fcq"),
    ("refine.reading.gru", "cap_rnn"),
    ("refine.local.linear", "t_global_w.embedding_local.0"),
)
ALIGNER = (
    ("expanded.bias", "cap_rnn.bias_ih_l0"),
    ("expanded.recurrent.weight", "cap_rnn.weight_hh_l0"),
    ("expanded.recurrent.bias", "cap_rnn.bias_hh_l0"),
    ("expanded.pooling.local.linear", "t_global_w.embedding_local.0"),
    ("expanded.pooling.overall.linear", "t_global_w.embedding_global.0"),
    ("expanded.pooling.weight.weight", "t_global_w.embedding_common.0.weight"),
    ("local", "sim_tranloc_w"),
    ("whole", "sim_tranglo_w"),
    ("score", "sim_eval_w"),
)
STEP = (
    ("query", "graph_query_w"),
    ("key.weight", "graph_key_w.weight"),
    ("change", "sim_graph_w"),
)
FILTRATION = (("head.weight", "SAF_module.attn_sim_w"),)
WEIGHT = "SAF_module.attn_sim_w.weight"
FOLDED = ("attn_sim_w.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
NEVER_USED = "a layer that the released program never uses"
SAME_FOR_ALL = "a bias that is the same for everything that a softmax weighs"
WITHOUT_EFFECT = {
    "scan_attention.fcv": NEVER_USED,
    "fcv": NEVER_USED,
    "sim_trancon_w": NEVER_USED,
    "v_global_w.embedding_common.0.bias": SAME_FOR_ALL,
    "t_global_w.embedding_common.0.bias": SAME_FOR_ALL,
    "SAF_module.bn": "a batch norm that is folded into the layer before it",
}
"""What has no place in our model, and why; nor has the bias of each SGR key."""


def released_config(image: State, text: State, similarity: State) -> dict[str, dict[str, Any]]:
    """The three parts' configurations, with sizes and head as the tensors have them."""
    dim, feature_dim = shape_of(image, "fc.weight", 2, theirs="image encoder ")
    steps = len(_steps(similarity))
    shared = {"text_context": "first"}
    return {
        "image_encoder": {
            "type": "tvrn_regions",
            "feature_dim": feature_dim,
            "dim": dim,
            "sae": "off",
            "compat": "release",
            **shared,
        },
        "text_encoder": {
            "type": "tvrn_words",
            "reader": {
                "type": "bigru",
                "word_dim": shape_of(text, "embed.weight", 2)[1],
                "dim": dim,
                "dropout": 0.4,
            },
            **shared,
        },
        "aligner": {
            "type": "refined_alignment",
            "dim": dim,
            "similarity_dim": shape_of(similarity, "sim_tranloc_w.weight", 2)[0],
            "head": "sgr" if steps else "saf",
            "steps": steps or 3,
            "compat": "release",
            **shared,
        },
    }


def released_account(image: State, text: State, similarity: State) -> Account:
    """Their tensors as those of the model that `released_config` describes.

    Raises `WeightsError` for a name that no released checkpoint has, and one that is missing.
    """
    account = Account()
    account.take(image, IMAGE, ours="image_encoder.", theirs="image encoder ")
    account.take(text, TEXT, ours="text_encoder.", theirs="text encoder ")
    steps = _steps(similarity)
    head = [
        (f"head.steps.{step}.{ours}", f"SGR_module.{step}.{theirs}")
        for step in steps
        for ours, theirs in STEP
    ]
    parts = {
        "image_encoder": IMAGE_SHARED,
        "text_encoder": TEXT_SHARED,
        "aligner": (*ALIGNER, *(head or FILTRATION)),
    }
    names = [(f"{part}.{ours}", theirs) for part in parts for ours, theirs in parts[part]]
    keys = {f"SGR_module.{step}.graph_key_w.bias": SAME_FOR_ALL for step in steps}
    folded = similarity if steps else _folded(similarity)
    account.take(folded, names, theirs="similarity ", ignored={**WITHOUT_EFFECT, **keys})
    return account


@torch.no_grad()
def score_as_released(
    image_encoder: RegionEncoder,
    text_encoder: WordEncoder,
    aligner: RefinedAligner,
    images: Regions,
    captions: Sequence[str],
    image_of_caption: Tensor,
    block: int = 100,
) -> Tensor:
    """Every image with every caption as the released evaluation scores them: (images, captions).

    image_of_caption: (captions,), the row of the image that each describes

    It works in blocks of 100 images by 100 captions, in their order. In each, all texts are
    expanded with the first image's context; and the overlaps of the images' regions are those of
    other images: of the images of the last 100 captions, longest caption first (INFERRED: captions
    of one length stay in their order). Put the parts in evaluation mode first. Raises `InputError`
    where the released evaluation cannot run: if the images or captions do not fill their blocks.
    """
    if len(images) % block or len(captions) % block:
        raise InputError(
            f"There are {len(images)} images and {len(captions)} captions, and the released "
            f"evaluation needs multiples of {block}. Leave some out, or score with compat='clean'."
        )
    if images.boxes is None:
        raise InputError("These images have no boxes. Give features with boxes.")
    tokens = text_encoder.prepare(captions)
    stale = images.boxes[_last_batch(tokens.mask.sum(dim=1), image_of_caption, block)]
    texts = [text_encoder(part) for part in tokens.split(block)]
    rows = []
    for part in images.split(block):
        encoded = image_encoder(replace(part, boxes=stale))
        rows.append(torch.cat([aligner(encoded, text).scores for text in texts], dim=1))
    return torch.cat(rows)


def _last_batch(lengths: Tensor, image_of_caption: Tensor, block: int) -> Tensor:
    """Rows of the images of the last captions, the longest caption first."""
    order = lengths[-block:].argsort(descending=True, stable=True)
    return image_of_caption[-block:][order]


def _steps(similarity: State) -> list[int]:
    """The numbers of the SGR steps; none for an SAF model."""
    found = (re.match(r"SGR_module\.(\d{1,3})\.", name) for name in similarity)
    return sorted({int(step[1]) for step in found if step})


def _folded(similarity: State) -> State:
    """With what SAF's batch norm does in evaluation in the layer before it."""
    bias, scale, shift, mean, variance = (_one(similarity, f"SAF_module.{name}") for name in FOLDED)
    factor = scale / (variance + 1e-5).sqrt()
    shape_of(similarity, WEIGHT, 2, theirs="similarity ")
    return {
        **similarity,
        WEIGHT: factor * similarity[WEIGHT],
        "SAF_module.attn_sim_w.bias": factor * (bias - mean) + shift,
    }


def _one(similarity: State, name: str) -> Tensor:
    shape = shape_of(similarity, name, 1, theirs="similarity ")
    if shape != (1,):
        raise WeightsError(
            f"The checkpoint's {name} holds {shape[0]} numbers where one is wanted. "
            "It was made by another version of the program."
        )
    return similarity[name]
