"""Programs of papers written out vector by vector, in the names of their weights: what they use.

Slow, without masks, batches or shortcuts, and independent of what is tested against them.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.components import build
from zoo.importers import Checkpoint, GivenWords
from zoo.model import MatchingModel
from zoo.plugins.discovery import component_table


def unit(x: Tensor) -> Tensor:
    """A vector x as x / (||x|| + 1e-8)."""
    return x / (x.norm() + 1e-8)


def units(rows: Tensor) -> Tensor:
    """Each row of unit length."""
    return torch.stack([unit(row) for row in rows])


def att(logits: Tensor) -> Tensor:
    """SCAN's attention with the sharpness 9: (queries, sources)."""
    shaped = torch.where(logits > 0, logits, 0.1 * logits)
    columns = [column / (column.square().sum().sqrt() + 1e-8) for column in shaped.T]
    return torch.stack([(9 * row).softmax(0) for row in torch.stack(columns, dim=1)])


def gru(inputs: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """Every state of a GRU that begins at 0: gates reset, update, new."""
    state, states = torch.zeros_like(w_hh[0]), []
    for x in inputs:
        (r, z, n), (hr, hz, hn) = (w_ih @ x + b_ih).chunk(3), (w_hh @ state + b_hh).chunk(3)
        reset, update = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
        state = (1 - update) * torch.tanh(n + reset * hn) + update * state
        states.append(state)
    return torch.stack(states)


def pooled(u: Tensor, local: Tensor, overall: Tensor, row: Tensor) -> Tensor:
    """The whole, from the tokens' projections (tokens, dim) and their mean's (dim,)."""
    shares = torch.stack([row @ (one * overall) for one in local]).softmax(0)
    return unit(sum(share * one for share, one in zip(shares, u, strict=True)))


def saf(nodes: Tensor, logits: Tensor) -> Tensor:
    """Attention filtration."""
    shares = torch.sigmoid(logits)
    return unit((shares / (shares.abs().sum() + 1e-8)) @ nodes)


def head_score(w: Weights, x: Tensor) -> Tensor:
    """The score that SGRAF's head, SGR or SAF, makes of similarity vectors (nodes, dim)."""
    if "SAF_module.bn.bias" in w:
        logits = w.batch_norm("SAF_module.bn", w("SAF_module.attn_sim_w", x)[:, 0])
        return torch.sigmoid(w("sim_eval_w", saf(x, logits)))[0]
    for step in range(3):
        q = w(f"SGR_module.{step}.graph_query_w", x)
        k = w(f"SGR_module.{step}.graph_key_w", x)
        x = w(f"SGR_module.{step}.sim_graph_w", (q @ k.T).softmax(dim=1) @ x).relu()
    return torch.sigmoid(w("sim_eval_w", x[0]))[0]


class Weights(dict):
    """Tensors by name; `w(name, x)` is the linear map of that name."""

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """A linear layer's."""
        return x @ self[f"{name}.weight"].T + self.get(f"{name}.bias", 0)

    def gru(self, name: str, inputs: Tensor, suffix: str = "l0") -> Tensor:
        """A GRU's states."""
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return gru(inputs, *(self[f"{name}.{part}_{suffix}"] for part in parts))

    def both_ways(self, name: str, inputs: Tensor) -> Tensor:
        """A bidirectional GRU's states, the mean of both directions."""
        back = self.gru(name, inputs.flip(0), "l0_reverse").flip(0)
        return (self.gru(name, inputs) + back) / 2

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        """As in evaluation; the first axis is the channel."""
        scale = self[f"{name}.weight"] / (self[f"{name}.running_var"] + 1e-5).sqrt()
        return scale * (x - self[f"{name}.running_mean"]) + self[f"{name}.bias"]


def shaped(tensors: dict[str, tuple[int, ...]]) -> Weights:
    """Random numbers of these shapes, so large that every formula counts; variances above 0."""
    made = Weights({name: 0.6 * torch.randn(shape).double() for name, shape in tensors.items()})
    for name in made:
        if name.endswith(("running_var", "sim_graph_w.bias")):
            made[name] = made[name].abs() + 0.5  # a ReLU that is 0 for all would hide the rest
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(7)
    return made


def dense(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a linear layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a batch norm."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def recurrent(name: str, inputs: int, dim: int, suffix: str = "l0") -> dict[str, tuple[int, ...]]:
    """Names and shapes of a GRU in one direction."""
    shapes = {"weight_ih": (3 * dim, inputs), "weight_hh": (3 * dim, dim)}
    shapes |= {"bias_ih": (3 * dim,), "bias_hh": (3 * dim,)}
    return {f"{name}.{part}_{suffix}": shape for part, shape in shapes.items()}


def two_way(name: str, inputs: int, dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a GRU in both directions."""
    return recurrent(name, inputs, dim) | recurrent(name, inputs, dim, "l0_reverse")


def head_shapes(head: str, dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of SGRAF's head, and of the layer that makes a score of what it finds."""
    if head == "saf":
        shapes = dense("SAF_module.attn_sim_w", 1, dim) | norm("SAF_module.bn", 1)
    else:
        layers = itertools.product(range(3), ("graph_query_w", "graph_key_w", "sim_graph_w"))
        shapes = {}
        for step, name in layers:
            shapes |= dense(f"SGR_module.{step}.{name}", dim, dim)
    return shapes | dense("sim_eval_w", 1, dim)


def save_checkpoint(path: Path, parts: Sequence[Mapping[str, Tensor]], **options: object) -> Path:
    """A file as the programs of the field write it."""
    content = {
        "epoch": 7,
        "model": [dict(part) for part in parts],
        "best_rsum": np.float64(490.9),
        "opt": argparse.Namespace(no_imgnorm=False, no_txtnorm=False, **options),
        "Eiters": 9,
    }
    torch.save(content, path)
    return path


def exact_model(method: str, path: Path, words: Path | None) -> MatchingModel:
    """The model that a method's importer finds in a checkpoint, in the checkpoint's precision."""
    importer = component_table().resolve("importer", method)()
    found = importer.read(Checkpoint.open(path), GivenWords(words))
    parts = {kind: build(kind, config, found.files) for kind, config in found.parts.items()}
    model = MatchingModel(**parts).double()
    model.load_state_dict(found.account.tensors, strict=True)
    return model.eval()
