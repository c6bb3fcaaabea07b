"""Discovery: a broken plugin costs itself and nothing else."""

import importlib
import json
import random
import sys
import warnings

import pytest

from distributions import GOOD, Site
from zoo import hooks
from zoo.errors import PluginError, ZooDeprecationWarning
from zoo.plugins import discovery as plugins
from zoo.plugins.discovery import discover, discover_in

HEAD = """
    from zoo.hooks import hookimpl
    ZOO_API_VERSION = (1, 0)
"""


def components(body: str) -> str:
    """A plugin whose zoo_components does that."""
    return HEAD + f"    @hookimpl\n    def zoo_components(register): {body}\n"


def cards(answer: str) -> str:
    """A plugin whose zoo_cards answers that."""
    return HEAD + f"    @hookimpl\n    def zoo_cards(): return {answer}\n"


# name of the plugin: its module, the status that it must get, words that its reason must have
BROKEN = {
    "raises": ("raise RuntimeError('no driver')", "import-error", "RuntimeError: no driver"),
    "syntax": ("def broken(:", "import-error", "SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "import-error", "SystemExit: 3"),
    "absent": (None, "import-error", "No module named 'absent'"),
    "needs": ("import a_package_that_nobody_has", "import-error", "a_package_that_nobody_has"),
    "deep": ("def f(): return f()\nf()", "import-error", "RecursionError"),
    "unversioned": (
        GOOD.replace("ZOO_API_VERSION", "VERSION"),
        "incompatible",
        "its module has no ZOO_API_VERSION; one for this zoo has (1, 1)",
    ),
    "newer": (GOOD.replace("(1, 0)", "(1, 2)"), "incompatible", "(1, 2), and this zoo offers 1.1"),
    "older": (GOOD.replace("(1, 0)", "(0, 9)"), "incompatible", "(0, 9)"),
    "text": (GOOD.replace("(1, 0)", "'1.0'"), "incompatible", "'1.0'"),
    "argument": (GOOD.replace("register", "components"), "invalid", "'components'"),
    "unknown_hook": (GOOD.replace("zoo_components", "zoo_models"), "invalid", "unknown hook"),
    "hookless": ("ZOO_API_VERSION = (1, 0)", "invalid", "implements no hook"),
    "touchy": (
        HEAD + "    def __dir__(): return ['x']\n    def __getattr__(name): raise OSError('no')",
        "invalid",
        "implements no hook",
    ),
    "hook_raises": (components("1 / 0"), "hook-error", "ZeroDivisionError"),
    "hook_exits": (components("raise SystemExit('bye')"), "hook-error", "SystemExit: bye"),
    "kind": (components("register('encoder', 'x', 'm:C')"), "hook-error", "kind 'encoder'"),
    "target": (components("register('loss', 'x', 'm.C')"), "hook-error", "package.module:Class"),
    "object": (components("register('loss', 'x', int)"), "hook-error", "three texts, not type"),
    "twice": (
        components("[register('loss', 'x', 'm:C') for _ in range(2)]"),
        "hook-error",
        "registered twice",
    ),
    "core_name": (
        components("register('loss', 'triplet', 'm:C')"),
        "conflict",
        "'triplet' is registered already by plugin 'zoo'",
    ),
    "half": (
        components("[register('loss', n, 'm:C') for n in ('half', 'triplet')]"),
        "conflict",
        "'triplet'",
    ),
    "z_rival": (
        components("register('aligner', 'good', 'm:C')"),
        "conflict",
        "'good' is registered already by plugin 'good'",
    ),
    "one_path": (cards("'/some/cards.yaml'"), "hook-error", "not a list of paths"),
    "no_file": (cards("['{folder}/nowhere.yaml']"), "invalid", "nowhere.yaml cannot be read"),
    "bad_card": (cards("['{folder}/bad.yaml']"), "invalid", "bad.yaml, line 2, models.x"),
    "old_card": (
        cards("['{folder}/old.yaml']"),
        "conflict",
        "methods.chan: the name is taken already, by plugin 'chan'",
    ),
}
BAD_CARD = "schema_version: 1\nmodels: {x: 3}\n"
OLD_CARD = (
    "schema_version: 1\nmethods:\n  chan: {plugin: old_card, title: T, venue: V, paper: null, "
    "reference_code: null}\n"
)
NEW_CARD = """schema_version: 1
methods:
  scan: {plugin: with_cards, title: SCAN, venue: ECCV 2018, paper: null, reference_code: null}
models:
  scan-f8k:
    method: scan
    dataset: f8k
    default: gru
    variants:
      gru: {status: planned, features: {kind: butd, regions: 36, dim: 2048, boxes: false}}
"""


BUILT_IN = ["chan", "mfa", "mssan", "sgraf", "shan", "tvrn", "vse_infty"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder for plugins, on sys.path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    site = Site(tmp_path)
    yield site
    site.forget()


@pytest.fixture
def broken_site(site):
    """Every kind of broken plugin, and three good ones among them."""
    for name, (source, _, _) in BROKEN.items():
        site.add(name, source)
    site.add("bad_value", None, point="not a module")
    site.add("shadow", entry="good")
    site.add("good")
    site.add("loud", "print('hello from a plugin')\n" + GOOD.replace("\n    ", "\n"))
    site.add("with_cards", cards("['{folder}/new.yaml']"))
    site.add("unreadable")
    unreadable = site.folder / "a_unreadable-2.0.dist-info" / "entry_points.txt"
    unreadable.write_text("[zoo.plugins]\nno equals sign\n")
    for name, text in {"bad": BAD_CARD, "old": OLD_CARD, "new": NEW_CARD}.items():
        (site.folder / f"{name}.yaml").write_text(text)
    return site


def by_distribution(discovery):
    """Its records, by what stands behind a- in the distribution's name."""
    return {
        record.distribution.removeprefix("a-").replace("-", "_"): record
        for record in discovery.records
    }


def test_every_broken_plugin_is_reported_with_its_reason(broken_site):
    """Each kind of broken plugin gets its status and a reason in one line."""
    found = by_distribution(discover_in(broken_site.distributions()))

    for name, (_, status, reason) in BROKEN.items():
        assert (name, found[name].status) == (name, status)
        assert reason in found[name].reason
        assert "\n" not in found[name].reason
    assert found["bad_value"].status == "invalid"
    assert found["unreadable"].status == "invalid"
    assert found["shadow"].status == "shadowed"
    assert "a-good" in found["shadow"].reason


@pytest.mark.parametrize("seed", range(5))
def test_good_plugins_work_among_broken_ones_in_any_order(broken_site, seed):
    """The good ones load whatever the order of installation, and the outcome is the same."""
    installed = broken_site.distributions()
    usual = discover_in(installed)
    broken_site.forget()
    random.Random(seed).shuffle(installed)

    found = discover_in(installed)

    loaded = [record.name for record in found.records if record.status == "loaded"]
    assert loaded == [*BUILT_IN, "good", "loud", "with_cards"]
    assert found.records == usual.records
    assert found.components.entries["aligner", "good"].target == "good.model:Aligner"
    assert found.registry.find("scan-f8k").plugin == "with_cards"


def test_a_refused_plugin_leaves_nothing_behind(broken_site):
    """What a refused plugin had registered before it failed is not in the tables."""
    found = discover_in(broken_site.distributions())

    assert ("loss", "half") not in found.components.entries
    assert ("loss", "x") not in found.components.entries
    assert found.registry.methods["chan"].plugin == "chan"


def test_a_plugin_that_prints_leaves_stdout_clean(site, capsys):
    """What a plugin prints goes to stderr, so that --json stays JSON."""
    site.add("loud", "print('hello from a plugin')\n" + GOOD.replace("\n    ", "\n"))

    discover_in(site.distributions())

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello from a plugin" in captured.err


def test_the_built_in_plugins_are_found_without_an_install(site):
    """In a checkout without entry points, ours come by their folders."""
    records = discover_in(site.distributions()).records

    assert [record.name for record in records] == BUILT_IN
    assert {(record.distribution, record.status) for record in records} == {("itm-zoo", "loaded")}
    assert ("aligner", "hard_alignment") in records[0].components


def test_our_own_plugin_cannot_be_replaced_by_a_stranger(site):
    """A stranger's plugin called chan is shadowed by ours, though its name sorts first."""
    site.add("rival", entry="chan")

    chans = [one for one in discover_in(site.distributions()).records if one.name == "chan"]
    ours, theirs = chans

    assert (ours.distribution, ours.status) == ("itm-zoo", "loaded")
    assert (theirs.distribution, theirs.status) == ("a-rival", "shadowed")


def test_a_distribution_seen_twice_counts_once(site):
    """A checkout and its install, both on the path, are one plugin and no conflict."""
    site.add("good")

    found = discover_in(site.distributions() * 2)

    assert [record.name for record in found.records] == [*BUILT_IN, "good"]
    assert {record.status for record in found.records} == {"loaded"}


def test_a_disabled_plugin_is_not_imported(site):
    """A disabled plugin is listed, and its module is never run."""
    site.add("good")

    found = by_distribution(discover_in(site.distributions(), disabled={"good"}))

    assert found["good"].status == "disabled"
    assert "good" not in sys.modules
    with pytest.raises(PluginError, match="Take it out of ZOO_DISABLE_PLUGINS"):
        discover_in(site.distributions(), disabled={"good"}).require("good")


def test_strict_raises_once_and_names_every_broken_plugin(site):
    """With strict, one error names all broken plugins; without them there is none."""
    site.add("good")
    site.add("bad", "raise RuntimeError('no driver')")
    site.add("worse", "ZOO_API_VERSION = (1, 0)")

    with pytest.raises(PluginError) as caught:
        discover_in(site.distributions(), strict=True)
    assert "a-bad 2.0" in str(caught.value)
    assert "a-worse 2.0" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert discover_in(site.distributions()[:0], strict=True).records[0].status == "loaded"


def test_require_says_what_is_wrong_and_what_to_do(site):
    """Needing a broken or missing plugin gives its reason and a remedy."""
    site.add("bad", "raise RuntimeError('no driver')")
    found = discover_in(site.distributions())

    assert found.require("chan").status == "loaded"
    with pytest.raises(PluginError, match=r"import-error\): RuntimeError: no driver\. Repair"):
        found.require("bad")
    with pytest.raises(PluginError, match="'scan' is not installed"):
        found.require("scan")


def test_the_environment_disables_and_makes_strict(site, monkeypatch):
    """ZOO_DISABLE_PLUGINS and ZOO_PLUGIN_STRICT reach discovery."""
    site.add("bad", "raise RuntimeError('no driver')")
    ask = discover.__wrapped__  # past the cache of this process

    monkeypatch.setenv("ZOO_PLUGIN_STRICT", "1")
    with pytest.raises(PluginError, match="no driver"):
        ask()
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "bad, other")
    assert {record.name: record.status for record in ask().records}["bad"] == "disabled"


def test_component_table_holds_core_and_plugins():
    """The table that configurations are built from has the core's parts and CHAN's."""
    table = plugins.component_table()

    assert ("text_encoder", "bigru") in table.entries
    assert table.entries["aligner", "hard_alignment"].plugin == "chan"


class TestDeprecation:
    """A plugin of an older minor version works for one version more, and is told."""

    @pytest.fixture
    def next_version(self):
        """Specifications as they might be in API 1.2: one hook is replaced."""
        going = ZooDeprecationWarning("zoo_pages goes with API 1.3. Write zoo_cards.")

        class Specs:
            API_VERSION = (1, 2)

            @staticmethod
            @hooks.hookspec
            def zoo_components(register): ...

            @staticmethod
            @hooks.hookspec
            def zoo_cards(): ...

            @staticmethod
            @hooks.hookspec(warn_on_impl=going)
            def zoo_pages(): ...

        def as_cards(old):
            class Adapted:
                @staticmethod
                @hooks.hookimpl
                def zoo_cards():
                    return [f"{path}.yaml" for path in old()]

            return Adapted()

        Specs.ADAPTERS = (hooks.Adapter("zoo_pages", as_cards),)
        return Specs

    def test_a_replaced_hook_is_adapted_and_told(self, site, next_version):
        """Its answers arrive as the new hook's, with a note that says what to write."""
        (site.folder / "new.yaml").write_text(NEW_CARD)
        answer = cards("['{folder}/new']").replace("zoo_cards", "zoo_pages")
        site.add("with_cards", answer)

        found = discover_in(site.distributions(), specs=next_version)
        record = found.record("with_cards")

        assert (record.status, record.api) == ("loaded", "1.0")
        assert record.notes == ("zoo_pages goes with API 1.3. Write zoo_cards.",)
        assert found.registry.find("scan-f8k").plugin == "with_cards"
        assert found.record("chan").notes == ()

    @pytest.fixture
    def with_argument(self, next_version):
        """The same, with an argument of a hook that is going."""
        going = ZooDeprecationWarning("add goes with API 1.3. Write register.")

        class Specs(next_version):
            @staticmethod
            @hooks.hookspec(warn_on_impl_args={"add": going})
            def zoo_components(register, add): ...

        return Specs

    def test_an_argument_that_is_going_is_told(self, site, with_argument):
        """A plugin that takes it still fits, and hears what to take instead."""
        site.add("good", GOOD.replace("register):", "register, add):"))

        manager, notes = plugins._manage(importlib.import_module("good"), with_argument)

        assert notes == ("add goes with API 1.3. Write register.",)
        assert manager.get_hookcallers(importlib.import_module("good"))

    def test_a_note_stops_nothing_where_warnings_are_errors(self, site, with_argument):
        """Whoever runs a command cannot mend a plugin."""
        site.add("good", GOOD.replace("register):", "register, add):"))

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _, notes = plugins._manage(importlib.import_module("good"), with_argument)
        assert notes


def test_the_table_shows_version_and_api(site, run, monkeypatch):
    """`zoo plugins` has a row for each, with why it is not used, and the same as JSON."""
    site.add("good")
    site.add("newer", GOOD.replace("(1, 0)", "(1, 9)"))
    found = discover_in(site.distributions())
    monkeypatch.setattr(plugins, "discover", lambda: found)

    _, text, _ = run("plugins")
    _, whole, _ = run("plugins", "--json")

    (newer,) = [one for one in json.loads(whole) if one["name"] == "newer"]
    assert (newer["api"], newer["status"], newer["notes"]) == ("1.9", "incompatible", [])
    (line,) = [line for line in text.splitlines() if "a-newer 2.0" in line]
    assert "1.9" in line
    assert "this zoo offers 1.1" in line
