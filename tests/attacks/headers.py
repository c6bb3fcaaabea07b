"""Safetensors files with a damaged header: by chance, or as someone would who knows the format."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

LENGTHS = (0, 1, 7, 8, 255, 1 << 20, (1 << 20) + 1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1)
NUMBERS = (-1, 0, 1, 2, 1 << 31, 1 << 48, 1 << 62, 1 << 63, 1 << 64, 10**400, 0.5, 1e308, True)
OTHERS = (None, "", "0", [], {}, [0, 0], [[0]], [1] * 40, "F32", "\ud800", "\x1b[2J", float("nan"))
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "f32", "F32 ", "O", "C64")
NAMES = ("", "__metadata__", "module.weight", "a" * 100_000, "\n", "x\x00y", "../../etc/passwd")

Entries = list[tuple[str, Any]]


def file_of(header: bytes, content: bytes) -> bytes:
    """A file with this header and, behind it, this content."""
    return len(header).to_bytes(8, "little") + header + content


def parts_of(file: bytes) -> tuple[bytes, bytes]:
    """The header and what is behind it."""
    end = 8 + int.from_bytes(file[:8], "little")
    return file[8:end], file[end:]


def damaged(file: bytes, chance: random.Random) -> bytes:
    """The file with a few of its bytes, or of its entries, changed."""
    if chance.random() < 0.4:
        return _bytes_changed(file, chance)
    header, content = parts_of(file)
    entries = list(json.loads(header).items())
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(ENTRY_CHANGES)(entries, chance)
    text = _text(entries)
    if chance.random() < 0.1:
        content = content[: chance.randrange(len(content))] + bytes(chance.choice((0, 1, 4)))
    return file_of(text.encode("utf-8", "surrogatepass"), content)


def _bytes_changed(file: bytes, chance: random.Random) -> bytes:
    changed = bytearray(file)
    header = 8 + int.from_bytes(file[:8], "little")
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(min(header, len(changed)) or 1)
        kind = chance.randrange(6)
        if kind == 0:
            changed[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del changed[place : place + chance.choice((1, 3, 50))]
        elif kind == 2:
            changed[place:place] = chance.randbytes(chance.choice((1, 3, 50)))
        elif kind == 3:
            changed[place:place] = changed[place : place + chance.randrange(1, 200)]
        elif kind == 4:
            changed[:8] = chance.choice(LENGTHS).to_bytes(8, "little")
        else:
            del changed[chance.randrange(len(changed) + 1) :]
        if not changed:
            break
    return bytes(changed)


def _text(entries: Entries) -> str:
    """As JSON, in which a name may stand twice."""
    written = (f"{json.dumps(name, ensure_ascii=False)}:{_value(value)}" for name, value in entries)
    return "{" + ",".join(written) + "}"


def _value(value: Any) -> str:
    if isinstance(value, list) and value and value[0] == "pairs":
        return _text(value[1])
    return json.dumps(value, ensure_ascii=False)


def _change_offsets(entries: Entries, chance: random.Random) -> None:
    entry = _entry(entries, chance)
    if isinstance(entry.get("data_offsets"), list) and entry["data_offsets"]:
        place = chance.randrange(len(entry["data_offsets"]))
        step = chance.choice((-4, -1, 1, 4, 64))
        old = entry["data_offsets"][place]
        moved = old + step if isinstance(old, int) else 0
        entry["data_offsets"][place] = chance.choice((moved, *NUMBERS))


def _change_shape(entries: Entries, chance: random.Random) -> None:
    entry = _entry(entries, chance)
    shape = entry.get("shape")
    if isinstance(shape, list):
        shape.insert(chance.randrange(len(shape) + 1), chance.choice((0, 1, *NUMBERS)))


def _turn_shape(entries: Entries, chance: random.Random) -> None:
    entry = _entry(entries, chance)
    if isinstance(entry.get("shape"), list):
        entry["shape"] = entry["shape"][::-1]


def _change_dtype(entries: Entries, chance: random.Random) -> None:
    _entry(entries, chance)["dtype"] = chance.choice(DTYPES)


def _change_value(entries: Entries, chance: random.Random) -> None:
    key = chance.choice(("dtype", "shape", "data_offsets", "more"))
    _entry(entries, chance)[key] = chance.choice((*OTHERS, *NUMBERS))


def _drop_key(entries: Entries, chance: random.Random) -> None:
    entry = _entry(entries, chance)
    if entry:
        del entry[chance.choice(list(entry))]


def _rename(entries: Entries, chance: random.Random) -> None:
    if entries:
        place = chance.randrange(len(entries))
        entries[place] = (chance.choice((*NAMES, entries[0][0])), entries[place][1])


def _swap(entries: Entries, chance: random.Random) -> None:
    if entries:
        one, other = chance.randrange(len(entries)), chance.randrange(len(entries))
        names = entries[one][0], entries[other][0]
        entries[one], entries[other] = (names[1], entries[one][1]), (names[0], entries[other][1])


def _repeat(entries: Entries, chance: random.Random) -> None:
    if entries:
        entries.insert(chance.randrange(len(entries)), chance.choice(entries))


def _repeat_key(entries: Entries, chance: random.Random) -> None:
    if entries:
        name, entry = chance.choice(entries)
        if isinstance(entry, dict) and entry:
            pairs = [*entry.items(), chance.choice(list(entry.items()))]
            entries[[one for one, _ in entries].index(name)] = (name, ["pairs", pairs])


def _drop(entries: Entries, chance: random.Random) -> None:
    if entries:
        del entries[chance.randrange(len(entries))]


def _add_metadata(entries: Entries, chance: random.Random) -> None:
    value = chance.choice(({"format": "pt"}, {"a": 1}, {"a": {"b": "c"}}, *OTHERS))
    entries.insert(0, ("__metadata__", value))


def _add_empty(entries: Entries, chance: random.Random) -> None:
    at = chance.choice((0, 4, 64, 1 << 40))
    empty = {"dtype": "F32", "shape": [chance.choice((0, 1 << 40)), 0], "data_offsets": [at, at]}
    entries.append((f"empty{chance.randrange(99)}", empty))


def _entry(entries: Entries, chance: random.Random) -> dict[str, Any]:
    """The description of some tensor, to be changed in place."""
    if not entries:
        return {}
    place = chance.randrange(len(entries))
    name, entry = entries[place]
    if not isinstance(entry, dict):
        return {}
    copied = json.loads(json.dumps(entry))
    entries[place] = (name, copied)
    return copied


ENTRY_CHANGES: tuple[Callable[[Entries, random.Random], None], ...] = (
    _change_offsets,
    _change_offsets,
    _change_shape,
    _turn_shape,
    _change_dtype,
    _change_value,
    _drop_key,
    _rename,
    _swap,
    _repeat,
    _repeat_key,
    _drop,
    _add_metadata,
    _add_empty,
)
