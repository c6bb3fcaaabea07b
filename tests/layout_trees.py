"""One small data set written to disk in every layout that the zoo reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Described(NamedTuple):
    """An image with its captions; `file` is where its picture lies, as COCO names it."""

    number: int
    captions: tuple[str, ...]

    @property
    def file(self) -> str:
        """For example val2014/COCO_val2014_000000000007.jpg."""
        return f"val2014/COCO_val2014_{self.number:012d}.jpg"

    @property
    def name(self) -> str:
        """The file without its folder."""
        return self.file.rpartition("/")[2]


Images = Sequence[Described]


def lines(path: Path, rows: Sequence[object]) -> Path:
    """A text file, a row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{row}\n" for row in rows).encode())
    return path


def dump(path: Path, value: object) -> Path:
    """A JSON file."""
    return lines(path, [json.dumps(value)])


def pairs(images: Images) -> list[tuple[Described, int, str]]:
    """Every image with the number and the text of each of its captions."""
    return [(one, n, text) for one in images for n, text in enumerate(one.captions)]


def scan(root: Path, images: Images) -> Path:
    """SCAN: an id for each caption."""
    lines(root / "coco_precomp/testall_caps.txt", [text for _, _, text in pairs(images)])
    lines(root / "coco_precomp/testall_ids.txt", [one.number for one, _, _ in pairs(images)])
    return root / "coco_precomp"


def scan_in_a_tree(root: Path, images: Images) -> Path:
    """vse_infty: an id for each image where all have equally many captions, and a mapping above."""
    lines(root / "coco/precomp/testall_caps.txt", [text for _, _, text in pairs(images)])
    lines(root / "coco/precomp/testall_ids.txt", [one.number for one in images])
    dump(root / "coco/id_mapping.json", {str(one.number): one.file for one in images})
    lines(root / "coco/cxc_annots/testall_ids.txt", [one.number for one in images])
    dump(root / "vocab/coco_vocab.json", {"word2idx": {"a": 0}})
    return root / "coco/precomp"


def karpathy(root: Path, images: Images) -> Path:
    """Karpathy: one JSON file with every split."""
    entries = [
        {
            "filepath": "val2014",
            "sentids": [],
            "filename": one.name,
            "imgid": row,
            "split": "test",
            "sentences": [{"tokens": [], "raw": text} for text in one.captions],
            "cocoid": one.number,
        }
        for row, one in enumerate(images)
    ]
    other = entries[0] | {"split": "val", "cocoid": 1, "filename": "x.jpg"}
    dump(root / "coco/dataset_coco.json", {"images": [other, *entries], "dataset": "coco"})
    return root / "coco"


def annotations(images: Images) -> dict[str, object]:
    """COCO's captions_*.json; caption ids are in another order than captions."""
    return {
        "info": {},
        "images": [{"id": one.number, "file_name": one.name} for one in reversed(images)],
        "annotations": [
            {"image_id": one.number, "id": 9000 - row, "caption": f"{text}\n"}
            for row, (one, _, text) in enumerate(pairs(images))
        ],
    }


def coco(root: Path, images: Images) -> Path:
    """COCO annotations, a file a split."""
    dump(root / "coco/annotations/captions_test2014.json", annotations(images))
    return root / "coco/annotations"


def coco_with_ids(root: Path, images: Images) -> Path:
    """COCO annotations and caption ids that choose a split out of val2014."""
    other = Described(1, ("of no interest",))
    table = annotations([*images, other])
    folder = dump(root / "coco/annotations/captions_val2014.json", table).parent
    chosen = [9000 - row for row in range(len(pairs(images)))]
    np.save(folder / "coco_test_ids.npy", np.array(chosen))
    return folder


def lavis(root: Path, images: Images) -> Path:
    """LAVIS: a list of images with lists of captions."""
    records = [{"image": one.file, "caption": list(one.captions)} for one in images]
    folder = dump(root / "coco/annotations/coco_karpathy_test.json", records).parent
    dump(folder / "coco_karpathy_test_gt.json", annotations(images))
    return folder


def lavis_train(root: Path, images: Images) -> Path:
    """LAVIS' form for training: a record a caption."""
    records = [
        {"caption": text, "image": one.file, "image_id": f"coco_{one.number}", "instance_id": n}
        for n, (one, _, text) in enumerate(pairs(images))
    ]
    return dump(root / "coco/annotations/coco_karpathy_test.json", records).parent


def json_lines(root: Path, images: Images) -> Path:
    """ViLBERT, xmodaler: a record a line."""
    records = [
        json.dumps({"sentences": list(one.captions), "id": n, "img_path": one.name})
        for n, one in enumerate(images)
    ]
    return lines(root / "coco/all_data_final_test_set0_2014.jsonline", records).parent


def table(root: Path, images: Images) -> Path:
    """Image TAB caption, without names of columns."""
    rows = [f"{one.file}\t{text}" for one, _, text in pairs(images)]
    return lines(root / "coco/captions_test.tsv", rows).parent


def tokens(root: Path, images: Images) -> Path:
    """Flickr's token files: the number of the caption after the picture."""
    rows = [f"{one.name}#{n}\t{text}" for one, n, text in pairs(images)]
    return lines(root / "coco/test.token", rows).parent


def bars(root: Path, images: Images) -> Path:
    """results.csv of Flickr30K: bars between three columns."""
    rows = [f"{one.name}| {n}| {text}" for one, n, text in pairs(images)]
    head = "image_name| comment_number| comment"
    return lines(root / "coco/test/results.csv", [head, *rows]).parent


def commas(root: Path, images: Images) -> Path:
    """A CSV file with columns in some order, and with the split in one of them."""
    path = lines(root / "coco/captions.csv", [])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "caption", "filename"])
        writer.writerow(["val", "of no interest", "x.jpg"])
        writer.writerows(["test", text, one.file] for one, _, text in pairs(images))
    return path.parent


def texts_beside_pictures(root: Path, images: Images) -> Path:
    """A picture and a text of the same name; their names are in the order of the data set."""
    for one in images:
        lines(root / "coco/test" / one.name.replace(".jpg", ".txt"), one.captions)
        (root / "coco/test" / one.name).write_bytes(b"no picture, but a file")
    return root / "coco/test"


LAYOUTS: dict[str, Callable[[Path, Images], Path]] = {
    writer.__name__: writer
    for writer in (
        scan,
        scan_in_a_tree,
        karpathy,
        coco,
        coco_with_ids,
        lavis,
        lavis_train,
        json_lines,
        table,
        tokens,
        bars,
        commas,
        texts_beside_pictures,
    )
}
"""Each writes a tree below a folder, and gives the folder of its captions."""
