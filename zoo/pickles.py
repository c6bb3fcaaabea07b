"""A pickle read as data: nothing that it names is imported, and nothing that it calls is run.

A pickle is a program for a small machine, and Python's own machine imports whatever the program
names. This one has the instructions that a `torch.save` of plain values takes, and a table of the
few names that such files hold, each with a function of ours that stands in for it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

Calls = Callable[[str], Callable[..., Any] | None]
"""What stands in for a dotted name, if anything does. It checks what it is given, which may be all
that a pickle can hold: a thousand tuples within each other, or one that holds the same one twice.
"""

PLAIN = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
EMPTY: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
MOST_STEPS = 1_000_000  # a vocabulary of 11,000 words takes less than a tenth
"""A step is an instruction, and each member or letter of what one gives to a function of ours: with
a memo, an instruction of two bytes can give the same hundred thousand members again."""
LONGEST_NUMBER = 128  # bits; the number that a file of torch begins with has 77


@dataclass(frozen=True)
class Name:
    """A name in a pickle, as data."""

    path: str


@dataclass(frozen=True)
class Refused:
    """In place of a name without a stand-in, and of whatever it would have made."""


class Strange(Exception):  # noqa: N818 - what was found, told in an error by who opened the file
    """Names in a pickle that have no stand-in: it asks for more than data."""

    def __init__(self, names: list[str]) -> None:
        self.names = names


class Standin:
    """What a call made, if it wants the state that the pickle then gives."""

    def build(self, state: Any) -> None:
        """Take the state."""


class Machine:
    """Reads the pickles of one file.

    calls:   what may be called
    inert:   what may be named and not called
    stored:  what becomes of a reference to something outside the pickle; there is none by default
    """

    def __init__(
        self,
        calls: Calls,
        inert: frozenset[str] = frozenset(),
        stored: Callable[[Any], Any] | None = None,
    ) -> None:
        self.calls, self.inert, self.stored = calls, inert, stored
        self._instructions: Mapping[str, Callable[[Any], None]] = {
            "GLOBAL": lambda argument: self._name(*argument.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._name(*self._last(2)),
            "INST": lambda argument: self._instance(*argument.split(" ", 1)),
            "OBJ": lambda _: self._object(),
            "REDUCE": lambda _: self._call(*self._last(2)),
            "NEWOBJ": lambda _: self._call(*self._last(2)),
            "BUILD": lambda _: self._build(self._stack.pop()),
            "BINPERSID": lambda _: self._refer(self._stack.pop()),
            "MARK": lambda _: self._mark(),
            "TUPLE": lambda _: self._push(tuple(self._marked())),
            "TUPLE1": lambda _: self._push(tuple(self._last(1))),
            "TUPLE2": lambda _: self._push(tuple(self._last(2))),
            "TUPLE3": lambda _: self._push(tuple(self._last(3))),
            "LIST": lambda _: self._push(self._marked()),
            "DICT": lambda _: self._push(_set({}, self._marked())),
            "APPEND": lambda _: self._extend(self._last(1)),
            "APPENDS": lambda _: self._extend(self._marked()),
            "SETITEM": lambda _: self._set(self._last(2)),
            "SETITEMS": lambda _: self._set(self._marked()),
            "MEMOIZE": lambda _: self._remember(len(self._memo)),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._remember),
            **dict.fromkeys(
                ("GET", "BINGET", "LONG_BINGET"), lambda place: self._push(self._memo[place])
            ),
            **dict.fromkeys(("PROTO", "FRAME"), lambda _: None),
        }

    def read(self, file: BinaryIO) -> Any:
        """What the next pickle of the file says; the file stands behind it afterwards.

        Raises `Strange` that tells all names without a stand-in. A pickle that is cut short or
        breaks its own rules raises whatever it likes.
        """
        self._strange: dict[str, None] = {}  # in the order in which they were found
        self._steps = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(file):
            self._count(1)
            if opcode.name == "STOP":
                return self._result()
            self._follow(opcode.name, argument)
        raise ValueError("it has no end")

    def _result(self) -> Any:
        if self._strange:
            raise Strange(list(self._strange))
        (result,) = self._stack
        return result

    def _follow(self, instruction: str, argument: Any) -> None:
        if instruction in PLAIN:
            if isinstance(argument, int) and argument.bit_length() > LONGEST_NUMBER:
                raise ValueError(f"it has a number of {argument.bit_length():,} bits")
            self._push(argument)
        elif instruction in EMPTY:
            self._push(EMPTY[instruction]())
        elif instruction in self._instructions:
            self._instructions[instruction](argument)
        else:
            raise ValueError(f"it has the instruction {instruction}, which torch.save never writes")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _last(self, count: int) -> list[Any]:
        taken = [self._stack.pop() for _ in range(count)]
        return taken[::-1]

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        taken, self._stack = self._stack, self._below.pop()
        return taken

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise ValueError(f"it takes more than {MOST_STEPS:,} steps")

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("it has a name that is no text")
        self._count(len(module) + len(name))
        path = f"{module}.{name}"
        known = path in self.inert or self.calls(path) is not None
        if not known:
            self._strange[path] = None
        self._push(Name(path) if known else Refused())

    def _instance(self, module: str, name: str) -> None:
        arguments = tuple(self._marked())
        self._name(module, name)
        self._call(self._stack.pop(), arguments)

    def _object(self) -> None:
        called, *arguments = self._marked()
        self._call(called, tuple(arguments))

    def _refer(self, reference: Any) -> None:
        self._count(_members(reference))
        if self.stored is None:
            raise ValueError("it refers to something outside of it")
        refused = any(isinstance(one, Refused) for one in reference)
        self._push(Refused() if refused else self.stored(reference))

    def _call(self, called: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise ValueError(f"it calls with a {type(arguments).__name__}")
        self._count(len(arguments) + sum(map(_members, arguments)))
        if any(isinstance(one, Refused) for one in (called, *arguments)):
            self._push(Refused())
        else:
            made = self.calls(called.path) if isinstance(called, Name) else None
            if made is None:
                raise ValueError(f"it calls a {type(called).__name__}")
            self._push(made(*arguments))

    def _build(self, state: Any) -> None:
        # Other objects than stand-ins keep what they are: a state dict has notes for its modules.
        self._count(_members(state))
        if isinstance(self._stack[-1], Standin):
            self._stack[-1].build(state)

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(values)
        elif not isinstance(self._stack[-1], Refused):
            raise ValueError(f"it appends to a {type(self._stack[-1]).__name__}")

    def _set(self, flat: list[Any]) -> None:
        if not isinstance(self._stack[-1], Refused):
            _set(self._stack[-1], flat)


def _set(target: Any, flat: list[Any]) -> dict[Any, Any]:
    """Put keys and values that follow each other into a dict."""
    if not isinstance(target, dict):
        raise ValueError(f"it sets items of a {type(target).__name__}")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        target[plain_key(key)] = value
    return target


def plain_key(key: Any) -> Any:
    """A key of a dict, as it is; raises `ValueError` for one that is no word and no number.

    The hash of a tuple goes down its members without a limit.
    """
    if not isinstance(key, (str, int, float, bytes, type(None))):
        raise ValueError(f"it has a {type(key).__name__} as a key")
    return key


def _members(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, tuple, list, dict)) else 0
