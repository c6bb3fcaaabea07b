"""Hard alignment: every fragment of one side takes its single best fragment of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import Fragments
from .packing import align


def hard_alignment(queries: Fragments, codebooks: Fragments) -> Tensor:
    """Each query fragment's dot product with its best fragment of each item's codebook.

    c[item, q] = max_k <codebook[item, k], q>

    Gradients reach the best fragment alone. An item's padding is left out of the maximum.
    Yields (codebook items, query items, query fragments), -inf where the query is padding.
    """
    padding = ~codebooks.mask[:, :, None]
    padded = bool(padding.any())

    def best(similarity: Tensor) -> Tensor:
        if padded:
            # In place: nothing else holds the product, and its gradient does not need it.
            similarity.masked_fill_(padding, -torch.inf)
        return similarity.amax(dim=1)

    return align(queries, codebooks, best)
