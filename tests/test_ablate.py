"""Variants of a recipe: every row and seed is one run, measured alike, in one table."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from rich.console import Console

import toy_matching as toy
from zoo.data.dataset import open_dataset
from zoo.errors import DataError, InputError
from zoo.evaluation.measuring import evaluate
from zoo.files import sha256
from zoo.loading.weights import load_folder
from zoo.report.comparison import AblationResults
from zoo.training import ablation as ablations
from zoo.training.ablation import Ablation
from zoo.training.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[1]
ROWS = """
ablations = {
    "small": {"model.image_encoder.dim": 4, "model.text_encoder.dim": 4},
    "contrastive": {"loss": {"type": "contrastive"}, "warm_up": None},
}
"""
SHORT = ["train_cfg.max_epochs=1", "checkpoint.every=None"]
HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True, scope="module")
def _toy():
    """The toy method, and the command that a user would have given."""
    toy.register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["zoo", "ablate", "toy"])
        yield


def prepare(folder, rows=ROWS):
    """A function that plans the ablation of the toy recipe in a folder."""
    recipe, data = toy.write_recipe(folder, toy.RECIPE + rows), toy.write_data(folder / "data")

    def plan(work_dir="runs", **options):
        options.setdefault("overrides", SHORT)
        plan.console = Console(file=io.StringIO(), width=200)
        return Ablation(recipe, data, folder / work_dir, console=plan.console, **options)

    plan.recipe, plan.data, plan.folder = recipe, data, folder
    return plan


@pytest.fixture
def plan(tmp_path):
    """An ablation of two rows beside the recipe as it is."""
    return prepare(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The same, trained with two seeds; whoever reads it leaves it as it is."""
    plan = prepare(tmp_path_factory.mktemp("ablation"))
    plan.failed = plan(seeds=[1, 2]).run()
    plan.results = json.loads((plan.folder / "runs" / "results.json").read_text())
    return plan


def test_every_row_and_seed_is_a_run_of_its_own(done):
    """With the settings of its row, in the order of the recipe; the recipe as it is comes first."""
    assert done.failed == []
    names = [(row["row"], row["seed"]) for row in done.results["results"]]
    assert names == [(row, seed) for row in ("full", "small", "contrastive") for seed in (1, 2)]
    for row, seed in names:
        record = json.loads((done.folder / "runs" / row / f"seed-{seed}" / "run.json").read_text())
        wanted = read_recipe(
            done.recipe,
            {"train_cfg.max_epochs": 1, "checkpoint.every": None, "seed": seed}
            | done.results["rows"][row],
        )
        assert record["recipe"] == wanted.settings
        assert record["finished"]


def test_a_row_is_what_its_model_measures(done):
    """The exported weights, on dev, with what it takes to make the figure again."""
    row = done.results["results"][2]
    model = done.folder / "runs" / "small" / "seed-1" / "model"
    measured = evaluate(load_folder(model), open_dataset(done.data, "dev"))

    assert row["overrides"] == {"model.image_encoder.dim": 4, "model.text_encoder.dim": 4}
    assert row["metrics"] == measured.to_json()["metrics"]
    assert row["model_sha256"] == sha256(model / "model.safetensors")
    assert row["data_fingerprint"] == measured.data_fingerprint
    assert row["parameters"] == 6 * 4 + 4 + 64 * 4
    assert row["training_seconds"] >= 0  # to a tenth of a second
    assert row["scoring_seconds"] >= 0
    assert row["split"] == "dev"
    assert row["trained_on"].startswith("cpu, ")
    assert row["command"]
    assert row["date"]
    assert row["zoo_version"]


def test_the_table_compares_with_the_recipe_as_it_is(done):
    """Means and sample deviations over the seeds, and the difference of the means of rsum."""
    (table,) = AblationResults.read(done.folder / "runs" / "results.json").tables()
    sums: dict[str, list[float]] = {}
    for row in done.results["results"]:
        sums.setdefault(row["row"], []).append(row["metrics"]["rsum"])
    lines = {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}

    assert list(lines) == ["full", "small", "contrastive"]
    for name, (one, other) in sums.items():
        half = abs(one - other) / 2**0.5
        assert lines[name]["rsum"] == f"{(one + other) / 2:.1f} ± {half:.1f}"
        assert lines[name]["seeds"] == "2"
    difference = sum(sums["small"]) / 2 - sum(sums["full"]) / 2
    assert lines["small"]["rsum - full"] == f"{difference:+.1f}"
    assert lines["full"]["rsum - full"] == "-"


