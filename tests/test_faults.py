"""The kit catches what goes wrong in methods of this field, and says it in words.

Each fault is put into the text of a toy plugin that passes, and must fail the check that is named.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from distributions import Site
from zoo.plugins.discovery import discover
from zoo.testing.conformance import cases

pytest_plugins = ["pytester"]

TOY = Path(__file__).with_name("toy_plugin")


class Fault(NamedTuple):
    """What is written in place of what, in which file, and which check says which words."""

    file: str
    old: str
    new: str
    check: str
    words: str


def model(old: str, new: str, check: str, words: str) -> Fault:
    """A fault of the method itself."""
    return Fault("model.py", old, new, check, words)


FAULTS = {
    # Seen in released code of the field, or close to it.
    "every text is refined by the block's first image": model(
        "logits.softmax(-1), regions)",
        "logits.softmax(-1), regions)[:1].expand(len(regions), -1, -1, -1)",
        "a pair alone",
        "in a block and",
    ),
    "a mask that multiplies": model(
        "logits.masked_fill(~images.mask[:, None, None], -torch.inf)",
        "logits * images.mask[:, None, None]",
        "padding of encodings",
        "a product with 0 does not",
    ),
    "padding in the mean": model(
        "(found.masked_fill(~texts.mask, 0) * gates.softmax(-1)).sum(-1)",
        "found.mean(-1) + 0 * gates.exp().sum(-1)",
        "padding of encodings",
        "other numbers stand at padding of the encodings",
    ),
    "the diagonal is the only match": model(
        "pairs.matches)",
        "torch.eye(*pairs.matches.shape, dtype=torch.bool))",
        "loss",
        "every caption of an image is one, not the diagonal's alone",
    ),
    "a margin that is not saved": model(
        "torch.tensor(margin))",
        "torch.tensor(margin), persistent=False)",
        "saved and loaded",
        "the loss's margin changes in training and is not saved",
    ),
    "regions less the batch's mean": model(
        "self.dropout(hidden + seen)",
        "self.dropout(hidden + seen - 10 * seen.mean())",
        "an item alone",
        "encodes differently alone and in company",
    ),
    "attention across images": model(
        "batch_first=True)",
        "batch_first=False)",
        "an item alone",
        "It raised",
    ),
    "attention across images, without a mask": model(
        "key_padding_mask=~batch.mask, need_weights=False\n        )",
        "need_weights=False\n        ) if self.attention.__setattr__('batch_first', False) else "
        "self.attention(hidden, hidden, hidden)",
        "an item alone",
        "batch_first=True",
    ),
    # Others.
    "pairs that score otherwise the second time": model(
        'return Similarity(scores, {"local": scores})',
        "return Similarity(nn.functional.dropout(scores, 0.3, self.training))\n\n"
        "    pairwise = True",
        "listed pairs",
        "set pairwise to False",
    ),
    "a layer between encodings and scores in bfloat16": model(
        "(words @ in_full(self.gate.weight[0]))",
        "self.gate(words)[..., 0]",
        "precision",
        "zoo.ops.linear_in_full",
    ),
    "dropout left on": model(
        "self.dropout(hidden + seen)",
        "nn.functional.dropout(hidden + seen, 0.1)",
        "encoded twice",
        "Encoding the same images twice gives other numbers in evaluation mode",
    ),
    "batch norm over the batch": model(
        "self.norm = nn.LayerNorm(dim)",
        "self.norm = nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(dim), "
        "nn.Unflatten(0, (-1, 6)))",
        "an item in training",
        "mixes_in_training = True",
    ),
    "padding in a softmax of the encoder": model(
        "key_padding_mask=~batch.mask, ", "", "padding of items", "Image 0 encodes differently"
    ),
    "scores by place in the block": model(
        "return Similarity(scores,",
        "scores = scores + 0.01 * torch.arange(len(scores))[:, None]\n        "
        "return Similarity(scores,",
        "order of a block",
        "Scores depend on the order of the block",
    ),
    "a tensor drawn at random and kept aside": model(
        "self.temperature = temperature\n",
        "self.temperature = temperature\n        self.offset = torch.randn(dim)\n",
        "saved and loaded",
        "aligner.offset is drawn at random and is not saved",
    ),
    "a buffer that is not saved": model(
        "self.temperature = temperature\n",
        "self.temperature = temperature\n        "
        "self.register_buffer('offset', torch.randn(dim), persistent=False)\n",
        "saved and loaded",
        "Register it: self.register_buffer(name, tensor)",
    ),
    "a parameter that nothing uses": model(
        "self.gate = nn.Linear(dim, 1, bias=False)",
        "self.gate, self.spare = nn.Linear(dim, 1, bias=False), nn.Linear(dim, 1)",
        "gradients",
        "No gradient reaches aligner.spare.weight and aligner.spare.bias",
    ),
    "squares in float16": model(
        "hidden = self.norm(self.projected(batch))",
        "hidden = self.norm(self.projected(batch))\n        "
        "hidden = hidden * (1 + batch.features.half().square().mean(-1, keepdim=True).float())",
        "finite scores",
        "half precision with values up to 2,000",
    ),
    "an input that is edited": model(
        "hidden = self.norm(self.projected(batch))",
        "hidden = self.norm(self.projected(batch))\n        batch.features.clamp_(min=0)",
        "inputs untouched",
        "Images are changed by being used: features",
    ),
    "items that are edited": model(
        '    def forward(self, batch):\n        """Regions of unit length."""',
        "    def prepare(self, items, noise=None):\n"
        "        items.features.clamp_(min=0)\n"
        "        return super().prepare(items, noise)\n\n"
        '    def forward(self, batch):\n        """Regions of unit length."""',
        "inputs untouched",
        "Raw images are changed by being used: features",
    ),
    "an encoding that is edited": model(
        "regions, words = in_full(images.embeddings), in_full(texts.embeddings)",
        "regions, words = in_full(images.embeddings).mul_(0.5), in_full(texts.embeddings)",
        "inputs untouched",
        "Encoded images are changed by being used: embeddings",
    ),
    "scores with a random part": model(
        "return Similarity(scores,",
        "scores = scores + 1e-3 * torch.rand_like(scores)\n        return Similarity(scores,",
        "encoded twice",
        "Scoring the same block twice gives other numbers",
    ),
    "noise that is nobody's": model(
        "    def forward(self, batch):\n        \"\"\"Regions of unit length.\"\"\"",
        "    def prepare(self, items, noise=None):\n"
        "        regions = super().prepare(items, noise)\n"
        "        return type(regions)(regions.features + torch.rand(1), regions.mask)\n\n"
        "    def forward(self, batch):\n        \"\"\"Regions of unit length.\"\"\"",
        "encoded twice",
        "Preparing the same images twice without noise gives other tensors",
    ),
    "weights that no seed decides": model(
        "self.temperature = temperature\n",
        "self.temperature = temperature\n        import random\n        "
        "nn.init.constant_(self.gate.weight, random.random())\n",
        "encoded twice",
        "Built twice with one seed",
    ),
    "an argument that is no JSON": model(
        "temperature=0.1):", "temperature=0.1, shape=torch.tanh):", "built from JSON", "'shape'"
    ),
    "scores in half precision": model(
        "return Similarity(scores,",
        "return Similarity(scores.bfloat16(),",
        "precision",
        "yields torch.bfloat16 under autocast",
    ),
    "a root without a floor": model(
        "hidden = self.norm(self.projected(batch))",
        "hidden = self.norm(self.projected(batch))\n        hidden = hidden + 0 * "
        "(self.project.weight @ batch.features.mT).mT.square().sum(-1, keepdim=True).sqrt()",
        "gradients at zeros",
        "is not finite where a region is all 0",
    ),
    "scores that learning cannot move": model(
        "(found.masked_fill(~texts.mask, 0) * gates.softmax(-1)).sum(-1)",
        "1e-6 * (found.masked_fill(~texts.mask, 0) * gates.softmax(-1)).sum(-1)",
        "two batches learned",
        "The loss on two batches falls to",
    ),
    "a level of another shape": model(
        '{"local": scores}', '{"local": scores.T}', "shapes", "local has the shape (5, 4)"
    ),
    "more words than fragments": model(
        "return dot_products(images, texts)",
        "return dot_products(images, texts)[:, :, 1:]",
        "shapes",
        "the text encoder names",
    ),
    "a bound that does not hold": model(
        "    def word_regions(",
        "    scans = True\n\n"
        "    def rounded(self, encoded):\n"
        "        return Fragments(encoded.embeddings.bfloat16(), encoded.mask)\n\n"
        "    def scan(self, images, texts):\n"
        "        scores = self(images, texts).scores\n"
        "        return Scan(scores, torch.zeros_like(scores))\n\n"
        "    def word_regions(",
        "bound of a scan",
        "farther from the exact one than its bound says",
    ),
    # Around the method.
    "torch at import": Fault(
        "__init__.py", "from pathlib", "import torch\nfrom pathlib", "imports", "imports torch"
    ),
    "MMEngine in a component": model(
        "import torch\n", "import mmengine\nimport torch\n", "components", "imports MMEngine"
    ),
    "a class of another kind": Fault(
        "__init__.py", "model:Hinge", "model:Attending", "components", "is no Loss"
    ),
    "a part of a class": model(
        "    def forward(self, similarity, pairs):",
        "    def wrong(self, similarity, pairs):",
        "components",
        "loss 'toy_hinge' lacks forward",
    ),
    "a card with an argument that is not there": Fault(
        "cards.yaml", "alignment, dim: 16}", "alignment, dims: 16}", "card", "the argument 'dims'"
    ),
    "a card that is not its recipe's": Fault(
        "cards.yaml",
        "alignment, dim: 16}",
        "alignment, dim: 16, temperature: 0.2}",
        "card",
        "The card toy-f8k has the aligner",
    ),
    "a card without its recipe": Fault(
        "cards.yaml", "recipe: toy-f8k", "recipe: toy-f30k", "card", "the recipe 'toy-f30k'"
    ),
    "a card of another plugin": Fault(
        "cards.yaml", "{plugin: toy", "{plugin: toys", "methods", "'toys' where 'toy' is wanted"
    ),
    "a card against the schema": Fault(
        "cards.yaml", "boxes: false", "boxes: maybe", "loaded", "boxes: Input should be"
    ),
    "a recipe without a block": Fault(
        "recipes/toy_f8k.py", "    scoring=dict(image_block=128, text_block=512),\n", "",
        "recipe", "does not set image_block and text_block",
    ),
    "a recipe that cannot be read": Fault(
        "recipes/toy_f8k.py", 'name = "toy-f8k"', "name = ", "recipe", "cannot be read as a recipe"
    ),
    "a component that nothing uses": Fault(
        "__init__.py",
        "    register(\"loss\"",
        "    register(\"aligner\", \"spare\", f\"{__name__}.model:Attending\")\n"
        "    register(\"loss\"",
        "used",
        "No recipe and no card uses the aligner 'spare'",
    ),
}  # fmt: skip


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Installs the toy plugin with a fault in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    site = Site(tmp_path)

    def install(fault: Fault | None) -> None:
        site.add("toy", None, point=f"toy_{len(tmp_path.name)}_{tmp_path.name}")
        folder = shutil.copytree(TOY, tmp_path / f"toy_{len(tmp_path.name)}_{tmp_path.name}")
        if fault is not None:
            text = (folder / fault.file).read_text()
            assert text.count(fault.old) >= 1, fault.old
            (folder / fault.file).write_text(text.replace(fault.old, fault.new, 1))
        discover.cache_clear()

    yield install
    site.forget()
    sys.modules.pop(f"toy_{len(tmp_path.name)}_{tmp_path.name}", None)
    discover.cache_clear()


def verdicts(check=None):
    """Those of one check, or all."""
    return [case.verdict() for case in cases("toy") if check in (None, case.check)]


def test_the_toy_without_a_fault_passes(toy):
    """So what a fault fails is the fault's doing."""
    toy(None)

    assert [one for one in verdicts() if one.state == "failed"] == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_and_told(toy, name):
    """The check fails, with words that say what is wrong."""
    fault = FAULTS[name]
    toy(fault)

    words = [one.words for one in verdicts(fault.check) if one.state == "failed"]

    assert words, f"{fault.check} passes"
    assert fault.words in words[0]


