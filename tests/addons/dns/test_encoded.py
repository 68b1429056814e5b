"""Replies that are remembered as bytes are those that would be written."""

from __future__ import annotations

import dns.edns
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.dns.builders import DOMAIN, zone
from tiphys.addons.dns import codec, encoded
from tiphys.addons.dns.encoded import EncodedAnswers
from tiphys.addons.dns.metrics import Tally

NAMES = [f"{host}.d.svc.{DOMAIN}" for host in ("s", "headless", "_http._tcp.headless", "none")]


def written(wire: bytes) -> bytes:
    query = codec.read(wire)
    answer = zone().answer(query.question)
    assert answer is not None
    return codec.write(query, answer, query.udp_limit)


def remember(answers: EncodedAnswers, wire: bytes, subject: str = "d/s") -> None:
    answers.put(wire, codec.read(wire), [written(wire)], subject, Tally())


def query(name: str, kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()  # type: ignore[arg-type]


_queries = st.builds(
    lambda name, upper, kind, edns, ident, flags: dns.message.make_query(
        "".join(c.upper() if up else c for c, up in zip(name, upper, strict=False)),
        kind,
        use_edns=edns,
        id=ident,
        flags=flags,
    ).to_wire(),
    st.sampled_from(NAMES),
    st.lists(st.booleans(), min_size=60, max_size=60),
    st.sampled_from(["A", "AAAA", "SRV", "ANY"]),
    st.sampled_from([False, 0]),
    st.integers(0, 65535),
    st.sampled_from([0, 0x0100, 0x0110]),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(_queries, min_size=1, max_size=10))
def test_what_is_found_is_what_would_be_written(wires: list[bytes]) -> None:
    answers = EncodedAnswers()
    for wire in wires:
        found = answers.find(wire)
        if found is None:
            remember(answers, wire)
            found = answers.find(wire)
        assert found is not None
        # Names inside the answer may end in the case of the query that was first.
        assert dns.message.from_wire(found) == dns.message.from_wire(written(wire))
        assert found[: len(wire)].lower()[12:] == written(wire)[: len(wire)].lower()[12:]
        assert found[2:12] == written(wire)[2:12]


def test_only_the_same_query_is_found() -> None:
    answers = EncodedAnswers()
    remember(answers, query(NAMES[0]))
    assert answers.find(query(NAMES[0].upper())) is not None
    for other in (
        query(NAMES[1]),
        query(NAMES[0], "AAAA"),
        query(NAMES[0], flags=0),
        query(NAMES[0], use_edns=0),
        query(NAMES[0])[:-1],
        query(NAMES[0]) + b"x",
        b"",
        b"x" * 11,
    ):
        assert answers.find(other) is None


def test_what_has_changed_is_forgotten_and_nothing_else() -> None:
    answers = EncodedAnswers()
    for name in NAMES[:2]:
        remember(answers, query(name), name)
        remember(answers, query(name, "AAAA"), name)
    answers.forget(NAMES[0])
    answers.forget("never seen")
    assert [answers.find(query(name)) is None for name in NAMES[:2]] == [True, False]
    assert answers.find(query(NAMES[0], "AAAA")) is None and len(answers) == 2


def test_queries_with_options_are_not_remembered() -> None:
    answers = EncodedAnswers()
    cookie = dns.edns.GenericOption(10, b"12345678")
    remember(answers, query(NAMES[0], use_edns=0, options=[cookie]))
    assert not len(answers)


def test_a_name_with_a_zero_byte_is_not_remembered() -> None:
    answers = EncodedAnswers()
    wire = query("a\\000b." + NAMES[0])
    remember(answers, wire)
    assert not len(answers) and answers.find(wire) is None


def test_no_more_are_remembered_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "_MOST", 3)
    answers = EncodedAnswers()
    for name in ("a", "b", "c", "d"):
        remember(answers, query(f"{name}.{NAMES[0]}"))
    assert len(answers) == 1 and answers.find(query(f"d.{NAMES[0]}")) is not None
    assert list(answers._by_subject) == ["d/s"] and len(answers._by_subject["d/s"]) == 1
