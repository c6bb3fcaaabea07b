"""TVRN: a mutually textual and visual refinement network (Pang et al., IEEE TMM 2024).

SGRAF compares words with regions by similarity vectors and lets a small head make one score of
them. TVRN refines both sides first: regions by their context in content and in space, words by the
image context that they attend to, both read twice by a GRU, plain and then enriched. README.md
beside this file lists what the paper leaves open (INFERRED) and where we depart from released code;
`release.py` is for released checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from zoo.batch import Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions
from zoo.encoders.words import ReadsWords
from zoo.heads import AttentionFiltration, GraphReasoning
from zoo.interfaces import Aligner, Noise, Similarity, TextEncoder
from zoo.kernels.soft_alignment import attention_weights
from zoo.ops import dot_products, in_full, l2_normalize, linear
from zoo.options import check_choice

from .blocks import blocks, recomputed
from .checks import check_boxes, check_doubled, check_first, check_parts, check_slots
from .evidence import squared_differences
from .readings import ExpandedReading, HalfReading, Offer, WholeReading
from .records import Context, HalfReadText, RefinedImage, RefinedText
from .refinement import (
    ATTENTION,
    LEAK,
    SHARPNESS,
    ContentAttention,
    Pooling,
    Reading,
    SpatialAttention,
    both,
    reweighted,
)

REGION_CONTEXTS = ("overlap", "content", "off")
TEXT_CONTEXTS = ("pair", "first", "none", "off")
EXPANDING = ("pair", "first")
SAE = ("region", "off")
HEADS = ("sgr", "saf")
COMPAT = ("clean", "release")
RELEASED_REGIONS = 36


# ------------------------------------------------------------------------------------------ images


class RegionEncoder(ReadsRegions[RefinedImage]):
    """Regions v refined by their context, and one vector for the whole image.

    con = unit((sem + geo) / 2), sem by content and geo by overlap (`refinement`), enriched regions
    unit(LeakyReLU(v * con)), both readings u = unit(GRU([v; enriched]) + [v; v]), whole = pool(u).
    The GRU makes the order of the regions matter, in the paper's figure as here.

    region_context: "overlap" is that; "content": con = sem; "off": the regions stay as they are
    threshold:      least intersection over union of regions that overlap (INFERRED 0.5, from the
                    released file name "half"); None: all do, and geo is a second content attention
    doubled:        False: the GRU reads the enriched regions alone, half as many to compare
    sae:            "region": texts attend more to regions like the whole (INFERRED: what the figure
                    means; in released code the step has no effect, "off")
    text_context:   as the aligner's
    compat:         "release": released code's spatial logits and batch norms, for 36 regions
    dropout:        within the pooling
    """

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        region_context: str = "overlap",
        threshold: float | None = 0.5,
        doubled: bool = True,
        sae: str = "region",
        text_context: str = "pair",
        compat: str = "clean",
        dropout: float = 0.4,
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(feature_dim, dim, region_drop, standardize)
        check_choice("region_context", region_context, REGION_CONTEXTS)
        check_choice("sae", sae, SAE)
        check_choice("text_context", text_context, TEXT_CONTEXTS)
        check_choice("compat", compat, COMPAT)
        released, refined = compat == "release", region_context != "off"
        self.doubled, self.sae = doubled, sae
        self.needs_boxes = region_context == "overlap" and threshold is not None
        self.content = ContentAttention(dim) if refined else None
        self.spatial = (
            SpatialAttention(dim, threshold, released) if region_context == "overlap" else None
        )
        self.reading = Reading(dim) if refined else None
        self.slots = RELEASED_REGIONS * (1 + doubled) if released else None
        self.pooling = Pooling(dim, dropout, self.slots)
        self.offer = Offer(dim) if text_context in EXPANDING else None

    def prepare(self, items: Any, noise: Noise | None = None) -> Regions:
        regions = super().prepare(items, noise)
        if self.needs_boxes:
            check_boxes(regions)
        return regions

    def forward(self, batch: Regions) -> RefinedImage:
        if self.needs_boxes:
            check_boxes(batch)
        plain = self.unit_regions(batch)
        context = self._context(plain, batch.boxes)
        regions, enriched = self._read(plain, context.embeddings)
        tokens = both(regions, enriched)
        if self.slots is not None:
            check_slots(tokens.mask, self.slots)
        whole = self.pooling(tokens)
        relevance = None if self.sae == "off" else self._relevance(tokens, whole, plain.mask)
        offer = None if self.offer is None else self.offer(context)
        return RefinedImage(regions, enriched, whole, relevance, offer)

    def _context(self, plain: Fragments, boxes: Tensor | None) -> Fragments:
        if self.content is None:
            return plain
        context = self.content(plain)
        if self.spatial is not None:
            context = l2_normalize((context + self.spatial(plain, boxes)) / 2)
        return Fragments(context.masked_fill(~plain.mask[..., None], 0), plain.mask)

    def _read(self, plain: Fragments, context: Tensor) -> tuple[Fragments, Fragments | None]:
        if self.reading is None:
            return plain, None
        enriched = l2_normalize(leaky_relu(plain.embeddings * context, LEAK))
        if self.doubled:
            return self.reading.twice(plain, enriched)
        return self.reading(plain, enriched)[0], None

    @staticmethod
    def _relevance(tokens: Fragments, whole: Tensor, real: Tensor) -> Fragments:
        logits = SHARPNESS * (tokens.embeddings @ whole[..., None]).squeeze(-1)
        relevance = logits.masked_fill(~tokens.mask, -torch.inf).softmax(dim=-1)
        return Fragments(relevance.view(len(real), -1, real.shape[1]).mT, real)


# ------------------------------------------------------------------------------------------- texts


class WordEncoder(ReadsWords[Tokens, RefinedText | HalfReadText]):
    """Words refined by their context in the caption, and one vector for the whole caption.

    The figure has a spatial part as well, by a dependency parse; released code computes it nowhere,
    and it is left out.

    text_context: as the aligner's
    doubled:      False: the GRU reads the context alone, half as many words to compare; with
                  text_context "none"
    dropout:      within the pooling
    """

    def __init__(
        self,
        reader: TextEncoder[Tokens, Fragments],
        text_context: str = "pair",
        doubled: bool = True,
        dropout: float = 0.4,
    ) -> None:
        super().__init__(reader)
        check_choice("text_context", text_context, TEXT_CONTEXTS)
        expands = text_context in EXPANDING
        if expands:
            check_doubled(doubled, text_context)
        self.refine: nn.Module = (
            HalfReading(self.dim, dropout)
            if expands
            else WholeReading(self.dim, text_context == "none", doubled, dropout)
        )

    def forward(self, batch: Tokens) -> RefinedText | HalfReadText:
        refined: RefinedText | HalfReadText = self.refine(self.reader(batch))
        return refined


# ------------------------------------------------------------------------------------------- pairs


class RefinedAligner(Aligner[RefinedImage, RefinedText | HalfReadText]):
    """Similarity vectors of words and of the whole, and a head that makes one score of them.

    Each word y_j sees C_j = unit(sum_i P_ji u_i), P = att(y . u) (times the regions' relevance).
    s_j = unit(W_local (C_j - y_j)^2 + b), s_0 = unit(W_whole (g_v - g_t)^2 + b),
    score = sigmoid(w . head(s_0, s_1, ...) + b), in (0, 1).

    text_context: what a word's second reading reads
      "pair"   what the word finds in the context of the image that it is compared with (INFERRED:
               the figure's meaning)
      "none"   the word's context in its caption, so that texts do not depend on images
      "off"    nothing: words are neither refined nor doubled
      "first"  as "pair", but of the first image of the block, for all of its images, as released
               code does: a pair's score depends on its company. With compat="release" only
    head:    "sgr", graph reasoning in so many `steps`, or "saf", attention filtration
    compat:  "release" admits text_context "first"
    dropout: within the pooling of expanded texts

    Pairs are compared in blocks of bounded size. In training most of what depends on a pair is
    computed again for its gradient.
    """

    def __init__(
        self,
        dim: int = 1024,
        similarity_dim: int = 256,
        text_context: str = "pair",
        head: str = "sgr",
        steps: int = 3,
        compat: str = "clean",
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        check_choice("text_context", text_context, TEXT_CONTEXTS)
        check_choice("head", head, HEADS)
        check_choice("compat", compat, COMPAT)
        check_first(text_context, compat)
        self.text_context = text_context
        expands = text_context in EXPANDING
        self.expanded = ExpandedReading(dim, dropout) if expands else None
        self.local, self.whole = linear(dim, similarity_dim), linear(dim, similarity_dim)
        self.head: nn.Module = (
            GraphReasoning(similarity_dim, steps)
            if head == "sgr"
            else AttentionFiltration(similarity_dim)
        )
        self.score = linear(similarity_dim, 1)

    @property
    def pairwise(self) -> bool:  # type: ignore[override]
        """Unless texts are read for each pair, with dropout."""
        return self.expanded is None

    def forward(self, images: RefinedImage, texts: RefinedText | HalfReadText) -> Similarity:
        expands = isinstance(texts, HalfReadText), images.context is not None
        check_parts(self.text_context, self.expanded is not None, expands)
        first = images.context[:1] if images.context and self.text_context == "first" else None
        lengths, dim = texts.words.mask.sum(dim=1), images.whole.shape[1]
        columns, order = [], []
        for rows, parts, block in blocks(images, texts, lengths, dim):
            columns.append(torch.cat([self._scores(part, block, first) for part in parts]))
            order.append(rows)
        return Similarity(torch.cat(columns, dim=1)[:, torch.cat(order).argsort()])

    def word_regions(self, images: RefinedImage, texts: RefinedText | HalfReadText) -> Tensor:
        """Cosines of first readings: (images, texts, words, regions), -inf at padding."""
        return dot_products(images.regions, texts.words)

    def _scores(
        self, images: RefinedImage, texts: RefinedText | HalfReadText, first: Context | None
    ) -> Tensor:
        """Scores of a block: (images, texts)."""
        tokens, wholes, mask = self._refined(first or images.context, texts)
        local = self._local(images, tokens, mask)
        return recomputed(self._fused, images.whole, wholes, local, mask)

    def _fused(self, images: Tensor, texts: Tensor, local: Tensor, mask: Tensor) -> Tensor:
        """Wholes (images, dim) and (images or 1, texts, dim), and words' vectors, as scores."""
        whole = l2_normalize(self.whole((images[:, None] - texts).square()))
        nodes = torch.cat([whole[:, :, None], l2_normalize(local)], dim=2)
        found = in_full(self.head(nodes, pad(mask, (1, 0), value=True)))
        # Not a call of the layer: under autocast that would round the scores to half precision.
        return ((found * self.score.weight[0]).sum(dim=-1) + self.score.bias).sigmoid()

    def _refined(
        self, context: Context | None, texts: RefinedText | HalfReadText
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refined words (images or 1, texts, words, dim), wholes (.., texts, dim), and the mask."""
        if isinstance(texts, HalfReadText):
            assert self.expanded is not None
            assert context is not None
            mask = both(texts.words, texts.words).mask
            return *recomputed(self.expanded, context, texts), mask
        tokens = both(texts.words, texts.expanded)
        return tokens.embeddings[None], texts.whole[None], tokens.mask

    def _local(self, images: RefinedImage, words: Tensor, mask: Tensor) -> Tensor:
        """A similarity vector for each word: (images, texts, words, similarity_dim)."""
        regions = both(images.regions, images.enriched)
        flat = words.flatten(1, 2)  # (images or 1, texts * words, dim)
        similarity = (flat @ regions.embeddings.mT).view(len(images), *mask.shape, -1)
        weights = attention_weights(similarity, mask, regions.mask[:, None], ATTENTION)
        if images.relevance is not None:
            relevance = images.relevance.embeddings.mT.flatten(1)
            weights = reweighted(weights, relevance[:, None, None])
        shares = weights.flatten(1, 2).to(flat.dtype)
        layer = self.local
        vectors = squared_differences(shares, regions.embeddings, flat, layer.weight, layer.bias)
        return vectors.view(len(images), *mask.shape, -1)