def test_a_model_that_cannot_be_built_fails_once(toy):
    """What all its other checks would say of it as well is said by the first."""
    toy(model("self.gate = nn.Linear(dim, 1, bias=False)", "self.gate = nn.Linear(dim)", "", ""))

    failed = [one for one in verdicts() if one.state == "failed" and one.subject == "toy-f8k"]

    assert [one.check for one in failed] == ["built from JSON"]
    assert "Linear.__init__() missing" in failed[0].words


def test_what_is_declared_is_no_fault(toy):
    """A parameter at rest, and batch norm in training, where the class says so."""
    spare = FAULTS["a parameter that nothing uses"]
    declared = '"""What each word sees, weighed by a gate of the word."""\n'
    line = declared + '\n    without_gradient = ("spare.*",)\n'
    toy(spare._replace(old=declared, new=line.replace("spare", "gate")))
    assert [one.state for one in verdicts("gradients")] == ["passed"]


def test_an_author_s_own_tests_fail_in_words(toy, pytester):
    """Three lines of pytest: a test for each check, and a fault told without a traceback."""
    toy(FAULTS["a parameter that nothing uses"])
    usual = 'pytest_plugins = ["zoo.testing"]\n{}\ndef test_it(zoo_check):\n    zoo_check()\n'

    pytester.makepyfile(usual.format('ZOO_PLUGIN = "toy"'))
    ended = pytester.runpytest_inprocess("-k", "gradients or scan", "-p", "no:cacheprovider")
    ended.assert_outcomes(failed=1, passed=1, skipped=1, deselected=ended_deselected(ended))
    ended.stdout.fnmatch_lines(["*toy-f8k, gradients: No gradient reaches aligner.spare.weight*"])
    assert "Traceback" not in ended.stdout.str()

    pytester.makepyfile(usual.format(""))
    ended = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    ended.stdout.fnmatch_lines(["*has no ZOO_PLUGIN*"])


def ended_deselected(ended):
    """How many tests were left out."""
    return ended.parseoutcomes().get("deselected", 0)
