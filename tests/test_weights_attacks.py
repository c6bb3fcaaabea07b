"""Files that are damaged, or made to harm, cost an error message and nothing else."""

from __future__ import annotations

import ast
import json
import os
import pickle
import time
from io import FileIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from attacks.fuzz_headers import check_error, fuzz
from attacks.headers import file_of, parts_of
from attacks.pickles import Bomb, write_bombs
from test_contract import BERT
from tiny import tiny_model
from zoo.components import build
from zoo.errors import WeightsError
from zoo.loading.weights import load_folder, load_weights
from zoo.model_folders.safe_tensors import (
    LONGEST_HEADER,
    MOST_TENSORS,
    TensorFile,
    opened,
    read_tensors,
)
from zoo.testing.samples import text_files

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    """A saved model."""
    return tiny_model().save(tmp_path / "model")


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict:
    """A tensor as a header has it."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def written(path: Path, entries: dict, content: bytes = b"") -> Path:
    """A file of these entries."""
    path.write_bytes(file_of(json.dumps(entries).encode(), content))
    return path


# ---------------------------------------------------------------------------------------- headers


def test_thousands_of_damaged_headers_are_refused_or_read_right(tmp_path):
    """By one kind of error, soon, in words that a terminal can show."""
    tried = fuzz(tmp_path, 2_500, seed=1)

    assert tried.refused.total() > 2_200
    assert tried.loaded > 30, "some change nothing that matters: the order, the metadata"
    assert len(tried.refused) >= 11, "every check of a header refuses some"
    assert tried.slowest < 0.5


def test_tensors_of_every_dtype_are_read_as_they_were_written(tmp_path):
    """Scalars and empty ones too."""
    numbers = {
        str(dtype): torch.arange(6).reshape(2, 3).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)
    }
    others = {
        str(dtype): torch.tensor([[0, 1]]).to(dtype)
        for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    }
    written = numbers | others | {"scalar": torch.tensor(2.5), "empty": torch.zeros(3, 0)}
    save_file(written, tmp_path / "all.safetensors")
    found = read_tensors(tmp_path / "all.safetensors")

    assert found.keys() == written.keys()
    for name, tensor in written.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


HOSTILE = {
    "a name twice": (b'{"a":%s,"a":%s}', "a name twice"),
    "a key twice": (
        b'{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}',
        "twice",
    ),
    "a hundred thousand brackets": (b'{"a":' + b"[" * 100_000, "recursion"),
    "a number of a million digits": (b'{"a":' + b"9" * 1_000_000 + b"}", "digits"),
    "no object": (b"[]", "no JSON object"),
    "other text": (b'{"a": \xff}', "decode"),
    "text behind": (b"{} {}", "Extra data"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_at_once(tmp_path, name):
    """Whatever a JSON reader would make of it."""
    header, message = HOSTILE[name]
    one = json.dumps(entry([], 0, 4)).encode()
    header = header.replace(b"%s", one)
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(file_of(header, bytes(4)))
    started = time.perf_counter()

    with pytest.raises(
        WeightsError, match=f"not a readable safetensors file .*{message}"
    ) as caught:
        read_tensors(path)
    assert time.perf_counter() - started < 0.5
    check_error(str(caught.value))


BAD_ENTRIES = {
    "overlap": ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, 12, "b begins at byte"),
    "a hole": ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, 12, "b begins at byte"),
    "bytes before": ({"a": entry([1], 4, 8)}, 8, "a begins at byte"),
    "bytes behind": ({"a": entry([1], 0, 4)}, 8, "the end begins at byte"),
    "cut short": ({"a": entry([2], 0, 8)}, 4, "the end begins at byte"),
    "a shape of another size": ({"a": entry([3], 0, 8)}, 8, "do not fit each other"),
    "a place that runs back": ({"a": entry([1], 8, 4)}, 8, "do not fit each other"),
    "a huge shape": ({"a": entry([1 << 48, 1 << 48], 0, 4)}, 4, "a shape that is none"),
    "many axes": ({"a": entry([1] * 9, 0, 4)}, 4, "a shape that is none"),
    "a length below zero": ({"a": entry([-1, -1], 0, 4)}, 4, "a shape that is none"),
    "a length of True": ({"a": entry([True], 0, 4)}, 4, "a shape that is none"),
    "another dtype": ({"a": entry([4], 0, 4, "F8_E4M3")}, 4, "a dtype that is none of F64"),
    "a dtype that is no text": ({"a": entry([1], 0, 4, ["F32"])}, 4, "a dtype that is none"),  # type: ignore[arg-type]
    "three offsets": ({"a": {**entry([1], 0, 4), "data_offsets": [0, 4, 8]}}, 4, "has no place"),
    "no entry": ({"a": None}, 0, "is not described by"),
    "more keys": ({"a": entry([1], 0, 4) | {"more": 1}}, 4, "is not described by"),
    "a name for a terminal": ({"\x1b[2J": entry([1], 0, 4)}, 4, "has the name"),
    "a long name": ({"a" * 301: entry([1], 0, 4)}, 4, "of 301 characters"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, 0, "metadata other than texts"),
    "too many": (
        {f"t{number}": entry([0], 0, 0) for number in range(MOST_TENSORS + 1)},
        0,
        "10,001 tensors, of 10,000 at most",
    ),
    "too long": ({"__metadata__": {"a": "b" * LONGEST_HEADER}}, 0, "bytes, of 1,048,576 at most"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_tensors_lie_one_behind_another_and_are_what_they_say(tmp_path, name):
    """To the last byte of the file."""
    entries, size, message = BAD_ENTRIES[name]
    path = written(tmp_path / "bad.safetensors", entries, bytes(size))

    with pytest.raises(WeightsError, match=message) as caught:
        read_tensors(path)
    check_error(str(caught.value))


def test_a_header_of_empty_tensors_is_no_bomb(tmp_path):
    """A million of them are legal and cost the format's own reader gigabytes."""
    entries = {f"t{number}": entry([0], 0, 0) for number in range(200_000)}
    path = written(tmp_path / "empties.safetensors", entries)
    started = time.perf_counter()

    with pytest.raises(WeightsError, match="at most"):
        read_tensors(path)
    assert time.perf_counter() - started < 0.2


