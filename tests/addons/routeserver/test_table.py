"""What is served: when it changes, when it does not, and what a zone gets."""

from __future__ import annotations

from dataclasses import replace

from tests.addons.routeserver.builders import cluster, ingress, path, pods
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.tables import compile_routes
from tiphys.addons.routeserver.eskip import Call, Endpoint, Route, read_routes
from tiphys.addons.routeserver.table import Table, Tables, table_of


def table(*addresses: str, zone: str = "", filters: str = "") -> Table:
    objects = cluster(ingress(path(), skipper_filter=filters), slices=[])
    half = len(addresses) // 2
    objects.endpoint_slices = [
        pods("shop", *addresses[:half], zone="other"),
        pods("shop", *addresses[half:], zone=zone),
    ]
    return table_of(compile_routes(objects, Options(catch_all=False)).routes)


TEN = tuple(f"10.0.0.{number}" for number in range(10))


def test_the_digest_is_of_the_text_alone() -> None:
    one, two = table(*TEN), table(*TEN)
    assert one.complete == two.complete
    assert one.complete.digest != table(*TEN[:9]).complete.digest


def test_a_zone_gets_its_own_endpoints_and_no_zone_all() -> None:
    made = table(*TEN, zone="near")
    [near] = read_routes(made.body("near").text.decode())
    assert near.backend.endpoints == tuple(Endpoint(f"http://{ip}:8080", "near") for ip in TEN[5:])
    assert made.body("nowhere") == made.complete


def test_a_zone_with_two_endpoints_gets_all() -> None:
    made = table("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", zone="near")
    [near] = read_routes(made.body("near").text.decode())
    assert len(near.backend.endpoints) == 4


def test_a_route_that_wants_no_zones_is_whole_in_all() -> None:
    made = table(*TEN, zone="near")
    [route] = made.routes
    noted = replace(route, filters=(Call("annotate", ("zalando.org/traffic-zone-aware", "false")),))
    [near] = read_routes(table_of((noted,)).body("near").text.decode())
    assert len(near.backend.endpoints) == 10


def test_an_empty_table_stands_for_no_other() -> None:
    tables = Tables()
    assert not tables.load(table_of(())) and tables.current is None
    assert tables.load(table_of((Route("a"),)))
    assert not tables.load(table_of(()))
    assert tables.current is not None and tables.current.complete.text == b"a: * -> <shunt>;"
    assert (tables.empty, tables.updates) == (2, 1)
