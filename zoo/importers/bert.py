"""The BERT in a checkpoint: its sizes, as its tensors have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .accounts import shape_of

HEAD = 64
"""Numbers a head. Not in the tensors; every published size of BERT has it."""

UNUSED = {
    "pooler": "the layer on [CLS], which this method never uses",
    "embeddings.position_ids": "the numbers 0, 1, 2, ... that transformers saved before 4.31",
}


def bert_sizes(state: Mapping[str, Tensor], prefix: str = "bert") -> dict[str, Any]:
    """The `bert` argument of the text encoder "bert", from a state dict with a BertModel in it.

    Raises `WeightsError` where the state dict has none.
    """
    rows = {
        name: shape_of(state, f"{prefix}.embeddings.{name}_embeddings.weight", 2)
        for name in ("word", "position", "token_type")
    }
    inner, hidden = shape_of(state, f"{prefix}.encoder.layer.0.intermediate.dense.weight", 2)
    layers = {name.split(".")[3] for name in state if name.startswith(f"{prefix}.encoder.layer.")}
    return {
        "vocab_size": rows["word"][0],
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, hidden // HEAD),
        "intermediate_size": inner,
        "max_position_embeddings": rows["position"][0],
        "type_vocab_size": rows["token_type"][0],
    }


def bert_unused(prefix: str = "bert") -> dict[str, str]:
    """What of a BertModel has no place in the text encoder "bert", and why."""
    return {f"{prefix}.{name}": reason for name, reason in UNUSED.items()}
