"""The whole examination: a data set, or a feature store alone, from what lies on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..bars import Advance
from ..data.features import FeatureSource
from ..data.layouts import Found, Listing, canonical_split, recognise
from ..data.layouts.reading import read_json
from ..data.layouts.scan import MAPPINGS, Scan
from ..data.picture_folders import find_pictures
from ..data.side_files import find_side_files, read_parses
from ..data.sources import features_beside, open_features
from ..data.store import INDEX, FeatureStore, verify
from .captions import LINES, check_blank_lines, check_file, check_text
from .finding import Finding, attempt, guarded
from .models import Reading, readings
from .rows import check_apart, check_counts, check_mapping, check_pictures
from .storage import check_disk, check_side_files, check_storage
from .values import check_values
from .words import check_vocabulary, find_vocabularies


@dataclass(frozen=True)
class Examination:
    """What the doctor says of one place.

    layout: what was recognised, in words
    splits: those that were looked at
    models: which can read it, empty where nothing could be opened
    """

    path: Path
    layout: str
    splits: tuple[str, ...]
    findings: tuple[Finding, ...]
    models: tuple[Reading, ...] = ()

    @property
    def problems(self) -> int:
        """How many things make results wrong or impossible."""
        return sum(finding.level == "problem" for finding in self.findings)


@dataclass
class _Visit:
    """What is known so far, and what was found."""

    full: bool
    advance: Advance
    findings: list[Finding] = field(default_factory=list[Finding])
    listings: dict[str, Listing] = field(default_factory=dict[str, Listing])
    sources: dict[str, FeatureSource] = field(default_factory=dict[str, FeatureSource])
    pictures: bool = False


def examine(
    path: str | Path,
    split: str | None = None,
    *,
    features: str | Path | None = None,
    full: bool = False,
    advance: Advance = lambda _what, _done, _total: None,
) -> Examination:
    """Look over a data set, or a feature store; nothing is written, and nothing is raised for it.

    split:    the only one to look at; by default all that the files have
    features: of the images, in any form of docs/features.md; by default those beside the captions
    full:     read every row of the features, and not a sample
    advance:  is told what is being read, how much more of it, and of how much

    >>> examine("data/flickr8k").problems                              # doctest: +SKIP
    0
    """
    path, visit = Path(path), _Visit(full, advance)
    if (path / INDEX).is_file():
        return _store(path, visit)
    found = attempt(lambda: recognise(path, split), "layout", str(path))
    if isinstance(found, Finding):
        return Examination(path, "", (), (found,))
    splits = _splits(found, split)
    for name in splits:
        _look_at(found, name, features, visit)
    visit.findings += check_apart(visit.listings)
    visit.findings += _vocabularies(found, visit.listings)
    visit.findings += check_disk(found.root)
    source = next(iter(visit.sources.values()), None)
    models = readings(source, pictures=visit.pictures) if visit.listings else []
    return Examination(path, found.words(), splits, tuple(visit.findings), tuple(models))


def _store(path: Path, visit: _Visit) -> Examination:
    """A feature store without a data set."""
    source = attempt(lambda: FeatureStore.open(path), "store", str(path))
    if isinstance(source, Finding):
        return Examination(path, "feature store", (), (source,))
    if visit.full:
        damage = attempt(lambda: verify(path), "checksums", str(path))
        visit.findings += [damage] if isinstance(damage, Finding) else []
    visit.findings += _features(source, str(path), visit)
    visit.findings += check_disk(path)
    models = readings(source, pictures=False)
    return Examination(path, "feature store", (), tuple(visit.findings), tuple(models))


def _splits(found: Found, split: str | None) -> tuple[str, ...]:
    """The splits to look at; of two that the same files list in the same way, the first."""
    if split is not None:
        return (canonical_split(split),)
    names = list(found.splits)
    if found.splits.get("testall", ()) == found.splits.get("test") and "testall" in names:
        names.remove("testall")
    return tuple(names)


def _look_at(found: Found, split: str, features: str | Path | None, visit: _Visit) -> None:
    """One split: its captions, and if these can be read, its rows, features and pictures."""
    listing = _captions(found, split, visit)
    if listing is not None:
        visit.findings += check_counts(listing, split)
        visit.findings += check_text(listing, split)
        visit.findings += guarded(_mapping(found, listing, split), "ids", split)
        source = attempt(lambda: _open(found, split, features, listing), "features", split)
        if isinstance(source, Finding):
            visit.findings.append(source)
        elif source is not None:
            visit.sources[split] = source
            visit.findings += _features(source, split, visit)
            visit.findings += guarded(_beside(found, split, listing), "side files", split)
        _pictures(found, split, listing, visit, required=source is None)


def _captions(found: Found, split: str, visit: _Visit) -> Listing | None:
    """The captions and their images, where their files can be read."""
    beginning = len(visit.findings)
    for path in found.splits[split]:
        visit.findings += _file(path, found)
    listing = attempt(lambda: found.read(split), "captions", split)
    if not isinstance(listing, Finding):
        visit.listings[split] = listing
        return listing
    if not any(finding.level == "problem" for finding in visit.findings[beginning:]):
        visit.findings.append(listing)  # else what was found in the files says more
    return None


def _pictures(found: Found, split: str, listing: Listing, visit: _Visit, *, required: bool) -> None:
    """Where the pictures lie, if they are there."""
    pictures = attempt(lambda: find_pictures(found, listing, required=required), "pictures", split)
    if isinstance(pictures, Finding):
        visit.findings.append(pictures)
    elif pictures is not None:
        visit.pictures = True
        visit.findings += check_pictures(pictures, split)


def _file(path: Path, found: Found) -> Iterator[Finding]:
    if path.suffix in LINES and path.is_file():
        yield from check_file(path)
        if isinstance(found.layout, Scan):
            yield from check_blank_lines(path)


def _mapping(found: Found, listing: Listing, split: str) -> Iterator[Finding]:
    for folder in (found.root, found.root.parent):
        for path in (folder / name for name in MAPPINGS):
            if isinstance(found.layout, Scan) and path.is_file():
                yield from check_mapping(listing, read_json(path), split)
                return


def _open(
    found: Found, split: str, features: str | Path | None, listing: Listing
) -> FeatureSource | None:
    if features is not None:
        return open_features(features, listing, split)
    return features_beside(found, split, listing)


def _features(source: FeatureSource, place: str, visit: _Visit) -> Iterator[Finding]:
    yield from guarded(check_storage(source, place), "features", place)
    values = check_values(source, place, full=visit.full, advance=visit.advance)
    yield from guarded(values, "values", place)


def _beside(found: Found, split: str, listing: Listing) -> Iterator[Finding]:
    yield from check_side_files(found.root, split)
    parses = find_side_files(found.root / f"{split}_ims.npy").get("parses")
    if parses is not None:
        read_parses(parses, len(listing.captions))


def _vocabularies(found: Found, listings: Mapping[str, Listing]) -> Iterator[Finding]:
    captions: Sequence[str] = [one for listing in listings.values() for one in listing.captions]
    if captions:
        name = next(iter(listings.values())).name
        for path in dict.fromkeys(find_vocabularies(found)):
            yield from check_vocabulary(path, name, captions)
