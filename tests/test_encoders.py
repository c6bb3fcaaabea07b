"""The text encoders that methods share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zoo.batch import Fragments, Tokens
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.encoders.bert import BERT
from zoo.encoders.bigru import BiGRU
from zoo.encoders.word_vectors import read_word_vectors
from zoo.encoders.words import ReadsWords
from zoo.errors import DataError, InputError, WeightsError

CAPTIONS = ["a dog runs on the grass", "the cat", "a very green and red and blue cat sat"]
WORDS = Vocabulary.build(CAPTIONS, 1)
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIALS, "a", "the", "dog", "cat", "run", "##ning", "##s", ",", "!", "green"]
SMALL_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}


def bigru(**options) -> BiGRU:
    """A small one."""
    return BiGRU(WORDS, **({"word_dim": 6, "dim": 8} | options)).eval()


def bert(**options) -> BERT:
    """A small one with random weights."""
    return BERT("\n".join(PIECES) + "\n", SMALL_BERT, **({"dim": 8} | options)).eval()


ENCODERS = {"bigru": bigru, "bert": bert}


@pytest.fixture(params=ENCODERS)
def make(request):
    """Each text encoder in turn, as a function of its options."""
    return ENCODERS[request.param]


def generators(count: int) -> list[np.random.Generator]:
    """One random generator for each item."""
    return [np.random.default_rng([7, row]) for row in range(count)]


# --------------------------------------------------------------------------- what both have to keep


def test_words_have_unit_length_and_padding_is_zero(make):
    """What an aligner may rely on."""
    encoder = make()

    words = encoder(encoder.prepare(CAPTIONS))

    assert_close(words.embeddings.norm(dim=-1), words.mask.float())


def test_words_keep_their_length_for_a_method_that_wants_it(make):
    """Without unit length the words have the same directions, and lengths of their own."""
    unit, free = make(), make(unit_length=False)
    free.load_state_dict(unit.state_dict())
    tokens = unit.prepare(CAPTIONS)

    words = free(tokens).embeddings

    lengths = words.norm(dim=-1, keepdim=True)
    assert lengths[tokens.mask].std() > 1e-3
    assert_close(words, unit(tokens).embeddings * lengths)


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        (["a dog", ""], "Caption 1 is empty"),
        (["  \n"], "Caption 0 is empty"),
        (["a dog", None], "Caption 1 is a NoneType where text is wanted"),
        (["a dog", b"a cat"], "Caption 1 is a bytes where text is wanted"),
    ],
)
def test_what_is_no_caption_is_refused(make, captions, words):
    """The message names the caption."""
    with pytest.raises(InputError, match=words):
        make().prepare(captions)


@pytest.mark.parametrize(
    "caption", ["\ud800", "dog \udfff cat", "🐕", "\x00", "\u200b\u2028", "dog" * 500, "?!" * 500]
)
def test_odd_text_is_encoded(make, caption):
    """Halves of characters, no words at all, very long words: finite unit vectors."""
    encoder = make()

    words = encoder(encoder.prepare([caption])).embeddings

    assert_close(words.norm(dim=-1), torch.ones(words.shape[:2]))


def test_half_a_dog_is_no_dog():
    """A stray half of a character does not spoil the words around it."""
    assert bert().words("a dog\ud800 cat \ud83d\ude00")[1:4] == ["a", "dog", "cat"]


def test_noise_is_a_function_of_the_item_alone(make):
    """The same generator disturbs a caption alike in any batch."""
    encoder = make(word_drop=0.5, **({"mask_token": True} if make is bigru else {}))

    in_company = encoder.prepare(CAPTIONS, generators(3))
    alone = encoder.prepare(CAPTIONS[2:], generators(3)[2:])

    assert torch.equal(in_company.ids[2][in_company.mask[2]], alone.ids[0][alone.mask[0]])


def test_word_drop_without_noise_changes_nothing(make):
    """Evaluation reads every word."""
    options = {"mask_token": True} if make is bigru else {}

    assert torch.equal(
        make(word_drop=0.9, **options).prepare(CAPTIONS).ids, make(**options).prepare(CAPTIONS).ids
    )


# -------------------------------------------------------------------------------------------- BiGRU


def test_bigru_averages_the_two_directions():
    """Each word is h / ||h||, h the mean of its forward and backward states."""
    encoder = bigru()
    caption = encoder.prepare(CAPTIONS[:1])
    states, _ = encoder.rnn(encoder.embed(caption.ids))
    mean = (states[..., :8] + states[..., 8:]) / 2

    assert_close(encoder(caption).embeddings, mean / mean.norm(dim=-1, keepdim=True))


def test_bigru_starts_xavier_uniform():
    """Without word vectors, as in released code."""
    weight = BiGRU(WORDS, word_dim=200, dim=4).embed.weight
    bound = math.sqrt(6 / sum(weight.shape))

    assert 0.99 < weight.abs().max().item() / bound <= 1


def test_the_mask_token_is_the_last_entry():
    """So released weights, with 8,482 rows for 8,481 words, fit."""
    encoder = bigru(mask_token=True)

    assert len(encoder.embed.weight) == len(WORDS) + 1
    assert encoder.vocabulary.mask == len(WORDS)
    assert Vocabulary.from_json(encoder.files()["vocab.json"]).mask == len(WORDS)


def fates(encoder, caption: str, count: int) -> np.ndarray:
    """How many tokens of a repeated caption were masked, replaced, and left out, as shares."""
    clean = encoder.prepare([caption]).ids[0]
    noisy = encoder.prepare([caption] * count, generators(count))
    special = encoder.vocabulary.mask if isinstance(encoder, BiGRU) else encoder.mask
    masked = (noisy.ids == special).sum().item()
    same = torch.isin(noisy.ids, clean) & noisy.mask
    replaced = noisy.mask.sum().item() - masked - same.sum().item()
    total = len(clean) * count
    return np.array([masked, replaced, total - noisy.mask.sum().item()]) / total


def test_bigru_noise_masks_replaces_and_deletes():
    """Of the fifth that is chosen, half are masked, a tenth replaced, two fifths left out."""
    vocabulary = Vocabulary((*WORDS.words[:4], *(f"w{n}" for n in range(1000))))
    encoder = BiGRU(vocabulary, 4, 4, word_drop=0.2, mask_token=True)

    shares = fates(encoder, "w1 w2 w3 w4 w5 w6", 4000)

    assert shares == pytest.approx([0.1, 0.02, 0.08], abs=0.006)


def test_bigru_noise_reaches_start_and_end_but_leaves_a_word():
    """As released code does, except that at least one token stays."""
    encoder = bigru(word_drop=0.99, mask_token=True)

    noisy = encoder.prepare(["cat"] * 300, generators(300))

    assert noisy.mask.any(dim=1).all()
    assert (noisy.mask.sum(dim=1) == 1).any()
    assert (noisy.ids[:, 0] != 1).any()


def test_bigru_dropout_is_off_outside_training():
    """It acts on the embeddings while training, and never else."""
    encoder = bigru(dropout=0.5)
    caption = encoder.prepare(CAPTIONS)

    assert torch.equal(encoder(caption).embeddings, encoder(caption).embeddings)
    encoder.train()
    assert not torch.equal(encoder(caption).embeddings, encoder(caption).embeddings)


def test_bigru_refuses_word_drop_without_a_mask_token():
    """Half of the chosen words would have nothing to become."""
    with pytest.raises(InputError, match="Set mask_token to true"):
        bigru(word_drop=0.2)


def test_bigru_reads_bytes_as_some_checkpoints_were_trained_to():
    """Its words are those of the text "b'a cat'", and a vocabulary that knows them gets them."""
    words = Vocabulary(("<unk>", "<start>", "<end>", "a", "cat", "'", "b'a"))
    legacy = BiGRU(words, 6, 8, legacy_bytes_repr=True)

    assert legacy.words("a cat") == ["<start>", "b'a", "cat", "'", "<end>"]
    assert legacy.prepare(["a cat"]).ids.tolist() == [[1, 6, 4, 5, 2]]
    assert BiGRU(words, 6, 8).prepare(["a cat"]).ids.tolist() == [[1, 3, 4, 2]]


def test_bigru_reads_with_the_specials_of_its_own_vocabulary():
    """In whichever order they stand, and without those that it has not."""
    encoder = BiGRU.from_config({"word_dim": 6, "dim": 8}, {"vocab.json": '["a", "<unk>"]'})

    assert encoder.prepare(["a cat"]).ids.tolist() == [[0, 1]]
    assert encoder.words("a cat") == ["a", "cat"]
    again = BiGRU.from_config({"word_dim": 6, "dim": 8}, encoder.files())
    assert again.vocabulary == encoder.vocabulary


def test_bigru_needs_its_vocabulary():
    """A folder without vocab.json is refused by name."""
    with pytest.raises(WeightsError, match=r"needs vocab.json and there is vocab\.txt"):
        build("text_encoder", {"type": "bigru"}, {"vocab.txt": ""})


def test_bigru_starts_from_word_vectors(tmp_path):
    """Words that the file lacks are looked up without -.' and by what precedes a slash."""
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("dog 1 2 3\n. . . 7 8 9\ntshirt 4 5 6\nother 0 0 0\nred 1 1 1\n")

    rows = read_word_vectors(vectors, ["dog", "t-shirt", "red/blue", "unseen"], 3)

    assert rows[:3].tolist() == [[1, 2, 3], [4, 5, 6], [1, 1, 1]]
    assert rows[3].abs().sum() > 0

    encoder = bigru(word_dim=3)
    encoder.load_initial(vectors)

    assert encoder.embed.weight[WORDS.ids["dog"]].tolist() == [1, 2, 3]
    assert encoder.embed.weight.requires_grad


