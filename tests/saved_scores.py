"""Folders of scores as evaluations leave them, made without a model."""

from __future__ import annotations

import numpy as np

from zoo.scores import SavedScores, ScoresIndex


def pairs_of(images, captions):
    """So many captions for each image, in the order of the images."""
    return np.stack([np.repeat(np.arange(images), captions), np.arange(images * captions)], 1)


def save(folder, scores, pairs, *, model="model", facts=None, **changes):
    """Scores (images, captions) on disk."""
    told = {"data_fingerprint": "features", "listing": "same", "dataset": "made", "split": "test"}
    told |= {"image_ids": tuple(map(str, range(len(scores))))} | changes
    index = ScoresIndex(
        captions=scores.shape[1], model=model, model_fingerprint=f"weights of {model}", **told
    )
    saved = SavedScores.create(folder, index, pairs)
    saved.append(scores.astype(np.float32))
    saved.tell(facts or {})
    return SavedScores.open(folder)
