"""SGRAF against the released program, written out by its weights' names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import zoo_sgraf.model
from literal import (
    Weights,
    att,
    dense,
    exact_model,
    head_score,
    head_shapes,
    norm,
    pooled,
    save_checkpoint,
    shaped,
    two_way,
    unit,
    units,
)
from paper_rows import paper_sums
from zoo.batch import Regions
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError, WeightsError
from zoo.heads import GraphReasoning
from zoo.importers import import_checkpoint
from zoo.model import MatchingModel
from zoo.training.recipe import read_recipe

FEATURES, DIM, WORD_DIM, SIMILARITY_DIM, SLOTS = 7, 6, 5, 4, 5
CAPTIONS = ["a dog runs", "two children play in cold water", "grass", "a red bicycle"]
VOCABULARY = Vocabulary.build(CAPTIONS, 1)
FILES = {"vocab.json": VOCABULARY.to_json()}
HEADS = ("sgr", "saf")


def some_regions(*counts: int) -> Regions:
    """Images of so many regions; rubbish at padding."""
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    return Regions(torch.randn(*mask.shape, FEATURES), mask)


# ------------------------------------------------------------------ the released program, literally


def checkpoint(head: str) -> tuple[Weights, Weights, Weights]:
    """Random weights under the names of a released checkpoint."""
    between = norm("v_global_w.embedding_local.1", SLOTS)
    between |= norm("v_global_w.embedding_global.1", DIM)
    for name in ("v_global_w", "t_global_w"):
        between |= dense(f"{name}.embedding_local.0", DIM, DIM)
        between |= dense(f"{name}.embedding_global.0", DIM, DIM)
        between |= dense(f"{name}.embedding_common.0", 1, DIM)
    for name in ("sim_tranloc_w", "sim_tranglo_w"):
        between |= dense(name, SIMILARITY_DIM, DIM)
    between |= head_shapes(head, SIMILARITY_DIM)
    text = {"embed.weight": (len(VOCABULARY), WORD_DIM)} | two_way("cap_rnn", WORD_DIM, DIM)
    return shaped(dense("fc", DIM, FEATURES)), shaped(text), shaped(between)


def whole(w: Weights, name: str, x: Tensor) -> Tensor:
    """What an item's fragments (fragments, dim) are pooled to; a batch norm where there is one."""
    local, mean = w(f"{name}.embedding_local.0", x), w(f"{name}.embedding_global.0", x.mean(dim=0))
    if f"{name}.embedding_local.1.weight" in w:
        local = w.batch_norm(f"{name}.embedding_local.1", local.T).T  # the region is the channel
        mean = w.batch_norm(f"{name}.embedding_global.1", mean)
    return pooled(x, local.tanh(), mean.tanh(), w[f"{name}.embedding_common.0.weight"][0])


def released_score(w: Weights, regions: Tensor, words: Tensor) -> Tensor:
    """The score of one pair."""
    seen = units(att(words @ regions.T) @ regions)
    local = units(w("sim_tranloc_w", (seen - words).square()))
    apart = (whole(w, "v_global_w", regions) - whole(w, "t_global_w", words)).square()
    return head_score(w, torch.cat([unit(w("sim_tranglo_w", apart))[None], local]))


def released_scores(
    weights: tuple[Weights, Weights, Weights], images: Regions, captions: list[str]
) -> Tensor:
    """Every pair on its own: (images, captions)."""
    image, text, w = weights
    regions = [
        units(image("fc", features[mask].double()))
        for features, mask in zip(images.features, images.mask, strict=True)
    ]
    words = [
        units(text.both_ways("cap_rnn", text["embed.weight"][list(VOCABULARY.encode(caption))]))
        for caption in captions
    ]
    return torch.stack([torch.stack([released_score(w, v, t) for t in words]) for v in regions])


@pytest.fixture
def saved(tmp_path):
    """Writes state dicts as a checkpoint; gives its path and that of the words."""
    words = tmp_path / "vocab.json"
    words.write_text(VOCABULARY.to_json(), encoding="utf-8")

    def save(parts, **options):
        return save_checkpoint(tmp_path / "model_best.pth.tar", parts, **options), words

    return save


