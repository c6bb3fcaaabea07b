"""Released TVRN checkpoints: their configuration, their tensors under our names, their scores.

A checkpoint holds three state dicts: of the image encoder, of the text encoder, and of everything
between the two. Here they are plain dicts of tensors, however they were read.

What is between the two in released code is shared by both sides; ours belongs to the side that uses
it, so some released tensors become several of ours. In evaluation that makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.batch import Regions
from zoo.errors import InputError, WeightsError

from .model import RefinedAligner, RegionEncoder, WordEncoder

State = Mapping[str, Tensor]
Names = Iterable[tuple[str, str]]

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
WITHOUT_EFFECT = (
    "scan_attention.fcv",
    "fcv",
    "sim_trancon_w",
    "v_global_w.embedding_common.0.bias",
    "t_global_w.embedding_common.0.bias",
)
"""Never used, or the same for everything that a softmax weighs; so is each SGR key's bias."""


def released_config(image: State, text: State, similarity: State) -> dict[str, dict[str, Any]]:
    """The three parts' configurations, with sizes and head as the tensors have them."""
    dim, feature_dim = image["fc.weight"].shape
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
                "word_dim": text["embed.weight"].shape[1],
                "dim": dim,
                "dropout": 0.4,
            },
            **shared,
        },
        "aligner": {
            "type": "refined_alignment",
            "dim": dim,
            "similarity_dim": len(similarity["sim_tranloc_w.weight"]),
            "head": "sgr" if steps else "saf",
            "steps": steps or 3,
            "compat": "release",
            **shared,
        },
    }


def released_weights(image: State, text: State, similarity: State) -> dict[str, dict[str, Tensor]]:
    """State dicts for the three parts that `released_config` describes.

    Raises `WeightsError` for a name that no released checkpoint has. A name that is missing is
    found when the parts load.
    """
    steps = _steps(similarity)
    head = [
        (f"head.steps.{step}.{ours}", f"SGR_module.{step}.{theirs}")
        for step in steps
        for ours, theirs in STEP
    ]
    unread = [*WITHOUT_EFFECT, *(f"SGR_module.{step}.graph_key_w.bias" for step in steps)]
    known = [*IMAGE_SHARED, *TEXT_SHARED, *ALIGNER, *head]
    _check(image, [theirs for _, theirs in IMAGE])
    _check(text, [theirs for _, theirs in TEXT])
    _check(similarity, [*unread, "SAF_module", *(theirs for _, theirs in known)])
    aligner = _renamed(similarity, [*ALIGNER, *head])
    return {
        "image_encoder": _renamed(image, IMAGE) | _renamed(similarity, IMAGE_SHARED),
        "text_encoder": _renamed(text, TEXT) | _renamed(similarity, TEXT_SHARED),
        "aligner": aligner if steps else aligner | _filtration(similarity),
    }


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
    return sorted({int(name.split(".")[1]) for name in similarity if name.startswith("SGR_")})


def _renamed(tensors: State, names: Names) -> dict[str, Tensor]:
    return {
        ours + name.removeprefix(theirs): tensor
        for ours, theirs in names
        for name, tensor in tensors.items()
        if _under(name, theirs)
    }


def _filtration(similarity: State) -> dict[str, Tensor]:
    """SAF's weights, with what its batch norm does in evaluation folded in."""
    part = {name: similarity[f"SAF_module.{name}"] for name in FILTRATION}
    scale = part["bn.weight"] / (part["bn.running_var"] + 1e-5).sqrt()
    shifted = part["attn_sim_w.bias"] - part["bn.running_mean"]
    return {
        "head.weight.weight": scale * part["attn_sim_w.weight"],
        "head.weight.bias": scale * shifted + part["bn.bias"],
    }


FILTRATION = (
    "attn_sim_w.weight",
    "attn_sim_w.bias",
    "bn.weight",
    "bn.bias",
    "bn.running_mean",
    "bn.running_var",
)


def _check(tensors: State, known: Iterable[str]) -> None:
    strange = [name for name in tensors if not any(_under(name, one) for one in known)]
    if strange:
        raise WeightsError(
            f"The checkpoint holds {strange[0]!r} ({len(strange)} such names in all), which no "
            "released TVRN has. Give the three state dicts of a released checkpoint in their order."
        )


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
