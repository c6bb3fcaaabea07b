"""The gradient of hard alignment where many operations at once cost no more than one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ..ops import in_full


def gathered_gradients(
    gradients: Tensor, queries: Tensor, entries: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Of queries (queries, dim) and entries (items, fragments, dim), in their types.

    gradients: (items, queries), of the codes; those that are 0 cost nothing
    places:    (items, queries), which entry of the item was the query's best
    """
    flat, asking = in_full(entries).flatten(0, 1), in_full(queries)
    items, asked = gradients.nonzero(as_tuple=True)
    weights = gradients[items, asked].to(asking.dtype)
    chosen = items * entries.shape[1] + places[items, asked]
    of_queries = weighted_sums(flat, chosen, weights, asked, len(queries))
    of_entries = weighted_sums(asking, asked, weights, chosen, len(flat))
    return of_queries.to(queries.dtype), of_entries.view_as(entries).to(entries.dtype)


def weighted_sums(
    table: Tensor, rows: Tensor, weights: Tensor, owners: Tensor, count: int
) -> Tensor:
    """For each of so many owners the sum of the rows that it has, weighted: (count, dim).

    Always added up in one order, and nothing waits for another: an owner's rows lie together.
    """
    owners, order = owners.sort(stable=True)
    starts = torch.searchsorted(owners, torch.arange(count, device=owners.device))
    return embedding_bag(rows[order], table, starts, mode="sum", per_sample_weights=weights[order])