def test_what_is_finished_is_not_run_again(plan, monkeypatch):
    """Neither trained nor measured; a split that is new is only measured."""
    plan(rows=["small"]).run()
    before = (plan.folder / "runs" / "results.json").read_bytes()
    model = plan.folder / "runs" / "small" / "seed-7" / "model" / "model.safetensors"
    changed = model.stat().st_mtime_ns
    monkeypatch.setattr(ablations, "train", None)
    assert plan(rows=["small"]).run() == []
    assert (plan.folder / "runs" / "results.json").read_bytes() == before

    monkeypatch.undo()
    plan(rows=["small"], splits=["dev", "train"]).run()
    rows = json.loads((plan.folder / "runs" / "results.json").read_text())["results"]
    assert [row["split"] for row in rows] == ["dev", "train"]
    assert model.stat().st_mtime_ns == changed


def test_an_interrupted_run_goes_on(plan, monkeypatch):
    """Ctrl-C ends the whole ablation; the next call resumes where it was."""

    def stop_at_two(self, runner, batch_idx, data_batch=None, outputs=None):
        self.asked = 15 if runner.iter == 1 else None
        return after(self, runner, batch_idx, data_batch, outputs)

    from zoo.training.hooks import SavingHook

    after = SavingHook.after_train_iter
    with monkeypatch.context() as patch:
        patch.setattr(SavingHook, "after_train_iter", stop_at_two)
        with pytest.raises(SystemExit):
            plan(rows=["small"]).run()
    assert plan(rows=["small"]).trials[0].folder.state() == "unfinished"
    plan(rows=["small"]).run()
    assert "resumed at epoch 1, iteration 2" in plan.console.file.getvalue()


def test_a_folder_with_other_runs_is_refused_before_any_run(plan):
    """As `zoo train --resume` refuses it."""
    plan(rows=["small"]).run()

    with pytest.raises(InputError, match=r"began with other settings \(loss\.margin: was 0\.2"):
        plan(overrides=[*SHORT, "loss.margin=0.3"])
    assert not (plan.folder / "runs" / "full").exists()


BAD = {
    "a key that is none": (
        '{"x": {"model.aligner.poolin": 3}}',
        r"Ablation 'x': .* Did you mean 'model\.aligner\.pooling'",
    ),
    "a value that cannot be built": ('{"x": {"model.text_encoder.dim": "a"}}', "Ablation 'x'"),
    "a loss that is none": ('{"x": {"loss": {"type": "tripled"}}}', "Ablation 'x': No loss"),
    "the name of the recipe as it is": ('{"full": {}}', "has a row 'full'"),
    "a name that leads out": ('{"../x": {}}', r"has a row '\.\./x'"),
    "no overrides": ('{"x": 3}', r"ablations\.x is 3"),
}


@pytest.mark.parametrize("rows", BAD)
def test_a_row_that_cannot_be_built_is_named_before_any_run(tmp_path, rows):
    """With the nearest key that there is, the defaults of a component's constructor included."""
    text, said = BAD[rows]
    plan = prepare(tmp_path, f"\nablations = {text}\n")
    recipe = plan.recipe.read_text().replace(
        'dict(type="toy_aligner")', "dict(type='hard_alignment')"
    )
    plan.recipe.write_text(recipe)

    with pytest.raises(InputError, match=said):
        plan()
    assert not (tmp_path / "runs").exists()


def test_what_a_constructor_takes_may_be_set_though_the_recipe_does_not(plan):
    """In a row and by --set; it reaches the component."""
    settings = read_recipe(plan.recipe, ["model.image_encoder.dim=3", "loss.margin=0.1"])
    assert settings["model"]["image_encoder"] == {"type": "toy_images", "dim": 3}
    with pytest.raises(InputError, match=r"Did you mean 'model\.image_encoder\.dim'"):
        read_recipe(plan.recipe, ["model.image_encoder.dm=3"])


def test_ablations_are_no_part_of_a_run(plan):
    """So a run goes on though the recipe has got another row."""
    assert "ablations" not in read_recipe(plan.recipe).settings
    assert list(read_recipe(plan.recipe).ablations) == ["small", "contrastive"]


def test_a_run_that_fails_is_told_and_the_others_go_on(tmp_path, run):
    """The command ends with 1; the table says how many failed; nothing else is lost."""
    plan = prepare(tmp_path, '\nablations = {"wild": {"optim_wrapper.optimizer.lr": 1e30}}\n')
    options = ("--data", plan.data, "--work-dir", tmp_path / "runs", "--rows", "wild,full")
    short = [word for setting in SHORT for word in ("--set", setting)]
    status, out, err = run("ablate", plan.recipe, *options, *short)

    assert status == 1
    assert "1 of 2 runs failed" in err
    assert "wild, seed 7: The loss is nan" in err
    assert "0 (1 failed)" in out
    read = json.loads((tmp_path / "runs" / "results.json").read_text())
    assert [row["row"] for row in read["results"]] == ["full"]
    assert [row["row"] for row in read["failed"]] == ["wild"]


