"""Real etcds of one member."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.testing.cluster import free_port


@contextlib.contextmanager
def etcd_in(folder: Path, **options: str) -> Iterator[str]:
    """host:port of an etcd with its data in a folder; `options` by their names, with _ for -. Skips
    the test where etcd is not installed."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    client = f"http://127.0.0.1:{free_port()}"
    peer = f"http://127.0.0.1:{free_port()}"
    options |= {
        "data_dir": str(folder),
        "listen_client_urls": client,
        "advertise_client_urls": client,
        "listen_peer_urls": peer,
        "initial_advertise_peer_urls": peer,
        "initial_cluster": f"default={peer}",
        "log_level": "error",
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    null = subprocess.DEVNULL
    process = subprocess.Popen(["etcd", *flags], stdout=null, stderr=null)
    address = client.removeprefix("http://")
    host, port = address.split(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                break
    try:
        yield address
    finally:
        process.kill()
        process.wait()
