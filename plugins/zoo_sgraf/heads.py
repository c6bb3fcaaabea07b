"""From the similarity vectors of a pair to one: SGRAF's two heads.

Nodes are (..., nodes, dim), the whole's first; the mask (..., nodes) says which are real.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as affine

from zoo.ops import l2_normalize

from .pooling import linear


class GraphStep(nn.Module):
    """s'_p = ReLU(W_r sum_q e_pq s_q + b), e_p = softmax_q((W_in s_p + b_in) . W_out s_q).

    Released code has a bias on W_out too, which adds the same to the logits of all q.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.incoming, self.outgoing = linear(dim, dim), linear(dim, dim, bias=False)
        self.reason = linear(dim, dim)

    def forward(self, asking: Tensor, nodes: Tensor, mask: Tensor) -> Tensor:
        # One map for both: (W_in p + b) . W_out q = (W_out^T W_in p + W_out^T b) . q
        outgoing = self.outgoing.weight
        both = affine(asking, outgoing.T @ self.incoming.weight, self.incoming.bias @ outgoing)
        edges = (both @ nodes.mT).masked_fill(~mask[..., None, :], -torch.inf).softmax(dim=-1)
        changed: Tensor = self.reason(edges @ nodes).relu()
        return changed


class GraphReasoning(nn.Module):
    """SGR: in each step every node hears from all; what the whole's node has become is read.

    In the last step no other node is read, so no other is changed.
    """

    def __init__(self, dim: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(GraphStep(dim) for _ in range(steps))

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        *early, last = self.steps
        for step in early:
            nodes = step(nodes, nodes, mask)
        whole: Tensor = last(nodes[..., :1, :], nodes, mask)
        return whole.squeeze(-2)


class AttentionFiltration(nn.Module):
    """SAF: unit(sum_p b_p s_p), b_p in proportion to sigmoid(w . s_p + b).

    The length 1 is released code's; the paper's equation has the sum as it is. The paper has a
    batch norm of one channel before the sigmoid. In evaluation that is a factor and a shift, which
    w and b take in; in training it would mix pairs, so we have none.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.significance = linear(dim, 1)

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        weights = self.significance(nodes).sigmoid().masked_fill(~mask[..., None], 0)
        share = weights / (weights.sum(dim=-2, keepdim=True) + 1e-8)
        return l2_normalize((share.mT @ nodes).squeeze(-2))
