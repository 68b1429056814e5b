"""Members of an etcd cluster come, are told where another one is, and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tiphys.cluster.certificates import Authority
from tiphys.machinery import protobuf
from tiphys.store import etcdpb as pb
from tiphys.store import members as module
from tiphys.store.engine import StoreError
from tiphys.store.members import Members

NOT_YET = "etcdserver: can only promote a learner member which is in sync with leader"

# --- of a real etcd ---


@pytest.fixture
def members(etcd: str) -> Iterator[Members]:
    with Members(etcd, None) as made:
        yield made
        for member in made.list():
            if member.is_learner:
                made.remove(member.id)


def peer(number: int) -> str:
    """Nobody is there. One that went comes back with the same id within a second, which etcd does
    not take."""
    return f"http://127.0.0.1:{number}"


def test_a_learner_comes_is_found_elsewhere_and_goes(members: Members) -> None:
    [there] = members.list()
    assert there.name == "default" and not there.is_learner
    added = members.add(peer(1), 10)
    assert added.member.peer_urls == [peer(1)] and added.member.is_learner
    assert {member.id for member in added.members} == {there.id, added.member.id}
    members.move(added.member.id, peer(2))
    urls = {member.id: member.peer_urls for member in members.list()}
    assert urls[added.member.id] == [peer(2)]
    members.remove(added.member.id)
    assert [member.id for member in members.list()] == [there.id]


def test_a_learner_that_has_not_everything_gets_no_vote(members: Members) -> None:
    added = members.add(peer(3), 10)
    with pytest.raises(StoreError, match=f"etcd at 127.0.0.1:[0-9]*: {NOT_YET}"):
        members.promote(added.member.id, 0)


def test_a_second_learner_is_refused(members: Members) -> None:
    members.add(peer(4), 10)
    with pytest.raises(StoreError, match="too many learner members"):
        members.add(peer(5), 0)


def test_who_is_no_member_cannot_go_and_that_is_known_at_once(members: Members) -> None:
    with pytest.raises(StoreError, match="member not found"):
        members.remove(7, 1e9)


def test_what_is_closed_is_asked_nothing_any_more(etcd: str) -> None:
    with Members(etcd, None) as members:
        members.list()
    with pytest.raises(ValueError, match="closed channel"):
        members.list()


# --- of one that says what it is told to ---


class Leader:
    """Refuses what is asked of it, each time with the next of `refusals`, and then does it."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.asked: list[Any] = []

    def answer(self, kind: Any) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answered(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append(request)
            if self.refusals:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refusals.pop(0))
            return kind()

        return answered


KINDS = {
    "MemberList": (pb.MemberListRequest, pb.MemberListResponse),
    "MemberPromote": (pb.MemberPromoteRequest, pb.MemberPromoteResponse),
    "MemberRemove": (pb.MemberRemoveRequest, pb.MemberRemoveResponse),
}


def serve(leader: Leader, credentials: grpc.ServerCredentials | None = None) -> tuple[Any, str]:
    """A server, and where it is."""
    server = grpc.server(ThreadPoolExecutor(2))
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            leader.answer(answer),
            request_deserializer=lambda data, kind=kind: protobuf.decode(data, kind=kind),
            response_serializer=protobuf.encode,
        )
        for method, (kind, answer) in KINDS.items()
    }
    generic = grpc.method_handlers_generic_handler("etcdserverpb.Cluster", handlers)
    server.add_generic_rpc_handlers((generic,))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.mark.parametrize("refusal", [NOT_YET, "etcdserver: unhealthy cluster"])
def test_what_is_refused_for_now_is_asked_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.02)
    leader = Leader(refusal, refusal)
    server, endpoint = serve(leader)
    began = time.monotonic()
    with Members(endpoint, None) as members:
        members.promote(7, 60)
    assert leader.asked == [pb.MemberPromoteRequest(id=7)] * 3
    assert time.monotonic() - began >= 0.04
    server.stop(None)


@pytest.mark.parametrize(
    ("refusal", "seconds"), [("etcdserver: permission denied", 60), (NOT_YET, -1)]
)
def test_what_is_refused_for_good_or_for_too_long_is_an_error(refusal: str, seconds: int) -> None:
    leader = Leader(refusal)
    server, endpoint = serve(leader)
    with Members(endpoint, None) as members, pytest.raises(StoreError, match=refusal):
        members.remove(7, seconds)
    assert len(leader.asked) == 1
    server.stop(None)


def test_members_and_who_asks_them_show_each_other_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    served = authority.ensure("server", "server", (), ("127.0.0.1",), server=True)
    asking = authority.ensure("client", "client")
    trusted = authority.path.read_bytes()
    pair = (served[1].read_bytes(), served[0].read_bytes())
    credentials = grpc.ssl_server_credentials([pair], trusted, require_client_auth=True)
    server, endpoint = serve(Leader(), credentials)
    files = (asking[0].read_bytes(), asking[1].read_bytes())
    with Members(endpoint, (trusted, *files)) as members:
        assert members.list() == []
    server.stop(None)
