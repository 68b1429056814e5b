"""What the kernel has for all services, and what of it changes: held against a kernel that is a
dict."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.builders import service, slice_of
from tiphys.network.proxy.endpoints import Endpoint, Place
from tiphys.network.proxy.numbers import Numbers, arranged
from tiphys.network.proxy.rules import Choose, Element, Part, Recall, Spread, Stay
from tiphys.network.proxy.serviceports import service_part
from tiphys.network.proxy.table import Changes, Table


class Model:
    """What a kernel has after some changes; it takes none that are not of what it has."""

    def __init__(self) -> None:
        self.chains: dict[object, object] = {}
        self.elements: dict[object, object] = {}
        self.endpoints: dict[object, object] = {}
        self.members: dict[object, object] = {}

    def take(self, changes: Changes) -> None:
        for name in ("chains", "elements", "endpoints", "members"):
            values = getattr(self, name)
            for key, old, new in getattr(changes, name):
                assert values.get(key) == old
                values[key] = new
                if new is None:
                    del values[key]

    def led(self, address: str) -> set[object]:
        """The endpoints that an address leads to, whoever comes."""
        chain = self.chains[self.elements[Element("services", "tcp", address, 80)]]
        assert isinstance(chain, tuple)
        choose = chain[-1]
        assert isinstance(choose, Choose)
        places = range(choose.first, choose.first + choose.count)
        numbers = [self.members[place] if choose.chain != "lead" else place for place in places]
        return {self.endpoints[number] for number in numbers}


ADDRESSES = [f"10.1.0.{number}" for number in range(1, 7)]
states = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.tuples(st.sets(st.sampled_from(ADDRESSES)), st.booleans()),
    ),
    max_size=6,
)


def part_of(name: str, addresses: set[str], sticky: bool) -> Part:
    affinity = "ClientIP" if sticky else "None"
    one = service(name, cluster_ip(name), session_affinity=affinity)
    return service_part(one, [slice_of(name, *sorted(addresses))], Place("n1"))


def cluster_ip(name: str) -> str:
    return f"10.96.0.{ord(name)}"


@given(states)
@settings(max_examples=60, deadline=None)
def test_whatever_changes_every_service_leads_to_its_endpoints(
    states: list[dict[str, tuple[set[str], bool]]],
) -> None:
    table = Table()
    kernel = Model()
    kernel.take(table.take())
    for state in states:
        for name in "abc":
            part = part_of(name, *state[name]) if name in state else Part()
            table.put(name, part)
        kernel.take(table.take())
        for name, (addresses, _) in state.items():
            if addresses:
                expected = {Endpoint(address, 8080) for address in addresses}
                assert kernel.led(cluster_ip(name)) == expected
    table.forget()
    again = Model()
    again.take(table.take())
    assert vars(again) == vars(kernel), "nothing is left over"


def test_one_endpoint_that_is_replaced_is_one_element_and_others_are_not_touched() -> None:
    table = Table()
    table.put("a", part_of("a", {"10.1.0.1", "10.1.0.2"}, False))
    table.put("b", part_of("b", {"10.1.0.1"}, False))
    table.take()
    table.put("a", part_of("a", {"10.1.0.1", "10.1.0.3"}, False))
    changes = table.take()
    assert [change.new for change in changes.endpoints] == [Endpoint("10.1.0.3", 8080)]
    assert not changes.chains
    assert {change.key for change in changes.elements} == {
        Element("hairpins", address="10.1.0.2"),
        Element("hairpins", address="10.1.0.3"),
    }


def test_what_did_not_change_costs_nothing() -> None:
    table = Table()
    table.put("a", part_of("a", {"10.1.0.1"}, True))
    table.take()
    table.put("a", part_of("a", {"10.1.0.1"}, True))
    assert not table.take()


def test_the_first_who_wants_an_address_has_it_and_the_next_one_after_it() -> None:
    table = Table(lambda owner: owner == "low")
    element = Element("services", "tcp", "192.0.2.1", 80)
    for owner in ("low", "first", "second"):
        table.put(owner, Part(elements={element: owner}))
    assert [change.new for change in table.take().elements] == ["first"]
    table.put("first", Part())
    assert [change.new for change in table.take().elements] == ["second"]
    table.put("second", Part())
    assert [change.new for change in table.take().elements] == ["low"]


def test_clients_are_remembered_by_a_number_that_their_endpoint_keeps() -> None:
    table = Table()
    kernel = Model()
    table.put("a", part_of("a", {"10.1.0.1", "10.1.0.2", "10.1.0.3"}, True))
    kernel.take(table.take())
    before = {endpoint: number for number, endpoint in kernel.endpoints.items()}
    table.put("a", part_of("a", {"10.1.0.3", "10.1.0.4"}, True))
    kernel.take(table.take())
    after = {endpoint: number for number, endpoint in kernel.endpoints.items()}
    kept = Endpoint("10.1.0.3", 8080)
    assert before[kept] == after[kept] and set(after) == {kept, Endpoint("10.1.0.4", 8080)}


def test_services_whose_clients_stay_never_share_numbers() -> None:
    """A client that comes back late would be led into another service."""
    numbers = Numbers()
    first = numbers.take(3, is_sticky=True)
    numbers.give_back(first)
    second = numbers.take(3, is_sticky=True)
    assert second.first >= first.first + 2 * first.room
    assert second.first % (2 * second.room) == 0


def test_numbers_that_are_given_back_are_taken_again() -> None:
    numbers = Numbers()
    row = numbers.take(3, is_sticky=False)
    numbers.give_back(row)
    assert numbers.take(4, is_sticky=False).first == row.first


endpoint_lists = st.lists(st.integers(1, 8).map(lambda n: Endpoint("10.1.0.1", n)), unique=True)


@given(endpoint_lists, endpoint_lists)
def test_endpoints_keep_their_places(before: list[Endpoint], wanted: list[Endpoint]) -> None:
    after = arranged(before, wanted)
    assert sorted(after) == sorted(wanted)
    for place, endpoint in enumerate(before[: len(wanted)]):
        if endpoint in wanted:
            assert after[place] == endpoint


def test_rules_name_pools_and_the_kernel_has_numbers() -> None:
    rules = {"x": (Spread("p"),), "y": (Stay("q", 60),)}
    pools = {"p": (Endpoint("10.1.0.1", 80),), "q": (Endpoint("10.1.0.1", 80),)}
    table = Table()
    table.put("a", Part(chains=rules, pools=pools, sticky={"q"}))
    chains = {change.key: change.new for change in table.take().chains}
    (spread,) = chains["x"] or ()
    assert isinstance(spread, Choose) and spread.chain == "lead"
    recall, choose = chains["y"] or ()
    assert isinstance(recall, Recall) and isinstance(choose, Choose)
    assert recall.pool == choose.first and choose.chain in chains and "stuck-60" in chains
