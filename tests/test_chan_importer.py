"""Checkpoints in the layout of CHAN's released program score as that program does."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from test_chan import CAPTIONS, GOLDEN_SCORES, hashed, literal_codes, literal_pooling
from zoo.data.vocabulary import Vocabulary
from zoo.errors import DataError, InputError, WeightsError
from zoo.importers import Conversion, import_checkpoint

SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
CODINGS = {"vha": "VHACoding", "tha": "THACoding", "vsa": "VSACoding"}
POOLINGS = {"lse": "LSEPooling", "mean": "MeanPooling", "softmax": "SoftmaxPooling"}
UNUSED = "a layer after the GRU that the released program never applies"


def save(path: Path, image: dict, text: dict, *more: dict, **options: object) -> Path:
    """A checkpoint with the options of the released recipe for BiGRU, unless others are given."""
    recipe = {
        "data_name": "f30k",
        "precomp_enc_type": "selfattention",
        "coding_type": "VHACoding",
        "pooling_type": "LSEPooling",
        "alpha": 0.1,
        "belta": 0.1,
        "no_imgnorm": False,
        "no_txtnorm": False,
        "drop": True,
        "obj_drop_rate": 0.2,
        "word2idx": None,
    }
    saved = {
        "epoch": 21,
        "model": [image, text, *(more or ({}, {}))],
        "best_rsum": np.float64(508.9),
        "opt": argparse.Namespace(**{**recipe, **options}),
        "Eiters": 9000,
    }
    torch.save(saved, path)
    return path


def linear(name: str, outputs: int, inputs: int) -> dict[str, Tensor]:
    """A layer's weights, random."""
    return {f"{name}.weight": torch.randn(outputs, inputs), f"{name}.bias": torch.randn(outputs)}


def scored(found: Conversion, features: Tensor, captions: list[str]) -> Tensor:
    """As a user scores with the model."""
    model = found.model
    return model.score(model.encode_images(features), model.encode_texts(captions))


# --------------------------------------------------------------------------- the released numbers