@pytest.mark.parametrize(
    ("text", "words"),
    [("dog 1 2\n", "Line 1 of .* has 2 numbers where 3"), ("cow 1 2 3\n", "a vector for none")],
)
def test_word_vectors_that_do_not_fit_are_refused(tmp_path, text, words):
    """A wrong length or a wrong file is named, not trained on."""
    path = tmp_path / "vectors.txt"
    path.write_text(text)

    with pytest.raises(WeightsError, match=words):
        read_word_vectors(path, ["dog"], 3)


def test_word_vectors_of_fasttext_begin_with_their_count(tmp_path):
    """The first line is no vector, even where its number is a word that is looked for."""
    path = tmp_path / "vectors.vec"
    path.write_text("2 3\n2 4 5 6 \ndog 1 2 3 \n")

    assert read_word_vectors(path, ["dog", "2"], 3).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_damaged_line_of_word_vectors_is_named(tmp_path):
    """With its number and the file."""
    path = tmp_path / "vectors.txt"
    path.write_text("cow 1 2 3\ndog 1 x 3\n")

    with pytest.raises(DataError, match=r"Line 2 of .*vectors\.txt has a word .*'x'"):
        read_word_vectors(path, ["dog"], 3)


# --------------------------------------------------------------------------------------------- BERT


