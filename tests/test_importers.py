"""Checkpoints are read as data: what torch saves comes back, and nothing else gets a chance."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zoo.errors import InputError, WeightsError
from zoo.files import sha256
from zoo.importers import Account, Checkpoint, Settings, shape_of

FORMS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


def save(path: Path, content: object, *, legacy: bool = False) -> Path:
    """A file as torch writes it, in either form."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def content(**more: object) -> dict:
    """What the programs of the field save, with two small state dicts."""
    parts = [
        torch.nn.Linear(3, 2).state_dict(),
        torch.nn.GRU(2, 4, bidirectional=True).state_dict(),
    ]
    options = argparse.Namespace(module_name="SGR", margin=0.2, word2idx={"<pad>": 0, "straße": 1})
    return {
        "epoch": 12,
        "model": parts,
        "best_rsum": np.float64(507.5),
        "opt": options,
        "Eiters": 3,
        **more,
    }


# ------------------------------------------------------------------------------- what torch writes


@FORMS
def test_what_the_programs_save_comes_back(tmp_path, legacy):
    """Weights bit by bit, options, epoch and numpy's numbers, and what file it was."""
    saved = content()
    path = save(tmp_path / "model_best.pth", saved, legacy=legacy)

    found = Checkpoint.open(path)

    assert len(found.parts) == 2
    for ours, theirs in zip(found.parts, saved["model"], strict=True):
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert dict(found.options) == vars(saved["opt"])
    assert (found.epoch, found.best_rsum) == (12, 507.5)
    assert (found.sha256, found.size) == (sha256(path), path.stat().st_size)


@FORMS
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool"]
)
def test_every_kind_of_number_comes_back(tmp_path, legacy, dtype):
    """Also from a part of a larger block, transposed, without elements, and as a parameter."""
    table = torch.arange(-12, 12).reshape(4, 6).to(getattr(torch, dtype))
    state = {"whole": table, "part": table[1:, 2:].T, "none": table[:0], "one": table[0, 0]}
    if table.is_floating_point():
        state["parameter"] = torch.nn.Parameter(table)

    (found,) = Checkpoint.open(save(tmp_path / "a.pth", {"model": state}, legacy=legacy)).parts

    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert_close(found[name], tensor.detach())


def test_tensors_that_share_their_numbers_share_them_still(tmp_path):
    """A block is read once, however many tensors are of it."""
    one = torch.randn(3)

    (found,) = Checkpoint.open(save(tmp_path / "a.pth", {"model": {"a": one, "b": one}})).parts

    assert found["a"].data_ptr() == found["b"].data_ptr()


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize(
    "number", [np.float64(1.5), np.float32(0.1), np.int64(-7), np.uint8(200), np.bool_(True)]
)
def test_numbers_of_either_numpy_are_read(tmp_path, module, number):
    """Version 2 renamed the module that their pickles name."""
    path = save(tmp_path / "a.pth", content(best_rsum=number))
    renamed = rewritten(path, lambda data: data.replace(b"numpy._core.multiarray", module))

    assert Checkpoint.open(renamed).best_rsum == (None if number is np.True_ else number)


def of_python_2(order: bytes = b"<") -> bytes:
    """The pickle of a checkpoint: words as bytes, a number of numpy's without an encoding."""
    number = (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8K\x00K\x01tR"
        b"(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x08"
    )
    number += struct.pack("<d", 412.5) + b"tR"
    options = b"cargparse\nNamespace\n)\x81}(U\x09data_nameU\x0cf30k_precompub"
    return b"\x80\x02}(U\x05model](}}eU\x09best_rsum" + number + b"U\x03opt" + options + b"u."


def test_a_file_of_python_2_is_read(tmp_path):
    """Its words are text, and its numbers numbers."""
    found = Checkpoint.open(legacy_of(tmp_path / "a.pth.tar", of_python_2()))

    assert (found.best_rsum, found.options.dataset, found.parts) == (412.5, "f30k", ({}, {}))


def test_numbers_in_the_other_order_of_bytes_are_refused(tmp_path):
    """Of numpy in the pickle, and of torch as each form of file notes it; not read wrongly."""
    one = legacy_of(tmp_path / "a.pth", of_python_2(b">"))
    two = legacy_of(tmp_path / "b.pth", b"\x80\x02}.", little_endian=False)
    three = rewritten(save(tmp_path / "c.pth", content()), lambda _: b"big", "byteorder")

    for path in (one, two, three):
        with pytest.raises(WeightsError, match="most significant byte first"):
            Checkpoint.open(path)


