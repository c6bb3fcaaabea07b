"""What `zoo results` shall show, whether asked on the command line or by a marker in a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .names import model_folder

if TYPE_CHECKING:
    from ..report.summary import Summary
    from ..report.tables import Table


@dataclass(frozen=True)
class Request:
    """The options that a marker may have too.

    ablation:    in place of models, the results.json of `zoo ablate`
    leaderboard: in place of models, what papers report; under all protocols, or under `protocol`
    figure:      where the leaderboard's drawing is wanted, in place of its tables
    """

    places: Sequence[str] = ()
    dataset: str | None = None
    split: str = "test"
    ablation: Path | None = None
    short: bool = False
    leaderboard: Path | None = None
    protocol: str | None = None
    figure: Path | None = None

    def check(self) -> None:
        """Raise `InputError` for options that say nothing without another one."""
        for option in ("protocol", "figure"):
            if getattr(self, option) is not None and self.leaderboard is None:
                raise InputError(
                    f"--{option} belongs to a leaderboard. Give it with --leaderboard FILE, or "
                    "leave it out."
                )

    def summaries(self) -> list[Summary]:
        """A line for each model: those that are named, or all that lie here."""
        from ..loading.models import info, list_models
        from ..report.comparison import label, summaries

        names = self.places or [
            name for name in list_models(status="bundled") if info(name).is_here
        ]
        folders = {label(name): model_folder(name) for name in names}
        return summaries(folders, self.dataset, self.split)

    def tables(self) -> list[Table]:
        """What a terminal shows."""
        from ..report.comparison import AblationResults, comparison_table, overrides_table
        from ..report.leaderboard import Leaderboard

        if self.leaderboard is not None:
            read = Leaderboard.read(self.leaderboard)
            return [table for name in self._protocols() for table in read.tables(name)]
        if self.ablation is not None:
            ablation = AblationResults.read(self.ablation)
            return [*ablation.tables(), overrides_table(ablation)]
        return [comparison_table(self.summaries(), short=self.short)]

    def markdown(self) -> str:
        """The same for a document; a drawing is shown by a link to where it lies."""
        from ..report.comparison import AblationResults, ablation_markdown
        from ..report.leaderboard import Leaderboard
        from ..report.standing import standing_alt

        if self.leaderboard is not None:
            read = Leaderboard.read(self.leaderboard)
            if self.figure is not None:
                return f"![{standing_alt(read)}]({self.figure.name})"
            return "\n\n".join(read.markdown(name) for name in self._protocols())
        if self.ablation is not None:
            return ablation_markdown(AblationResults.read(self.ablation))
        return self.tables()[0].to_markdown()

    def drawing(self) -> str:
        """The leaderboard as SVG; for a request with a leaderboard."""
        from ..report.leaderboard import Leaderboard
        from ..report.standing import standing_figure

        if self.leaderboard is None:
            raise InputError("Only a leaderboard is drawn. Give one: --leaderboard FILE.")
        return standing_figure(Leaderboard.read(self.leaderboard)) + "\n"

    def plain(self) -> Any:
        """What `--json` writes."""
        from ..report.leaderboard import Leaderboard
        from ..report.results import read_rows

        if self.leaderboard is not None:
            return Leaderboard.read(self.leaderboard).to_json(self.protocol)
        if self.ablation is not None:
            return read_rows(self.ablation)
        return [summary.to_json() for summary in self.summaries()]

    def _protocols(self) -> list[str]:
        from ..report.entries import PROTOCOLS

        return [self.protocol] if self.protocol is not None else list(PROTOCOLS)
