"""VSE-infinity against the released program, written out by its weights' names."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import BertConfig, BertModel

from literal import Weights, dense, exact_model, norm, save_checkpoint, shaped, two_way, unit
from paper_rows import paper_sums
from zoo.batch import Fragments, Regions
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.errors import WeightsError
from zoo.importers import import_checkpoint
from zoo.training.recipe import read_recipe
from zoo_vse_infty.model import GeneralizedPooling, RegionEncoder

FEATURES, DIM, WORD_DIM = 7, 6, 5
CAPTIONS = ["a dog runs", "two children play in cold water", "grass", "a red bicycle"]
VOCABULARY = Vocabulary.build(CAPTIONS, 1)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "runs", "grass"]
SMALL_BERT = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,  # a checkpoint does not say; 64 numbers a head, or one head
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}


def some_regions(*counts: int) -> Regions:
    """Images of so many regions; rubbish at padding."""
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    return Regions(torch.randn(*mask.shape, FEATURES), mask)


# ------------------------------------------------------------------ the released program, literally


def checkpoint() -> tuple[Weights, Weights]:
    """Random weights under the names of a released checkpoint with BiGRU words."""
    pooling = two_way("gpool.gru", 32, 32) | {"gpool.linear.weight": (1, 32)}
    image = dense("fc", DIM, FEATURES) | dense("mlp.layers.0", DIM // 2, FEATURES)
    image |= dense("mlp.layers.1", DIM, DIM // 2) | norm("mlp.bns.0", DIM // 2)
    image |= norm("mlp.bns.1", DIM)
    text = {"embed.weight": (len(VOCABULARY), WORD_DIM)} | two_way("rnn", WORD_DIM, DIM)
    return shaped(image | pooling), shaped(text | pooling)


def pooled(w: Weights, x: Tensor) -> Tensor:
    """Of one item's fragments (fragments, dim): each dimension sorted, ranks weighed."""
    codes = torch.zeros(len(x), 32, dtype=x.dtype)
    for place in range(len(x)):
        for number in range(0, 32, 2):
            angle = place / 10_000 ** (number / 32)
            codes[place, number], codes[place, number + 1] = math.sin(angle), math.cos(angle)
    logits = w("gpool.linear", w.both_ways("gpool.gru", codes))[:, 0]
    shares = (logits / 0.1).softmax(0)
    ranked = [sorted(column.tolist(), reverse=True) for column in x.T]
    return unit(torch.tensor(ranked, dtype=x.dtype) @ shares)


def released_image(w: Weights, regions: Tensor) -> Tensor:
    """One image's vector."""
    inner = w.batch_norm("mlp.bns.0", w("mlp.layers.0", regions)).relu()
    return pooled(w, w("mlp.layers.1", inner) + w("fc", regions))


def released_text(w: Weights, caption: str) -> Tensor:
    """One caption's vector."""
    words = w["embed.weight"][list(VOCABULARY.encode(caption))]
    return pooled(w, w.both_ways("rnn", words))


def released_scores(weights: tuple[Weights, Weights], images: Regions, captions: list[str]):
    """Cosines of every image with every caption."""
    image, text = weights
    texts = torch.stack([released_text(text, caption) for caption in captions])
    return released_images(image, images) @ texts.T


def released_images(w: Weights, images: Regions) -> Tensor:
    """A vector for each image."""
    rows = zip(images.features.double(), images.mask, strict=True)
    return torch.stack([released_image(w, one[mask]) for one, mask in rows])


@pytest.fixture
def saved(tmp_path):
    """Writes state dicts as a checkpoint; gives its path and that of the words."""

    def save(parts, file: str = "vocab.json", text: str = VOCABULARY.to_json(), **options):
        words = tmp_path / file
        words.write_text(text, encoding="utf-8")
        return save_checkpoint(tmp_path / "model_best.pth", parts, **options), words

    return save


def test_scores_are_those_of_the_released_program(saved):
    """On random weights in a released layout, with ragged images and captions, in float64."""
    weights, images = checkpoint(), some_regions(4, 1, 6)
    model = exact_model("vse-infty", *saved(weights))

    with torch.no_grad():
        scores = model(images, model.text_encoder.prepare(CAPTIONS)).scores

    expected = released_scores(weights, images, CAPTIONS)
    assert expected.std() > 1e-2
    assert_close(scores, expected, rtol=0, atol=1e-10)


def test_an_imported_checkpoint_scores_as_the_released_program(saved):
    """To 1e-4 in float32, and it is the model that the registry lists."""
    weights, images = checkpoint(), some_regions(4, 1, 6)
    path, words = saved(weights, data_name="f30k_precomp")

    model = import_checkpoint("vse-infty", path, vocabulary=words).model
    scores = model.score(model.encode_images(images), model.encode_texts(CAPTIONS))

    expected = released_scores(weights, images, CAPTIONS).float()
    assert_close(scores, expected, rtol=0, atol=1e-4)
    assert model.config.name == "vse-infty-f30k.bigru_butd"