def test_what_data_parallel_puts_before_names_is_taken_off(tmp_path):
    """Where every name of a part has it, and there alone."""
    one, two = {"module.fc.bias": torch.zeros(1)}, {"module.a": torch.zeros(1), "b": torch.ones(1)}

    found = Checkpoint.open(save(tmp_path / "a.pth", {"model": [one, two]})).parts

    assert [list(part) for part in found] == [["fc.bias"], ["module.a", "b"]]


def test_neither_torch_nor_pickle_reads_the_file(tmp_path, monkeypatch):
    """Their readers run what a pickle says, or have been made to; ours has no way to."""
    path = save(tmp_path / "a.pth", content())
    for reader in ("torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler"):
        monkeypatch.setattr(reader, lambda *_, **__: pytest.fail("was called"))

    assert len(Checkpoint.open(path).parts) == 2


# ------------------------------------------------------------------------------------- attacks


def rewritten(path: Path, change, member: str = "data.pkl") -> Path:
    """A zip archive of torch with one member changed, or added."""
    changed = path.with_suffix(".changed")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith(f"/{member}") else data)
    return changed


def legacy_of(
    path: Path, pickled: bytes, after: bytes = b"\x80\x02].", *, little_endian: bool = True
) -> Path:
    """A file in the old form with this pickle as its content."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": little_endian}]
    path.write_bytes(b"".join(pickle.dumps(one, 2) for one in head) + pickled + after)
    return path


class Runs:
    """An object that runs a command where it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@FORMS
