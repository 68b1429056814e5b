"""DNS packets (RFC 1035), as much as a cluster's names need. Pure."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field

A, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 5, 6, 12, 16, 28, 33, 41, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)


class MessageError(ValueError):
    """Not a packet that can be read."""


@dataclass(frozen=True)
class Question:
    name: str  # lower case, no dot at the end
    kind: int
    id: int = 0
    recursion: bool = True
    size: int = 512  # bytes the client takes over UDP
    spelled: str = ""  # the name as the client spelled it


@dataclass(frozen=True)
class Record:
    """data: an address, a name, a text, or (priority, weight, port, name)."""

    name: str
    kind: int
    data: str | tuple[int, int, int, str]
    ttl: int = 5


@dataclass
class Answer:
    code: int = NOERROR
    records: list[Record] = field(default_factory=list)
    extra: list[Record] = field(default_factory=list)
    authority: str = ""  # the zone, for answers that say there is nothing


def read_name(data: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    jumps = end = 0
    while True:
        if at >= len(data):
            raise MessageError("name ends too early")
        size = data[at]
        if size >= 0xC0:
            if at + 1 >= len(data) or (jumps := jumps + 1) > 20:
                raise MessageError("bad pointer")
            end = end or at + 2
            at = (size & 0x3F) << 8 | data[at + 1]
            continue
        if size == 0:
            return ".".join(labels), end or at + 1
        if size > 63 or at + 1 + size > len(data):
            raise MessageError("bad label")
        labels.append(data[at + 1 : at + 1 + size].decode("ascii", "replace"))
        at += 1 + size


def parse(data: bytes) -> Question:
    """The one question of a query. Raises MessageError."""
    if len(data) < 12:
        raise MessageError("too short")
    id, flags, questions, _, _, additional = struct.unpack_from(">6H", data)
    if flags & 0x8000 or questions != 1:
        raise MessageError("not a single query")
    name, at = read_name(data, 12)
    if at + 4 > len(data):
        raise MessageError("question ends too early")
    kind, _ = struct.unpack_from(">2H", data, at)
    size = 512
    if additional and at + 4 + 11 <= len(data) and data[at + 4] == 0:
        option, room = struct.unpack_from(">2H", data, at + 5)
        size = min(max(room, 512), 4096) if option == OPT else 512
    return Question(name.lower(), kind, id, bool(flags & 0x100), size, name)


def write_name(name: str) -> bytes:
    out = b""
    for label in name.rstrip(".").split(".") if name.strip(".") else ():
        raw = label.encode()
        out += bytes([len(raw)]) + raw
    return out + b"\x00"


def _data(record: Record) -> bytes:
    value = record.data
    match record.kind:
        case 1 | 28:
            return ipaddress.ip_address(str(value)).packed
        case 33 if isinstance(value, tuple):
            return struct.pack(">3H", *value[:3]) + write_name(value[3])
        case 16:
            raw = str(value).encode()[:255]
            return bytes([len(raw)]) + raw
        case _:
            return write_name(str(value))


def _record(record: Record) -> bytes:
    data = _data(record)
    return (
        write_name(record.name) + struct.pack(">2HIH", record.kind, 1, record.ttl, len(data)) + data
    )


def _soa(zone: str) -> bytes:
    data = (
        write_name(f"ns.dns.{zone}")
        + write_name(f"hostmaster.{zone}")
        + struct.pack(">5I", 1, 7200, 1800, 86400, 5)
    )
    return write_name(zone) + struct.pack(">2HIH", SOA, 1, 5, len(data)) + data


def build(question: Question, answer: Answer, limit: int) -> bytes:
    """The packet; cut, with the truncation bit, when it would be longer than `limit`."""
    body = write_name(question.spelled or question.name) + struct.pack(">2H", question.kind, 1)
    authority = [_soa(answer.authority)] if answer.authority and not answer.records else []
    flags = 0x8480 | (0x100 if question.recursion else 0) | answer.code
    records, extra = [_record(r) for r in answer.records], [_record(r) for r in answer.extra]
    while True:
        packet = (
            struct.pack(">6H", question.id, flags, 1, len(records), len(authority), len(extra))
            + body
        )
        packet += b"".join([*records, *authority, *extra])
        if len(packet) <= limit:
            return packet
        if extra:
            extra = []
        else:
            flags |= 0x200
            records.pop()