def test_bert_reads_word_pieces_between_cls_and_sep():
    """Lower case, punctuation apart, the longest known pieces; a word without any is unknown."""
    encoder = bert()

    assert encoder.words("A dog, runs!")[1:-1] == ["a", "dog", ",", "run", "##s", "!"]
    assert encoder.words("zebras run") == ["[CLS]", "[UNK]", "run", "[SEP]"]


def test_bert_tokens_equal_those_of_transformers():
    """Its own tokenizer, on the same pieces."""
    from transformers import BertTokenizer

    texts = ["A dog, running!", "cats", "  the\tgreen  Dog ", "dög run", "green-dog!?"]
    theirs = BertTokenizer({piece: number for number, piece in enumerate(PIECES)})
    ours = bert().prepare(texts)

    for row, text in enumerate(texts):
        assert ours.ids[row][ours.mask[row]].tolist() == theirs(text)["input_ids"]


def test_bert_projects_the_last_states_to_unit_length():
    """Each word is h / ||h||, h = W x + b with x from transformers' BertModel."""
    encoder = bert()
    caption = encoder.prepare(["a dog, running"])
    hidden = encoder.project(encoder.bert(caption.ids).last_hidden_state)

    assert_close(encoder(caption).embeddings, hidden / hidden.norm(dim=-1, keepdim=True))


def test_bert_cuts_a_caption_to_what_it_can_read():
    """[SEP] stays; twelve pieces here, 512 in the published size."""
    tokens = bert().prepare(["a " * 50])

    assert tokens.mask.sum() == 12
    assert tokens.ids[0, -1] == PIECES.index("[SEP]")


def test_bert_reads_no_more_than_it_is_told():
    """A length of its own, within what it can read."""
    tokens = bert(longest=5).prepare(["a dog", "a " * 50])

    assert tokens.mask.sum(dim=1).tolist() == [4, 5]
    assert tokens.ids[1, -1] == PIECES.index("[SEP]")
    for wrong in (2, 13):
        with pytest.raises(InputError, match=f"longest is {wrong}, .* reads 3 to 12"):
            bert(longest=wrong)


