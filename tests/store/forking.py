"""Becomes one server after the other: what a server imports is imported once, so that a thousand
kills cost a thousand starts and not as many seconds of reading modules.

Reads a line of JSON from its standard input, the arguments of `tiphys`, and forks a child that runs
them. Prints the child's process id, and a second line when it has ended.
"""

from __future__ import annotations

import gc
import json
import os
import sys

import tiphys.apiserver.main
import tiphys.store.etcd
import tiphys.store.sqlite  # noqa: F401 - for the children
from tiphys.cli.main import cli


def _serve(arguments: list[str]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    cli(arguments)


def main() -> None:
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _serve(json.loads(line))
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