@pytest.mark.parametrize("head", HEADS)
def test_scores_are_those_of_the_released_program(head, saved):
    """On random weights in a released layout, in float64."""
    weights, images = checkpoint(head), some_regions(SLOTS, SLOTS, SLOTS)
    model = exact_model("sgraf", *saved(weights))

    with torch.no_grad():
        scores = model(images, model.text_encoder.prepare(CAPTIONS)).scores

    expected = released_scores(weights, images, CAPTIONS)
    assert expected.std() > 1e-3
    assert_close(scores, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("head", HEADS)
def test_an_imported_checkpoint_scores_as_the_released_program(head, saved):
    """To 1e-4 in float32, and it is the model that the registry lists."""
    weights, images = checkpoint(head), some_regions(SLOTS, SLOTS)
    path, words = saved(weights, data_name="coco_precomp", module_name=head.upper(), sgr_step=3)

    done = import_checkpoint("sgraf", path, vocabulary=words)
    scores = done.model.score(done.model.encode_images(images), done.model.encode_texts(CAPTIONS))

    expected = released_scores(weights, images, CAPTIONS).float()
    assert_close(scores, expected, rtol=0, atol=1e-4)
    assert done.model.config.name == f"sgraf-coco.bigru_butd_{head}"
    assert set(done.imported.account.ignored.values()) == {
        "a bias that is the same for everything that a softmax weighs",
        *(["a batch norm that is folded into the layer before it"] if head == "saf" else []),
    }


def test_what_a_checkpoint_of_something_else_holds_is_named(saved):
    """A tensor that nobody knows, one that is wanting, a batch norm that cannot be folded."""
    image, text, between = checkpoint("saf")

    for change, words in [
        ({"scan_attention.fcq.weight": torch.zeros(1)}, "holds similarity scan_attention.fcq.wei"),
        ({"SAF_module.bn.bias": torch.zeros(2)}, "SAF_module.bn.bias holds 2 numbers where one"),
    ]:
        with pytest.raises(WeightsError, match=words):
            import_checkpoint("sgraf", saved((image, text, between | change))[0])
    with pytest.raises(WeightsError, match=r"lacks similarity v_global_w\..* and 4 more"):
        import_checkpoint("sgraf", saved((image, text))[0])
    unfolded = {name: one for name, one in between.items() if name != "SAF_module.bn.weight"}
    with pytest.raises(WeightsError, match=r"lacks similarity SAF_module\.bn\.weight"):
        import_checkpoint("sgraf", saved((image, text, unfolded))[0])
    with pytest.raises(WeightsError, match="4 state dicts where 3 are wanted"):
        import_checkpoint("sgraf", saved((image, text, between, image))[0])


def test_released_weights_read_as_many_regions_as_their_batch_norm(saved):
    """It has a factor and a shift for each region's place."""
    encoder = exact_model("sgraf", *saved(checkpoint("saf"))).image_encoder

    for images in (some_regions(SLOTS - 1), some_regions(SLOTS, SLOTS - 1)):
        with pytest.raises(InputError, match=f"exactly {SLOTS} regions.* slots=None"):
            encoder(images)


# ----------------------------------------------------------------------------------- ours, any size


def ours(head: str) -> MatchingModel:
    """A small model in float64, its weights large enough for every formula to count."""
    parts = {
        "image_encoder": {"type": "sgraf_regions", "feature_dim": FEATURES, "dim": DIM},
        "text_encoder": {
            "type": "sgraf_words",
            "reader": {"type": "bigru", "word_dim": WORD_DIM, "dim": DIM},
        },
        "aligner": {
            "type": "similarity_vectors",
            "dim": DIM,
            "similarity_dim": SIMILARITY_DIM,
            "head": head,
        },
    }
    model = MatchingModel(**{kind: build(kind, one, FILES) for kind, one in parts.items()})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.6 * torch.randn_like(parameter))
            if name.endswith("change.bias"):
                parameter.abs_().add_(0.5)  # a ReLU that is 0 for all would hide the rest
    return model.double().eval()