@pytest.mark.parametrize("place", ["model", "opt", "epoch", "more", "tensor"])
def test_a_checkpoint_that_would_run_a_command_is_refused_without_running_it(
    tmp_path, legacy, place
):
    """Wherever it hides; the error says what it asked for."""
    witness = tmp_path / "witness"
    bomb = Runs(os.system, f"touch {witness}")
    saved = content()
    if place == "tensor":
        saved["model"][0]["fc.weight"] = bomb
    else:
        saved[place] = argparse.Namespace(word2idx={"a": bomb}) if place == "opt" else bomb
    path = save(tmp_path / "a.pth", saved, legacy=legacy)

    with pytest.raises(WeightsError, match=r"asks for (posix|nt)\.system, and .*Nothing of it was"):
        Checkpoint.open(path)

    assert not witness.exists()
    torch.load(path, weights_only=False)  # it would have run
    assert witness.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_bare_pickle_is_refused_without_running_it(tmp_path, protocol):
    """Whatever the protocol, and no matter that it is no file of torch."""
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Runs(os.system, f"touch {tmp_path / 'witness'}"), protocol))

    with pytest.raises(WeightsError, match=r"system|is no checkpoint"):
        Checkpoint.open(path)

    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    "instructions",
    [
        b"(S'touch witness'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch witness'\no.",  # OBJ
        b"cos\nsystem\n(S'touch witness'\ntR.",  # GLOBAL, REDUCE
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0dtouch witness\x85R.",  # STACK_GLOBAL
        b"\x80\x02cos\nsystem\n)\x81.",  # NEWOBJ
        b"\x80\x02cos\nsystem\n}U\x01aU\x01bsb.",  # BUILD
        b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\nU\x08__call__tR.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x08__code__cos\nsystem\nsb.",
    ],
)
def test_no_instruction_of_a_pickle_imports_or_calls(tmp_path, monkeypatch, instructions):
    """Each way to name or to call something is refused with the name."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    with pytest.raises(WeightsError, match=r"asks for (builtins\.getattr, )?os\.system"):
        Checkpoint.open(legacy_of(tmp_path / "a.pth", instructions))

    assert not (tmp_path / "witness").exists()
    assert set(sys.modules) == before


def test_a_module_that_a_pickle_names_is_not_imported(tmp_path, monkeypatch):
    """Importing alone can run code."""
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(WeightsError, match=r"asks for planted\.Thing"):
        Checkpoint.open(legacy_of(tmp_path / "a.pth", b"\x80\x02cplanted\nThing\n)\x81."))


def test_everything_that_a_pickle_asks_for_is_named_once(tmp_path):
    """A name with control characters is shown without them, a long list shortened."""
    names = [f"evil\x1b[2J{n}" for n in range(10)] * 2
    asks = b"".join(f"c{name}\nThing\n)R".encode() for name in names)

    with pytest.raises(WeightsError) as caught:
        Checkpoint.open(legacy_of(tmp_path / "a.pth", b"\x80\x02" + asks + b"N."))

    said = str(caught.value)
    assert said.count("evil") == 8
    assert r"evil\x1b[2J0.Thing, " in said
    assert "and 2 more" in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "call",
    [
        Runs(np.zeros, 10**12),
        Runs(np.frombuffer, b"abc"),
        Runs(torch.zeros, 10**12),
        Runs(collections.Counter, "abc"),
        Runs(set, [1]),
        Runs(bytearray, 10**12),
        Runs(complex, 1, 2),
        Runs(Path, "a"),
    ],
    ids=lambda call: call.call.__name__,
)
def test_what_is_no_plain_value_is_refused(tmp_path, call):
    """Harmless or not: tensors, numbers, text and Namespace are all that is read."""
    with pytest.raises(WeightsError, match=r"asks for .*, and a checkpoint is read only if"):
        Checkpoint.open(save(tmp_path / "a.pth", content(more=call)))


def tensor_of(offset=0, shape=(2, 3), stride=(3, 1), count=6, key="0", kind="FloatStorage"):
    """The pickle of a file whose only tensor has this shape within this block."""

    class Block:
        """Stands for a reference to numbers."""

    class Pickler(pickle.Pickler):
        """Writes what torch would write."""

        def persistent_id(self, found):
            """A block as a reference."""
            kinds = getattr(torch, kind)
            return ("storage", kinds, key, "cpu", count) if isinstance(found, Block) else None

    import io

    tensor = Runs(torch._utils._rebuild_tensor_v2, Block(), offset, shape, stride, False, {})
    file = io.BytesIO()
    Pickler(file, 2).dump({"model": {"a": tensor}})
    return file.getvalue()


def archive(path: Path, pickled: bytes, **members: bytes) -> Path:
    """A zip archive as torch writes it, with this pickle and these blocks."""
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("archive/data.pkl", pickled)
        for name, data in members.items():
            new.writestr(f"archive/{name.replace('_', '/')}", data)
    return path


def test_the_archives_of_these_tests_are_such_as_torch_reads(tmp_path):
    """So what is refused below is refused for what is changed."""
    path = archive(tmp_path / "a.pth", tensor_of(), data_0=struct.pack("<6f", *range(6)))

    (found,) = Checkpoint.open(path).parts

    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"offset": 1}, "reaches beyond"),
        ({"offset": -1}, "of a shape that is none"),
        ({"offset": 10**30}, "reaches beyond"),
        ({"shape": (3, 3)}, "more numbers than its block"),
        ({"shape": (10**9, 10**9), "stride": (0, 0)}, "more numbers than its block"),
        ({"shape": (-2, -3)}, "of a shape that is none"),
        ({"stride": (3, 2)}, "reaches beyond"),
        ({"stride": (3, -1)}, "of a shape that is none"),
        ({"stride": (3,)}, "more numbers than its block"),
        ({"shape": (2.0, 3), "stride": (3, 1)}, "of a shape that is none"),
        ({"shape": (1,) * 70, "stride": (1,) * 70}, "more numbers than its block"),
        ({"count": 7}, "24 bytes in place of 28"),
        ({"count": 10**15}, "24 bytes in place of 4,000"),
        ({"count": -6}, "without a name or a size"),
        ({"key": "1"}, "KeyError"),
        ({"key": "../../a"}, "KeyError"),
        ({"key": 0}, "without a name or a size"),
        ({"kind": "DoubleStorage"}, "24 bytes in place of 48"),
        ({"kind": "QInt8Storage"}, "asks for torch.QInt8Storage"),
    ],
)
def test_a_tensor_outside_its_numbers_is_refused(tmp_path, changes, words):
    """Nothing is read that is not the block's, and nothing as large as a file claims."""
    path = archive(tmp_path / "a.pth", tensor_of(**changes), data_0=bytes(24))

    with pytest.raises(WeightsError, match=words):
        Checkpoint.open(path)