def test_a_tensor_of_a_terabyte_is_refused_before_there_is_room_for_it(folder):
    """A file with a hole in it costs its sender nothing."""
    path, size = folder / "model.safetensors", 1 << 40
    header = json.dumps({"aligner.weight": entry([size // 4], 0, size)}).encode()
    with path.open("wb") as file:
        file.write(file_of(header, b""))
        file.truncate(8 + len(header) + size)

    with pytest.raises(WeightsError, match=r"aligner\.weight is not part of the model"):
        load_folder(folder)


def test_only_zero_and_one_are_truth_values(tmp_path):
    """Other bytes in a tensor of truth values are undefined to all that reads them."""
    path = written(tmp_path / "bool.safetensors", {"a": entry([2], 0, 2, "BOOL")}, b"\x01\x02")

    with pytest.raises(WeightsError, match="a holds other values than true and false"):
        read_tensors(path)


# -------------------------------------------------------------------------------- while it is read


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error(folder, monkeypatch):
    """Of this load, and not the end of the process, as where files are mapped into memory."""
    path, read = folder / "model.safetensors", TensorFile.tensor

    def cut(file, name):
        os.truncate(path, 900)
        return read(file, name)

    monkeypatch.setattr(TensorFile, "tensor", cut)
    with pytest.raises(WeightsError, match="it was cut short while it was read"):
        load_weights(tiny_model(), path)


@pytest.mark.parametrize("fits", [True, False])
def test_a_model_that_is_replaced_while_it_is_read_is_no_mixture(folder, monkeypatch, fits):
    """Of its old configuration and its new weights; another process may save at any time."""
    other = {} if fits else {"image_encoder": {"type": "chan_regions", "feature_dim": 9, "dim": 16}}
    build_model = zoo.loading.weights.build_model

    def replaced(config, files):
        tiny_model(aligner={"type": "hard_alignment", "pooling": "mean"}, **other).save(folder)
        return build_model(config, files)

    monkeypatch.setattr("zoo.loading.weights.build_model", replaced)
    with pytest.raises(WeightsError, match=r"was written to while .* was read\. Load it again\."):
        load_folder(folder)
    monkeypatch.undo()
    assert load_folder(folder).config.aligner["pooling"] == "mean"


def test_reads_that_give_less_than_was_asked_for_go_on(folder):
    """The system may give as little as it likes, and gives 2 GiB at most."""

    class Slow(FileIO):
        def readinto(self, space):
            return super().readinto(space[:100])

    path, name = folder / "model.safetensors", "image_encoder.project.weight"
    with opened(path) as file, Slow(path) as slow:
        assert torch.equal(TensorFile(path, slow, file.places).tensor(name), file.tensor(name))


def test_a_loaded_model_needs_its_file_no_more(folder):
    """It can be overwritten, or lost."""
    model = load_folder(folder)
    os.truncate(folder / "model.safetensors", 0)

    for name, tensor in tiny_model().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_pieces_of_a_tensor_are_its_bytes(folder):
    """However many at once."""
    with opened(folder / "model.safetensors") as file:
        name = "image_encoder.project.weight"
        whole = file.tensor(name).numpy().tobytes()
        assert b"".join(file.pieces(name, 7)) == b"".join(file.pieces(name)) == whole


# ---------------------------------------------------------------------------------------- pickles


def test_no_pickle_is_opened_on_the_way_to_a_model(folder, tmp_path):
    """As the weights, under any name, and as the files beside them; each error says what to do."""
    marker = tmp_path / "opened"
    bombs = write_bombs(tmp_path / "bombs", marker)
    for bomb in bombs:
        with pytest.raises(WeightsError, match="zoo import METHOD"):
            zoo.load(f"local-dir:{folder}", weights=bomb)
        with pytest.raises(WeightsError, match=r"is not a folder.*zoo import METHOD"):
            zoo.load(f"local-dir:{bomb}")
    for bomb in bombs[:-1]:  # the last one is of text, which could be anything
        renamed = tmp_path / f"{bomb.name}.safetensors"
        renamed.write_bytes(bomb.read_bytes())
        with pytest.raises(WeightsError, match=r"looks like a checkpoint.*zoo import METHOD"):
            zoo.load(f"local-dir:{folder}", weights=renamed)
    for name in ("model.safetensors", "vocab.json", "config.json"):
        kept = (folder / name).read_bytes()
        for bomb in bombs:
            (folder / name).write_bytes(bomb.read_bytes())
            with pytest.raises(zoo.ZooError):
                load_folder(folder)
        (folder / name).write_bytes(kept)

    assert not marker.exists()
    pickle.loads(pickle.dumps(Bomb(marker)))  # it would have been seen
    assert marker.exists()


def test_weights_that_are_a_pickle_only_are_named(folder):
    """As other programs leave them in the folder."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(WeightsError, match=r"zoo import METHOD \S+pytorch_model\.bin -o FOLDER"):
        load_folder(folder)


def test_a_header_that_begins_like_a_pickle_is_none(folder):
    """A length of 640 bytes is written as a pickle begins."""
    path = folder / "model.safetensors"
    header, content = parts_of(path.read_bytes())
    header = header.rstrip()
    padded = header + b" " * (0x280 + 0x10000 * (len(header) > 0x280) - len(header))
    path.write_bytes(file_of(padded, content))

    assert path.read_bytes()[:2] == b"\x80\x02"
    load_folder(folder)


def test_a_pickled_bert_is_no_beginning_of_a_training(tmp_path):
    """Transformers would open it where there is no safer file."""
    pytest.importorskip("transformers", reason="BERT is read with the extra text")
    marker, encoder = tmp_path / "opened", build("text_encoder", BERT, text_files())
    bomb = write_bombs(tmp_path, marker)[0].rename(tmp_path / "pytorch_model.bin")

    with pytest.raises(WeightsError, match=r"has no model\.safetensors of a BERT"):
        encoder.load_initial(bomb)
    assert not marker.exists()


OPENERS = {"zoo/data/inert_pickle.py"}
"""It knows stand-ins for what a pickle may name, as `zoo.pickles` does, and refuses the rest."""


def test_what_unpickles_is_known():
    """Nothing else in the package can, nor asks torch or NumPy to."""
    found = set()
    for path in [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        place, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {one.name for one in node.names} | {getattr(node, "module", None)}
                if names & {"pickle", "dill", "cloudpickle", "shelve", "marshal"}:
                    found.add(place)
            if isinstance(node, ast.Call) and _opens_pickles(node):
                found.add(place)
    assert found == OPENERS


def _opens_pickles(call: ast.Call) -> bool:
    """Whether it is torch.load or np.load without the argument that keeps pickles shut."""
    safe = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
    wanted = safe.get(ast.unparse(call.func))
    if wanted is None:
        return False
    given = {one.arg: getattr(one.value, "value", None) for one in call.keywords}
    return given.get(wanted[0]) is not wanted[1]


# ------------------------------------------------------------------------------------- what fits


def changed(folder: Path, change) -> Path:
    """Rewrite the weights after a change."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)
    return folder


REASONS = {
    "DataParallel": (
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        r"Each name begins with module\., as those of a model inside DataParallel",
    ),
    "another program": (
        lambda _: {"img_enc.fc.weight": torch.zeros(2)},
        "No name is one of this model's",
    ),
    "a part of a model": (
        lambda tensors: {
            name.removeprefix("text_encoder."): tensor
            for name, tensor in tensors.items()
            if name.startswith("text_encoder.")
        },
        "The file is of the text_encoder alone: its names lack 'text_encoder'",
    ),
    "half a model": (
        lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("text_encoder.")},
        "The file has nothing of the text_encoder: it is of a part of a model",
    ),
    "position_ids": (
        lambda tensors: tensors | {"text_encoder.bert.embeddings.position_ids": torch.arange(9)},
        "position_ids come from an older transformers",
    ),
    "weight normalisation": (
        lambda tensors: tensors | {"image_encoder.project.weight_g": torch.zeros(2)},
        "weight normalisation",
    ),
    "another vocabulary": (
        lambda tensors: tensors | {"text_encoder.embed.weight": torch.zeros(9_481, 8)},
        r"a row for each of 9,481 words and the vocabulary \d+: it is another one",
    ),
    "another size": (
        lambda tensors: (
            tensors
            | {
                "image_encoder.project.weight": torch.zeros(32, 12),
                "image_encoder.project.bias": torch.zeros(32),
            }
        ),
        r"has image_encoder\.dim, text_encoder\.dim 16, and in 2 tensors of the file it is 32\.",
    ),
    "whole numbers": (
        lambda tensors: (
            tensors | {"image_encoder.project.bias": torch.zeros(16, dtype=torch.int32)}
        ),
        r"image_encoder\.project\.bias holds I32, wanted F32",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_misfit_is_told_with_its_likely_reason(folder, name):
    """Those that the field's checkpoints have."""
    change, message = REASONS[name]

    with pytest.raises(WeightsError, match=message):
        load_folder(changed(folder, change))


def test_a_few_of_many_faults_are_shown_and_all_are_counted(folder):
    """An error stays one that can be read."""
    with pytest.raises(WeightsError, match=r"; and \d+ more\. No name is one") as caught:
        load_folder(
            changed(folder, lambda _: {f"layer.{one}": torch.zeros(1) for one in range(99)})
        )
    assert str(caught.value).count("; ") == 12
    check_error(str(caught.value))


def test_numbers_that_are_too_large_for_the_model_are_refused(folder):
    """They would be infinite there, though they are not in the file."""
    name = "image_encoder.project.bias"

    with pytest.raises(WeightsError, match=rf"{name} holds values that are not finite"):
        load_folder(
            changed(
                folder,
                lambda tensors: tensors | {name: torch.full((16,), 1e300, dtype=torch.float64)},
            )
        )


def test_tied_tensors_come_back_as_they_were_saved(tmp_path):
    """Both names are in the file, and one tensor is in the model."""
    model, twin = tied(), tied()
    folder = tied().save(tmp_path / "tied")
    with torch.no_grad():
        twin.text_encoder.embed.weight.zero_()
    load_weights(twin, folder / "model.safetensors")

    assert twin.text_encoder.embed.weight is twin.text_encoder.again.weight
    assert torch.equal(twin.text_encoder.embed.weight, model.text_encoder.embed.weight)


def test_tied_tensors_that_differ_are_refused(tmp_path):
    """Else the last name would win, and nobody would know."""
    folder = tied().save(tmp_path / "tied")
    again = torch.zeros_like(tied().text_encoder.embed.weight)
    changed(folder, lambda tensors: tensors | {"text_encoder.again.weight": again})
    message = r"text_encoder\.embed\.weight and text_encoder\.again\.weight are one tensor"

    with pytest.raises(WeightsError, match=message):
        load_weights(tied(), folder / "model.safetensors")


def tied():
    """A tiny model with one parameter under two names."""
    model = tiny_model()
    model.text_encoder.again = torch.nn.Module()
    model.text_encoder.again.weight = model.text_encoder.embed.weight
    return model
