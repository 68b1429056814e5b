"""Requests as bytes on a connection, from well-formed ones to what is no HTTP at all."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from tests.fuzz.requests import ACCEPTS, JUNK, Generator
from tiphys.api.base import from_builtins
from tiphys.machinery import protobuf

_HOSTS = b"Host: localhost\r\n"


def _levels(open_: str, close: str, depth: int) -> bytes:
    return (open_ * depth + "1" + close * depth).encode()


def bomb(chance: random.Random) -> bytes:
    """YAML whose aliases multiply."""
    width, lines = chance.randint(2, 10), ["a0: &a0 [x, x]"]
    for level in range(1, chance.randint(2, 12)):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines).encode()


def copies(chance: random.Random) -> bytes:
    """A JSON patch that doubles what is there."""
    copies: list[Any] = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "x" * 100}}]
    for number in range(chance.randint(1, 40)):
        copies.append(
            {"op": "copy", "from": "/metadata", "path": f"/metadata/annotations/c{number}"}
        )
    return json.dumps(copies).encode()


def _wide(body: dict[str, Any], chance: random.Random) -> bytes:
    """A body with very many of something."""
    count = chance.choices([100, 2_000, 30_000], [12, 6, 1])[0]
    where = chance.choice(["labels", "annotations", "finalizers", "x", "data"])
    many: Any = {f"k{i}": f"v{i}" for i in range(count)}
    if where == "finalizers":
        many = [f"a.b/{i}" for i in range(count)]
    meta = dict(body.get("metadata") or {}) if isinstance(body.get("metadata"), dict) else {}
    made = {**body, "metadata": meta}
    (made if where in ("x", "data") else meta)[where] = many
    return json.dumps(made).encode()


_NUMBERS = (
    "9" * 5000,
    "1e999999",
    "1e-999999999",
    "-0",
    "0" * 400 + "1",
    "1" * 400 + "." + "1" * 400,
)
_TEXTS = (
    "9" * 5000 + "Gi",
    "1e999999999",
    "1" * 400 + "h",
    "٣",
    "@every " + "9" * 400 + "h",
    "(" * 900,
    "(a+)+$" * 50,
    "A" * 10_001,
)


def _numbered(body: bytes, chance: random.Random) -> bytes:
    """A number or text that takes long to read, instead of one that is there."""
    if chance.random() < 0.5:
        return body.replace(b": 1", b": " + chance.choice(_NUMBERS).encode(), 1)
    text = json.dumps(chance.choice(_TEXTS)).encode()
    parts = body.split(b'"')
    return body if len(parts) < 4 else body.replace(b'"' + parts[-2] + b'"', text, 1)


def _as_protobuf(resource: Any, body: Any, chance: random.Random) -> bytes:
    try:
        data = protobuf.wrap(from_builtins(body, resource.type))
    except Exception:  # bodies that are no objects of the type: the bytes are bent anyway
        data = b"k8s\x00\x0a\x06\x0a\x02v1\x12\x00" + json.dumps(body).encode()
    return bent(data, chance) if chance.random() < 0.7 else data


def bent(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, cut or doubled."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        if made:
            made[chance.randrange(len(made))] = chance.randrange(256)
    cut = chance.randrange(len(made) + 1)
    return bytes(made[:cut]) if chance.random() < 0.3 else bytes(made + made[cut:])


class Attacker(Generator):
    """`next` is one request: (what to send, whether an answer comes). `told` says what it was."""

    told = ""

    def next(self) -> tuple[bytes, bool]:
        kind = self.chance.random()
        if kind < 0.03:
            return self._no_request()
        method, path, body, query, content, accept = self.request()
        if method in ("POST", "PUT", "PATCH") and self.chance.random() < 0.3:
            content, body = self._another_body(method, path, content, body)
        if self.chance.random() < 0.03:
            name = self.chance.choice(["labelSelector", "fieldSelector", "fieldManager", "x"])
            query[name] = self.chance.choice(
                [",".join(f"a{i}!=b" for i in range(3000)), "a" * 60_000, "%" * 500, "a in (" * 300]
            )
        head = self._head(method, path, query, content, accept)
        self.told = f"{head[:400]!r} {(body or b'')[:300]!r}"
        return self._framed(head, body), True

    def _another_body(
        self, method: str, path: str, content: str, body: bytes | None
    ) -> tuple[str, bytes]:
        chance, resource = self.chance, self.last
        plain = self._body(resource, "f1")
        text = body or json.dumps(plain).encode()
        merge, jsonp = "application/merge-patch+json", "application/json-patch+json"
        patch = method == "PATCH"
        yaml_type = "application/apply-patch+yaml" if patch else "application/yaml"
        return chance.choice(
            [
                lambda: (yaml_type, yaml.safe_dump(plain).encode()),
                lambda: (yaml_type, bent(yaml.safe_dump(plain).encode(), chance)),
                lambda: (yaml_type, bomb(chance)),
                lambda: (yaml_type, yaml.safe_dump(plain).encode() + b"\n" + bomb(chance)),
                lambda: (jsonp, copies(chance)) if patch else (content, _wide(plain, chance)),
                lambda: (merge if patch else content, _wide(plain, chance)),
                lambda: (
                    merge if patch else content,
                    _numbered(json.dumps(plain).encode(), chance),
                ),
                lambda: (content, bent(text, chance)),
                lambda: (content, _levels('{"a":', "}", chance.choice([100, 900, 9000]))),
                lambda: (content, _levels("[", "]", chance.choice([100, 900, 9000]))),
                lambda: (content, gzip.compress(text)),
                lambda: (
                    "application/vnd.kubernetes.protobuf",
                    _as_protobuf(resource, plain, chance),
                ),
                lambda: (content, text.replace(b'"', b'"\xff', 3)),
            ]
        )()

    def _head(
        self, method: str, path: str, query: dict[str, str], content: str, accept: str
    ) -> bytes:
        text = quote(path, safe="/%:") + ("?" + urlencode(query) if query else "")
        extra = b""
        if self.chance.random() < 0.05:
            name = self.chance.choice(
                [
                    "Impersonate-User",
                    "Impersonate-Group",
                    "If-None-Match",
                    "Content-Encoding",
                    "Accept-Encoding",
                ]
            )
            extra = f"{name}: {self.chance.choice(['gzip', 'jane', 'system:masters', 'x' * 3000])}\r\n".encode()
        head = f"{method} {text} HTTP/1.1\r\nAccept: {accept or ACCEPTS[0]}\r\nContent-Type: {content}\r\n"
        return head.encode(errors="replace") + _HOSTS + extra

    def _framed(self, head: bytes, body: bytes | None) -> bytes:
        if body is None:
            return head + b"\r\n"
        if self.chance.random() < 0.1:
            cut = len(body) // 2
            pieces = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:cut], body[cut:]) if p)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def _no_request(self) -> tuple[bytes, bool]:
        """What ends the connection, or never ends."""
        chance = self.chance
        data = chance.choice(
            [
                b"GET / HTTP/1.1\r\n",
                b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
                bytes(chance.randrange(256) for _ in range(200)),
                b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"A: " + b"b" * 70_000,
                b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                b"GET /livez HTTP/1.1\r\nHost: a\r\n"
                + b"".join(b"H%d: x\r\n" % i for i in range(1500))
                + b"\r\n",
            ]
        )
        self.told = f"{data[:200]!r}"
        return data, False


__all__ = ["JUNK", "Attacker"]