def released_bigru(rows: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """State dicts of the published size in the official order, weights by the exact hash."""
    image = {
        "fc.weight": (1024, 2048),
        "fc.bias": (1024,),
        "feedforward.ln.weight": (1024,),
        "feedforward.ln.bias": (1024,),
        "feedforward.attn.in_proj_weight": (3072, 1024),
        "feedforward.attn.in_proj_bias": (3072,),
        "feedforward.attn.out_proj.weight": (1024, 1024),
        "feedforward.attn.out_proj.bias": (1024,),
    }
    text = {"embed.weight": (rows, 300)}
    for way in ("", "_reverse"):
        text |= {
            f"rnn.weight_ih_l0{way}": (3072, 300),
            f"rnn.weight_hh_l0{way}": (3072, 1024),
            f"rnn.bias_ih_l0{way}": (3072,),
            f"rnn.bias_hh_l0{way}": (3072,),
        }
    text |= {"fc.weight": (1024, 1024), "fc.bias": (1024,)}
    return by_hash(image), by_hash(text)


def by_hash(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensor number j is of stream j."""
    made = {}
    for stream, (name, shape) in enumerate(shapes.items()):
        u = hashed(stream, *shape)
        weight = u * math.sqrt(3 / shape[-1]) if len(shape) > 1 else 0.1 * u
        made[name] = (1 + weight if name.endswith("ln.weight") else weight).float()
    return made


def test_a_checkpoint_of_the_published_size_gives_the_released_programs_scores(tmp_path):
    """Numbers that the official modules printed, through file, importer and model folder."""
    words = [*SPECIALS, *(f"w{number}" for number in range(4, 304)), "<mask>"]
    ids = {word: number for number, word in enumerate(words)}
    path = save(tmp_path / "model_best.pth", *released_bigru(len(words)), word2idx=ids)

    found = import_checkpoint("chan", path)

    scores = scored(found, hashed(1000, 3, 36, 2048).abs().float(), CAPTIONS)
    assert_close(scores, torch.tensor(GOLDEN_SCORES), atol=1e-5, rtol=0)
    account = found.imported.account
    assert account.ignored == dict.fromkeys(
        ("text encoder fc.weight", "text encoder fc.bias"), UNUSED
    )
    assert len(set(account.origins.values())) == 8 + 9
    assert found.model.config.name == "chan-f30k"


# ----------------------------------------------------------------- the specification, written out


def small_bigru(rows: int, basic: bool = False) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random weights under the official names: 7 numbers a region, 8 in the joint space."""
    attention = torch.nn.MultiheadAttention(8, 8).state_dict()
    image = linear("fc", 8, 7)
    if not basic:
        norm = {"weight": 1 + torch.rand(8), "bias": torch.randn(8)}
        image |= {f"feedforward.ln.{name}": tensor for name, tensor in norm.items()}
        image |= {f"feedforward.attn.{name}": tensor for name, tensor in attention.items()}
    rnn = torch.nn.GRU(5, 8, bidirectional=True).state_dict()
    text = {"embed.weight": torch.randn(rows, 5)}
    text |= {f"rnn.{name}": 2 * tensor for name, tensor in rnn.items()}
    return image, text | linear("fc", 8, 8)


def unit(rows: Tensor) -> np.ndarray:
    """Rows of unit length, in float64."""
    rows = rows.double().numpy()
    return rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-8)


def literal_bigru(text: dict[str, Tensor], ids: list[int]) -> np.ndarray:
    """The words of one caption."""
    rnn = torch.nn.GRU(5, 8, bidirectional=True)
    rnn.load_state_dict(
        {name[4:]: tensor for name, tensor in text.items() if name.startswith("rnn.")}
    )
    states = rnn(text["embed.weight"][ids])[0].detach()
    return unit((states[:, :8] + states[:, 8:]) / 2)


def literal_scores(
    images: list[np.ndarray], texts: list[np.ndarray], coding: str, pooling: str
) -> Tensor:
    """Every pair on its own."""
    rows = [
        [literal_pooling(pooling, literal_codes(coding, regions, words)) for words in texts]
        for regions in images
    ]
    return torch.tensor(rows).float()


SMALL_WORDS = {word: number for number, word in enumerate([*SPECIALS, "a", "dog", "runs", "cat"])}
SMALL_CAPTIONS = ["a dog runs", "cat", "a cat runs unheard"]
SMALL_IDS = [[1, 4, 5, 6, 2], [1, 7, 2], [1, 4, 7, 6, 3, 2]]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_coding_pooling_and_temperatures_are_those_of_the_options(tmp_path, coding, pooling):
    """Whatever the checkpoint says; a GRU's words by torch, codes and pooling by loops."""
    image, text = small_bigru(len(SMALL_WORDS), basic=True)
    path = save(
        tmp_path / "a.pth",
        image,
        text,
        word2idx=SMALL_WORDS,
        precomp_enc_type="basic",
        coding_type=CODINGS[coding],
        pooling_type=POOLINGS[pooling],
        alpha=0.15,  # the temperatures of test_chan's loops
        belta=0.1,
    )
    features = torch.randn(3, 4, 7)

    scores = scored(import_checkpoint("chan", path), features, SMALL_CAPTIONS)

    regions = [unit(one @ image["fc.weight"].T + image["fc.bias"]) for one in features]
    words = [literal_bigru(text, ids) for ids in SMALL_IDS]
    assert_close(scores, literal_scores(regions, words, coding, pooling), atol=1e-5, rtol=1e-5)


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "runs", "cat"]
PIECE_IDS = [[2, 5, 6, 7, 3], [2, 8, 3], [2, 5, 8, 7, 1, 3]]


