"""The BERT in a checkpoint: its sizes, as its tensors have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import WeightsError

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
    try:
        tables = {
            name: state[f"{prefix}.embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        }
        inner = state[f"{prefix}.encoder.layer.0.intermediate.dense.weight"]
    except KeyError as error:
        raise WeightsError(
            f"The checkpoint lacks {error.args[0]}, which every BERT has. "
            "Import a checkpoint of the variant with BERT, whole."
        ) from None
    hidden = tables["word"].shape[-1]
    layers = {name.split(".")[3] for name in state if name.startswith(f"{prefix}.encoder.layer.")}
    return {
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, hidden // HEAD),
        "intermediate_size": inner.shape[0],
        "max_position_embeddings": tables["position"].shape[0],
        "type_vocab_size": tables["token_type"].shape[0],
    }


def bert_unused(prefix: str = "bert") -> dict[str, str]:
    """What of a BertModel has no place in the text encoder "bert", and why."""
    return {f"{prefix}.{name}": reason for name, reason in UNUSED.items()}
