"""Names of others: over which protocol they are asked for, and for how long an answer is kept."""

from __future__ import annotations

import asyncio

import dns.flags
import dns.message
import dns.rcode
import pytest
from dns.message import Message

from tests.addons.dns.builders import texts
from tests.addons.dns.upstream import ADDRESS, Upstream, response, running
from tiphys.addons.dns import forwarding
from tiphys.addons.dns.configuration import Server, read
from tiphys.addons.dns.forwarding import Forwarder, lifetime

NAME = "example.org."
QUERY = dns.message.make_query(NAME, "A")
NOERROR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 2, 3, 4, 5

LIFETIMES = [
    # answers: as long as the shortest TTL says, within bounds
    (response(QUERY, f"{NAME} 20 A 192.0.2.1"), 20),
    (response(QUERY, f"{NAME} 300 A 192.0.2.1"), 30),
    (response(QUERY, f"{NAME} 2 A 192.0.2.1"), 5),
    (response(QUERY, f"{NAME} 0 A 192.0.2.1"), 0),
    (response(QUERY, f"{NAME} 20 CNAME b.org.", "b.org. 10 A 192.0.2.1"), 10),
    # denials: as long as the zone says
    (response(QUERY, rcode=NXDOMAIN, soa="20 300"), 20),
    (response(QUERY, rcode=NXDOMAIN, soa="300 20"), 20),
    (response(QUERY, rcode=NXDOMAIN), 0),
    (response(QUERY, soa="300 20"), 20),
    (response(QUERY), 0),
    (response(QUERY, f"{NAME} 20 CNAME b.org."), 0),
    (response(QUERY, f"{NAME} 20 CNAME b.org.", soa="10 300"), 10),
    # failures
    (response(QUERY, rcode=SERVFAIL), 5),
    (response(QUERY, rcode=NOTIMP), 5),
    (response(QUERY, rcode=REFUSED), 0),
    (response(QUERY, f"{NAME} 20 A 192.0.2.1", flags="TC"), 0),
]


@pytest.mark.parametrize(("reply", "seconds"), LIFETIMES)
def test_an_answer_is_kept_as_coredns_keeps_it(reply: Message, seconds: int) -> None:
    assert lifetime(reply) == seconds


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def forwarder(upstream: Upstream, clock: Clock | None = None) -> Forwarder:
    return Forwarder([ADDRESS], clock or Clock(), upstream.port)


def known(query: Message, protocol: str) -> Message:
    return response(query, f"{query.question[0].name} 20 A 192.0.2.1", flags="RA AD")


async def test_an_answer_is_passed_on_and_kept_and_grows_older() -> None:
    clock = Clock()
    async with running(known) as upstream:
        asked = forwarder(upstream, clock)
        first = await asked.ask(QUERY, over_tcp=False)
        clock.seconds += 19.5
        second = await asked.ask(QUERY, over_tcp=True)
        clock.seconds += 0.5
        await asked.ask(QUERY, over_tcp=False)
    assert texts(first) == texts(second) == ["A 192.0.2.1"]
    assert (first.records[0].ttl, second.records[0].ttl) == (20, 1)
    assert (first.authoritative, first.authenticated) == (False, True)
    assert len(upstream.asked) == 2, "the second was kept, the third too old"


@pytest.mark.parametrize("over_tcp", [False, True])
async def test_a_query_goes_out_over_the_protocol_it_came_in_over(over_tcp: bool) -> None:
    async with running(known) as upstream:
        await forwarder(upstream).ask(QUERY, over_tcp)
    assert [protocol for protocol, _ in upstream.asked] == ["tcp" if over_tcp else "udp"]


async def test_what_the_client_wants_is_passed_on_but_for_its_id_and_its_options() -> None:
    query = dns.message.make_query(
        NAME, "TXT", want_dnssec=True, payload=1400, flags=dns.flags.RD | dns.flags.CD, id=7
    )  # type: ignore[arg-type]
    async with running(lambda query, protocol: response(query)) as upstream:
        await forwarder(upstream).ask(query, over_tcp=False)
        await forwarder(upstream).ask(QUERY, over_tcp=False)
    signed, plain = (query for _, query in upstream.asked)
    assert signed.question == query.question and signed.id != query.id
    assert (signed.payload, signed.ednsflags) == (1400, dns.flags.DO)
    assert signed.flags == dns.flags.RD | dns.flags.CD and plain.flags == dns.flags.RD
    assert plain.edns == -1


async def test_answers_with_signatures_and_without_are_kept_apart() -> None:
    async with running(known) as upstream:
        asked = forwarder(upstream)
        for options in ({}, {"want_dnssec": True}, {"flags": dns.flags.RD | dns.flags.CD}):
            await asked.ask(dns.message.make_query(NAME, "A", **options), over_tcp=False)  # type: ignore[arg-type]
        await asked.ask(dns.message.make_query(NAME.upper(), "A"), over_tcp=False)
    assert len(upstream.asked) == 3, "the last differs in its case alone"