def test_bert_pieces_are_those_of_the_programs_of_the_field(shared_data):
    """Words by the basic tokenizer, pieces of each by the word-piece one: on real captions."""
    from transformers.models.bert import tokenization_bert_legacy as legacy

    paths = sorted(shared_data.glob("*/test*_caps.txt"))
    captions = [line for path in paths for line in path.read_text("utf-8").splitlines()[::31]]
    letters = sorted({letter for caption in captions for letter in caption.lower()} - {" "})
    parts = ["the", "ing", "ed", "er", "man", "two", "wo", "a", "and", "ll", "ball", "foot", "doo"]
    pieces = [*SPECIALS, *dict.fromkeys([*parts, *letters[::2]])]
    pieces += [f"##{piece}" for piece in dict.fromkeys([*parts, *letters])]
    encoder = BERT("\n".join(pieces), SMALL_BERT | {"max_position_embeddings": 512}, dim=8)
    basic = legacy.BasicTokenizer(do_lower_case=True)
    split = legacy.WordpieceTokenizer(dict.fromkeys(pieces), "[UNK]")

    assert len(captions) > 1000
    for caption in captions:
        expected = [piece for word in basic.tokenize(caption) for piece in split.tokenize(word)]
        assert encoder.words(caption) == ["[CLS]", *expected, "[SEP]"]


def test_bert_noise_masks_replaces_and_deletes():
    """The shares of BiGRU's noise, but [CLS] and [SEP] always stay."""
    vocabulary = "\n".join([*PIECES, *(f"w{n}" for n in range(1000))])
    encoder = BERT(vocabulary, SMALL_BERT, 8, word_drop=0.2)

    shares = fates(encoder, "w1 w2 w3 w4 w5 w6", 4000) * 8 / 6

    assert shares == pytest.approx([0.1, 0.02, 0.08], abs=0.006)
    noisy = encoder.prepare(["w1 w2"] * 100, generators(100))
    assert (noisy.ids[:, 0] == PIECES.index("[CLS]")).all()
    assert ((noisy.ids == PIECES.index("[SEP]")).sum(dim=1) == 1).all()


def test_bert_noise_treats_the_pieces_of_a_word_alike():
    """Both pieces of "running" are masked, both replaced, or both left out."""
    encoder = bert(word_drop=0.9)
    noisy = encoder.prepare(["runs"] * 400, generators(400))

    counts = (noisy.ids == PIECES.index("[MASK]")).sum(dim=1)
    lengths = noisy.mask.sum(dim=1)

    assert set(lengths.tolist()) == {2, 4}
    assert (counts == 2).sum() > 100


def test_bert_starts_from_pretrained_weights(tmp_path):
    """From a folder as transformers saves it."""
    source = bert().bert
    source.save_pretrained(tmp_path)
    encoder = bert()

    encoder.load_initial(tmp_path / "model.safetensors")

    assert_close(dict(encoder.bert.state_dict()), dict(source.state_dict()), rtol=0, atol=0)


def test_bert_refuses_weights_that_lack_a_part(tmp_path):
    """A smaller BERT would leave layers at random."""
    BERT("\n".join(PIECES), SMALL_BERT, 8).bert.save_pretrained(tmp_path)
    larger = BERT("\n".join(PIECES), SMALL_BERT | {"num_hidden_layers": 2}, 8)

    with pytest.raises(WeightsError, match=r"does not fit this BERT: it lacks encoder\.layer\.1"):
        larger.load_initial(tmp_path / "model.safetensors")


def test_bert_refuses_weights_of_another_size(tmp_path):
    """The message has the weight with the shape found and the shape wanted."""
    BERT("\n".join(PIECES), SMALL_BERT, 8).bert.save_pretrained(tmp_path)
    wider = BERT("\n".join(PIECES), SMALL_BERT | {"intermediate_size": 64}, 8)

    with pytest.raises(WeightsError, match=r"it has \S+ of shape \(32,\), wanted \(64,\) \(3 "):
        wider.load_initial(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("make_one", "error", "words"),
    [
        (lambda: BERT("[PAD]\n[UNK]\n", SMALL_BERT), WeightsError, r"vocab.txt lacks \[CLS\]"),
        (lambda: BERT("\n".join(PIECES), {"layers": 2}), InputError, "A key of bert is 'layers'"),
        (
            lambda: build("text_encoder", {"type": "bert"}, {}),
            WeightsError,
            "needs vocab.txt and there is no file",
        ),
    ],
)
def test_a_bert_that_cannot_be_built_is_refused(make_one, error, words):
    """The message names the file or the key."""
    with pytest.raises(error, match=words):
        make_one()


