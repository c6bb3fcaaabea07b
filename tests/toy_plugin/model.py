"""Everything that a method can have, at the size of a toy; faults are injected into this text."""

import torch
from torch import nn

from zoo.batch import Fragments
from zoo.encoders.regions import ReadsRegions, unit_fragments
from zoo.encoders.words import ReadsWords
from zoo.interfaces import Aligner, Loss, Scan, Similarity
from zoo.losses import contests
from zoo.ops import dot_products, in_full, l2_normalize


class Images(ReadsRegions):
    """Regions in the light of the others."""

    def __init__(self, feature_dim=12, dim=16, heads=2):
        super().__init__(feature_dim, dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(0.1)

    def forward(self, batch):
        """Regions of unit length."""
        hidden = self.norm(self.projected(batch))
        seen, _ = self.attention(
            hidden, hidden, hidden, key_padding_mask=~batch.mask, need_weights=False
        )
        return unit_fragments(self.dropout(hidden + seen), batch.mask)


class Texts(ReadsWords):
    """Words of unit length."""

    def forward(self, batch):
        """The reader's."""
        return self.reader(batch)


class Attending(Aligner):
    """What each word sees, weighed by a gate of the word."""

    def __init__(self, dim=16, temperature=0.1):
        super().__init__()
        self.gate = nn.Linear(dim, 1, bias=False)
        self.temperature = temperature

    def forward(self, images, texts):
        """Scores, and the same as a level."""
        with torch.autocast(images.mask.device.type, enabled=False):
            regions, words = in_full(images.embeddings), in_full(texts.embeddings)
            logits = torch.einsum("twd,ird->itwr", words, regions) / self.temperature
            logits = logits.masked_fill(~images.mask[:, None, None], -torch.inf)
            context = torch.einsum("itwr,ird->itwd", logits.softmax(-1), regions)
            found = (l2_normalize(context) * words).sum(-1)
            gates = (words @ in_full(self.gate.weight[0])).masked_fill(~texts.mask, -torch.inf)
            scores = (found.masked_fill(~texts.mask, 0) * gates.softmax(-1)).sum(-1)
        return Similarity(scores, {"local": scores})

    def word_regions(self, images, texts):
        """Their dot products."""
        return dot_products(images, texts)


class Hinge(Loss):
    """A hinge whose margin follows the scores."""

    def __init__(self, margin=0.2):
        super().__init__()
        self.register_buffer("margin", torch.tensor(margin))

    def forward(self, similarity, pairs):
        """The hinges of all matches."""
        if self.training:
            self.margin = 0.9 * self.margin + 0.1 * (0.2 + similarity.scores.detach().std())
        both = contests(similarity.scores, pairs.matches)
        hinges = [(self.margin + one.rivals - one.matches[:, None]).relu() for one in both]
        return sum((hinge * one.negatives).sum() for hinge, one in zip(hinges, both, strict=True))


ALSO = (Fragments, Scan)
