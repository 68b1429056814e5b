"""Packets, read and written by another implementation than the one under test where that can be."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest

from tests.addons.dns.builders import DOMAIN, zone
from tests.network.builders import slice_of
from tiphys.addons.dns import codec
from tiphys.addons.dns.answers import Answer
from tiphys.addons.dns.codec import UnansweredError

NAME = f"s.d.svc.{DOMAIN}."


def ask(query: dns.message.Message, limit: int | None = None) -> dns.message.Message:
    """What the zone's answer is once it has been a packet."""
    read = codec.read(query.to_wire())
    answer = zone().answer(read.question)
    assert answer is not None
    return dns.message.from_wire(codec.write(read, answer, limit or read.udp_limit))


def refused(wire: bytes) -> bytes:
    with pytest.raises(UnansweredError) as refusal:
        codec.read(wire)
    return refusal.value.reply


# --- EDNS ---

OFFERS = [(None, 512), (0, 512), (511, 512), (512, 512), (1232, 1232), (4096, 4096), (65535, 4096)]


@pytest.mark.parametrize(("offered", "limit"), OFFERS)
def test_a_reply_is_no_longer_than_the_client_takes(offered: int | None, limit: int) -> None:
    query = dns.message.make_query(NAME, "A", use_edns=False)
    if offered is not None:
        query.use_edns(0, payload=offered)
    assert codec.read(query.to_wire()).udp_limit == limit


def test_edns_is_answered_with_edns() -> None:
    reply = ask(dns.message.make_query(NAME, "A", use_edns=0, payload=4096))
    assert (reply.edns, reply.payload, reply.ednsflags) == (0, 1232, 0)


def test_a_client_without_edns_gets_none() -> None:
    assert ask(dns.message.make_query(NAME, "A", use_edns=False)).edns == -1


def test_the_wish_for_signatures_is_repeated() -> None:
    reply = ask(dns.message.make_query(NAME, "A", want_dnssec=True))
    assert reply.ednsflags == dns.flags.DO


def test_another_version_of_edns_is_refused_with_ours() -> None:
    query = dns.message.make_query(NAME, "A", use_edns=1)
    reply = dns.message.from_wire(refused(query.to_wire()))
    assert reply.rcode() == dns.rcode.BADVERS
    assert (reply.edns, reply.id, reply.answer) == (0, query.id, [])


@pytest.mark.parametrize("rcode", [dns.rcode.BADVERS, dns.rcode.BADCOOKIE])
def test_a_code_that_needs_edns_is_a_failure_to_others(rcode: dns.rcode.Rcode) -> None:
    query = codec.read(dns.message.make_query(NAME, "A", use_edns=False).to_wire())
    reply = dns.message.from_wire(codec.write(query, Answer(rcode), 512))
    assert reply.rcode() == dns.rcode.SERVFAIL


# --- what is refused ---

HEAD = struct.pack(">6H", 77, dns.flags.RD, 1, 0, 0, 0)
QUESTION = b"\x01s\x00" + struct.pack(">2H", 1, 1)

RECORD = b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 5, 4) + bytes(4)

MALFORMED = [
    struct.pack(">6H", 77, dns.flags.RD, 1, 2, 0, 0) + QUESTION + RECORD * 2,
    struct.pack(">6H", 77, dns.flags.RD, 1, 0, 2, 0) + QUESTION + RECORD * 2,
    struct.pack(">6H", 77, dns.flags.RD, 1, 0, 0, 3) + QUESTION + RECORD * 3,
    HEAD + QUESTION + bytes(4096),
    HEAD,
    HEAD + b"\x05s",
    HEAD + b"\x01s\x00\x00\x01",
    HEAD + b"\x41" + b"s" * 65 + b"\x00" + QUESTION[-4:],
    HEAD + b"\xc0\x0c" + QUESTION[-4:],
    struct.pack(">6H", 77, dns.flags.RD, 0, 0, 0, 0),
    struct.pack(">6H", 77, dns.flags.RD, 2, 0, 0, 0) + QUESTION * 2,
    struct.pack(">6H", 77, dns.flags.RD, 1, 0, 0, 1) + QUESTION,
    struct.pack(">6H", 77, dns.flags.RD, 1, 0, 0, 1)
    + QUESTION
    + b"\x00\x00\x29\x10\x00"
    + b"\x00" * 5,
]


@pytest.mark.parametrize("wire", MALFORMED)
def test_a_packet_that_cannot_be_read_is_a_format_error(wire: bytes) -> None:
    ident, flags, *counts = struct.unpack(">6H", refused(wire))
    assert (ident, flags, counts) == (77, dns.flags.QR | dns.flags.RD | 1, [0, 0, 0, 0])


@pytest.mark.parametrize("opcode", [dns.opcode.STATUS, dns.opcode.NOTIFY, dns.opcode.UPDATE, 15])
def test_what_is_no_query_is_not_implemented(opcode: int) -> None:
    wire = struct.pack(">6H", 77, opcode << 11, 1, 0, 0, 0) + QUESTION
    reply = dns.message.from_wire(refused(wire))
    assert (reply.rcode(), reply.opcode(), reply.id) == (dns.rcode.NOTIMP, opcode, 77)


