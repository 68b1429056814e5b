"""Attacks on cluster DNS: packets made to be read for long, floods of names, forged replies."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.dns.builders import DOMAIN, Objects, zone
from tests.network.builders import slice_of
from tiphys.addons.dns import codec, encoded
from tiphys.addons.dns.codec import UnansweredError
from tiphys.addons.dns.encoded import EncodedAnswers
from tiphys.addons.dns.metrics import Tally
from tiphys.addons.dns.zone import Zone

_LONGEST_TURN = 0.05  # seconds of CPU that one packet may take the event loop


def answered(wire: bytes) -> bytes:
    """What the server does with a packet, but for its socket."""
    try:
        query = codec.read(wire)
    except UnansweredError as refusal:
        return refusal.reply
    answer = zone().answer(query.question)
    return codec.write(query, answer, query.udp_limit) if answer is not None else b""


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def header(questions: int, additional: int = 0) -> bytes:
    return struct.pack(">6H", 7, 0x0100, questions, 0, 0, additional)


def pointers() -> bytes:
    """A name whose every label is a pointer to the one before."""
    chain = b"".join(struct.pack(">H", 0xC000 | 12 + 2 * number) for number in range(8000))
    return header(1) + b"\x00\x00" + chain + b"\x00\x01\x00\x01"


def options() -> bytes:
    """An OPT record of thousands of empty options."""
    question = b"\x01s\x00\x00\x01\x00\x01"
    data = b"\xff\xf0\x00\x00" * 15000
    return (
        header(1, 1)
        + question
        + b"\x00\x00\x29\x10\x00\x00\x00\x00\x00"
        + struct.pack(">H", len(data))
        + data
    )


def records() -> bytes:
    """As many additional records as a packet holds."""
    question = b"\x01s\x00\x00\x01\x00\x01"
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x01"
    return header(1, 4000) + question + record * 4000


@pytest.mark.parametrize("packet", [pointers, options, records])
def test_no_packet_holds_the_loop(packet: Callable[[], bytes]) -> None:
    wire = packet()
    assert min(seconds(lambda: answered(wire)) for _ in range(3)) < _LONGEST_TURN


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_have_a_short_reply_or_none(data: bytes) -> None:
    reply = answered(data)
    assert len(reply) <= 512 and (not reply or reply[:2] == data[:2])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4))
def test_a_query_with_some_bytes_changed_has_a_reply_or_none(
    changes: list[tuple[int, int]],
) -> None:
    wire = bytearray(dns.message.make_query(f"s.d.svc.{DOMAIN}", "SRV", use_edns=0).to_wire())
    for position, value in changes:
        wire[position % len(wire)] = value
    assert len(answered(bytes(wire))) <= 4096


def test_a_flood_of_names_is_remembered_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "_MOST", 30)
    answers = EncodedAnswers()
    for number in range(200):
        wire = dns.message.make_query(f"x{number}.d.svc.{DOMAIN}", "A").to_wire()
        query = codec.read(wire)
        subject = zone().subject(query.question.labels)
        answers.put(wire, query, [answered(wire)], subject, Tally())
    assert len(answers) <= 30
    assert sum(map(len, answers._by_subject.values())) <= 30


def test_the_largest_service_is_answered_in_a_turn() -> None:
    """A thousand endpoints; over UDP as many as fit."""
    objects = Objects()
    addresses = [f"10.{number >> 8}.{number & 255}.1" for number in range(1000)]
    objects.by_service["d/headless"] = [slice_of("headless", *addresses)]
    large = Zone(DOMAIN, objects)
    query = codec.read(dns.message.make_query(f"headless.d.svc.{DOMAIN}", "A").to_wire())

    def answer(limit: int) -> None:
        records = large.answer(query.question)
        assert records is not None
        assert len(codec.write(query, records, limit)) <= limit

    for limit in (512, codec.MAX_TCP):
        assert min(seconds(lambda limit=limit: answer(limit)) for _ in range(3)) < _LONGEST_TURN  # type: ignore[misc]


def test_a_forged_flag_makes_two_servers_no_loop() -> None:
    """Whatever a server says is a reply, and no reply is answered."""
    generator = random.Random(1)
    for _ in range(500):
        reply = answered(generator.randbytes(generator.randrange(12, 60)))
        assert not reply or answered(reply) == b""
