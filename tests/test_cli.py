"""The commands: what they print, what they refuse, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.demo import PHOTOS

CAT = PHOTOS / "cat.jpg"
ROOT = Path(__file__).resolve().parents[1]


def in_process_of_its_own(*code: str, **options) -> subprocess.CompletedProcess[str]:
    """Runs Python statements in a fresh interpreter."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {**os.environ, "PYTHONPATH": path, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        **options,
    )


class TestCatalogue:
    """`zoo list`, `zoo info`, `zoo plugins`."""

    def test_list_keeps_paper_and_measured_results_in_columns_of_their_own(self, run):
        """A figure of the paper stands under 'paper rsum', and nothing of ours does."""
        status, out, _ = run("list", "chan-f30k")

        header, row = (
            next(line for line in out.splitlines() if word in line)
            for word in ("rsum measured", "chan-f30k")
        )
        assert status == 0
        assert row.index("507.7") >= header.index("paper rsum")
        assert row[header.index("rsum measured") : header.index("paper rsum")].strip() == ""

    def test_list_as_json_has_every_model(self, run):
        """The same names as the Python call gives, in its order."""
        _, out, _ = run("list", "--json")

        models = json.loads(out)
        assert [model["name"] for model in models] == zoo.list_models()
        f30k = next(model for model in models if model["name"] == "chan-f30k")
        assert f30k["measured"] == []
        assert f30k["paper"][0]["metrics"]["rsum"] == 507.7

    def test_list_filters_by_pattern_and_status(self, run):
        """Both hold at once."""
        _, out, _ = run("list", "chan-*", "--status", "unpublished", "--json")

        names = {model["name"] for model in json.loads(out)}
        assert "chan-coco" in names
        assert "chan-f8k" not in names

    def test_a_pattern_without_matches_says_so(self, run):
        """Nothing on stdout, a line on stderr, and no error."""
        assert run("list", "nothing-*") == (0, "", "No model matches 'nothing-*'.\n")

    def test_info_tells_how_to_get_a_model(self, run):
        """With the paper's results under a title that says whose they are."""
        status, out, _ = run("info", "chan-coco")

        assert status == 0
        assert "zoo train chan-coco" in out
        assert "Reported by papers" in out
        assert "Measured by us" not in out

    def test_info_as_json_is_what_the_card_says(self, run):
        """Every fact by its name."""
        _, out, _ = run("info", "chan-coco.bert_butd", "--json")

        card = json.loads(out)
        assert card["variant"] == "bert_butd"
        assert card["features"] == {"kind": "butd", "regions": 36, "dim": 2048, "boxes": False}
        assert card["venue"] == "CVPR 2023"

    @pytest.mark.parametrize("options", [(), ("--json",)])
    @pytest.mark.parametrize(
        "known", [{}, {"dataset": "", "split": "", "protocol": "", "metrics": []}]
    )
    def test_a_damaged_result_file_does_not_hide_the_models(
        self, run, tmp_path, monkeypatch, options, known
    ):
        """The list says so in its place; only the card of that model is an error."""
        (tmp_path / "results.json").write_text(json.dumps({"results": [known]}))
        monkeypatch.setattr(
            "zoo.catalogue.cards._bundled_folder",
            lambda v, _: tmp_path if v.status == "bundled" else None,
        )
        status, out, _ = run("list", *options)

        assert status == 0
        assert out.count("damaged") == len(zoo.list_models(status="bundled"))
        assert run("info", "chan-coco", *options)[0] == 0
        status, _, err = run("info", "chan-f8k", *options)
        assert status == 1
        assert "results.json does not hold results" in err

    def test_plugins_lists_what_each_provides(self, run):
        """CHAN, loaded, with its aligner."""
        _, out, _ = run("plugins", "--json")

        chan = next(plugin for plugin in json.loads(out) if plugin["name"] == "chan")
        assert chan["status"] == "loaded"
        assert {"kind": "aligner", "name": "hard_alignment"} in chan["components"]
        assert "hard_alignment" in run("plugins")[1]

    @pytest.mark.parametrize("command", ["--help", "list", "info chan-coco", "plugins"])
    def test_reading_the_catalogue_imports_no_torch(self, command):
        """Nor anything else that is slow."""
        done = in_process_of_its_own(
            "import sys",
            "from zoo.cli import main",
            f"status = main({command.split()!r})",
            "heavy = {'torch', 'mmengine', 'transformers', 'matplotlib', 'huggingface_hub'}",
            "sys.exit(status or bool(heavy & set(sys.modules)))",
        )

        assert done.returncode == 0, done.stderr