def test_runs_of_another_process_are_skipped_and_waited_for(plan, monkeypatch):
    """The rest is done first; what the other leaves undone is taken over."""
    planned = plan(rows=["full", "small"])
    lock = planned.trials[0].lock
    lock.parent.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "held\n"
        seen = []

        def sleep(_seconds):
            seen.append([row["row"] for row in planned.record.read()["results"]])
            other.stdin.close()
            other.wait()

        monkeypatch.setattr(ablations.time, "sleep", sleep)
        assert planned.run() == []
    assert seen == [["small"]]
    assert "taken by other processes" in plan.console.file.getvalue()
    assert [row["row"] for row in planned.record.read()["results"]] == ["full", "small"]


def test_a_failure_of_another_process_is_not_repeated(plan, monkeypatch):
    """It is told at the end; a later call tries again."""
    planned = plan(rows=["small"])
    monkeypatch.setattr(ablations, "train", None)
    states = iter([{}])
    failed = {"small/seed-7": {"row": "small", "seed": 7, "error": "nan"}}
    monkeypatch.setattr(planned.record, "failed", lambda: next(states, failed))

    assert planned.run() == [failed["small/seed-7"]]


def test_processes_write_one_file_and_lose_nothing(tmp_path):
    """Each addition is whole, and none overwrites another."""
    code = """
import sys
from pathlib import Path
from zoo.training.ablation_record import AblationRecord
record = AblationRecord(Path(sys.argv[1]), "toy", {"full": {}})
for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 15):
    record.add({"row": "full", "seed": seed, "dataset": "d", "split": "dev"})
"""
    path = tmp_path / "results.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, start], cwd=ROOT)
        for start in ("0", "15")
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = json.loads(path.read_text())["results"]
    assert [row["seed"] for row in rows] == list(range(30))


@pytest.mark.parametrize("content", ["{", "[]", '{"recipe": "other", "schema_version": 1}'])
def test_a_results_file_that_is_no_such_is_refused(plan, content):
    """It is not overwritten, and nothing is trained."""
    (plan.folder / "runs").mkdir()
    path = plan.folder / "runs" / "results.json"
    path.write_text(content)

    with pytest.raises(DataError, match=r"results\.json does not hold the results of toy's"):
        plan()
    assert path.read_text() == content


def test_a_dry_run_lists_the_runs_and_does_none(done, run):
    """With what each row sets and how far it is."""
    options = ("--data", done.data, "--seeds", "1,3", "--set", SHORT[0], "--set", SHORT[1])
    status, out, _ = run(
        "ablate", done.recipe, "--work-dir", done.folder / "runs", *options, "--dry-run"
    )

    lines = [line.split() for line in out.splitlines() if "seed" not in line]
    states = {(line[0], line[1]): line[-1] for line in lines if len(line) > 2}
    assert status == 0
    assert states[("small", "1")] == "finished"
    assert states[("small", "3")] == "new"
    assert "model.image_encoder.dim=4, model.text_encoder.dim=4" in out
    assert not (done.folder / "runs" / "small" / "seed-3").exists()


def test_results_are_written_where_they_are_asked_for(done, run, tmp_path):
    """JSON to stdout without the table, Markdown to a file; nothing is run again."""
    options = ("--data", done.data, "--seeds", "1,2", "--set", SHORT[0], "--set", SHORT[1])
    place = ("--work-dir", done.folder / "runs", "--markdown", tmp_path / "table.md")
    status, out, _ = run("ablate", done.recipe, *place, *options, "--json", "-")

    assert status == 0
    assert json.loads(out) == done.results
    text = (tmp_path / "table.md").read_text()
    name = open_dataset(done.data, "dev").name
    assert text.startswith(f"toy on {name} dev:\n\n| row | seeds |")
    assert "| small | model.image_encoder.dim=4, model.text_encoder.dim=4 |" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rows", "smal"), "has no ablation 'smal'. Did you mean 'small'?"),
        (("--seeds", "1,b"), "--seeds is '1,b', and whole numbers are wanted."),
        (("--split", "tset"), "tset"),
        (("--markdown", "absent/table.md"), "absent/table.md cannot be written"),
    ],
)
def test_a_wrong_option_is_refused_before_any_run(plan, run, tmp_path, options, said):
    """A mistyped split would else be found after hours."""
    place = ("--data", plan.data, "--work-dir", tmp_path / "runs")
    status, _, err = run("ablate", plan.recipe, *place, *options)

    assert status == 1
    assert said in err
    assert not (tmp_path / "runs").exists()
