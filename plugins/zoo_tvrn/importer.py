"""Checkpoints that TVRN's released program saved, with either head.

What they compute is the released program's reading of the paper, quirks included
(`compat="release"`): the weights were trained with it.
"""

from __future__ import annotations

from zoo.importers import Checkpoint, GivenWords, Imported, Importer, shape_of

from .release import released_account, released_config

BLOCK = 100
"""Images and captions that the released evaluation scores at once; scores depend on it."""

NOTES = (
    "A score depends on which image is the first of its block of 100, as in the released program: "
    "give images in the data set's order, and compare no scores across blocks.",
    "The released evaluation also takes the boxes' overlaps from other images than those it "
    "scores, and the zoo from the very images, so that some ranks differ. "
    "zoo_tvrn.release.score_as_released repeats it to the letter.",
    "The boxes' threshold is 0.5, which is inferred from a file's name.",
    "The paper's results are probably those of two models together, SGR and SAF: "
    "`zoo join` makes one model of both.",
)


class TvrnImporter(Importer):
    """TVRN with BiGRU, and SGR or SAF."""

    def read(self, checkpoint: Checkpoint, words: GivenWords) -> Imported:
        states = checkpoint.states("image encoder", "text encoder", "similarity")
        options = checkpoint.options
        options.require(no_imgnorm=False, no_txtnorm=False, focal_type="glo")
        account, parts = released_account(*states), released_config(*states)
        files, mask = words.vocabulary(shape_of(states[1], "embed.weight", 2)[0])
        parts["text_encoder"]["reader"]["mask_token"] = mask
        head = parts["aligner"]["head"]
        return Imported(
            parts=parts,
            features={"kind": "butd", "regions": 36, "dim": parts["image_encoder"]["feature_dim"]},
            account=account,
            files=files,
            scoring={"image_block": BLOCK, "text_block": BLOCK},
            card=options.dataset and f"tvrn-{options.dataset}.bigru_butd_{head}",
            notes=NOTES,
        )