async def test_the_next_server_is_asked_when_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_TIMEOUT", 0.2)

    def only_the_second(query: Message, protocol: str) -> Message | None:
        return known(query, protocol) if len(upstream.asked) == 2 else None

    async with running(only_the_second) as upstream:
        answer = await Forwarder([ADDRESS, ADDRESS], Clock(), upstream.port).ask(QUERY, False)
    assert texts(answer) == ["A 192.0.2.1"]


async def test_nobodys_answer_is_a_failure_that_is_not_kept() -> None:
    async with running(known) as upstream:
        asked = Forwarder([], Clock(), upstream.port)
        failed = await asked.ask(QUERY, over_tcp=False)
        asked._name_servers = (Server(ADDRESS, upstream.port),)
        assert texts(await asked.ask(QUERY, over_tcp=False)) == ["A 192.0.2.1"]
    assert (failed.rcode, failed.authoritative) == (dns.rcode.SERVFAIL, False)


async def test_a_reply_to_another_question_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_TIMEOUT", 0.2)

    def forged(query: Message, protocol: str) -> Message:
        reply = known(query, protocol)
        reply.id ^= 1
        return reply

    async with running(forged) as upstream:
        answer = await forwarder(upstream).ask(QUERY, over_tcp=False)
    assert answer.rcode == dns.rcode.SERVFAIL and not answer.records


async def test_an_aliass_target_is_asked_for_over_tcp_when_udp_is_too_short() -> None:
    def short(query: Message, protocol: str) -> Message:
        return known(query, protocol) if protocol == "tcp" else response(query, flags="TC")

    async with running(short) as upstream:
        answer = await forwarder(upstream).ask_addresses(
            QUERY.question[0].name, QUERY.question[0].rdtype
        )
    assert texts(answer) == ["A 192.0.2.1"]
    assert [protocol for protocol, _ in upstream.asked] == ["udp", "tcp"]


async def test_a_stub_domain_has_its_own_server_and_the_rest_the_machines() -> None:
    async with running(known) as machines, running(known) as stub:
        asked = forwarder(machines)
        corefile = f"""
            corp.example:53 {{ forward . {ADDRESS}:{stub.port} {{ except secret.corp.example }}
            }}
            . {{ forward . /etc/resolv.conf
            }}"""
        asked.configure(read({"Corefile": corefile}, {}))
        for name in ("a.corp.example", "corp.example", "corp.example.org"):
            await asked.ask(dns.message.make_query(name, "A"), over_tcp=False)
        secret = dns.message.make_query("b.secret.corp.example", "A")
        excepted = await asked.ask(secret, over_tcp=False)
    names = [[str(query.question[0].name) for _, query in each.asked] for each in (stub, machines)]
    assert names == [["a.corp.example.", "corp.example."], ["corp.example.org."]]
    assert excepted.rcode == SERVFAIL


async def test_a_server_that_wants_tcp_is_asked_over_tcp() -> None:
    async with running(known) as upstream:
        asked = forwarder(upstream)
        corefile = f". {{ forward . {ADDRESS}:{upstream.port} {{ \n force_tcp \n }} \n }}"
        asked.configure(read({"Corefile": corefile}, {}))
        await asked.ask(QUERY, over_tcp=False)
    assert [protocol for protocol, _ in upstream.asked] == ["tcp"]


async def test_no_answer_is_kept_where_the_cache_is_off() -> None:
    async with running(known) as upstream:
        asked = forwarder(upstream)
        asked.configure(read({"Corefile": ". {\ncache 0 example.org\n}"}, {}))
        for _ in range(2):
            await asked.ask(QUERY, over_tcp=False)
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(("questions", "remaining"), [(1, 20), (2, 15)])
async def test_what_is_often_asked_for_is_fetched_before_it_ends(
    questions: int, remaining: int
) -> None:
    clock = Clock()
    async with running(known) as upstream:
        asked = forwarder(upstream, clock)
        await asked.ask(QUERY, over_tcp=False)
        clock.seconds += 16
        for _ in range(questions):
            assert texts(await asked.ask(QUERY, over_tcp=False)) == ["A 192.0.2.1"]
        while asked._fetched_ahead:  # noqa: ASYNC110 - a set that another task empties
            await asyncio.sleep(0)
        clock.seconds += 5
        await asked.ask(QUERY, over_tcp=False)
    assert len(upstream.asked) == 2, "ahead, or by the last question"
    key = next(iter(asked._kept))
    assert asked._kept[key].expires - clock.seconds == remaining


async def test_no_more_is_kept_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_MOST", 2)
    async with running(known) as upstream:
        asked = forwarder(upstream)
        for name in ("a.org", "b.org", "c.org"):
            await asked.ask(dns.message.make_query(name, "A"), over_tcp=False)
    assert [str(key.name) for key in asked._kept] == ["b.org.", "c.org."]
