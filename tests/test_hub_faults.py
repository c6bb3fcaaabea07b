"""Whatever goes wrong at the Hub ends soon, in one clear error, and the next try succeeds."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import traceback
from contextlib import suppress

import pytest

from zoo.errors import InputError, WeightsError
from zoo.files import Pin
from zoo.hub import client, snapshots
from zoo.hub.client import Snapshot
from zoo.hub.refusals import HubError
from zoo.hub.snapshot_folders import folder_of

BIG = "model.safetensors"
FILES = {"config.json": b"{}", BIG: b"weights" * 10_000}
SECRET = "hf_nobodyshouldreadthis"


@pytest.fixture
def snapshot(hub) -> Snapshot:
    """A model that lies at the Hub, pinned by content."""
    pins = {name: Pin(len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
    return Snapshot("org/model", hub.add("org/model", FILES), pins)


def succeeds(snapshot) -> bool:
    """Whether all of it can be had now."""
    folder = snapshots.fetch(snapshots.look_up(snapshot.repo, "main"))
    return all((folder / name).read_bytes() == data for name, data in FILES.items())


@pytest.fixture
def impatient(monkeypatch) -> None:
    """A second or two in the place of half a minute."""
    monkeypatch.setattr(client, "SILENCE", 1.6)
    monkeypatch.setattr(client, "STALL", 0.5)


REFUSALS = {
    401: r"lets nobody at .* of org/model without a token .*hf auth login",
    403: r"^Who has no token may not have .* of org/model \(403\)\. Ask for access at http",
    404: r"There is no repository org/model at http.* Check the name",
    410: r"refused .* of org/model \(410\)",
    429: r"too many requests from here \(429\)\. Try again later",
    500: r"out of order \(500\) for .* of org/model\. Try again later.*offline=True",
    503: r"out of order \(503\)",
}


def test_the_hub_s_address_is_read_when_it_is_needed(monkeypatch):
    """Ours before the client's own, which the client reads once and for all."""
    for name in ("ZOO_HUB_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert client.endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert client.endpoint() == "https://mirror.example"
    monkeypatch.setenv("ZOO_HUB_ENDPOINT", "https://own.example")
    assert client.endpoint() == "https://own.example"


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("where", ["/api/models/", "/resolve/", "/_files/"])
def test_each_refusal_has_its_words(hub, snapshot, status, where):
    """Of the description, of a file and of its content elsewhere; then the next try succeeds."""
    hub.fault(where, status=status)
    with pytest.raises(HubError, match=REFUSALS[status]) as caught:
        succeeds(snapshot)

    assert caught.value.status == status
    hub.faults.clear()
    assert succeeds(snapshot)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("where", ["/api/models/", "/resolve/", "/_files/"])
def test_what_passes_is_waited_for(hub, snapshot, status, where):
    """Two failures in a row are no error."""
    hub.fault(where, status=status, times=2)

    assert succeeds(snapshot)


@pytest.mark.parametrize("header", [{"Retry-After": "1"}, {"RateLimit": '"api";r=0;t=1'}])
def test_the_hub_s_wish_to_wait_is_granted(hub, snapshot, monkeypatch, header):
    """For as long as it says, in either of its ways."""
    slept = []
    monkeypatch.setattr("zoo.hub.client.time.sleep", slept.append)
    hub.fault("/api/models/", status=429, headers=header, times=1)

    assert succeeds(snapshot)
    assert slept == [1.0]


def test_a_wish_to_wait_for_long_is_told(hub, snapshot):
    """At once: the user may have better to do."""
    hub.fault("/api/models/", status=429, headers={"Retry-After": "600"})
    with pytest.raises(HubError, match=r"Try again in 600 s; with a token more is allowed"):
        succeeds(snapshot)
    assert len(hub.requests) == 1


def test_what_is_absent_is_told_apart(snapshot):
    """A repository, a revision, a file."""
    with pytest.raises(HubError, match=r"There is no repository org/other .*hf auth login"):
        client.look_up("org/other")
    with pytest.raises(HubError, match=r"org/model has no revision v9 \(404\)\. Its commits"):
        client.look_up("org/model", "v9")
    more = Snapshot("org/model", snapshot.commit, {"vocab.json": Pin(1, "0" * 64)})
    with pytest.raises(HubError, match=r"org/model does not have vocab\.json \(404\)\. Its files"):
        snapshots.fetch(more)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("where", ["/api/models/", "/_files/"])
def test_a_hub_that_keeps_silent_is_given_up(hub, snapshot, where):
    """After the time that is allowed, and not much later."""
    gone = threading.Event()
    hub.fault(where, before=lambda: gone.wait(20), status=503)
    start = time.monotonic()
    with pytest.raises(HubError, match=r"cannot be reached for .* of org/model \(it is silent\)"):
        succeeds(snapshot)

    assert time.monotonic() - start < client.SILENCE + 1
    gone.set()
    hub.faults.clear()
    assert succeeds(snapshot)


@pytest.mark.usefixtures("impatient")
def test_a_download_that_stalls_is_asked_for_once_more(hub, snapshot):
    """It goes on from where it stalled."""
    hub.fault(BIG, piece=50_000, pause=client.STALL + 1, times=1)

    assert succeeds(snapshot)
    assert [one.headers.get("range") for one in hub.requests if "/_files/" in one.path] == [
        None,
        "bytes=50000-",
    ]


@pytest.mark.usefixtures("impatient")
def test_a_trickle_is_as_good_as_silence(hub, snapshot):
    """Some bytes a second would last for days, and no read of them would time out."""
    hub.fault(BIG, piece=10, pause=0.1)
    start = time.monotonic()
    with pytest.raises(HubError, match=r"only \d+ bytes came in 0 s"):
        succeeds(snapshot)

    assert time.monotonic() - start < client.SILENCE + 2
    hub.faults.clear()
    assert succeeds(snapshot)


def test_a_hub_that_is_down_is_named(hub, snapshot, monkeypatch):
    """With the address that was tried, and without the password in it."""
    port = hub.url.rpartition(":")[2]
    monkeypatch.setenv("ZOO_HUB_ENDPOINT", f"http://me:{SECRET}@localhost:{port}/")
    hub.__exit__()
    with pytest.raises(
        HubError, match=rf"The Hub at http://localhost:{port} cannot be re"
    ) as caught:
        succeeds(snapshot)
    assert "HF_ENDPOINT" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>Log in to this network</html>", b"{}", b"[]", b"null"])
def test_a_page_of_the_network_is_no_description(hub, snapshot, body):
    """Log-in pages answer everything with 200."""
    hub.fault("/api/models/", status=200, body=body)
    with pytest.raises(
        HubError, match=r"does not describe org/model as a Hub does\. Check ZOO_HUB"
    ):
        succeeds(snapshot)


def test_a_page_of_the_network_is_no_file(hub, snapshot):
    """Of whatever length."""
    hub.fault("/_files/", status=200, body=b"<html>Log in to this network</html>")
    words = r"came twice and has 35 bytes in place of 70,000.*a log-in page of your network"
    with pytest.raises(WeightsError, match=words):
        succeeds(snapshot)
    hub.faults.clear()
    hub.fault("/_files/", status=200, body=b" " * 70_000)
    with pytest.raises(WeightsError, match=r"came twice and has the content \w+\.\.\. in place of"):
        succeeds(snapshot)


def test_redirects_that_never_end_are_left(hub, snapshot):
    """The client counts them."""
    hub.fault("/resolve/", status=302, headers={"Location": "/org/model/resolve/main/config.json"})
    with pytest.raises(HubError, match=r"cannot be reached .*redirects"):
        succeeds(snapshot)


def test_a_wrong_part_is_not_put_in_place(hub, snapshot):
    """A server that answers with another range than it was asked for; or says there is none."""
    hub.fault(BIG, cut=30_000, times=1)
    hub.fault(BIG, cut=0)
    with pytest.raises(HubError):
        succeeds(snapshot)
    hub.faults.clear()
    wrong = {"Content-Range": "bytes 5-40004/70000"}
    hub.fault("/_files/", status=206, headers=wrong, body=b"x" * 40_000, times=1)
    hub.fault("/_files/", status=416, times=1)

    assert succeeds(snapshot)


def test_a_token_goes_to_the_hub_alone_and_into_no_message(hub, snapshot, monkeypatch, caplog):
    """Not to the host that the contents lie on, not into an error, its causes or a log."""
    caplog.set_level(logging.DEBUG)
    hub.token = SECRET
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert succeeds(snapshot)
    asked = {"/_files/" in one.path: one.headers.get("authorization") for one in hub.requests}
    assert asked == {False: f"Bearer {SECRET}", True: None}

    said = []
    hub.token = "another"
    for status in (None, *REFUSALS):
        hub.faults.clear()
        hub.fault("/api/models/", status=status)
        with pytest.raises(HubError) as caught:
            client.look_up("org/model")
        said += traceback.format_exception(caught.value)
    assert "does not accept your token for org/model (401)" in "".join(said)
    assert SECRET not in "".join(said) + caplog.text


@pytest.mark.parametrize("token", [f"{SECRET} and more", f"{SECRET}\x07", f"{SECRET}\u00e9"])
def test_a_token_that_no_request_can_carry_is_not_repeated(hub, monkeypatch, token):
    """The client would quote it in its error."""
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=r"Set HF_TOKEN anew") as caught:
        client.look_up("org/model")

    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert not hub.requests


