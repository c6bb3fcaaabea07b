"""One run of an ablation: a row with a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.dataset import Dataset
from ..errors import InputError
from .building import build_from
from .hooks import WarmUpHook
from .recipe import Recipe
from .run_folder import RunFolder


@dataclass(frozen=True)
class Trial:
    """A row of an ablation with a seed, and where its run lies.

    overrides: those of the row
    settings:  all that is set beside the recipe's file: the user's, the row's, the seed
    """

    row: str
    seed: int
    overrides: Mapping[str, Any]
    settings: Mapping[str, Any]
    recipe: Recipe
    folder: RunFolder

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"{self.row}/seed-{self.seed}"

    @property
    def words(self) -> str:
        """What the row sets."""
        return ", ".join(f"{key}={value}" for key, value in self.overrides.items()) or "as it is"

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from the others, as its results have it."""
        return {"row": self.row, "seed": self.seed, "overrides": dict(self.overrides)}

    @property
    def lock(self) -> Path:
        """Held by the process that trains or measures it."""
        return self.folder.path.with_name(f".seed-{self.seed}.lock")

    def check_builds(self, training: Dataset, data: Path) -> None:
        """Raise `InputError`, with the row's name, where its model or loss cannot be built."""
        try:
            _, loss = build_from(self.recipe, training, data)
            if self.recipe["warm_up"]:
                WarmUpHook(loss, **self.recipe["warm_up"])
        except InputError as error:
            raise InputError(f"Ablation {self.row!r}: {error}") from error
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Ablation {self.row!r}: its model cannot be built ({type(error).__name__}: "
                f"{error}). Correct {self.words}."
            ) from error
