"""An ordinary gRPC client: ``python client.py TARGET COUNT`` makes calls over one channel and says
which pods answered. Nothing in it knows of xDS; a target ``xds:///...`` and the bootstrap do."""

from __future__ import annotations

import sys
from collections import Counter

import grpc


def main(target: str, count: int) -> None:
    answered: Counter[str] = Counter()
    with grpc.insecure_channel(target) as channel:
        say = channel.unary_unary("/example.Greeter/Say")
        for _ in range(count):
            answer = say(b"you", timeout=20, wait_for_ready=True)
            answered[answer.decode().rpartition(" ")[2]] += 1
    print(f"{target}: {len(answered)} pods answered")
    for pod, calls in sorted(answered.items()):
        print(f"  {pod} {calls}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
