"""Another program's mirror of the Hub stands between: olah, where it is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from zoo.errors import WeightsError
from zoo.files import Pin
from zoo.hub import snapshots
from zoo.hub.client import Snapshot

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(300_000)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mirror(hub, tmp_path, monkeypatch) -> Iterator[None]:
    """The mirror, in the place of the Hub's."""
    program = shutil.which(os.environ.get("OLAH", "olah-cli"))
    if program is None:
        pytest.skip("olah is not installed (pip install olah, or OLAH=PATH of its olah-cli)")
    hub.redirects = False
    port, behind = free_port(), hub.url.removeprefix("http://")
    options = {
        "--port": port,
        "--hf-scheme": "http",
        "--hf-netloc": behind,
        "--hf-lfs-netloc": behind,
        "--mirror-netloc": f"127.0.0.1:{port}",
        "--mirror-lfs-netloc": f"127.0.0.1:{port}",
        "--repos-path": tmp_path / "mirror",
        "--log-path": tmp_path / "logs",
    }
    command = [program, "--host", "127.0.0.1"]
    command += [str(word) for option in options.items() for word in option]
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, cwd=tmp_path)
    try:
        _await(port, process)
        monkeypatch.setenv("ZOO_HUB_ENDPOINT", f"http://127.0.0.1:{port}")
        yield
    finally:
        process.kill()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.2)
    pytest.fail("olah did not start")


@pytest.mark.usefixtures("mirror")
def test_a_model_is_fetched_through_a_mirror_and_checked(hub):
    """By branch and by pinned commit; a mirror's wrong copy is refused."""
    commit = hub.add("org/model", FILES)
    found = snapshots.look_up("org/model", "main")
    folder = snapshots.fetch(found)

    assert found.commit == commit
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    wrong = {"model.safetensors": Pin(300_000, hashlib.sha256(b"").hexdigest())}
    with pytest.raises(WeightsError, match="came twice and has the content"):
        snapshots.fetch(Snapshot("org/model", commit, wrong))
