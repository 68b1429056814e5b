"""The addresses that endpoints and endpoint slices may hold."""

from __future__ import annotations

from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.resources import checks
from tiphys.machinery.addresses import endpoint_problems
from tiphys.machinery.errors import FieldError


def endpoint_address(address: str, path: str, meta: ObjectMeta) -> list[FieldError]:
    """An address that the API server may be led to. Its own, which it writes itself, may be any:
    of a cluster on one machine it is the loopback's."""
    if violations := checks.address(address, path):
        return violations
    if (meta.namespace, meta.name) == ("default", "kubernetes"):
        return []
    return checks.obeys(address, endpoint_problems, path)
