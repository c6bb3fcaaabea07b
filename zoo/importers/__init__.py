"""Checkpoints that other programs saved, and how they become models of the zoo.

A checkpoint is read without running anything in it (`zoo.pickles`), each of its tensors is
accounted for (`accounts`), and the plugin of its method says what it means (`importer`).
"""

from __future__ import annotations

from .accounts import Account, shape_of
from .bert import bert_sizes, bert_unused
from .checkpoint import Checkpoint, Settings
from .conversion import Conversion, import_checkpoint
from .importer import Imported, Importer
from .words import GivenWords

__all__ = [
    "Account",
    "Checkpoint",
    "Conversion",
    "GivenWords",
    "Imported",
    "Importer",
    "Settings",
    "bert_sizes",
    "bert_unused",
    "import_checkpoint",
    "shape_of",
]
