"""Soft alignment: every fragment of one side attends to all fragments of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import Fragments
from .packing import align, in_full


def soft_alignment(queries: Fragments, codebooks: Fragments, temperature: float) -> Tensor:
    """Each query's cosine with the average of each item's codebook that it attends to.

    a = softmax_k(<x_k, q> / temperature),  c[item, q] = <q, sum_k a_k x_k> / ||sum_k a_k x_k||

    Queries are taken to be of unit length. The attended vector is never formed: with dot products
    s = X q and the Gram matrix G = X X^T, the numerator is a.s and the squared norm a.(G a).
    Yields (codebook items, query items, query fragments), -inf where the query is padding.
    """
    padding = ~codebooks.mask[:, :, None]
    # One side alone decides G, yet it is made here: it costs about 1 / (query items) of the dot
    # products, and so the encoders need not know which coding an aligner uses.
    with torch.autocast(codebooks.mask.device.type, enabled=False):
        entries = in_full(codebooks.embeddings)
        gram = entries @ entries.mT  # (items, fragments, fragments)

    def attended_cosine(similarity: Tensor) -> Tensor:
        attention = (similarity / temperature).masked_fill(padding, -torch.inf).softmax(dim=1)
        along = (attention * similarity).sum(dim=1)
        square = (attention * (gram @ attention)).sum(dim=1)
        # Rounding can take a square just below 0, where the root has no gradient.
        return along / (square.clamp(min=1e-16).sqrt() + 1e-8)

    return align(queries, codebooks, attended_cosine)
