"""The two forms of the protocol, line by line, without a socket."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.wrappers_pb2 import StringValue

from tiphys.network.xds import streams
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, Cache
from tiphys.network.xds.streams import Incremental, StateOfTheWorld


def cache(**values: str) -> Cache:
    made = Cache()
    put(made, **values)
    return made


def put(made: Cache, **values: str | None) -> None:
    for type_url in (CLUSTER, ENDPOINTS):
        messages = {n: None if v is None else StringValue(value=v) for n, v in values.items()}
        made.update({type_url: messages})


def whole(data: bytes | None) -> Any:
    assert data is not None
    return discovery_pb2.DiscoveryResponse.FromString(data)


def delta(data: bytes | None) -> Any:
    assert data is not None
    return discovery_pb2.DeltaDiscoveryResponse.FromString(data)


def values(answer: Any) -> list[str]:
    found = []
    for packed in answer.resources:
        message = StringValue()
        message.ParseFromString(packed.value if hasattr(packed, "value") else packed.resource.value)
        found.append(message.value)
    return found


def ask(type_url: str, *names: str, nonce: str = "", error: str = "") -> Any:
    made = discovery_pb2.DiscoveryRequest(
        type_url=type_url, resource_names=names, response_nonce=nonce
    )
    if error:
        made.error_detail.message = error
    return made


def subscribe(type_url: str, *names: str, nonce: str = "", error: str = "", **more: Any) -> Any:
    made = discovery_pb2.DeltaDiscoveryRequest(
        type_url=type_url, resource_names_subscribe=names, response_nonce=nonce, **more
    )
    if error:
        made.error_detail.message = error
    return made


# --- the state of the world ---


def test_clusters_come_whole_and_again_when_one_changes() -> None:
    held = cache(a="1", b="1")
    stream = StateOfTheWorld(held)
    first = whole(stream.request(ask(CLUSTER)))
    assert values(first) == ["1", "1"] and first.type_url == CLUSTER
    assert stream.request(ask(CLUSTER, nonce=first.nonce)) is None
    put(held, a="2")
    second = whole(stream.change(CLUSTER, {"a"}))
    assert values(second) == ["2", "1"]
    assert second.version_info != first.version_info


def test_a_client_hears_nothing_of_clusters_that_it_did_not_ask_for() -> None:
    held = cache(a="1", b="1")
    stream = StateOfTheWorld(held)
    assert stream.change(CLUSTER, {"a"}) is None
    stream.request(ask(CLUSTER, "a"))
    put(held, b="2")
    assert stream.change(CLUSTER, {"b"}) is None


def test_a_cluster_that_is_gone_is_missing_in_the_answer() -> None:
    held = cache(a="1")
    stream = StateOfTheWorld(held)
    stream.request(ask(CLUSTER, "a", "nobody"))
    put(held, a=None)
    assert values(whole(stream.change(CLUSTER, {"a"}))) == []


def test_what_is_not_there_is_said_at_once_of_clusters_alone() -> None:
    stream = StateOfTheWorld(cache())
    assert values(whole(stream.request(ask(CLUSTER, "nobody")))) == []
    assert stream.request(ask(ENDPOINTS, "nobody")) is None


def test_endpoints_come_by_name_and_only_those_that_changed() -> None:
    held = cache(a="1", b="1", c="1")
    stream = StateOfTheWorld(held)
    first = whole(stream.request(ask(ENDPOINTS, "a", "b")))
    assert len(first.resources) == 2
    put(held, b="2", c="2")
    assert stream.change(ENDPOINTS, {"c"}) is None
    assert values(whole(stream.change(ENDPOINTS, {"b", "c"}))) == ["2"]


def test_a_further_name_brings_its_own_resource() -> None:
    stream = StateOfTheWorld(cache(a="1", b="2"))
    first = whole(stream.request(ask(ENDPOINTS, "a")))
    second = stream.request(ask(ENDPOINTS, "a", "b", nonce=first.nonce))
    assert values(whole(second)) == ["2"]
    assert stream.request(ask(ENDPOINTS, "a", nonce=whole(second).nonce)) is None


def test_what_appears_later_is_sent_then() -> None:
    held = cache()
    stream = StateOfTheWorld(held)
    assert stream.request(ask(ENDPOINTS, "late")) is None
    put(held, late="1")
    assert values(whole(stream.change(ENDPOINTS, {"late"}))) == ["1"]


def test_a_refusal_is_counted_and_changes_no_version() -> None:
    held = cache(a="1")
    stream = StateOfTheWorld(held, "client")
    first = whole(stream.request(ask(CLUSTER)))
    stream.request(ask(CLUSTER, nonce=first.nonce))
    accepted = dict(stream.subscriptions[CLUSTER].acknowledged)
    put(held, a="broken")
    second = whole(stream.change(CLUSTER, {"a"}))
    assert stream.request(ask(CLUSTER, nonce=second.nonce, error="no such filter")) is None
    assert stream.refusals == 1
    assert stream.subscriptions[CLUSTER].error == "no such filter"
    assert stream.subscriptions[CLUSTER].acknowledged == accepted


def test_a_word_about_an_older_answer_counts_for_nothing() -> None:
    held = cache(a="1")
    stream = StateOfTheWorld(held)
    first = whole(stream.request(ask(CLUSTER)))
    put(held, a="2")
    stream.change(CLUSTER, {"a"})
    assert stream.request(ask(CLUSTER, nonce=first.nonce, error="late")) is None
    assert stream.refusals == 0 and stream.subscriptions[CLUSTER].acknowledged == {}


# --- incremental ---


def test_only_what_is_new_comes_and_what_is_gone_is_named() -> None:
    held = cache(a="1", b="1")
    stream = Incremental(held)
    first = delta(stream.request(subscribe(CLUSTER)))
    assert sorted(one.name for one in first.resources) == ["a", "b"]
    put(held, a="2")
    second = delta(stream.change(CLUSTER, {"a"}))
    assert [one.name for one in second.resources] == ["a"]
    put(held, b=None)
    third = delta(stream.change(CLUSTER, {"b"}))
    assert (list(third.resources), list(third.removed_resources)) == ([], ["b"])


def test_a_name_that_is_not_there_is_said_to_be_gone() -> None:
    stream = Incremental(cache(a="1"))
    answer = delta(stream.request(subscribe(ENDPOINTS, "a", "nobody")))
    assert [one.name for one in answer.resources] == ["a"]
    assert list(answer.removed_resources) == ["nobody"]


def test_a_client_that_comes_back_gets_what_it_lacks() -> None:
    held = cache(a="1", b="1")
    before = delta(Incremental(held).request(subscribe(ENDPOINTS, "a", "b", "c")))
    versions = {one.name: one.version for one in before.resources}
    put(held, b="2")
    again = subscribe(
        ENDPOINTS, "a", "b", "gone", initial_resource_versions={**versions, "gone": "1"}
    )
    answer = delta(Incremental(held).request(again))
    assert [one.name for one in answer.resources] == ["b"]
    assert list(answer.removed_resources) == ["gone"]


def test_who_unsubscribes_hears_no_more() -> None:
    held = cache(a="1")
    stream = Incremental(held)
    first = delta(stream.request(subscribe(ENDPOINTS, "a")))
    stream.request(subscribe(ENDPOINTS, nonce=first.nonce, resource_names_unsubscribe=["a"]))
    put(held, a="2")
    assert stream.change(ENDPOINTS, {"a"}) is None


def test_an_acknowledgement_takes_the_versions_over() -> None:
    stream = Incremental(cache(a="1"))
    first = delta(stream.request(subscribe(ENDPOINTS, "a")))
    assert stream.subscriptions[ENDPOINTS].acknowledged == {}
    assert stream.request(subscribe(ENDPOINTS, nonce=first.nonce)) is None
    assert stream.subscriptions[ENDPOINTS].acknowledged == {"a": first.resources[0].version}


def test_who_asks_once_more_is_sent_it_once_more() -> None:
    stream = Incremental(cache(a="1"))
    stream.request(subscribe(ENDPOINTS, "a"))
    again = delta(stream.request(subscribe(ENDPOINTS, "a")))
    assert [one.name for one in again.resources] == ["a"]


def test_of_two_answers_each_has_its_own_acknowledgement() -> None:
    made = cache(a="1")
    client = Incremental(made)
    first = delta(client.request(subscribe(CLUSTER, "*")))
    put(made, b="1")
    second = delta(client.change(CLUSTER, ["b"]))
    client.request(subscribe(CLUSTER, nonce=first.nonce))
    subscription = client.subscriptions[CLUSTER]
    assert set(subscription.acknowledged) == {"a"} and subscription.is_awaited("b")
    client.request(subscribe(CLUSTER, nonce=second.nonce))
    assert set(subscription.acknowledged) == {"a", "b"}


def test_what_went_and_came_back_is_acknowledged_anew() -> None:
    made = cache(a="1")
    client = Incremental(made)
    first = delta(client.request(subscribe(CLUSTER, "*")))
    client.request(subscribe(CLUSTER, nonce=first.nonce))
    put(made, a=None)
    delta(client.change(CLUSTER, ["a"]))
    put(made, a="1")
    again = delta(client.change(CLUSTER, ["a"]))
    assert "a" not in client.subscriptions[CLUSTER].acknowledged
    client.request(subscribe(CLUSTER, nonce=again.nonce))
    assert "a" in client.subscriptions[CLUSTER].acknowledged


def test_of_answers_that_nobody_acknowledges_the_last_few_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "_MOST_UNANSWERED", 2)
    subscription = streams.Subscription()
    for nonce in ("1", "2", "3"):
        subscription.nonce = nonce
        subscription.expect({nonce: "v"})
    assert list(subscription.unanswered) == ["2", "3"]
    assert subscription.sent == {"1": "v", "2": "v", "3": "v"}


def test_everything_is_no_name_among_others() -> None:
    stream = Incremental(cache(a="1", b="1"))
    answer = delta(stream.request(subscribe(CLUSTER, "*")))
    assert sorted(one.name for one in answer.resources) == ["a", "b"]
    assert stream.subscriptions[CLUSTER].names == frozenset()
    assert stream.subscriptions[CLUSTER].wildcard
    stream.request(subscribe(CLUSTER, resource_names_unsubscribe=["*"]))
    assert not stream.subscriptions[CLUSTER].wildcard


def test_what_is_unsubscribed_is_no_longer_acknowledged() -> None:
    stream = Incremental(cache(a="1"))
    first = delta(stream.request(subscribe(ENDPOINTS, "a")))
    stream.request(subscribe(ENDPOINTS, nonce=first.nonce, resource_names_unsubscribe=["a"]))
    subscription = stream.subscriptions[ENDPOINTS]
    assert (subscription.acknowledged, subscription.sent) == ({}, {})
