"""The kernel of a neighbour believes what is said: ARP and neighbour discovery on a real link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.root
FOUR, SIX = "192.0.2.77", "fd00:77::99:77"


def sh(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout


@pytest.fixture
def neighbour() -> Iterator[str]:
    """A namespace with a cable to another, where somebody answers for both addresses."""
    here, there = f"tp{os.getpid()}-a", f"tp{os.getpid()}-b"
    sh(
        f"ip netns add {here}; ip netns add {there}; ip link add e0 netns {here} type veth peer "
        f"name e0 netns {there}"
    )
    for number, name in enumerate((here, there), 1):
        sh(
            f"ip -n {name} addr add 192.0.2.{number}/24 dev e0; "
            f"ip -n {name} addr add fd00:77::{number}/64 dev e0 nodad; ip -n {name} link set e0 up"
        )
    command = ["ip", "netns", "exec", there, sys.executable, "-m"]
    script = "tests.network.announcing.answering"
    process = subprocess.Popen([*command, script, "e0", FOUR, SIX], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    yield here
    process.kill()
    process.wait()
    process.stdout.close()
    for name in (here, there):
        sh(f"ip netns del {name}")


@pytest.mark.parametrize("address", [FOUR, SIX])
def test_a_neighbour_learns_where_the_address_is(neighbour: str, address: str) -> None:
    there = neighbour.replace("-a", "-b")
    mac = json.loads(sh(f"ip -j -n {there} link show e0"))[0]["address"]
    connect = f"import socket; socket.create_connection(('{address}', 9), 2)"
    sh(f'ip netns exec {neighbour} {sys.executable} -c "{connect}"')
    [row] = json.loads(sh(f"ip -j -n {neighbour} neigh show {address}"))
    assert row["lladdr"] == mac
