"""Lists as the API server gives them: read item by item, and without what moves with every write."""

from __future__ import annotations

import pytest

from tiphys.addons.routeserver.compiling.objects import Ingress, IngressPort, Service, read_list
from tiphys.addons.routeserver.eskip import read_routes
from tiphys.addons.routeserver.polling import _without_revision
from tiphys.addons.routeserver.table import Tables, table_of


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b'{"metadata":{"resourceVersion":"7"},"items":[1]}', b'{"items":[1]}'),
        (b'{"kind":"List","items":null}', b'{"items":null}'),
        (b'{"items":[]}', b'{"items":[]}'),
        (b'{"kind":"Status"}', b'{"kind":"Status"}'),
    ],
)
def test_a_lists_own_revision_is_no_change(answer: bytes, kept: bytes) -> None:
    assert _without_revision(answer) == kept


@pytest.mark.parametrize("answer", [b'{"items":null}', b"{}", b'{"items":[]}'])
def test_a_list_of_nothing_may_be_null(answer: bytes) -> None:
    """As Go writes what is empty."""
    assert read_list(answer, Service, []) == []


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"items":7}'])
def test_what_is_no_list_is_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_list(answer, Ingress, [])


@pytest.mark.parametrize(
    ("port", "text"), [(IngressPort("web"), "web"), (IngressPort("", 80), "80")]
)
def test_a_port_is_named_by_its_number_or_its_name(port: IngressPort, text: str) -> None:
    assert str(port) == text


def test_an_updated_table_is_counted_and_an_equal_one_is_not() -> None:
    tables = Tables()
    loads = [
        tables.load(table_of(tuple(read_routes(text))))
        for text in ("a: * -> <shunt>", "a: * -> <shunt>", "b: * -> <shunt>", "a: * -> <shunt>")
    ]
    assert (loads, tables.updates, tables.empty) == ([True, False, True, True], 3, 0)