def released_bert() -> tuple[Weights, BertModel]:
    """A text encoder with BERT words under released names, and its BERT."""
    bert = BertModel(BertConfig(**SMALL_BERT)).eval()
    pooling = two_way("gpool.gru", 32, 32) | {"gpool.linear.weight": (1, 32)}
    text = shaped(dense("linear", DIM, SMALL_BERT["hidden_size"]) | pooling)
    text |= {f"bert.{name}": tensor for name, tensor in bert.state_dict().items()}
    text["bert.embeddings.position_ids"] = torch.arange(12)[None]  # as older libraries saved it
    return Weights(text), bert


def test_a_bert_model_scores_as_the_released_program(saved):
    """[CLS] and [SEP] are pooled with the words; the pooler and position ids are left out."""
    (image, _), (text, bert) = checkpoint(), released_bert()
    path, words = saved((image, text), "vocab.txt", "\n".join(PIECES) + "\n", data_name="coco")
    images = some_regions(4, 1, 6)

    done = import_checkpoint("vse-infty", path, vocabulary=words)
    scores = done.model.score(
        done.model.encode_images(images), done.model.encode_texts(["a dog runs", "grass"])
    )

    with torch.no_grad():
        states = [
            bert(torch.tensor([ids])).last_hidden_state[0] for ids in ([2, 5, 6, 7, 3], [2, 8, 3])
        ]
    texts = torch.stack([pooled(text, text("linear", one.double())) for one in states])
    expected = released_images(image, images) @ texts.T
    assert_close(scores, expected.float(), rtol=0, atol=1e-4)
    assert done.model.config.name == "vse-infty-coco"
    assert {name.split(".")[1] for name in done.imported.account.ignored if "bert" in name} == {
        "pooler",
        "embeddings",
    }


def test_what_a_checkpoint_of_something_else_holds_is_named(saved):
    """A grid model, a tensor that nobody knows, one that is wanting, a length that cannot be."""
    image, text = checkpoint()

    for change, words in [
        ({"backbone.conv.weight": torch.zeros(1)}, "is a grid model.* Import one of its region"),
        ({"fcz.weight": torch.zeros(1)}, "holds image encoder fcz.weight, which has no place"),
        ({"mlp.layers.0.bias": torch.zeros(1)}, "differ in length"),
    ]:
        with pytest.raises(WeightsError, match=words):
            import_checkpoint("vse-infty", saved((image | change, text))[0])
    del image["mlp.layers.1.weight"], image["mlp.layers.1.bias"]
    with pytest.raises(WeightsError, match=r"lacks image encoder mlp\.layers\.1\."):
        import_checkpoint("vse-infty", saved((image, text))[0])


def test_one_error_names_all_that_a_checkpoint_lacks(saved):
    """With the part that it is wanting in, the batch norm with the folded bias too."""
    image, text = checkpoint()
    plain = {name: tensor for name, tensor in image.items() if name.startswith("fc.")}
    every = r"mlp\.layers\.0\.weight, image encoder mlp\.bns\.0, .*, image encoder gpool\.linear"

    with pytest.raises(WeightsError, match=f"lacks image encoder {every}"):
        import_checkpoint("vse-infty", saved((plain, text))[0])
    del image["mlp.bns.0.running_mean"]
    with pytest.raises(WeightsError, match=r"lacks image encoder mlp\.bns\.0\.running_mean"):
        import_checkpoint("vse-infty", saved((image, text))[0])


def test_images_and_texts_are_vectors_of_one_length(saved):
    """A checkpoint of two that are not is refused at once, not when they are first compared."""
    image, text = checkpoint()
    wider = shaped(two_way("rnn", WORD_DIM, DIM + 2))
    path, words = saved((image, text | wider))

    with pytest.raises(WeightsError, match=r"text encoder rnn\.weight_ih_l0 is \(24, 5\), wanted"):
        import_checkpoint("vse-infty", path, vocabulary=words)


def test_float32_is_close_to_float64(saved):
    """As the zoo computes, to 1e-5."""
    model, images = exact_model("vse-infty", *saved(checkpoint())), some_regions(4, 1, 6)
    texts = model.text_encoder.prepare(CAPTIONS)

    with torch.no_grad():
        exact = model(images, texts).scores
        scores = model.float()(images, texts).scores

    assert scores.dtype == torch.float32
    assert_close(scores.double(), exact, rtol=0, atol=1e-5)


# -------------------------------------------------------------------------------------- its pooling