def test_the_signed_address_of_a_content_is_not_repeated(hub, snapshot):
    """Who has it can read a private file."""
    hub.fault("/_files/", status=403)
    with pytest.raises(HubError) as caught:
        succeeds(snapshot)
    assert "Signature" not in "".join(traceback.format_exception(caught.value))


def test_a_commit_is_made_whole_on_its_parent(hub, snapshot, tmp_path, monkeypatch):
    """With the token, from bytes and files; the tag names it once."""
    hub.token = SECRET
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    (tmp_path / BIG).write_bytes(b"other weights")
    client.make_repository("org/model", private=True)
    files = {BIG: tmp_path / BIG, "README.md": b"---\nlicense: mit\n---\n"}
    made = client.commit("org/model", files, "a model", parent=snapshot.commit)
    client.tag("org/model", made, "v1.0")

    assert hub.repositories["org/model"].commits[made].parent == snapshot.commit
    found = client.look_up("org/model", "v1.0")
    assert found.commit == made
    assert found.files[BIG] == Pin(13, hashlib.sha256(b"other weights").hexdigest())
    with pytest.raises(HubError, match=r"has tag v1\.0 already \(409\)"):
        client.tag("org/model", made, "v1.0")
    with pytest.raises(HubError, match=r"got another commit meanwhile \(412\)"):
        client.commit("org/model", {"config.json": b"[]"}, "late", parent=snapshot.commit)
    assert client.look_up("org/model").commit == made