@pytest.mark.parametrize(
    ("claimed", "written", "words"),
    [
        (6, 6, None),
        (10**12, 10**12, "ends within its numbers"),
        (7, 7, "ends within its numbers"),
        (7, 6, "6 numbers in place of its own"),
        (6, -1, "-1 numbers in place of its own"),
    ],
)
def test_a_block_of_the_old_form_has_as_many_numbers_as_it_claims(
    tmp_path, claimed, written, words
):
    """In the pickle, before the block, and in the file; no memory is taken for more."""
    after = pickle.dumps(["0"], 2) + struct.pack("<q", written) + struct.pack("<6f", *range(6))
    path = legacy_of(tmp_path / "a.pth", tensor_of(count=claimed), after)
    if words is None:
        assert Checkpoint.open(path).parts[0]["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
        return

    with pytest.raises(WeightsError, match=words):
        Checkpoint.open(path)


def test_two_blocks_of_one_name_are_refused(tmp_path):
    """The same bytes as numbers of two kinds."""
    one, two = tensor_of(), tensor_of(kind="IntStorage")
    both = b"\x80\x02}(U\x05model" + one[2:-1] + b"U\x01b" + two[2:-1] + b"u."

    with pytest.raises(WeightsError, match="two blocks of numbers of the name '0'"):
        Checkpoint.open(archive(tmp_path / "a.pth", both, data_0=bytes(24)))


def test_an_archive_of_several_pickles_is_refused(tmp_path):
    """Which of them would be meant?"""
    path = archive(tmp_path / "a.pth", tensor_of(), data_0=bytes(24))
    with zipfile.ZipFile(path, "a") as more:
        more.writestr("other/data.pkl", b"\x80\x02}.")

    with pytest.raises(WeightsError, match=r"2 members data.pkl in place of one"):
        Checkpoint.open(path)


def test_a_pickle_of_too_many_bytes_is_refused(tmp_path, monkeypatch):
    """A vocabulary takes a few hundred kB."""
    monkeypatch.setattr("zoo.importers.archives.LARGEST_PICKLE", 100)

    with pytest.raises(WeightsError, match=r"data.pkl has .* bytes, and at most 100 are read"):
        Checkpoint.open(save(tmp_path / "a.pth", content()))


def test_a_compressed_archive_is_refused(tmp_path):
    """A few bytes could be gigabytes."""
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("archive/data.pkl", b"\x80\x02}.")

    with pytest.raises(WeightsError, match="members are compressed"):
        Checkpoint.open(path)


def test_members_that_lie_on_each_other_are_refused(tmp_path):
    """Many names for the same bytes could be any amount of memory."""
    path = archive(tmp_path / "a.pth", tensor_of(), data_0=bytes(2000), data_1=bytes(2000))
    data = path.read_bytes()
    places = [data.index(b"PK\x01\x02", start) for start in _entries(data)]
    claims = bytearray(data)
    for place in places[1:]:  # each member of the directory is made the first one, and larger
        claims[place + 20 : place + 28] = struct.pack("<2I", 2_000_000, 2_000_000)
    path.write_bytes(bytes(claims))

    with pytest.raises(WeightsError, match="larger than the file"):
        Checkpoint.open(path)


def _entries(data: bytes) -> list[int]:
    starts, place = [], 0
    while (place := data.find(b"PK\x01\x02", place)) >= 0:
        starts.append(place)
        place += 4
    return starts


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (b"\x80\x02r\xff\xff\xff\x7f.", "IndexError"),  # a memo of two thousand million
        (b"\x80\x02}r\xff\xff\xff\x7f.", "'model' with state dicts"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
        (b"\x80\x02\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b".", "a number of 32,767 bits"),
        (b"\x80\x02I" + b"9" * 5000 + b"\n.", "digits|number of"),
        (b"\x80\x02" + b"(" * 50_000 + b".", "unpack"),
        (b"\x80\x02)" + b"\x85" * 50_000 + b".", "no names"),  # tuples within tuples
        (b"\x80\x02})" + b"\x85" * 50_000 + b"Ns.", "a tuple as a key"),
        (b"\x80\x02}}Ns.", "a dict as a key"),
        (b"\x80\x02]Na.", "no names"),
        (b"\x80\x02)Na.", "appends to a tuple"),
        (b"\x80\x02]NNs.", "sets items of a list"),
        (b"\x80\x02N)R.", "calls a NoneType"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls a Name"),
        (b"\x80\x02}U\x05modelU\x01as.", "has a str in place of a state dict"),
        (b"\x80\x02}U\x05model}U\x01aK\x01ss.", "'a' of its model is no tensor"),
        (b"\x80\x02}U\x05model}K\x01K\x01sss.", "no tensor|IndexError"),
        (b"\x80\x020.", "IndexError|POP"),
        (b"\x80\x02\x82\x01.", "EXT1, which torch.save never writes"),
        (b"\x80\x02", "exhausted|No opcode|unknown"),
    ],
)
def test_a_pickle_that_breaks_the_rules_is_refused_at_once(tmp_path, pickled, words):
    """In little time and memory; the reason is told."""
    with pytest.raises(WeightsError, match=f"is no checkpoint that can be read: .*({words})"):
        Checkpoint.open(legacy_of(tmp_path / "a.pth", pickled, after=b"\x80\x02].\x00"))


def test_what_a_file_says_is_shown_in_short(tmp_path):
    """A message is for a person, whatever a hundred thousand letters in a file say."""
    name = b"X" + struct.pack("<I", 100_000) + b"f\x1b" * 50_000

    with pytest.raises(
        WeightsError, match="is no checkpoint that can be read: KeyError "
    ) as caught:
        Checkpoint.open(legacy_of(tmp_path / "a.pth", b"\x80\x02cnumpy\ndtype\n(" + name + b"tR."))

    assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert str(caught.value).isprintable()


PAIRS = b"](" + b"U\x01aN\x86" * 50 + b"eq\x01"  # fifty pairs, that the memo keeps as 1
BLOCK = b"U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x01"


@pytest.mark.parametrize(
    "pickled",
    [
        b"N" + b"\x85" * 1000,
        PAIRS + b"ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01\x85R" * 50,
        b"X" + struct.pack("<I", 400) + b"a" * 400 + b"q\x01" + b"c_codecs\nencode\nh\x01\x85R" * 9,
        b"}(" + b"".join(b"U\x02%02dN" % one for one in range(50)) + b"uq\x01"
        b"cargparse\nNamespace\nq\x02" + b"h\x02)\x81h\x01b" * 50,
        b"(" + b")" * 400 + b"tq\x01" + b"ccollections\nOrderedDict\nh\x01R" * 3,
        b"(" + BLOCK + b"N" * 400 + b"tq\x01" + b"h\x01Q" * 9,
        b"X" + struct.pack("<I", 400) + b"a" * 400 + b"q\x01" + b"h\x01h\x01\x93" * 9,
    ],
    ids=["instructions", "pairs", "bytes", "options", "arguments", "references", "names"],
)
def test_a_pickle_of_too_many_steps_is_refused(tmp_path, monkeypatch, pickled):
    """One of some kilobytes could fill any memory, or keep a machine busy for days."""
    monkeypatch.setattr("zoo.pickles.MOST_STEPS", 1000)

    with pytest.raises(WeightsError, match="takes more than 1,000 steps"):
        Checkpoint.open(legacy_of(tmp_path / "a.pth", b"\x80\x02" + pickled + b"."))


def test_names_without_a_stand_in_are_found_in_time(tmp_path):
    """Fifty thousand of them, each looked for among those before it, were a thousand million."""
    names = b"".join(b"cm%d\nA\n" % one for one in range(50_000))
    before = time.process_time()

    with pytest.raises(WeightsError, match=r"asks for m0\.A, .* and 49992 more"):
        Checkpoint.open(legacy_of(tmp_path / "a.pth", b"\x80\x02" + names + b"."))

    assert time.process_time() - before < 5


DEEP = b")" + b"\x85" * 150_000 + b"q\x90"  # their hash goes down these tuples in C
WIDE = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (one, one, one + 1) for one in range(60)) + b"q\x90"
"""A tuple of the same one twice, and so on: to write it, or to hash it, takes 2 ** 60 steps."""
USES = {
    "kind": b"cnumpy\ndtype\nh\x90\x85R",
    "options": b"cargparse\nNamespace\n]h\x90N\x86a\x85R",
    "pairs": b"ccollections\nOrderedDict\n]h\x90N\x86a\x85R",
    "module": b"h\x90U\x01a\x93",
    "name": b"U\x01ah\x90\x93",
    "encoding": b"c_codecs\nencode\nU\x01ah\x90\x86R",
    "call": b"cargparse\nNamespace\nh\x90R",
    "block": b"(U\x07storageh\x90U\x010U\x03cpuK\x01tQ",
    "key": b"(U\x07storagectorch\nFloatStorage\nh\x90U\x03cpuK\x01tQ",
    "dict": b"}h\x90Ns",
}


@pytest.mark.parametrize(
    ("bomb", "use"), [*((WIDE, use) for use in USES), (DEEP, "kind"), (DEEP, "options")]
)
def test_tuples_of_tuples_are_neither_hashed_nor_written(tmp_path, bomb, use):
    """It would end the whole process without a word, or never end."""
    path = legacy_of(tmp_path / "a.pth", b"\x80\x02" + bomb + USES[use] + b".")

    with pytest.raises(WeightsError, match="is no checkpoint that can be read"):
        Checkpoint.open(path)


def test_names_of_blocks_are_text(tmp_path):
    """Also in the list of them that is behind the content of the old form."""
    after = b"\x80\x02]" + DEEP + b"a." + bytes(16)

    with pytest.raises(WeightsError, match="a tuple as the name of a block"):
        Checkpoint.open(legacy_of(tmp_path / "a.pth", b"\x80\x02}.", after))


def test_a_model_of_very_many_parts_or_tensors_is_refused(tmp_path, monkeypatch):
    """A memo gives the same part again for two bytes."""
    with pytest.raises(WeightsError, match="9 parts, of 8 at most"):
        Checkpoint.open(save(tmp_path / "a.pth", {"model": [zeros("a")] * 9}))

    monkeypatch.setattr("zoo.importers.checkpoint.MOST_TENSORS", 2)
    with pytest.raises(WeightsError, match="3 tensors in a part, of 2"):
        Checkpoint.open(save(tmp_path / "a.pth", {"model": zeros("a", "b", "c")}))


def test_options_may_be_a_dict_and_nothing_else(tmp_path):
    """Some programs save `vars(opt)`; options that are overlooked would be taken for defaults."""
    found = Checkpoint.open(save(tmp_path / "a.pth", {"model": {}, "opt": {"no_imgnorm": True}}))

    assert dict(found.options) == {"no_imgnorm": True}
    with pytest.raises(WeightsError, match="has a str in place of its options"):
        Checkpoint.open(save(tmp_path / "a.pth", {"model": {}, "opt": "--no_imgnorm"}))


def test_a_tensor_whose_name_is_no_name_is_refused(tmp_path):
    """It would be shown on somebody's terminal."""
    for name in ("fc\x1b[2J.weight", "x" * 201):
        path = save(tmp_path / "a.pth", {"model": {name: torch.zeros(1)}})

        with pytest.raises(WeightsError, match="a tensor of the name ") as caught:
            Checkpoint.open(path)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


@FORMS
def test_a_file_that_was_cut_or_changed_anywhere_is_an_error_and_no_crash(tmp_path, legacy):
    """Six hundred random changes of small files: each opens as it was, or is refused in words."""
    small = {"model": [{"a": torch.randn(3)}, {}], "opt": argparse.Namespace(a=[1, 2.5, "x"])}
    whole = save(tmp_path / "a.pth", small, legacy=legacy).read_bytes()
    generator, path, refused = np.random.default_rng(0), tmp_path / "b.pth", 0
    for number in range(300):
        data = bytearray(whole)
        if number % 4 == 0:
            del data[generator.integers(len(data)) :]
        for _ in range(generator.integers(1, 4)):
            if data:
                data[generator.integers(len(data))] = generator.integers(256)
        path.write_bytes(bytes(data))
        try:
            Checkpoint.open(path)
        except WeightsError:
            refused += 1
    assert refused > 60


def test_a_file_that_is_absent_or_something_else_is_refused(tmp_path):
    """In words that say what is wanted."""
    other = tmp_path / "model.safetensors"
    other.write_bytes(struct.pack("<Q", 2) + b"{}")

    with pytest.raises(InputError, match=r"none\.pth is no file\. Give the path of a checkpoint"):
        Checkpoint.open(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"no checkpoint that can be read.*torch\.save"):
        Checkpoint.open(other)
    with pytest.raises(WeightsError, match=r"the names \['state_dict'\] where 'model'"):
        Checkpoint.open(save(tmp_path / "a.pth", {"state_dict": {}}))


# ------------------------------------------------------------------------------------ options, keys


def settings(**options: object) -> Settings:
    """The options of a checkpoint."""
    return Settings(options, Path("a.pth"))


def test_an_option_is_read_by_its_meaning():
    """The default stands in for one that is not given or None."""
    found = settings(kind="SGR", off=False, rate=0.5, none=None)

    assert found.choose("kind", {"SGR": "sgr"}) == "sgr"
    assert found.choose("off", {False: "on"}, default="x") == "on"
    assert found.choose("none", {"a": 1}, default=2) == found.choose("absent", {}, default=2) == 2
    assert (found.number("rate", 1.0), found.number("none", 1.0)) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (
            lambda: settings(kind="GAT").choose("kind", {"SGR": 1, "SAF": 2}),
            "kind 'GAT', .*SGR, SAF",
        ),
        (lambda: settings().choose("kind", {"SGR": 1}), "does not say its kind, .* SGR"),
        (lambda: settings(kind=["SGR"]).choose("kind", {"SGR": 1}), "kind no word or number"),
        (lambda: settings(rate="much").number("rate", 1.0), "a str as its option rate"),
        (lambda: settings(rate=True).number("rate", 1.0), "a bool as its option rate"),
        (lambda: settings(rate=float("nan")).number("rate", 1.0), "a float as its option rate"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(read, words):
    """It comes from a file, so it may be anything."""
    with pytest.raises(WeightsError, match=words):
        read()


def test_the_data_set_is_known_by_its_names():
    """As the programs call it; anything else is none."""
    names = ["f30k", "f30k_precomp", "coco", "coco_precomp", "f8k_precomp", 3, None]

    found = [settings(data_name=name).dataset for name in names]

    assert found == ["f30k", "f30k", "coco", "coco", None, None, None]


def zeros(*names: str) -> dict[str, torch.Tensor]:
    """A state dict."""
    return {name: torch.zeros(1) for name in names}


def test_each_tensor_has_a_place_or_a_reason():
    """A name stands for what is under it; one may go to several; reasons win."""
    account = Account()

    account.take(
        zeros("fc.weight", "fc.bias", "fcq.weight", "old.a", "fc.extra"),
        [("project", "fc"), ("query", "fcq"), ("again.query", "fcq"), ("x", "fc.weight")],
        ours="image_encoder.",
        theirs="image ",
        ignored={"old": "never used", "fc.extra": "never used", "absent": "not there"},
    )
    account.leave(zeros("margin"), "the loss's", theirs="loss ")

    assert account.origins == {
        "image_encoder.project.weight": "image fc.weight",
        "image_encoder.x": "image fc.weight",
        "image_encoder.project.bias": "image fc.bias",
        "image_encoder.query.weight": "image fcq.weight",
        "image_encoder.again.query.weight": "image fcq.weight",
    }
    assert account.tensors.keys() == account.origins.keys()
    assert account.ignored == {
        "image old.a": "never used",
        "image fc.extra": "never used",
        "loss margin": "the loss's",
    }
    assert account.summary() == [
        "3 tensors of the checkpoint have a place in the model.",
        "Left out, never used: image old.a, image fc.extra.",
        "Left out, the loss's: loss margin.",
    ]


def test_tensors_without_a_place_and_names_without_a_tensor_are_told_together():
    """One error for all; `fc` is no beginning of `fcq`."""
    with pytest.raises(WeightsError) as caught:
        Account().take(zeros("fcq.a", "b"), [("project", "fc"), ("rnn", "rnn")], theirs="image ")

    assert "holds image fcq.a, image b, which has no place" in str(caught.value)
    assert "lacks image fc, image rnn." in str(caught.value)


def test_a_shape_is_refused_where_it_is_of_another_rank():
    """Sizes are read from tensors, which may be anything."""
    state = {"fc.weight": torch.zeros(2)}

    with pytest.raises(WeightsError, match=r"image fc.weight is \(2,\), where 2 axes are wanted"):
        shape_of(state, "fc.weight", 2, theirs="image ")
    with pytest.raises(WeightsError, match=r"lacks image fc\.bias"):
        shape_of(state, "fc.bias", 1, theirs="image ")