PLACES = (
    ("image_encoder.pooling", "v_global_w"),
    ("text_encoder.pooling", "t_global_w"),
    ("pooling.local.0", "embedding_local.0"),
    ("w.local.0", "w.embedding_local.0"),
    ("w.overall.0", "w.embedding_global.0"),
    ("w.weight", "w.embedding_common.0"),
    ("aligner.local", "sim_tranloc_w"),
    ("aligner.whole", "sim_tranglo_w"),
    ("aligner.score", "sim_eval_w"),
    ("aligner.head.steps", "SGR_module"),
    ("query", "graph_query_w"),
    ("key", "graph_key_w"),
    ("change", "sim_graph_w"),
    ("aligner.head.weight", "SAF_module.attn_sim_w"),
    ("image_encoder.project", "fc"),
    ("text_encoder.reader.embed", "embed"),
    ("text_encoder.reader.rnn", "cap_rnn"),
)


def released_names(model: MatchingModel) -> Weights:
    """Its parameters under released names, with a batch norm of SAF that changes nothing."""
    renamed = {}
    for name, parameter in model.named_parameters():
        for mine, theirs in PLACES:
            name = name.replace(mine, theirs)
        renamed[name] = parameter
    still = {"weight": (1 + 1e-5) ** 0.5, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    if "SAF_module.attn_sim_w.weight" in renamed:
        renamed |= {f"SAF_module.bn.{name}": torch.tensor([x]) for name, x in still.items()}
    return Weights(renamed)


@pytest.mark.parametrize("head", HEADS)
def test_scores_and_gradients_equal_the_definitions(head):
    """Against pairs one at a time, without a shortcut, on ragged items."""
    model, images = ours(head), some_regions(4, 1, 6)
    weights, parameters = torch.randn(3, len(CAPTIONS)).double(), list(model.parameters())
    names = released_names(model)

    scores = model(images, model.text_encoder.prepare(CAPTIONS)).scores
    expected = released_scores((names, names, names), images, CAPTIONS)

    assert expected.std() > 1e-3
    assert_close(scores, expected, rtol=0, atol=1e-9)
    gradients = [
        torch.autograd.grad((weights * one).sum(), parameters) for one in (scores, expected)
    ]
    for (label, _), mine, theirs in zip(model.named_parameters(), *gradients, strict=True):
        assert_close(mine, theirs, rtol=1e-6, atol=1e-8, msg=label)


@pytest.mark.parametrize("head", HEADS)
def test_small_blocks_change_nothing(head, monkeypatch):
    """Neither scores nor gradients depend on how the pairs are cut."""
    model, images = ours(head), some_regions(4, 1, 6)
    texts, weights = model.text_encoder.prepare(CAPTIONS), torch.randn(3, len(CAPTIONS)).double()
    runs = []
    for cells, words in ((2**20, 256), (1, 1)):
        monkeypatch.setattr(zoo_sgraf.model, "CELLS", cells)
        monkeypatch.setattr(zoo_sgraf.model, "WORDS", words)
        scores = model(images, texts).scores
        runs.append((scores, *torch.autograd.grad((weights * scores).sum(), model.parameters())))

    for one, cut in zip(*runs, strict=True):
        assert_close(cut, one, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("head", HEADS)
def test_float32_is_close_to_float64(head):
    """As the zoo computes, to 1e-5."""
    model, images = ours(head), some_regions(4, 1, 6)
    texts = model.text_encoder.prepare(CAPTIONS)

    with torch.no_grad():
        exact = model(images, texts).scores
        scores = model.float()(images, texts).scores

    assert scores.dtype == torch.float32
    assert_close(scores.double(), exact, rtol=0, atol=1e-5)


def test_reasoning_yields_what_the_first_node_becomes():
    """As if all nodes changed in all steps; the last one becomes something else."""
    head, nodes = GraphReasoning(4, steps=3).double(), units(torch.randn(5, 4).double())
    x = nodes
    for step in head.steps:
        torch.nn.init.constant_(step.change.bias, 0.2)  # a ReLU that is 0 for all hides the rest
        step.query.weight.data *= 5  # else each step makes the nodes a hundred times more alike
        edges = (step.query(x) @ step.key(x).T).softmax(dim=1)
        x = step.change(edges @ x).relu()

    found = head(nodes, torch.ones(5, dtype=torch.bool))

    assert (x[-1] - x[0]).abs().max() > 1e-3
    assert_close(found, x[0])


def test_word_regions_are_cosines_of_words_and_regions():
    """One row a word and one column a region, -inf at padding."""
    model, images = ours("saf"), some_regions(4, 1)
    shown = model.aligner.word_regions(
        model.encode_images(images), model.encode_texts(CAPTIONS[:2])
    )

    counts = [len(model.text_encoder.words(caption)) for caption in CAPTIONS[:2]]
    assert shown.shape == (2, 2, max(counts), 4)
    assert shown.isfinite().sum(dim=(2, 3)).tolist() == [[4 * n for n in counts], counts]
    assert shown[shown.isfinite()].abs().max() <= 1 + 1e-9


def test_an_unknown_head_is_refused():
    """The message names the option, the value and what would do."""
    with pytest.raises(InputError, match=r"head is 'mean'\. Use one of sgr, saf\."):
        ours("mean")


# ------------------------------------------------------------------------------ recipes and results

SCHEDULES = {
    "sgraf-coco.bigru_butd_sgr": (20, 10),
    "sgraf-coco.bigru_butd_saf": (20, 10),
    "sgraf-f30k.bigru_butd_sgr": (40, 30),
    "sgraf-f30k.bigru_butd_saf": (30, 20),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_recipe_trains_the_model_that_the_registry_lists(name):
    """Under its name, and with the same parts."""
    recipe, card = read_recipe(name), shipped_registry().find(name)

    assert card.recipe == recipe["name"] == name
    assert {part: recipe["model"][part] for part in card.config} == card.config


@pytest.mark.parametrize("data", ["coco", "f30k"])
def test_the_model_of_the_paper_is_the_mean_of_both_heads(data):
    """Its parts are those of the two that are trained."""
    both, *members = (
        shipped_registry().find(f"sgraf-{data}{variant}").parts.model_dump()
        for variant in ("", ".bigru_butd_sgr", ".bigru_butd_saf")
    )

    for part, kind in (
        ("image_encoder", "members"),
        ("text_encoder", "members"),
        ("aligner", "mean"),
    ):
        assert both[part] == {"type": kind, "members": [one[part] for one in members]}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_recipe_has_the_settings_of_released_code(name):
    """As numbers: its page and its defaults."""
    recipe = read_recipe(name)
    loss, (schedule,) = build("loss", recipe["loss"]), recipe["param_scheduler"]

    assert recipe["optim_wrapper"]["optimizer"] == {"type": "Adam", "lr": 2e-4}
    assert recipe["optim_wrapper"]["clip_grad"] == {"max_norm": 2.0}
    assert (recipe["data"]["batch_size"], recipe["data"]["drop_last"]) == (128, False)
    assert (recipe["train_cfg"]["max_epochs"], schedule["milestones"][0]) == SCHEDULES[name]
    assert (loss.margin, loss.negatives, loss.reduction) == (0.2, "hardest", "sum")


def test_the_paper_results_are_those_of_the_sources():
    """Their sums."""
    assert paper_sums("sgraf") == {
        ("sgraf-coco", "5 folds of 1k"): 524.3,
        ("sgraf-coco", "5k"): 428.2,
        ("sgraf-coco.bigru_butd_saf", "5 folds of 1k"): 519.5,
        ("sgraf-coco.bigru_butd_saf", "5k"): 421.3,
        ("sgraf-coco.bigru_butd_sgr", "5 folds of 1k"): 518.9,
        ("sgraf-coco.bigru_butd_sgr", "5k"): 421.5,
        ("sgraf-f30k", "1k"): 499.6,
        ("sgraf-f30k.bigru_butd_saf", "1k"): 492.1,
        ("sgraf-f30k.bigru_butd_sgr", "1k"): 490.9,
    }
