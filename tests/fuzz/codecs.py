"""What reads requests, without sockets: python -m tests.fuzz.codecs 1000000 [SEED]

Bodies in JSON, YAML and protobuf, patches, server-side apply, validation, selectors, paths, queries
and expressions, bent at random. What must hold: each is read, or refused with the error that the
server turns into a status of 4xx; what was read comes back the same through every coding; and none
takes the processor time that may hold the event loop, if it is of a size that is read there.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import yaml

from tests.fuzz.bytes import bent, bomb, copies
from tests.fuzz.requests import JUNK, PATCHES, QUERIES, Generator, twisted
from tests.fuzz.target import LONGEST_HOLD
from tests.machinery.expressions import COMPARED, SELF
from tiphys.api.base import decode, encode, from_builtins, to_builtins
from tiphys.api.catalog import RESOURCES
from tiphys.apiserver.documents import tables
from tiphys.apiserver.eventloop.aside import LARGE
from tiphys.apiserver.http.request import parse, parse_query
from tiphys.apiserver.registry import creating, ownership
from tiphys.apiserver.registry.kinds import check_kind
from tiphys.apiserver.registry.patches import read_patch
from tiphys.apiserver.registry.registry import Registry
from tiphys.machinery import decoding, fieldvalidation, protobuf, selectors, yaml_reading
from tiphys.machinery.cel import CelError, compile_expression
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

_NOW = "2026-01-02T03:04:05Z"
_YAML = 2 << 10  # bytes of YAML beyond which it is read in a worker process
_REFUSALS = (
    decoding.DecodeError,
    yaml_reading.YamlError,
    protobuf.WireError,
    selectors.SelectorError,
    CelError,
)
_PIECES = [text for text, _ in COMPARED]


class Codecs(Generator):
    """`failures` are what broke a rule, each with what did it."""

    def __init__(self, registry: Registry, seed: int) -> None:
        super().__init__([r for r in RESOURCES if r.stored and r.is_storage_version], seed)
        self._registry = registry
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._ways: tuple[Callable[[], Any], ...] = (
            *(self._created, self._created, self._read_json, self._read_yaml),
            *(self._read_protobuf, self._patched, self._patched, self._applied),
            *(self._selected, self._named, self._evaluated),
        )
        self._input: Any = b""
        self._warm: set[Any] = set()

    def once(self) -> None:
        way = self.chance.choice(self._ways)
        self.last = self.chance.choice(self.resources)
        began = time.thread_time()
        try:
            way()
            self.counts[f"{way.__name__} read"] += 1
        except _REFUSALS:
            self.counts[f"{way.__name__} refused"] += 1
        except StatusError as error:
            self.counts[f"{way.__name__} refused"] += 1
            if error.code >= 500:
                self._fail(way, f"{error.code} {error}")
        except Exception as error:
            self._fail(way, repr(error))
        size = len(self._input) if isinstance(self._input, bytes | str) else 0
        took = time.thread_time() - began
        if (way, self.last) not in self._warm:
            self._warm.add((way, self.last))  # what is made once, the server makes in steps
            return
        if took > 2 * LONGEST_HOLD and size <= (_YAML if way == self._read_yaml else LARGE):
            self._fail(way, f"{took * 1000:.0f} ms")

    def _fail(self, way: Callable[[], Any], why: str) -> None:
        self.failures.append(f"{way.__name__} of {self.last.kind}: {why}: {self._input[:600]!r}")

    def _body_bytes(self) -> bytes:
        body = self._body(self.last, "f1")
        return json.dumps(
            twisted(body, self.chance) if self.chance.random() < 0.8 else body
        ).encode()

    # --- ways ---

    def _created(self) -> None:
        """A body, as far as it goes before the store."""
        self._input = self._body_bytes()
        obj = decoding.typed(self._input, self.last.type)
        fieldvalidation.field_problems(self._input, json.loads(self._input), self.last.type)
        check_kind(obj, self.last.type)
        strategy = self._registry.strategy_of(self.last)
        strategy.default(obj)
        ownership.created(self.last, obj, "fuzz", _NOW)
        creating._set_system_fields(self._registry, strategy, obj.metadata)
        strategy.prepare_for_create(obj)
        creating._validate(self._registry, self.last, strategy, obj)
        self._comes_back(obj)

    def _comes_back(self, obj: Any) -> None:
        data = encode(obj)
        assert encode(decode(data, self.last.type)) == data, "JSON does not come back"
        wire = protobuf.encode(obj)
        assert protobuf.encode(protobuf.decode(wire, self.last.type)) == wire, "protobuf neither"
        tables.table(self.last, [data], {}, "Metadata")

    def _read_json(self) -> None:
        self._input = bent(self._body_bytes(), self.chance)
        decoding.typed(self._input, self.last.type)

    def _read_yaml(self) -> None:
        chance = self.chance
        body = yaml.safe_dump(twisted(self._body(self.last, "f1"), chance)).encode()
        self._input = bent(body, chance) if chance.random() < 0.9 else bomb(chance)
        value, _ = yaml_reading.read(self._input)
        decoding.convert(decoding.plain(encode(value)), self.last.type)

    def _read_protobuf(self) -> None:
        body = self._body(self.last, "f1")
        self._input = protobuf.wrap(from_builtins(body, self.last.type))
        if self.chance.random() < 0.9:
            self._input = bent(self._input, self.chance)
        message = protobuf.unwrap(self._input)[2]
        decoding.convert(to_builtins(protobuf.decode(message, self.last.type)), self.last.type)

    def _patched(self) -> None:
        chance = self.chance
        media = chance.choice(PATCHES[:3])
        before = self._body(self.last, "f1")
        if media == PATCHES[0]:
            operations = [self._operation(before) for _ in range(chance.randint(1, 4))]
            self._input = json.dumps(operations).encode()
            if chance.random() < 0.02:
                self._input = copies(chance) + b" " * LARGE  # read aside, however short
        else:
            self._input = self._body_bytes()
        if chance.random() < 0.1:
            self._input = bent(self._input, chance)
        after = read_patch(media, self._input, self.last.type).patched(before)
        fieldvalidation.field_problems(b"", after, self.last.type)
        decoding.convert(after, self.last.type)

    def _operation(self, body: Any) -> dict[str, Any]:
        chance = self.chance
        operation: dict[str, Any] = {
            "op": chance.choice(["add", "remove", "replace", "test", "copy", "move", "x"]),
            "path": self._pointer(body),
            "value": chance.choice(JUNK),
            "from": self._pointer(body),
        }
        if chance.random() < 0.1:
            operation[chance.choice(list(operation))] = chance.choice(JUNK)
        return operation

    def _pointer(self, value: Any) -> str:
        """A JSON pointer to something that is there, or to what is near it."""
        chance, path = self.chance, ""
        while chance.random() < 0.8 and isinstance(value, dict | list) and value:
            key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
            path += f"/{key}"
            value = value[key]
        return path + chance.choice(["", "", "", "/-", "/0", "/x", "/~2", "/01", "/" + "9" * 30])

    def _applied(self) -> None:
        live = from_builtins(self._body(self.last, "f1"), self.last.type)
        live.metadata.managed_fields = ownership.created(self.last, live, "first", _NOW)
        self._input = self._body_bytes()
        config = json.loads(self._input)
        if not isinstance(config, dict) or not isinstance(config.get("metadata"), dict):
            return
        if fieldvalidation.field_problems(b"", config, self.last.type):
            return  # as the server does
        author = ownership.Author("fuzz", force=self.chance.random() < 0.7)
        applied = ownership.apply(self.last, live, config, author, _NOW)
        decoding.convert(applied.obj, self.last.type)

    def _selected(self) -> None:
        chance = self.chance
        text = chance.choice([*QUERIES["labelSelector"], "a in (b,c),d!=e", "x/y.z==1,!q", "a>1"])
        self._input = bent(text.encode(), chance).decode(errors="replace")
        read = selectors.parse_labels if chance.random() < 0.5 else selectors.parse_fields
        read(self._input)

    def _named(self) -> None:
        method, path, _, query, _, _ = self.request()
        path = bent(path.encode(), self.chance).decode(errors="replace")
        text = bent("&".join(f"{k}={v}" for k, v in query.items()).encode(), self.chance)
        self._input = f"{method} {path}?{text!r}"
        parse(method, path, parse_query(text.decode(errors="replace")))

    def _evaluated(self) -> None:
        chance = self.chance
        one, other = chance.choice(_PIECES), chance.choice(_PIECES)
        joint = chance.choice([" && ", " || ", " + ", " == ", " ? ", ".map(x, ", " in "])
        text = chance.choice([one, f"({one}){joint}({other})", f"[{one}, {other}]"])
        if chance.random() < 0.4:
            text = bent(text.encode(), chance).decode(errors="replace")
        self._input = text
        compile_expression(self._input).run({"self": SELF}, 10_000)


async def fuzz(count: int, seed: int, shown: bool = False) -> Codecs:
    async with LocalCluster() as server:
        codecs = Codecs(server.server.registry, seed)
        for number in range(count):
            codecs.once()
            if number % 100 == 99:
                await asyncio.sleep(0)
            if shown and number % 50_000 == 49_999:
                print(f"{number + 1} inputs, {len(codecs.failures)} failures", flush=True)
        return codecs


def main() -> None:
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    made = asyncio.run(fuzz(int(sys.argv[1]), seed, shown=True))
    print(f"seed {seed}: {dict(sorted(made.counts.items()))}")
    seen: Counter[str] = Counter()
    for line in made.failures:
        seen[line[:80]] += 1
        if seen[line[:80]] <= 2:
            print(line[:900])
    print(len(made.failures), "failures")


if __name__ == "__main__":
    main()