@pytest.mark.parametrize("pooling", ["mean", "lse"])
def test_a_checkpoint_with_bert_scores_as_transformers_bert_does(tmp_path, pooling):
    """With the pooler and the position ids that old files have, both left out for a reason."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 32}
    bert = BertModel(BertConfig(vocab_size=len(PIECES), num_hidden_layers=2, **sizes)).eval()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    text = {f"bert.{name}": tensor for name, tensor in bert.state_dict().items()}
    text["bert.embeddings.position_ids"] = torch.arange(512)[None]
    text |= linear("linear", 8, 128)
    image = linear("fc", 8, 7)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    path = save(
        tmp_path / "a.pth",
        image,
        text,
        data_name="coco",
        precomp_enc_type="basic",
        pooling_type=POOLINGS[pooling],
    )
    features = torch.randn(3, 4, 7)

    found = import_checkpoint("chan", path, vocabulary=tmp_path / "vocab.txt")

    scores = scored(found, features, SMALL_CAPTIONS)
    regions = [unit(one @ image["fc.weight"].T + image["fc.bias"]) for one in features]
    with torch.no_grad():
        states = [bert(torch.tensor([ids])).last_hidden_state[0] for ids in PIECE_IDS]
    words = [unit(one @ text["linear.weight"].T + text["linear.bias"]) for one in states]
    assert_close(scores, literal_scores(regions, words, "vha", pooling), atol=2e-5, rtol=1e-5)
    assert found.imported.account.ignored.keys() == {
        "text encoder bert.embeddings.position_ids",
        "text encoder bert.pooler.dense.weight",
        "text encoder bert.pooler.dense.bias",
    }
    assert found.imported.card == "chan-coco.bert_butd"
    assert any(
        POOLINGS[pooling] in note and "no source says" in note for note in found.imported.notes
    )


def test_options_of_training_become_those_of_the_model(tmp_path):
    """So that it can be trained on as it was trained."""
    image, text = small_bigru(len(SMALL_WORDS) + 1)
    path = save(tmp_path / "a.pth", image, text, word2idx=SMALL_WORDS, obj_drop_rate=0.3)

    config = import_checkpoint("chan", path).model.config

    assert config.image_encoder == {
        "type": "chan_regions",
        "feature_dim": 7,
        "dim": 8,
        "context": "self_attention",
        "region_drop": 0.3,
    }
    assert config.text_encoder == {
        "type": "bigru",
        "word_dim": 5,
        "dim": 8,
        "word_drop": 0.2,
        "mask_token": True,
    }
    assert config.features.model_dump() == {"kind": "butd", "regions": 36, "dim": 7}


# -------------------------------------------------------------------------------------- words


def test_the_words_come_from_a_file_where_the_checkpoint_has_none(tmp_path):
    """And the mask, which the program put behind them, is put there again."""
    image, text = small_bigru(len(SMALL_WORDS) + 1)
    path = save(tmp_path / "a.pth", image, text)
    words = tmp_path / "f30k_precomp_vocab.json"
    words.write_text(Vocabulary(tuple(SMALL_WORDS)).to_json())

    given = import_checkpoint("chan", path, vocabulary=words)

    own = import_checkpoint("chan", save(path, image, text, word2idx=SMALL_WORDS))
    features = torch.randn(2, 3, 7)
    assert torch.equal(
        scored(given, features, SMALL_CAPTIONS), scored(own, features, SMALL_CAPTIONS)
    )
    assert given.model.text_encoder.vocabulary.words == (*SMALL_WORDS, "<mask>")
    with pytest.raises(InputError, match=r"9 word embeddings and does not say of which.*--vocab"):
        import_checkpoint("chan", save(path, image, text))


@pytest.mark.parametrize(
    ("own", "given", "words"),
    [
        (None, (*SMALL_WORDS, "more", "yet"), "9 word embeddings and the vocabulary 10 words"),
        (None, tuple(SMALL_WORDS)[:-1], "9 word embeddings and the vocabulary 7 words"),
        (SMALL_WORDS, tuple(reversed(SMALL_WORDS)), "other words than the checkpoint itself"),
        ({"a": 0, "b": 5}, None, "own vocabulary cannot be used: The vocabulary's 2 words"),
        ({"a": 0, "b": "c"}, None, "own vocabulary cannot be used: it is no dictionary"),
        (["a"], None, "own vocabulary cannot be used: it is no dictionary"),
        ({b"a": 0}, None, "own vocabulary cannot be used: it is no dictionary"),
        ({**SMALL_WORDS, 8: 8}, None, "own vocabulary cannot be used: it is no dictionary"),
        ({**SMALL_WORDS, "\udcff": 8}, None, "has a word that is no text"),
    ],
)
def test_words_of_other_embeddings_are_refused(tmp_path, own, given, words):
    """They would load and mean nothing."""
    image, text = small_bigru(len(SMALL_WORDS) + 1)
    path, file = save(tmp_path / "a.pth", image, text, word2idx=own), tmp_path / "words.json"
    if given:
        file.write_text(Vocabulary(given).to_json())

    with pytest.raises(WeightsError, match=words):
        import_checkpoint("chan", path, vocabulary=file if given else None)


def test_a_vocabulary_that_cannot_be_read_is_an_error(tmp_path):
    """A folder, or nothing at all."""
    path = save(tmp_path / "a.pth", *small_bigru(8))

    for place in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(DataError, match=r"cannot be read \(.*Check the path"):
            import_checkpoint("chan", path, vocabulary=place)


def test_word_pieces_are_those_of_the_bert(tmp_path):
    """As many lines as it has embeddings; without a file, the error says which."""
    text = {f"bert.embeddings.{one}_embeddings.weight": torch.zeros(9, 64) for one in TABLES}
    text |= linear("bert.encoder.layer.0.intermediate.dense", 16, 64) | linear("linear", 8, 64)
    options = {"precomp_enc_type": "basic"}
    path = save(tmp_path / "a.pth", linear("fc", 8, 7), text, **options)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES[:-1]) + "\n")

    with pytest.raises(InputError, match=r"BERT of 9 word pieces.*bert-base-uncased.*--vocab FILE"):
        import_checkpoint("chan", path)
    with pytest.raises(WeightsError, match=r"9 word pieces, and .*vocab.txt has 8 lines"):
        import_checkpoint("chan", path, vocabulary=tmp_path / "vocab.txt")


TABLES = ("word", "position", "token_type")


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precomp_enc_type": "transformer"}, "precomp_enc_type 'transformer', .*selfattention"),
        ({"coding_type": None}, "not say its coding_type, .*VHACoding, THACoding, VSACoding"),
        ({"pooling_type": "GPO"}, "pooling_type 'GPO', .*LSEPooling, MeanPooling"),
        ({"belta": "x"}, "a str as its option belta"),
        ({"no_imgnorm": True}, "no_imgnorm True, and a model of the zoo has False"),
        ({"no_txtnorm": True}, "no_txtnorm True"),
    ],
)
def test_options_that_the_zoo_does_not_have_are_refused(tmp_path, options, words):
    """Nothing is guessed: the weights would score otherwise than they were trained to."""
    path = save(tmp_path / "a.pth", *small_bigru(8), **{"word2idx": SMALL_WORDS, **options})

    with pytest.raises(WeightsError, match=words):
        import_checkpoint("chan", path)


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    """All the others."""
    return {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, t: [i, t, {"gcn.weight": torch.zeros(1)}, {}], "holds matcher gcn.weight"),
        (lambda i, t: [i, t, {}, {}, {}], "holds 5 state dicts where 4 are wanted"),
        (lambda i, t: [t, i], "holds image encoder embed.weight, .* lacks image encoder feed"),
        (lambda i, t: [i | {"mlp.0.weight": torch.zeros(1)}, t], "image encoder mlp.0.weight, whi"),
        (lambda i, _: [i, {}], "lacks text encoder embed, text encoder rnn"),
        (
            lambda i, t: [i, without(t, "rnn.weight_ih_l0_reverse")],
            "nothing in it becomes text_encoder.rnn.weight_ih_l0_reverse",
        ),
        (
            lambda i, t: [i, t | {"rnn.weight_ih_l1": torch.zeros(24, 8)}],
            "text encoder rnn.weight_ih_l1 has no place",
        ),
        (
            lambda i, t: [i | {"fc.bias": torch.zeros(9)}, t],
            r"fc.bias is \(9,\), wanted \(8,\) for image_encoder.project.bias",
        ),
        (lambda i, t: [i | {"fc.weight": torch.zeros(8)}, t], "where 2 axes are wanted"),
        (lambda i, t: [i | {"fc.bias": torch.arange(8)}, t], "holds torch.int64, wanted torch.flo"),
        (
            lambda i, t: [i | {"fc.bias": torch.full((8,), torch.nan)}, t],
            "image encoder fc.bias holds values that are not finite",
        ),
    ],
)
def test_a_tensor_too_many_too_few_or_of_another_shape_is_refused(tmp_path, change, words):
    """In the checkpoint's own names."""
    parts = change(*small_bigru(8))
    path = save(tmp_path / "a.pth", *parts, word2idx=SMALL_WORDS)

    with pytest.raises(WeightsError, match=words):
        import_checkpoint("chan", path)


