"""Which pods are in which sets. That steps lead to what a fresh start gives: `test_table`."""

from __future__ import annotations

from tests.network.policies import facts, policy
from tiphys.network.policy.chains import compile_policy
from tiphys.network.policy.memberships import Memberships, Pods
from tiphys.network.policy.model import Labels, PodFacts, read

TEAM = {"namespaceSelector": {"matchLabels": {"team": "a"}}}


class Place:
    """The sets of one policy that lets in pods of team a at their port http."""

    def __init__(self, *pods: PodFacts) -> None:
        self.pods = Pods()
        self.namespaces: dict[str, Labels] = {"x": {"team": "a"}, "y": {}}
        self.memberships = Memberships(self.pods, self.namespaces)
        for pod in pods:
            self.pods.put(pod)
        rule = {"from": [TEAM], "ports": [{"port": "http"}]}
        compiled = compile_policy(read(policy("p", ingress=[rule])), "ingress", self.namespaces)
        self.memberships.keep(compiled.peers, compiled.names)
        [self.peers] = compiled.peers
        [self.ports] = compiled.names

    def elements(self, name: str) -> set[str]:
        return set(self.memberships.sets[name])


def test_a_new_set_has_the_pods_that_are_there() -> None:
    place = Place(facts("a", "10.0.0.1"), facts("b", "10.0.0.2", "y"), facts("c", ""))
    assert place.elements(place.peers) == {"10.0.0.1"}
    assert place.elements(place.ports) == {"10.0.0.1 . 80", "10.0.0.2 . 80"}
    types = [place.memberships.type_of(name) for name in (place.peers, place.ports)]
    assert types == ["address", "address . inet_service"]


def test_a_pod_comes_moves_and_goes() -> None:
    place = Place()
    for address in ("10.0.0.1", "10.0.0.2"):
        place.memberships.put_pod(facts("a", address))
        assert place.elements(place.peers) == {address}
    place.memberships.drop_pod("x/a")
    assert not place.elements(place.peers) and not place.elements(place.ports)


def test_the_pods_of_a_namespace_follow_its_labels() -> None:
    place = Place(facts("b", "10.0.0.2", "y"))
    place.namespaces["y"] = {"team": "a"}
    place.memberships.relabel("y", {}, {"team": "a"})
    assert place.elements(place.peers) == {"10.0.0.2"}
    del place.namespaces["y"]
    place.memberships.relabel("y", {"team": "a"}, None)
    assert place.elements(place.peers) == set()


def test_sets_that_are_no_longer_used_go() -> None:
    place = Place(facts("a", "10.0.0.1"))
    place.memberships.keep({}, {})
    assert not place.memberships.sets
    place.memberships.drop_pod("x/a")


def test_pods_are_found_by_key_and_by_namespace() -> None:
    pods = Pods()
    one, other = facts("a", "10.0.0.1"), facts("b", "10.0.0.2", "y")
    pods.put(one)
    pods.put(other)
    assert list(pods) == [one, other] and list(pods.of("y")) == [other] and pods["x/a"] is one
    assert pods.pop("y/b") is other and pods.pop("y/b") is None
    assert list(pods.of("y")) == [] and pods.get("y/b") is None