def fragments(*counts: int) -> Fragments:
    """Items of so many fragments, rubbish at padding."""
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    return Fragments(torch.randn(*mask.shape, DIM), mask)


@pytest.mark.parametrize(
    ("shares", "pool"),
    [
        ([1.0, 0, 0], lambda x: x.amax(dim=0)),
        ([0, 0, 1.0], lambda x: x.amin(dim=0)),
        ([1 / 3, 1 / 3, 1 / 3], lambda x: x.mean(dim=0)),
        ([0, 1.0, 0], lambda x: x.median(dim=0).values),
    ],
    ids=["maximum", "minimum", "mean", "median"],
)
def test_pooling_has_the_known_ones_among_its_choices(shares, pool, monkeypatch):
    """By what weights the ranks have."""
    pooling, items = GeneralizedPooling(), fragments(3)
    monkeypatch.setattr(pooling, "shares", lambda *_: torch.tensor([shares]))

    assert_close(pooling(items)[0], pool(items.embeddings[0]))


def test_weights_of_ranks_depend_on_the_count_alone():
    """They sum to 1 over the ranks that there are, and what an item holds does not matter."""
    pooling = GeneralizedPooling()

    shares = pooling.shares(torch.tensor([3, 5, 3, 1]), 5)

    assert_close(shares.sum(dim=1), torch.ones(4))
    assert (shares > 0).sum(dim=1).tolist() == [3, 5, 3, 1]
    assert_close(shares[0], shares[2])
    assert_close(pooling.shares(torch.tensor([3]), 3)[0], shares[0, :3])


def test_weights_of_ranks_are_not_rounded_by_autocast():
    """Ten times a rounded logit would be far off, and full precision costs nothing here."""
    pooling, lengths = GeneralizedPooling(), torch.tensor([3, 5, 1])
    exact = pooling.shares(lengths, 5)

    with torch.autocast("cpu", torch.bfloat16):
        shares = pooling.shares(lengths, 5)

    assert_close(shares, exact, rtol=0, atol=0)


def test_the_order_of_regions_does_not_matter():
    """They are sorted in each dimension."""
    encoder, images = RegionEncoder(FEATURES, DIM).eval(), some_regions(5, 5)

    turned = Regions(images.features.flip(1), images.mask)

    assert_close(encoder(turned).vector, encoder(images).vector)


def test_a_batch_norm_counts_real_regions_alone():
    """In training too, padding changes neither statistics nor encodings."""
    images = some_regions(3, 5)
    padded = Regions(
        torch.nn.functional.pad(images.features, (0, 0, 0, 4), value=1e3),
        torch.nn.functional.pad(images.mask, (0, 4)),
    )
    encoder, other = RegionEncoder(FEATURES, DIM), RegionEncoder(FEATURES, DIM)
    other.load_state_dict(encoder.state_dict())

    assert_close(other(padded).vector, encoder(images).vector)
    assert_close(other.state_dict(), encoder.state_dict())


# ------------------------------------------------------------------------------ recipes and results

RECIPES = [
    f"vse-infty-{name}{variant}" for name in ("coco", "f30k") for variant in ("", ".bigru_butd")
]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_the_model_that_the_registry_lists(name):
    """One name for card and recipe, and the same parts in both."""
    recipe, card = read_recipe(name), shipped_registry().find(name)

    assert card.recipe == recipe["name"] == name
    assert {part: recipe["model"][part] for part in card.config} == card.config


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_settings_of_released_code(name):
    """As numbers: its script and its defaults."""
    recipe = read_recipe(name)
    loss, (schedule,) = build("loss", recipe["loss"]), recipe["param_scheduler"]

    assert recipe["optim_wrapper"]["optimizer"] == {
        "type": "AdamW",
        "lr": 5e-4,
        "weight_decay": 1e-4,
    }
    assert (recipe["data"]["batch_size"], recipe["data"]["drop_last"]) == (128, True)
    assert recipe["train_cfg"]["max_epochs"] == 25
    assert (schedule["milestones"], schedule["gamma"]) == ([15], 0.1)
    assert (loss.margin, loss.negatives, loss.reduction) == (0.2, "hardest", "sum")
    assert recipe["warm_up"] == {"epochs": 1, "negatives": "all"}
    assert recipe["model"]["image_encoder"]["region_drop"] == 0.2
    assert recipe["model"]["text_encoder"]["reader"]["word_drop"] == 0.2


def test_the_paper_results_are_those_of_the_sources():
    """Their sums."""
    assert paper_sums("vse-infty") == {
        ("vse-infty-coco", "5 folds of 1k"): 527.5,
        ("vse-infty-coco", "5k"): 434.2,
        ("vse-infty-f30k", "1k"): 513.5,
    }
