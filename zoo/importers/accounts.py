"""What becomes of each tensor of a checkpoint: it has a place in the model, or a reason not to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import WeightsError

State = Mapping[str, Tensor]


@dataclass
class Account:
    """The tensors of a checkpoint that were asked for, and where they went.

    tensors: by our name
    origins: our name, and the checkpoint's
    ignored: the checkpoint's name, and the reason
    """

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    ignored: dict[str, str] = field(default_factory=dict[str, str])

    def take(
        self,
        state: State,
        names: Iterable[tuple[str, str]],
        *,
        ours: str = "",
        theirs: str = "",
        ignored: Mapping[str, str] | None = None,
    ) -> None:
        """Take every tensor of a part of a checkpoint.

        names:   our name and the checkpoint's; a name stands for all tensors under it too, and one
                 of the checkpoint's may go to several of ours
        ours, theirs: what to write before our names, and what errors call the part
        ignored: names, and the reason why what is there is not part of the model, though it lie
                 under one of `names`; they may be absent

        Raises `WeightsError` that names every tensor without a place, and every name of which
        there is none.

        >>> import torch
        >>> account = Account()
        >>> account.take({"fc.bias": torch.zeros(3)}, [("project", "fc")], ours="image_encoder.")
        >>> list(account.tensors)
        ['image_encoder.project.bias']
        """
        names, reasons = list(names), ignored or {}
        strange = []
        for name, tensor in state.items():
            reason = next((why for one, why in reasons.items() if _is_under(name, one)), None)
            places = [one + name[len(other) :] for one, other in names if _is_under(name, other)]
            if reason is not None:
                self.ignored[theirs + name] = reason
            elif not places:
                strange.append(theirs + name)
            else:
                self.tensors |= {ours + place: tensor for place in places}
                self.origins |= {ours + place: theirs + name for place in places}
        wanted = dict.fromkeys(other for _, other in names)
        missing = [one for one in wanted if not any(_is_under(name, one) for name in state)]
        _refuse(strange, [theirs + one for one in missing])

    def leave(self, state: State, reason: str, *, theirs: str = "") -> None:
        """Leave a part of a checkpoint out, whatever is in it, for a reason."""
        self.ignored |= dict.fromkeys((theirs + name for name in state), reason)

    def summary(self) -> list[str]:
        """Lines for a person: how many tensors have a place, and which have none and why."""
        taken = len(set(self.origins.values()))
        lines = [f"{taken} tensors of the checkpoint have a place in the model."]
        for reason in dict.fromkeys(self.ignored.values()):
            names = [name for name, why in self.ignored.items() if why == reason]
            lines.append(f"Left out, {reason}: {_listed(names)}.")
        return lines


def shape_of(state: State, name: str, axes: int, *, theirs: str = "") -> tuple[int, ...]:
    """The shape of a tensor of so many axes; raises `WeightsError` where there is none.

    >>> import torch
    >>> shape_of({"fc.weight": torch.zeros(2, 3)}, "fc.weight", 2)
    (2, 3)
    """
    if name not in state:
        _refuse((), [theirs + name])
    shape = tuple(state[name].shape)
    if len(shape) != axes:
        raise WeightsError(
            f"The checkpoint's {theirs}{name} is {shape}, where {axes} axes are wanted. "
            "It was made by another method, or by another version of the program."
        )
    return shape


def _is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _refuse(strange: Sequence[str], missing: Sequence[str]) -> None:
    faults = [f"holds {_listed(strange)}, which has no place in the model"] if strange else []
    faults += [f"lacks {_listed(missing)}"] if missing else []
    if faults:
        raise WeightsError(
            f"The checkpoint {' and '.join(faults)}. It was made by another method, or by another "
            "version of the program; `zoo import --help` shows the methods."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