@pytest.mark.parametrize(
    ("kind", "rdclass"), [("A", "CH"), ("A", "ANY"), ("AXFR", "IN"), ("IXFR", "IN")]
)
def test_other_classes_and_transfers_are_refused(kind: str, rdclass: str) -> None:
    reply = dns.message.from_wire(refused(dns.message.make_query(NAME, kind, rdclass).to_wire()))
    assert reply.rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(
    "wire",
    [b"", HEAD[:11], struct.pack(">6H", 77, dns.flags.QR, 1, 0, 0, 0) + QUESTION],
    ids=["nothing", "half a header", "a reply"],
)
def test_what_may_be_a_reply_gets_none(wire: bytes) -> None:
    """Two servers would answer each other for ever."""
    assert refused(wire) == b""


@pytest.mark.parametrize("counts", [(1, 0, 0), (0, 1, 0), (0, 0, 2)])
def test_a_query_may_carry_a_few_records(counts: tuple[int, int, int]) -> None:
    wire = struct.pack(">6H", 77, dns.flags.RD, 1, *counts) + QUESTION + RECORD * sum(counts)
    assert codec.read(wire).question.labels == ("s",)


# --- what is written ---


def test_the_question_is_repeated_in_the_clients_case() -> None:
    query = dns.message.make_query("S.d.SVC.cluster.LOCAL.", "A")
    reply = ask(query)
    assert str(reply.question[0].name) == "S.d.SVC.cluster.LOCAL."
    assert query.is_response(reply)
    assert str(reply.answer[0].name) == "S.d.SVC.cluster.LOCAL."


def test_an_owner_that_is_the_question_takes_two_bytes() -> None:
    query = codec.read(dns.message.make_query(NAME, "A").to_wire())
    answer = zone().answer(query.question)
    assert answer is not None
    assert len(codec.write(query, answer, 512)) == len(query.message.to_wire()) + 2 + 10 + 4


def test_the_flags_say_who_answers() -> None:
    reply = ask(dns.message.make_query(NAME, "A", flags=dns.flags.RD | dns.flags.CD))
    assert reply.flags == dns.flags.from_text("QR AA RD RA CD")
    assert ask(dns.message.make_query(NAME, "A", flags=0)).flags == dns.flags.from_text("QR AA RA")


def test_the_flags_of_another_server_are_passed_on() -> None:
    query = codec.read(dns.message.make_query(NAME, "A").to_wire())
    answer = Answer(authoritative=False, authenticated=True, truncated=True)
    reply = dns.message.from_wire(codec.write(query, answer, 512))
    assert reply.flags == dns.flags.from_text("QR TC RD RA AD")


def many(count: int) -> Answer:
    headless = zone()
    headless._source.by_service["d/headless"] = [  # type: ignore[attr-defined]
        slice_of("headless", *(f"10.1.{number // 250}.{number % 250}" for number in range(count)))
    ]
    query = codec.read(dns.message.make_query(f"headless.d.svc.{DOMAIN}", "A").to_wire())
    answer = headless.answer(query.question)
    assert answer is not None
    return answer


@pytest.mark.parametrize("version", [-1, 0])
def test_an_answer_that_is_too_long_is_cut_and_says_so(version: int) -> None:
    query = dns.message.make_query(f"headless.d.svc.{DOMAIN}", "A")
    query.use_edns(version)
    wire = codec.write(codec.read(query.to_wire()), many(500), 512)
    reply = dns.message.from_wire(wire)
    assert reply.flags & dns.flags.TC and reply.edns == version
    assert 512 - 16 < len(wire) <= 512, "as many records as there is room for"


def test_the_same_answer_is_whole_over_tcp() -> None:
    query = codec.read(dns.message.make_query(f"headless.d.svc.{DOMAIN}", "A").to_wire())
    reply = dns.message.from_wire(codec.write(query, many(500), codec.MAX_TCP))
    assert len(reply.answer[0]) == 500 and not reply.flags & dns.flags.TC


def test_additional_records_that_do_not_fit_are_left_out_silently() -> None:
    query = codec.read(dns.message.make_query(NAME, "A").to_wire())
    answer = zone().answer(query.question)
    assert answer is not None
    answer.additional = [
        dns.rrset.from_text(f"h{number}.", 5, "IN", "A", "10.0.0.1") for number in range(60)
    ]
    reply = dns.message.from_wire(codec.write(query, answer, 512))
    assert reply.answer and 0 < len(reply.additional) < 60 and not reply.flags & dns.flags.TC


def test_a_label_that_is_no_text_is_a_name_like_any_other() -> None:
    query = codec.read(HEAD + b"\x02\xff.\x05CLUST\x00" + QUESTION[-4:])
    assert query.question.labels == ("\xff.", "clust")
    assert query.question.name.labels == (b"\xff.", b"clust", b"")
