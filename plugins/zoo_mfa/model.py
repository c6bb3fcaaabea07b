"""MFA: multi-scale fine-grained alignments (Li et al., IEEE TMM 2023), a reconstruction.

This is a reconstruction from the abstract: paper and code could not be had. The abstract gives
three scales (word, phrase, relation), each with a visual and a textual aggregation; every equation
here is INFERRED, after SCAN (Lee et al., ECCV 2018) and GSMN (Liu et al., CVPR 2020). README.md
beside this file has the reasons.

At each scale an image is a set of regions and a text a set of nodes: its words; its phrases, each
an object with its attributes; its phrases again, each in the light of those that it is related to.
Regions and nodes attend to each other both ways. What makes phrases and relations lies within one
side, so both sides are encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from zoo.batch import Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions, unit_fragments
from zoo.encoders.words import ReadsWords
from zoo.errors import InputError
from zoo.interfaces import Aligner, Noise, Similarity, TextEncoder
from zoo.kernels.soft_alignment import Attention, soft_alignment
from zoo.ops import dot_products, in_full, masked_mean
from zoo.options import check_fraction, check_positive

from .prepared import PhrasedTokens, Phrases, read_phrases
from .scales import SCALES, MultiScale, checked_scales, needs_phrases

# ------------------------------------------------------------------------------------------ images


class RegionContext(nn.Module):
    """Regions in the light of the image's others: x_i' = unit(x_i + sum_j a_ij W_o x_j).

    a_ij = softmax_j((W_q x_i).(W_k x_j) / sqrt(dim) + b_ij), over the real regions. With
    `geometry`, b_ij = w.g_ij, where g_ij is `placement`; else 0. w begins at 0, so that content
    comes first.
    """

    def __init__(self, dim: int, geometry: bool = False) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.geometry = nn.Linear(4, 1, bias=False) if geometry else None
        if self.geometry is not None:
            nn.init.zeros_(self.geometry.weight)

    def forward(self, regions: Fragments, boxes: Tensor | None) -> Fragments:
        x = regions.embeddings
        logits = self.query(x) @ self.key(x).mT / x.shape[-1] ** 0.5
        if self.geometry is not None:
            if boxes is None:
                raise InputError(
                    "This model weighs regions by where they are, and these features have no "
                    "boxes. Extract them with boxes, or set geometry to false."
                )
            logits = logits + self.geometry(placement(boxes).to(x.dtype)).squeeze(-1)
        weights = logits.masked_fill(~regions.mask[:, None], -torch.inf).softmax(dim=-1)
        return unit_fragments(x + weights @ self.value(x), regions.mask)


def placement(boxes: Tensor) -> Tensor:
    """Where each region sees each other one: (images, regions, regions, 4).

    (dx / w, dy / h, log w'/w, log h'/h), from centre to centre, in widths and heights of the first.
    Boxes are in pixels, and no side counts as less than one.
    """
    corner, opposite = in_full(boxes).chunk(2, dim=-1)
    size = (opposite - corner).clamp(min=1)[:, :, None]
    centre = (corner + opposite)[:, :, None] / 2
    move = (centre.transpose(1, 2) - centre) / size
    return torch.cat([move, (size.transpose(1, 2) / size).log()], dim=-1)


class RegionEncoder(ReadsRegions[MultiScale]):
    """Regions at each scale: x^w = unit(W x + b), then a `RegionContext` for phrases, and on top of
    that another one for relations.

    scales:   which to encode; a scale that none of them needs has no parameters
    geometry: lets the relation scale see where regions are; the features must have boxes
    """

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        scales: Sequence[str] = SCALES,
        geometry: bool = False,
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(feature_dim, dim, region_drop, standardize)
        self.scales = checked_scales(scales)
        if geometry and "relations" not in scales:
            raise InputError(
                "geometry is of the relation scale. Add relations to scales, or leave it."
            )
        self.phrases = RegionContext(dim) if needs_phrases(scales) else None
        self.relations = RegionContext(dim, geometry) if "relations" in scales else None

    def forward(self, batch: Regions) -> MultiScale:
        found = {"words": self.unit_regions(batch)}
        if self.phrases is not None:
            found["phrases"] = self.phrases(found["words"], None)
        if self.relations is not None:
            found["relations"] = self.relations(found["phrases"], batch.boxes)
        return MultiScale(**{scale: found[scale] for scale in self.scales})


# ------------------------------------------------------------------------------------------- texts


class PhraseAttention(nn.Module):
    """Phrases, objects that their attributes constrain: y_k = unit(y_h + sum_j a_kj y_j).

    a_kj = softmax_j(w.tanh(W_a y_j + W_h y_h)) over the members j of phrase k, the head h too.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.member = nn.Linear(dim, dim, bias=False)
        self.head = nn.Linear(dim, dim, bias=False)
        self.weigh = nn.Linear(dim, 1, bias=False)

    def forward(self, words: Fragments, phrases: Phrases) -> Fragments:
        y = words.embeddings
        heads = y.take_along_dim(phrases.heads[..., None], dim=1)
        text, phrase, word = phrases.members.nonzero(as_tuple=True)
        members = y[text, word]
        hidden = self.member(members) + self.head(heads)[text, phrase]
        logits = self.weigh(hidden.tanh()).squeeze(-1)
        return unit_fragments(heads + attended(logits, members, phrases.members), phrases.mask)