def sized(dim: int, hidden: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A CHAN with a joint space of so many numbers, and a BERT of so many."""
    attention = torch.nn.MultiheadAttention(dim, 1).state_dict()
    image = linear("fc", dim, 7) | {f"feedforward.ln.{one}": torch.ones(dim) for one in LINEAR}
    image |= {f"feedforward.attn.{name}": tensor for name, tensor in attention.items()}
    text = {f"bert.embeddings.{one}_embeddings.weight": torch.zeros(9, hidden) for one in TABLES}
    text |= linear("bert.encoder.layer.0.intermediate.dense", 16, hidden)
    return image, text | linear("linear", dim, hidden)


LINEAR = ("weight", "bias")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (sized(6, 64), "embed_dim must be divisible by num_heads"),
        (sized(8, 200), "hidden size .200. is not a multiple"),
        ((linear("fc", 8, 0), sized(8, 64)[1]), "features.dim +Input should be greater"),
    ],
    ids=["attention", "bert", "features"],
)
def test_sizes_of_which_there_is_no_model_are_refused(tmp_path, parts, words):
    """What torch, transformers or the configuration say of them is passed on."""
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    kind = "selfattention" if len(parts[0]) > 2 else "basic"
    path = save(tmp_path / "a.pth", *parts, precomp_enc_type=kind)

    with pytest.raises(WeightsError, match=f"sizes of which no model can be built: .*{words}"):
        import_checkpoint("chan", path, vocabulary=tmp_path / "vocab.txt")


def test_what_the_loss_holds_is_left_out_for_that_reason(tmp_path):
    """A learned temperature, say."""
    path = save(
        tmp_path / "a.pth",
        *small_bigru(8),
        {},
        {"logit_scale": torch.ones(())},
        word2idx=SMALL_WORDS,
    )

    ignored = import_checkpoint("chan", path).imported.account.ignored

    assert ignored["loss logit_scale"] == "the loss's, which is no part of a model"