@pytest.mark.parametrize("status", [403, 500])
def test_a_commit_whose_upload_fails_is_not_made(hub, snapshot, monkeypatch, status):
    """Neither the file nor the card beside it; the Hub's status is told."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's own waiting
    hub.fault("/_lfs/", status=status)
    with pytest.raises(HubError) as caught:
        client.commit("org/model", {BIG: b"other", "config.json": b"[]"}, "a model")

    assert caught.value.status == status
    assert client.look_up("org/model").commit == snapshot.commit


def test_a_hub_without_xet_gets_large_files_by_the_older_way(hub, snapshot, tmp_path, monkeypatch):
    """From bytes and from files, where the client alone would give up."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    (tmp_path / BIG).write_bytes(b"other weights")
    files = {BIG: tmp_path / BIG, "more.safetensors": b"more"}
    made = client.commit("org/model", files, "a model", parent=snapshot.commit)

    assert hub.repositories["org/model"].files(made)[BIG] == b"other weights"
    assert hub.repositories["org/model"].files(made)["more.safetensors"] == b"more"


def test_a_xet_store_that_fails_says_how_to_do_without(hub, snapshot, monkeypatch):
    """The client's own words name an address that nobody knows."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.fault("xet-write-token", status=403)
    with pytest.raises(HubError, match=r"nothing was committed .*set HF_HUB_DISABLE_XET=1"):
        client.commit("org/model", {BIG: b"other"}, "a model")
    assert client.look_up("org/model").commit == snapshot.commit
    assert hub.repositories["org/model"].files()[BIG] == FILES[BIG]


def test_a_random_sequence_of_faults_never_leaves_a_wrong_file(hub, snapshot):
    """After each try, what stands there under its name is right; in the end all of it is."""
    import random

    chance = random.Random(0)
    kinds = [{"flip": True}, {"cut": 20_000}, {"cut": 0}, {"shorten": 3}, {"status": 503}]
    for _ in range(40):
        hub.faults.clear()
        for _ in range(chance.randrange(3)):
            name = chance.choice(list(FILES))
            hub.fault(name, times=chance.randrange(1, 4), **chance.choice(kinds))
        with suppress(WeightsError):
            folder = snapshots.fetch(snapshot, verify=chance.random() < 0.5)
            (folder / chance.choice(list(FILES))).unlink()
        for name, data in FILES.items():
            file = folder_of("org/model", snapshot.commit) / name
            assert not file.exists() or file.read_bytes() == data
    hub.faults.clear()
    assert succeeds(snapshot)