class TestScore:
    """`zoo score`."""

    def test_every_image_gets_its_texts_best_first(self, run, model_folder):
        """What looks like markup is shown as it stands."""
        arguments = (CAT, "--text", "a dog", "--text", "a [red] cat", "--model", model_folder)
        status, out, _ = run("score", *arguments)
        rows = json.loads(run("score", *arguments, "--json")[1])

        best = max(zip(rows["scores"][0], rows["texts"], strict=True))[1]
        first = next(line for line in out.splitlines() if str(CAT) in line)
        assert status == 0
        assert best in first
        assert "a [red] cat" in out

    def test_json_has_the_scores_of_the_python_call(self, run, model_folder):
        """Images by texts."""
        images, texts = [CAT, PHOTOS / "coffee.jpg"], ["a dog runs", "a cup", "two children"]
        words = [word for text in texts for word in ("--text", text)]
        _, out, _ = run("score", *images, *words, "--model", f"local-dir:{model_folder}", "--json")

        model = zoo.load(f"local-dir:{model_folder}")
        expected = model.score(model.encode_images(images), model.encode_texts(texts))
        assert json.loads(out)["scores"] == [
            pytest.approx(row, abs=1e-6) for row in expected.tolist()
        ]


class TestEvaluate:
    """`zoo evaluate`."""

    def test_a_second_run_gives_the_same_figures(self, run, model_folder, data_folder, tmp_path):
        """To the last digit; the record says what was measured, with which weights."""
        records = []
        for name in ("first.json", "second.json"):
            options = ("--data", data_folder, "--json", tmp_path / name)
            status, out, _ = run("evaluate", model_folder, *options)
            assert status == 0
            assert "images for a text (t2i)" in out
            records.append(json.loads((tmp_path / name).read_text()))

        first, second = records
        assert first["metrics"] == second["metrics"]
        assert first["data_fingerprint"] == second["data_fingerprint"]
        assert (first["images"], first["captions"], first["model"]) == (6, 12, "chan-tiny")
        assert first["model_sha256"] == zoo.files.sha256(model_folder / "model.safetensors")
        assert first["command"].startswith(f"zoo evaluate {model_folder} --data")
        assert first["zoo_version"] == zoo.__version__

    def test_results_are_saved_beside_the_weights(self, run, model_folder, data_folder, tmp_path):
        """In results.json and the card, once however often it is measured."""
        folder = shutil.copytree(model_folder, tmp_path / "model")
        for _ in range(2):
            run("evaluate", folder, "--data", data_folder, "--save-results")

        (row,) = json.loads((folder / "results.json").read_text())["results"]
        card = (folder / "README.md").read_text()
        assert (row["dataset"], row["split"]) == ("six", "test")
        assert f"{row['metrics']['rsum']:.1f}" in card
        assert row["data_fingerprint"] in card

    @pytest.mark.parametrize("bundled", [True, False])
    def test_only_the_bundled_folder_gets_the_name_and_licence_of_the_registry(
        self, run, model_folder, data_folder, tmp_path, monkeypatch, bundled
    ):
        """A folder of one's own may be called the same, and is loaded by its path."""
        folder = shutil.copytree(model_folder, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "name": "chan-f8k"}))
        (tmp_path / "link").symlink_to(folder)
        place = tmp_path / "link" if bundled else tmp_path / "other"
        monkeypatch.setattr("zoo.catalogue.cards._bundled_folder", lambda *_: place)
        run("evaluate", folder, "--data", data_folder, "--save-results")

        card = (folder / "README.md").read_text()
        assert ('zoo.load("chan-f8k")' in card) == bundled
        assert ('zoo.load("local-dir:model")' in card) != bundled
        assert ("license: apache-2.0" in card) == bundled

    def test_features_stand_in_for_the_pictures(self, run, model_folder, data_folder, tmp_path):
        """What `zoo extract` made, `zoo evaluate --features` reads."""
        model = ("--model", model_folder)
        status, out, _ = run("extract", data_folder / "images", "-o", tmp_path / "store", *model)
        again = run("extract", data_folder / "images", "-o", tmp_path / "store", *model)[1]
        options = ("--data", data_folder, "--features", tmp_path / "store")
        evaluated = run("evaluate", model_folder, *options)

        assert status == 0
        assert "6 extracted, 0 kept from before, 0 skipped" in out
        assert "0 extracted, 6 kept from before" in again
        assert evaluated[0] == 0, evaluated[2]


