"""Every check of a plugin, each of which knows it by its installed name alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ..plugins.discovery import PluginRecord, discover
from . import building, comparing, describing, encoding, importing, training
from .subjects import RecipeFile, Subject, recipes_of, subjects_of, unused
from .verdicts import Case, Fault, NotApplicable

MODEL_CHECKS: dict[str, Callable[[Subject], None]] = {
    "built from JSON": building.check_built_from_json,
    "an item alone": encoding.check_alone,
    "an item in training": encoding.check_company,
    "padding of items": encoding.check_input_padding,
    "encoded twice": encoding.check_repeatable,
    "inputs untouched": encoding.check_untouched,
    "a pair alone": comparing.check_alone,
    "order of a block": comparing.check_order,
    "listed pairs": comparing.check_listed,
    "padding of encodings": comparing.check_padding,
    "shapes": comparing.check_shapes,
    "finite scores": comparing.check_finite,
    "precision": comparing.check_precision,
    "bound of a scan": comparing.check_scan,
    "gradients": training.check_gradients,
    "gradients at zeros": training.check_zeros,
    "loss": training.check_loss,
    "two batches learned": training.check_overfit,
    "saved and loaded": building.check_saved,
}
"""Name of each check of a model, and what raises `Fault` where it fails."""


def cases(name: str) -> list[Case]:
    """Every check of the installed plugin of that name, in order.

    One that is not loaded has a single case, which says why. Raises `PluginError` where none of
    that name is installed.
    """
    found = discover()
    record = found.record(name)
    if record.status != "loaded":
        return [Case(name, "loaded", partial(_load, name))]
    try:
        recipes = recipes_of(record)
    except ModuleNotFoundError as error:
        return [*_cases(record, None), Case(name, "recipes", partial(_not_read, error))]
    return _cases(record, recipes)


def _cases(record: PluginRecord, recipes: list[RecipeFile] | None) -> list[Case]:
    found, read = discover(), recipes or []
    subjects = list(subjects_of(record, found, read))
    made = [
        Case(record.name, "API", partial(importing.check_version, record)),
        Case(record.name, "imports", partial(importing.check_module, record)),
        Case(
            record.name, "components", partial(importing.check_components, record, found.components)
        ),
        Case(record.name, "methods", partial(describing.check_fragments, record)),
    ]
    made += [
        Case(card.name, "card", partial(describing.check_card, card, record, found, recipes))
        for card in found.registry.cards()
        if card.plugin == record.name and not card.members
    ]
    made += [
        Case(one.path.stem, "recipe", partial(describing.check_recipe, one, record)) for one in read
    ]
    made += [
        Case(f"{kind} {name}", "used", partial(_not_used, kind, name))
        for kind, name in unused(record, found, read)
        if kind != "loss" or not subjects
    ]
    return made + [case for subject in subjects for case in cases_of(subject)]


def cases_of(subject: Subject) -> Iterator[Case]:
    """Every check of one small model; of one that cannot be built, that it cannot."""
    for check, run in MODEL_CHECKS.items():
        yield Case(subject.name, check, partial(run, subject))
        if not subject.builds:
            return


def _load(name: str) -> None:
    discover().require(name)


def _not_used(kind: str, name: str) -> None:
    raise Fault(
        f"No recipe and no card uses the {kind} {name!r}, so nothing of it was checked.",
        "Write a recipe that names it.",
    )


def _not_read(error: ModuleNotFoundError) -> None:
    raise NotApplicable(
        f"Recipes were not read, since there is no {error.name}. Install it: "
        "pip install 'itm-zoo[train]'."
    )
