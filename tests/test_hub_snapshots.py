"""What is fetched from the Hub is fetched once, whole and as it was published, or not used."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from zoo.errors import DataError, WeightsError
from zoo.files import Pin
from zoo.hub import snapshots
from zoo.hub.client import Snapshot
from zoo.hub.snapshot_folders import folder_of

BIG = "model.safetensors"
FILES = {"config.json": b"{}", BIG: bytes(range(256)) * 1000, "vocab.json": b'["a"]'}
SIZE = len(FILES[BIG])
FETCHING = """
import os, sys
import huggingface_hub
from zoo.files import Pin
from zoo.hub.client import Snapshot
from zoo.hub.snapshot_folders import folder_of
from zoo.hub.snapshots import fetch
snapshot = {snapshot!r}
"""
EIGHT_AT_ONCE = """
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        os._exit(not fetch(snapshot).is_dir())
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.fixture
def snapshot(hub) -> Snapshot:
    """A model that lies at the Hub, pinned by content."""
    pins = {name: Pin(len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
    return Snapshot("org/model", hub.add("org/model", FILES), pins)


def contents(folder):
    """The files that have their names, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def place(snapshot):
    """Where it lies, or will lie."""
    return folder_of(snapshot.repo, snapshot.commit)


def parts(snapshot):
    """The names of its unfinished downloads."""
    return [path.name for path in place(snapshot).glob(".*.part")]


def ranges(hub):
    """Which part of the large file was asked for, each time."""
    return [one.headers.get("range") for one in hub.requests if "/_files/" in one.path]


def test_a_snapshot_is_fetched_once_and_then_used_without_a_word_to_the_hub(hub, snapshot):
    """Each file costs one request; the second time there is none."""
    folder = snapshots.fetch(snapshot)
    asked = len(hub.requests)

    assert contents(folder) == FILES
    assert [hub.contents_sent(name) for name in FILES] == [1, 1, 1]
    assert snapshots.fetch(snapshot) == folder
    assert snapshots.fetch(snapshot, verify=True) == folder
    assert len(hub.requests) == asked


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub, snapshot):
    """No byte is sent twice, within one call."""
    hub.fault(BIG, cut=100_000, times=2)

    assert contents(snapshots.fetch(snapshot)) == FILES
    assert ranges(hub) == [None, "bytes=100000-", "bytes=200000-"]


def test_a_connection_may_break_as_often_as_it_likes(hub, snapshot):
    """As long as something comes each time, tries are not counted."""
    hub.fault(BIG, cut=SIZE // 6)

    assert contents(snapshots.fetch(snapshot)) == FILES
    assert hub.contents_sent(BIG) == 7


def test_the_next_call_goes_on_where_the_last_one_gave_up(hub, snapshot):
    """What came before is kept, and checked with the rest."""
    hub.fault(BIG, cut=100_000, times=1)
    hub.fault(BIG, cut=0)
    with pytest.raises(
        WeightsError, match=r"cannot be reached for model\.safetensors of org/model"
    ):
        snapshots.fetch(snapshot)

    hub.faults.clear()
    assert contents(snapshots.fetch(snapshot)) == FILES
    assert ranges(hub)[-1] == "bytes=100000-"


def test_a_killed_process_leaves_what_the_next_one_goes_on_with(hub, snapshot):
    """SIGKILL in the middle of a file: only the rest is fetched, and the lock is free."""
    hub.fault(BIG, pause=0.1, piece=20_000, times=1)
    part = place(snapshot) / f".{BIG}.part"
    script = FETCHING.format(snapshot=snapshot) + "fetch(snapshot)"
    process = subprocess.Popen([sys.executable, "-c", script])
    while not (part.exists() and part.stat().st_size >= 40_000):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = part.stat().st_size

    assert had < SIZE
    assert contents(snapshots.fetch(snapshot)) == FILES
    assert ranges(hub)[-1] == f"bytes={had}-"


def test_eight_processes_fetch_once(hub, snapshot):
    """One fetches while seven wait; all find the whole model."""
    hub.fault(BIG, pause=0.05, piece=50_000)
    script = FETCHING.format(snapshot=snapshot) + EIGHT_AT_ONCE

    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
    assert [hub.contents_sent(name) for name in FILES] == [1, 1, 1]


def test_eight_threads_fetch_once(hub, snapshot):
    """A file lock would let them all in."""
    hub.fault(BIG, pause=0.02, piece=50_000)
    threads = [threading.Thread(target=snapshots.fetch, args=[snapshot]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert contents(place(snapshot)) == FILES
    assert [hub.contents_sent(name) for name in FILES] == [1, 1, 1]


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_wrong_content_is_fetched_once_more(hub, snapshot, name):
    """A flipped bit of the right length, once."""
    hub.fault(name, flip=True, times=1)

    assert contents(snapshots.fetch(snapshot)) == FILES
    assert hub.contents_sent(name) == 2


@pytest.mark.parametrize("wrong", [{"flip": True}, {"shorten": 7}], ids=["flipped", "shorter"])
def test_a_file_that_is_wrong_twice_is_refused_and_gone(hub, snapshot, wrong):
    """Neither it nor a piece of it stays; the right files stay, and the next try succeeds."""
    hub.fault(BIG, **wrong)
    said = r"model\.safetensors of org/model at \w+ came twice and has .* in place of"
    with pytest.raises(WeightsError, match=said):
        snapshots.fetch(snapshot)

    assert hub.contents_sent(BIG) == 2
    assert BIG not in contents(place(snapshot))
    assert not parts(snapshot)
    hub.faults.clear()
    assert contents(snapshots.fetch(snapshot)) == FILES
    assert hub.contents_sent("config.json") == 1


def test_a_left_over_part_that_is_wrong_costs_one_more_fetch(hub, snapshot):
    """Bytes of another file, and more than there should be: both are seen, and are no try."""
    place(snapshot).mkdir(parents=True)
    (place(snapshot) / f".{BIG}.part").write_bytes(b"x" * 1000)
    (place(snapshot) / ".vocab.json.part").write_bytes(b"y" * 1000)
    hub.fault("vocab.json", flip=True, times=1)

    assert contents(snapshots.fetch(snapshot)) == FILES
    assert ranges(hub) == ["bytes=1000-", None]
    assert hub.contents_sent("vocab.json") == 2


def test_no_more_is_written_than_there_should_be(hub, snapshot):
    """Of a file whose length is not told, and which does not end."""
    hub.fault(BIG, repeat=3)
    sizes = []

    def advance(name, _came, _total):
        part = place(snapshot) / f".{name}.part"
        sizes.append(part.stat().st_size if part.exists() else 0)

    with pytest.raises(
        WeightsError, match=rf"came twice and has \d\d\d,\d\d\d bytes in place of {SIZE:,}"
    ):
        snapshots.fetch(snapshot, advance=advance)
    assert max(sizes) <= SIZE


def test_a_server_without_ranges_sends_the_whole_again(hub, snapshot):
    """And what had come is not put before it."""
    hub.ranges = False
    hub.fault(BIG, cut=100_000, times=1)

    assert contents(snapshots.fetch(snapshot)) == FILES


@pytest.mark.parametrize("ranges", [True, False])
def test_progress_adds_up_to_what_there_is(hub, snapshot, ranges):
    """Whatever was cut off, refused, wrong or fetched before."""
    hub.ranges = ranges
    hub.fault("/_files/", status=416, times=1)
    hub.fault(BIG, cut=100_000, times=1)
    hub.fault(BIG, flip=True, times=1)
    place(snapshot).mkdir(parents=True)
    (place(snapshot) / f".{BIG}.part").write_bytes(FILES[BIG][:1000])
    told = dict.fromkeys(FILES, 0)

    def advance(name, came, total):
        told[name] += came
        assert 0 <= told[name] <= total == len(FILES[name])

    snapshots.fetch(snapshot, advance=advance)
    assert told == {name: len(data) for name, data in FILES.items()}


def test_a_cached_file_that_changed_is_fetched_anew(hub, snapshot):
    """Cut, overwritten or gone: what stands there is not used, and only that is fetched."""
    folder = snapshots.fetch(snapshot)
    (folder / "config.json").write_bytes(b"[]")
    (folder / BIG).write_bytes(FILES[BIG][:100])
    (folder / "vocab.json").unlink()
    with pytest.raises(
        WeightsError, match=r"config\.json has .*; vocab\.json is missing\), and off"
    ):
        snapshots.fetch(snapshot, offline=True)
    hub.fault("/resolve/", status=404)
    with pytest.raises(WeightsError):
        snapshots.fetch(snapshot)
    assert contents(folder) == {}

    hub.faults.clear()
    assert contents(snapshots.fetch(snapshot)) == FILES
    assert [hub.contents_sent(name) for name in (BIG, "vocab.json")] == [2, 2]


def test_a_file_that_was_written_to_is_read_again(snapshot):
    """Its size and inode are as before; its time is not."""
    file = snapshots.fetch(snapshot) / BIG
    with file.open("r+b") as opened:
        opened.write(b"?")

    assert contents(snapshots.fetch(snapshot)) == FILES


def test_what_changed_without_a_trace_is_found_when_asked_to_verify(snapshot):
    """A disk that forgets a bit leaves size, time and inode as they were."""
    file = snapshots.fetch(snapshot) / BIG
    facts = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"?")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert contents(snapshots.fetch(snapshot)) != FILES
    assert contents(snapshots.fetch(snapshot, verify=True)) == FILES


def test_a_copied_cache_is_read_once_and_then_trusted(snapshot, monkeypatch):
    """Its files have other inodes; a damaged note of what was checked does no harm."""
    folder = snapshots.fetch(snapshot)
    for note in (b"{", b"[]", b'{"config.json": 1}'):
        (folder / ".checked.json").write_bytes(note)
        assert snapshots.fetch(snapshot, offline=True) == folder

    monkeypatch.setattr("zoo.files.sha256", None)
    assert snapshots.fetch(snapshot, offline=True) == folder


def test_a_cache_that_cannot_be_written_is_read_each_time(snapshot, monkeypatch):
    """One that an administrator filled, for example."""
    folder = snapshots.fetch(snapshot)
    (folder / ".checked.json").unlink()
    monkeypatch.setattr("zoo.hub.checked.write_atomically", _refuse)

    assert snapshots.fetch(snapshot, offline=True) == folder


def _refuse(path, _data):
    raise DataError(f"{path} cannot be written")


def test_a_disk_without_space_is_seen_before_anything_is_fetched(hub, snapshot, monkeypatch):
    """What has come already counts."""
    place(snapshot).mkdir(parents=True)
    (place(snapshot) / f".{BIG}.part").write_bytes(FILES[BIG][:1000])
    needed = sum(map(len, FILES.values())) - 1000
    usage = type("Usage", (), {"free": needed - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(WeightsError, match=rf"needs {needed:,} bytes more .*set ZOO_HOME"):
        snapshots.fetch(snapshot)
    assert not hub.requests

    usage.free = needed
    assert contents(snapshots.fetch(snapshot)) == FILES


def test_a_disk_that_fills_up_meanwhile_keeps_nothing_unfinished(snapshot):
    """The system says that there is no space when /dev/full is written to."""
    place(snapshot).mkdir(parents=True)
    (place(snapshot) / f".{BIG}.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"is full; what was begun is deleted\. Free some space"):
        snapshots.fetch(snapshot)

    assert not parts(snapshot)
    assert contents(snapshots.fetch(snapshot)) == FILES


def test_a_home_that_cannot_be_written_is_named(snapshot, tmp_path, monkeypatch):
    """With what to set."""
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "a-file"))
    with pytest.raises(WeightsError, match=r"a-file.* cannot be written .*Set ZOO_HOME"):
        snapshots.fetch(snapshot)


def test_names_that_lead_out_of_the_folder_are_not_fetched(hub):
    """Nor hidden ones, nor folders, nor anything that could be run."""
    bad = ["../evil.json", ".checked.json", "a.json/b.json", "model.pth", "run.py", "x\\y.json"]
    commit = hub.add("org/model", FILES | dict.fromkeys(bad, b"{}"))
    found = snapshots.look_up("org/model", "main")

    assert found.commit == commit
    assert set(found.files) == set(FILES)


def test_a_branch_is_looked_up_each_time_and_a_commit_once(hub):
    """Offline, a branch is what it was when it was last looked up."""
    first = hub.add("org/model", FILES)
    snapshots.fetch(snapshots.look_up("org/model", "main"))
    second = hub.add("org/model", {"vocab.json": b'["b"]'})

    assert snapshots.look_up("org/model", "main", offline=True).commit == first
    newest = snapshots.look_up("org/model", "main")
    assert newest.commit == second
    assert contents(snapshots.fetch(newest)) == FILES | {"vocab.json": b'["b"]'}
    asked = len(hub.requests)
    assert snapshots.look_up("org/model", second) == newest
    assert snapshots.look_up("org/model", "main", offline=True) == newest
    assert len(hub.requests) == asked


def test_the_hub_s_own_digests_are_what_is_checked_where_nothing_is_pinned(hub):
    """The SHA-256 of large files, git's name of small ones."""
    hub.add("org/model", FILES)
    found = snapshots.look_up("org/model", "main")
    hub.fault("resolve/.*config.json", flip=True, times=1)

    assert {name: len(pin.digest) for name, pin in found.files.items()} == {
        "config.json": 40,
        BIG: 64,
        "vocab.json": 40,
    }
    assert contents(snapshots.fetch(found)) == FILES
    assert hub.contents_sent("config.json") == 2


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_nothing_is_asked(hub, snapshot, monkeypatch, how):
    """What is not here is an error that says so."""
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = True if how == "argument" else None
    with pytest.raises(WeightsError, match=r"is not whole .*offline nothing is fetched"):
        snapshots.fetch(snapshot, offline=offline)
    with pytest.raises(WeightsError, match=r"was not fetched at main, and offline nothing is"):
        snapshots.look_up("org/model", "main", offline=offline)
    assert not hub.requests