class TestExtract:
    """`zoo extract`."""

    def test_bad_files_are_left_out_and_counted(self, run, model_folder, tmp_path):
        """Named on stderr and in the store's skipped.tsv; with --strict they stop the run."""
        (tmp_path / "photos").mkdir()
        shutil.copy(CAT, tmp_path / "photos")
        (tmp_path / "photos" / "bad.jpg").write_text("no picture")
        options = ("-o", tmp_path / "store", "--model", model_folder)
        strict = run("extract", tmp_path / "photos", *options, "--strict")
        status, out, err = run("extract", tmp_path / "photos", *options)

        assert strict[0] == 1
        assert "bad.jpg cannot be read as a picture" in strict[2]
        assert status == 0
        assert "1 extracted, 0 kept from before, 1 skipped" in out
        assert "bad.jpg" in err
        assert (tmp_path / "store" / "skipped.tsv").read_text().startswith("bad.jpg\t")

    def test_a_place_that_does_not_exist_is_no_bad_file(self, run, model_folder, tmp_path):
        """A mistyped path is an error also where bad files are left out; nothing is written."""
        options = ("-o", tmp_path / "store", "--model", model_folder)
        status, _, err = run("extract", CAT, tmp_path / "none.jpg", *options)

        assert status == 1
        assert "none.jpg does not exist. Check the path." in err
        assert not (tmp_path / "store").exists()

    def test_a_folder_without_photographs_is_an_error(self, run, tmp_path):
        """That says what was looked for."""
        status, _, err = run("extract", tmp_path, "-o", tmp_path / "store")

        assert status == 1
        assert "holds no photographs" in err


class TestTrain:
    """`zoo train`."""

    @pytest.fixture
    def given(self, model_folder, monkeypatch):
        """What the training was called with; it ends at once with a model."""
        given = {}

        def train(*arguments, **options):
            given.update(options, arguments=arguments)
            return model_folder

        monkeypatch.setattr("zoo.training.train", train)
        return given

    def test_options_arrive_and_the_model_gets_a_card(self, run, given, model_folder):
        """The folder is printed, so that a script can go on with it."""
        options = ("--data", "d", "--work-dir", "w", "--set", "seed=1", "--set", "a.b=c")
        status, out, _ = run("train", "chan-f8k", *options, "--resume")

        assert status == 0
        assert out.strip() == str(model_folder)
        assert given["arguments"] == ("chan-f8k", Path("d"), Path("w"))
        assert given["overrides"] == ["seed=1", "a.b=c"]
        assert given["resume"] == "exact"
        card = (model_folder / "README.md").read_text()
        assert card.startswith("---\nlibrary_name: itm-zoo\n")

    @pytest.mark.parametrize("recipe", ["chan-coco.bert_butd", "mine/chan-coco.bert_butd.py"])
    def test_a_run_has_a_folder_of_its_own(self, run, given, recipe):
        """By default it is named for the recipe."""
        run("train", recipe, "--data", "d")

        assert given["arguments"][2] == Path("runs/chan-coco.bert_butd")


@pytest.mark.parametrize(
    ("command", "place", "found"),
    [
        ("evaluate {model} --data {none} --json", "none/out.json", "none is no folder that you"),
        ("evaluate {model} --data {none} --json", "folder", "folder is no file"),
        ("demo --model {none} --output", "none/figure.png", "none is no folder that you"),
        ("demo --model {none} --output", "folder", "folder is no file"),
        ("extract {none} --model {none} -o", "file/store", "file is no folder that you"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    run, model_folder, tmp_path, command, place, found
):
    """Not after it: neither the model nor the data is looked at, and the option is named."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    words = command.format(model=model_folder, none=tmp_path / "absent").split()
    status, _, err = run(*words, tmp_path / place)

    option = "--output" if words[-1] == "-o" else words[-1]
    assert status == 1
    assert f"{place} cannot be written: " in err
    assert found in err
    assert f"Give {option} the path of a f" in err


@pytest.mark.parametrize("command", ["demo", f"score {CAT} --text dog", f"extract {CAT} -o store"])
def test_every_command_that_computes_takes_a_device(
    run, model_folder, command, monkeypatch, tmp_path
):
    """One that is not there is refused by its name."""
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*command.split(), "--model", model_folder, "--device", "abacus")

    assert status == 1
    assert "The device 'abacus' cannot be used" in err


def test_the_version_is_the_package_s(run):
    """On one line."""
    assert run("--version") == (0, f"zoo {zoo.__version__}\n", "")


def test_names_of_models_are_completed():
    """As bash asks for them."""
    done = in_process_of_its_own(
        "import zoo.cli; zoo.cli.main([])",
        env={"_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": "zoo info chan-c", "COMP_CWORD": "2"},
    )

    assert "chan-coco" in done.stdout.split()
    assert "chan-f30k" not in done.stdout.split()
