"""Counts the instructions that the API server takes for an operation, and prints thousands of them.
`make bench-instructions`.

It is the figure that does not depend on how busy the machine is: two runs differ by a hundredth or
two. valgrind's callgrind counts what the server's process does in user space; the system's part is
not in it. A copy of many bytes counts as one instruction for each of them.

One connection asks COUNT times and then three times as often: the difference of the two counts,
divided by twice COUNT, is free of handshakes. Of three such pairs the middle one counts. An event
of a watcher is what a write takes more with watchers than without, shared among them.

valgrind makes a process forty times slower, so the watchdog's beats, which come by the clock, are
made that much rarer: else there is one in every request, 30 thousand instructions of it.

`--only NAME[,NAME]`: of get, list, watch, create, patch. `--detail FILE` writes callgrind's own
output of the last run there, for `callgrind_annotate`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import PODS, Server, ask, grant, many, pod

ROUNDS = 3
LISTED = 500  # pods that a list reads
GOTTEN = 50  # pods that are there in any case
WATCHERS = 20
# Operations of a short run; a long one has three times as many.
COUNTS = {"get": 200, "list": 6, "watch": 16, "create": 50, "patch": 50}
_ENTRY = """
from tiphys.apiserver.eventloop import watchdog
watchdog._BEAT *= 40
watchdog._SLOW_BEAT *= 40
watchdog._LOOK *= 40
from tiphys.cli.main import main
main()
"""

Operation = Callable[[http.client.HTTPSConnection, int], None]


class CountedServer(Server):
    """A server under callgrind, which counts between `begin` and `counted`."""

    entry = ("-c", _ENTRY)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._output = root / "callgrind"
        self._output.mkdir()
        self.under = (
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={self._output}/out",
        )
        self.last = self._output / "out"

    def control(self, *arguments: str) -> None:
        command = ["callgrind_control", *arguments, str(self.process.pid)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def begin(self) -> None:
        """Counts from zero."""
        self.control("-z")

    def counted(self) -> int:
        """Instructions since `begin`."""
        before = set(self._output.iterdir())
        self.control("-d")
        while not (written := set(self._output.iterdir()) - before):
            time.sleep(0.05)
        self.last = written.pop()
        found = None
        while found is None:  # it writes its sum at the end
            found = re.search(r"^totals: (\d+)", self.last.read_text(), re.MULTILINE)
        return int(found[1])


# --- the operations ---


def _bodies(start: int) -> Iterator[bytes]:
    while True:
        yield pod(start)
        start += 1


def operations() -> dict[str, tuple[str, Operation]]:
    """By its short name: what it is called in the table, and how to do it once."""
    bodies = _bodies(LISTED)
    labels = iter(range(1 << 30))

    def get(connection: http.client.HTTPSConnection, number: int) -> None:
        ask(connection, "GET", f"{PODS}/pod-{number % GOTTEN:05}")

    def collect(connection: http.client.HTTPSConnection, number: int) -> None:
        ask(connection, "GET", f"/api/v1/pods?limit={LISTED}")

    def create(connection: http.client.HTTPSConnection, number: int) -> None:
        ask(connection, "POST", PODS, next(bodies), wanted=201)

    def patch(connection: http.client.HTTPSConnection, number: int) -> None:
        body = b'{"metadata":{"labels":{"n":"%d"}}}' % next(labels)
        ask(connection, "PATCH", f"{PODS}/pod-00001", body, "application/merge-patch+json")

    def watched(connection: http.client.HTTPSConnection, number: int) -> None:
        body = json.dumps({"data": {"k": str(next(labels)) + "v" * 1500}}).encode()
        path = "/api/v1/namespaces/default/configmaps/watched"
        ask(connection, "PATCH", path, body, "application/merge-patch+json")

    return {
        "get": ("get a pod", get),
        "list": (f"list {LISTED} pods", collect),
        "create": ("create a pod", create),
        "patch": ("merge-patch a pod", patch),
        "watch": (f"an event of one of {WATCHERS} watchers", watched),
    }


def instructions(server: CountedServer, operation: Operation, count: int) -> float:
    """Of one operation."""
    server.control("-i", "on")
    many(server, max(count // 2, 5), 1, operation)
    each = []
    for _ in range(ROUNDS):
        server.begin()
        many(server, count, 1, operation)
        few = server.counted()
        server.begin()
        many(server, 3 * count, 1, operation)
        each.append((server.counted() - few) / (2 * count))
    server.control("-i", "off")
    return statistics.median(each)


def prepare(server: CountedServer, pods: int) -> None:
    """What the operations are about, and who may do them."""
    admin = server.connect()
    account = b'{"metadata":{"name":"default"},"apiVersion":"v1","kind":"ServiceAccount"}'
    ask(admin, "POST", "/api/v1/namespaces/default/serviceaccounts", account, wanted=201)
    grant(admin, {"kind": "User", "name": "bench-user"})
    for number in range(pods):
        ask(admin, "POST", PODS, pod(number), wanted=201)
    watched = b'{"metadata":{"name":"watched"},"apiVersion":"v1","kind":"ConfigMap"}'
    ask(admin, "POST", "/api/v1/namespaces/default/configmaps", watched, wanted=201)


@contextlib.contextmanager
def watching(server: CountedServer) -> Iterator[None]:
    """Watchers that read what they are sent, in a process of their own."""
    path = f"https://127.0.0.1:{server.port}/api/v1/namespaces/default/configmaps?watch=1"
    certificate, key = server.user
    common = ["curl", "-sN", "--cacert", str(server.ca), "--cert", str(certificate)]
    command = [*common, "--key", str(key), "-o", "/dev/null", path]
    watchers = [subprocess.Popen(command) for _ in range(WATCHERS)]
    admin = server.connect()
    try:
        while f"registered_watchers {WATCHERS}.0" not in ask(admin, "GET", "/metrics").decode():
            time.sleep(0.2)
        yield
    finally:
        for watcher in watchers:
            watcher.terminate()
            watcher.wait()


def main() -> None:
    if shutil.which("callgrind_control") is None:
        print("valgrind is not installed (apt-get install valgrind): nothing was counted.")
        return
    names = list(COUNTS)
    if "--only" in sys.argv:
        names = sys.argv[sys.argv.index("--only") + 1].split(",")
    os.environ["PYTHONHASHSEED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        server = CountedServer(Path(folder))
        server.start()
        try:
            prepare(server, LISTED if "list" in names else GOTTEN)
            for name in names:
                shown, operation = operations()[name]
                count = instructions(server, operation, COUNTS[name])
                if name == "watch":
                    with watching(server):
                        more = instructions(server, operation, COUNTS[name])
                    count = (more - count) / WATCHERS
                print(f"{shown}: {count / 1000:,.1f} thousand instructions", flush=True)
            if "--detail" in sys.argv:
                shutil.copy(server.last, sys.argv[sys.argv.index("--detail") + 1])
        finally:
            server.stop()


if __name__ == "__main__":
    main()
