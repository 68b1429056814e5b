"""The process that does for the API server what takes long in plain Python: reads and writes YAML,
validates definitions.

It speaks over its standard input and output, one job after the other. A job is a kind (one byte),
the length of its input (four bytes, big-endian) and the input; its answer a state (one byte: 0
done, 1 refused), a length and the output. `workers` has the other end. A job that takes too much
processor time ends the process, by the signal `EXHAUSTED`.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable

import msgspec

HEAD = struct.Struct(">BI")
READ_YAML, WRITE_YAML, JUDGE_DEFINITION, INDENT = 1, 2, 3, 4
_MEMORY = 2 << 30  # bytes of address space: a job that wants more ends here, not in the server
_NICE = 5
_PATIENCE = 20.0  # seconds of processor time for a job
EXHAUSTED = signal.SIGPROF


class Refused(ValueError):
    """The input is at fault; the text is for the user."""


def read_yaml(data: bytes) -> bytes:
    """JSON of [value, problems of strict decoding]."""
    from tiphys.machinery import yaml_reading

    try:
        return msgspec.json.encode(yaml_reading.read(data))
    except (
        yaml_reading.YamlError,
        RecursionError,
        msgspec.MsgspecError,
        UnicodeEncodeError,
    ) as error:
        raise Refused(str(error)) from None


def write_yaml(data: bytes) -> bytes:
    """YAML of JSON."""
    from tiphys.machinery.yaml_writing import dump

    return dump(msgspec.json.decode(data))


def indent(data: bytes) -> bytes:
    """JSON with two spaces a level."""
    return msgspec.json.format(data)


def judge_definition(data: bytes) -> bytes:
    """JSON of [[(reason, path, message), ...], warnings] on a CustomResourceDefinition."""
    from tiphys.api.apiextensions_v1 import CustomResourceDefinition
    from tiphys.api.base import decode
    from tiphys.apiserver.http.request import collect_warnings
    from tiphys.apiserver.resources.customresourcedefinitions.rules import judged
    from tiphys.machinery.fielderrors import first

    warnings: list[str] = []
    collect_warnings(warnings)
    violations = first(judged(decode(data, CustomResourceDefinition)))
    return msgspec.json.encode(([(e.reason, e.field, e.detail) for e in violations], warnings))


JOBS: dict[int, Callable[[bytes], bytes]] = {
    READ_YAML: read_yaml,
    WRITE_YAML: write_yaml,
    JUDGE_DEFINITION: judge_definition,
    INDENT: indent,
}


def done(kind: int, data: bytes) -> tuple[int, bytes]:
    """(state, output) of one job."""
    try:
        return 0, JOBS[kind](data)
    except Refused as error:
        return 1, str(error).encode(errors="replace")


def main() -> None:
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    gc.freeze()
    source = sys.stdin.buffer
    sink = sys.stdout.buffer
    while head := source.read(HEAD.size):
        kind, length = HEAD.unpack(head)
        data = source.read(length)
        gc.disable()  # of the time that reading YAML takes, collections had four fifths
        signal.setitimer(signal.ITIMER_PROF, _PATIENCE)
        state, output = done(kind, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.enable()
        sink.write(HEAD.pack(state, len(output)))
        sink.write(output)
        sink.flush()
        gc.collect()


if __name__ == "__main__":
    main()