# ------------------------------------------------------------------ what is built on these encoders


def test_places_say_where_the_words_that_are_left_stood(make):
    """With words left out, each token names its own; without noise nothing is said."""
    encoder = make(word_drop=0.6, **({"mask_token": True} if make is bigru else {}))
    whole = encoder.prepare(CAPTIONS)
    noisy = encoder.prepare(CAPTIONS * 20, generators(60))

    assert whole.places is None
    assert (noisy.mask.sum(dim=1) < encoder.prepare(CAPTIONS * 20).mask.sum(dim=1)).any()
    same = left = 0
    for row, ids in enumerate(noisy.ids):
        places = noisy.places[row, noisy.mask[row]]
        assert (places.diff() > 0).all()
        there = whole.ids[row % 3, places]
        same, left = same + int((there == ids[noisy.mask[row]]).sum()), left + len(places)
    assert 0.3 * left < same < left  # of the others, changed words stand at their places


def test_fixed_word_vectors_stand_beside_learned_ones(tmp_path):
    """They come from the file, are saved, change the encoding, and no gradient reaches them."""
    torch.manual_seed(0)
    encoder = bigru(fixed_dim=3)
    before = encoder(encoder.prepare(CAPTIONS)).embeddings
    (tmp_path / "vectors.txt").write_text("dog 1 2 3\ncat 4 5 6\n")

    encoder.load_initial(tmp_path / "vectors.txt")

    assert encoder.fixed[WORDS.encode("dog")[1]].tolist() == [1, 2, 3]
    assert encoder.state_dict()["fixed"] is not None
    assert "fixed" not in dict(encoder.named_parameters())
    assert not torch.allclose(encoder(encoder.prepare(CAPTIONS)).embeddings, before)
    assert "fixed" not in bigru().state_dict()


def test_training_without_fixed_word_vectors_is_refused():
    """A table of zeros beside the learned embeddings would look like GloVe and be nothing."""
    encoder = bigru(fixed_dim=3)
    prepared = encoder.prepare(CAPTIONS)

    with pytest.raises(InputError, match=r"all of them are 0\. Name their file .* fixed_dim=0\)"):
        encoder.train()(prepared)
    assert encoder.eval()(prepared).embeddings.isfinite().all()


class Sums(ReadsWords[Tokens, Fragments]):
    """Words, added up."""

    def __init__(self, reader, scale=1.0):
        super().__init__(reader)
        self.scale = scale

    def forward(self, batch):
        """One fragment a text."""
        words = self.reader(batch).embeddings.sum(dim=1, keepdim=True) * self.scale
        return Fragments(words, batch.mask.any(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("reader", "file", "text"),
    [
        ({"type": "bigru", "word_dim": 4, "dim": 8}, "vocab.json", WORDS.to_json()),
        ({"type": "bert", "bert": SMALL_BERT, "dim": 8}, "vocab.txt", "\n".join(PIECES) + "\n"),
    ],
)
def test_an_encoder_goes_on_from_the_words_of_another(reader, file, text):
    """It is built from the reader's configuration and files, and prepares as the reader does."""
    encoder = Sums.from_config({"reader": reader, "scale": 2.0}, {file: text}).eval()
    prepared = encoder.prepare(CAPTIONS)

    assert encoder.files() == {file: text}
    assert encoder.words(CAPTIONS[0]) == encoder.reader.words(CAPTIONS[0])
    assert_close(prepared.ids, encoder.reader.prepare(CAPTIONS).ids)
    expected = 2 * encoder.reader(prepared).embeddings.sum(dim=1)
    assert_close(encoder(prepared).embeddings[:, 0], expected)


def test_an_encoder_without_a_reader_says_what_is_missing():
    """The reader is a configuration with a type."""
    with pytest.raises(InputError, match="has no 'type'"):
        Sums.from_config({}, {})
