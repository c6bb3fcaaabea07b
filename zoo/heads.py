"""From similarity vectors of a pair to one: SGRAF's two heads (Diao et al., AAAI 2021), TVRN's too.

Nodes are (..., nodes, dim), the whole's first; the mask (..., nodes) says which are real.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as affine

from .ops import l2_normalize, linear


class GraphStep(nn.Module):
    """x' = ReLU(W_g sum_y a_y y + b), a = softmax_y((W_q x + b_q) . W_k y).

    Released code has a bias on the keys too, which adds the same to the logits of all y.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key = linear(dim, dim), linear(dim, dim, bias=False)
        self.change = linear(dim, dim)

    def forward(self, asking: Tensor, nodes: Tensor, mask: Tensor) -> Tensor:
        """What some nodes, (..., asking, dim), become: of that shape."""
        # One matrix for both: (W_q x + b_q) . W_k y = (W_k^T W_q x + W_k^T b_q) . y
        both, bias = self.key.weight.T @ self.query.weight, self.query.bias @ self.key.weight
        logits = affine(asking, both, bias) @ nodes.mT
        weights = logits.masked_fill(~mask[..., None, :], -torch.inf).softmax(dim=-1)
        changed: Tensor = self.change(weights @ nodes).relu()
        return changed


class GraphReasoning(nn.Module):
    """SGR: in each step every node looks at all; what the whole's node has become is read.

    In the last step no other node is read, so no other is changed.
    """

    def __init__(self, dim: int, steps: int = 3) -> None:
        super().__init__()
        self.steps = nn.ModuleList(GraphStep(dim) for _ in range(steps))

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """(..., dim)."""
        *early, last = self.steps
        for step in early:
            nodes = step(nodes, nodes, mask)
        whole: Tensor = last(nodes[..., :1, :], nodes, mask)
        return whole.squeeze(-2)


class AttentionFiltration(nn.Module):
    """SAF: unit(sum_k a_k s_k), a_k in proportion to sigmoid(w . s_k + b).

    The length 1 is released code's; the paper's equation has the sum as it is. The paper has a
    batch norm of one channel before the sigmoid. In evaluation that is a factor and a shift, which
    w and b take in; in training it would mix pairs, so we have none.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = linear(dim, 1)

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """(..., dim)."""
        weights = self.weight(nodes).sigmoid().masked_fill(~mask[..., None], 0)
        share = weights / (weights.sum(dim=-2, keepdim=True) + 1e-8)
        return l2_normalize((share.mT @ nodes).squeeze(-2))