class PhraseGraph(nn.Module):
    """Phrases with those that they are related to: y_k' = unit(y_k + sum_m a_km e_km).

    e_km = W_e (y_m + u_km), where u_km is the mean of the predicate's words, 0 if there are none;
    a_km = softmax_m((W_s y_k).e_km / sqrt(dim)) over m = k and the phrases related to k.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.subject = nn.Linear(dim, dim, bias=False)
        self.message = nn.Linear(dim, dim, bias=False)

    def forward(self, words: Fragments, nodes: Fragments, phrases: Phrases) -> Fragments:
        y = nodes.embeddings
        itself = torch.eye(y.shape[1], dtype=torch.bool, device=y.device)
        related = (phrases.relations > 0) | (itself & phrases.mask[..., None])
        text, phrase, other = related.nonzero(as_tuple=True)
        predicates = mean_of(words.embeddings, phrases.predicates)
        row = phrases.relations[text, phrase, other]
        messages = self.message(y[text, other] + predicates[text, row])
        asked = self.subject(y)[text, phrase]
        logits = (asked * messages).sum(dim=-1) / y.shape[-1] ** 0.5
        return unit_fragments(y + attended(logits, messages, related), nodes.mask)


def attended(logits: Tensor, values: Tensor, groups: Tensor) -> Tensor:
    """Sums of values, weighted by a softmax over each group: (texts, groups, dim).

    groups: (texts, groups, places), True where a group has a value
    logits: (values,), and values: (values, dim), for the places where `groups` is True, in order
    """
    text, group, _ = groups.nonzero(as_tuple=True)
    table = logits.new_full(groups.shape, -torch.inf).masked_scatter(groups, logits)
    # A softmax of nothing would be NaN; a group without values is padding, and its sum is 0.
    weights = table.masked_fill(~groups.any(dim=-1, keepdim=True), 0).softmax(dim=-1)[groups]
    sums = values.new_zeros(*groups.shape[:2], values.shape[-1])
    return sums.index_put((text, group), weights[:, None] * values, accumulate=True)


def mean_of(words: Tensor, members: Tensor) -> Tensor:
    """Mean of the words that belong to each row, 0 of none: (texts, rows, dim)."""
    count = members.sum(dim=-1, keepdim=True).clamp(min=1)
    return (members.to(words.dtype) / count) @ words


class PhraseEncoder(ReadsWords[PhrasedTokens, MultiScale]):
    """Words by a reader, phrases by `PhraseAttention`, relations by `PhraseGraph`.

    Which words form phrases, and which phrases are related, says the chunker (`phrases.chunk`), or
    the parse of a caption that carries one (`dependencies.ParsedCaption`); the same in training and
    after it, but for words that noise leaves out.

    scales: which to encode; a scale that none of them needs has no parameters
    """

    def __init__(
        self, reader: TextEncoder[Tokens, Fragments], scales: Sequence[str] = SCALES
    ) -> None:
        super().__init__(reader)
        self.scales = checked_scales(scales)
        self.phrases = PhraseAttention(self.dim) if needs_phrases(scales) else None
        self.relations = PhraseGraph(self.dim) if "relations" in scales else None

    def prepare(self, items: Sequence[str], noise: Noise | None = None) -> PhrasedTokens:
        """As the reader does, and the phrases beside.

        Raises `InputError` for a caption whose parse does not fit its words.
        """
        tokens = self.reader.prepare(items, noise)
        if self.phrases is None:
            return PhrasedTokens(tokens)
        pieces = [self.reader.words(caption) for caption in items]
        return PhrasedTokens(tokens, read_phrases(items, pieces, tokens))

    def forward(self, batch: PhrasedTokens) -> MultiScale:
        words = self.reader(batch.tokens)
        found = {"words": words}
        if self.phrases is not None and batch.phrases is not None:
            found["phrases"] = self.phrases(words, batch.phrases)
            if self.relations is not None:
                found["relations"] = self.relations(words, found["phrases"], batch.phrases)
        return MultiScale(**{scale: found[scale] for scale in self.scales})


# ------------------------------------------------------------------------------------------- pairs


class MultiScaleAligner(Aligner[MultiScale, MultiScale]):
    """The weighted sum over the scales of S^s, a mean of two aggregations.

        S^s = m mean_i cos(x_i, t_i) + (1 - m) mean_j cos(y_j, v_j)

    textual aggregation: t_i = sum_j softmax_j(4 E_ij) y_j, what region i gathers of the text
    visual aggregation:  v_j = sum_i softmax_i(9 E_ij) x_i, what node j gathers of the image

    E_ij is leaky ReLU(x_i.y_j), divided by its norm over those that gather (SCAN). A text of one
    phrase keeps its raw x_i.y_j: the norm over one node leaves but a sign, and the node would
    gather all regions alike (INFERRED, as all of this).

    weights:           of the scales; a scale that is not named does not count
    textual_share:     m
    visual_sharpness:  of what a text gathers in the image, 9 above
    textual_sharpness: of what an image gathers in the text, 4 above
    leak:              slope of the leaky ReLU below 0
    """

    pairwise = True

    def __init__(
        self,
        weights: Mapping[str, float] = MappingProxyType(dict.fromkeys(SCALES, 1.0)),
        textual_share: float = 0.5,
        visual_sharpness: float = 9.0,
        textual_sharpness: float = 4.0,
        leak: float = 0.1,
    ) -> None:
        super().__init__()
        self.weights = {scale: float(weights[scale]) for scale in checked_scales(tuple(weights))}
        for scale, weight in self.weights.items():
            check_positive(f"The weight of {scale}", weight)
        check_fraction("textual_share", textual_share)
        self.textual_share = textual_share
        self.textual = Attention(textual_sharpness, leak, normalize=True)
        self.visual = Attention(visual_sharpness, leak, normalize=True)
        self.spared = Attention(visual_sharpness, leak, normalize=True, spare_single=True)

    def forward(self, images: MultiScale, texts: MultiScale) -> Similarity:
        levels = {
            scale: self._level(scale, images.at(scale), texts.at(scale)) for scale in self.weights
        }
        weighted = [weight * levels[scale] for scale, weight in self.weights.items()]
        return Similarity(torch.stack(weighted).sum(dim=0), levels)

    def _level(self, scale: str, regions: Fragments, nodes: Fragments) -> Tensor:
        """S^s of every image with every text: (images, texts)."""
        visual = soft_alignment(nodes, regions, self.visual if scale == "words" else self.spared)
        textual = soft_alignment(regions, nodes, self.textual).transpose(0, 1)
        return torch.lerp(
            masked_mean(visual, nodes.mask[None]),
            masked_mean(textual, regions.mask[:, None]),
            self.textual_share,
        )

    def word_regions(self, images: MultiScale, texts: MultiScale) -> Tensor | None:
        if images.words is None or texts.words is None:
            return None
        return dot_products(images.words, texts.words)
