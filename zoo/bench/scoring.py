"""Scoring all pairs by hard alignment: as published, in float32, by a bfloat16 scan, exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import components
from ..interfaces import Aligner
from ..metrics import Ranks, ranks_report, retrieval_ranks
from ..scoring.blocks import score_all
from ..scoring.exact import ExactScorer
from .collection import IMAGE_BLOCK, Collection, collection
from .published import SHARD, hard_alignment, widened
from .rounds import Row, Took, rows, timed
from .setting import Setting


@torch.no_grad()
def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """A row for each variant, and what was scored.

    The published algorithm is timed on the first shard of images with all captions and scaled.
    """
    made = collection(setting)
    aligner = hard_aligner(setting.pooling)
    padded, shards = widened(made.texts, made.longest), max(1.0, setting.images / SHARD)
    variants = {
        "float32": lambda: score_all(aligner, made.image_blocks, made.text_blocks),
        "bfloat16 scan": lambda: scan(aligner, made),
        "exact": lambda: exact(aligner, made),
    }
    rounds: list[dict[str, Took]] = []
    scored: dict[str, Tensor] = {}
    for _ in range(setting.rounds):
        took, shard = timed(
            lambda: hard_alignment(made.images.embeddings[:SHARD], padded, setting.pooling)
        )
        one = {"published": took.times(shards)}
        for name, run in variants.items():
            one[name], scored[name] = timed(run)
        torch.testing.assert_close(scored["float32"][:SHARD], shard, rtol=1e-5, atol=1e-5)
        rounds.append(one)
    return _told(rounds, scored, made, setting)


def hard_aligner(pooling: str) -> Aligner[Any, Any]:
    """CHAN's own, from its plugin."""
    config = {"type": "hard_alignment", "coding": "vha", "pooling": pooling}
    aligner: Aligner[Any, Any] = components.build("aligner", config)
    return aligner


def scan(aligner: Aligner[Any, Any], made: Collection) -> Tensor:
    """All pairs from rounded embeddings."""
    rounded = [aligner.rounded(block) for block in made.text_blocks]
    blocks = (aligner.rounded(block) for block in made.image_blocks)
    lines = [[aligner.scan(one, text).scores for text in rounded] for one in blocks]
    return torch.cat([torch.cat(line, dim=1) for line in lines])


def exact(aligner: Aligner[Any, Any], made: Collection) -> Tensor:
    """All pairs, in float32 what decides a rank."""
    scorer = ExactScorer(aligner, made.image_blocks, made.text_blocks, made.pairs)
    starts = range(0, len(made.images), IMAGE_BLOCK)
    found = zip(made.image_blocks, starts, strict=True)
    return torch.cat([scorer.rows(block, first) for block, first in found])


def _told(
    rounds: list[dict[str, Took]], scored: dict[str, Tensor], made: Collection, setting: Setting
) -> tuple[list[Row], dict[str, Any]]:
    ranks = {name: retrieval_ranks(one, made.pairs.numpy()) for name, one in scored.items()}
    plain = ranks["float32"]
    work = 2 * setting.images * setting.regions * made.words * setting.dim / 1e9
    by = "wall" if setting.threads > 1 else "seconds"
    told: dict[str, dict[str, Any]] = {
        name: {
            "GFLOP/s": round(work / min(getattr(one[name], by) for one in rounds)),
        }
        for name in rounds[0]
    }
    for name, found in ranks.items():
        told[name]["ranks"] = "those of float32" if _same(found, plain) else "others"
        told[name]["in float32"] = f"{(scored[name] == scored['float32']).float().mean():.1%}"
    report = ranks_report(plain)
    facts = {
        "words": made.words,
        "longest caption": made.longest,
        "caption lengths": made.lengths,
        "R@1 both ways": [round(report[f"{way}_r1"], 1) for way in ("i2t", "t2i")],
    }
    return rows(rounds, "published", told, by=by), facts


def _same(one: Ranks, other: Ranks) -> bool:
    return bool((one.images == other.images).all() and (one.texts == other.texts).all())
