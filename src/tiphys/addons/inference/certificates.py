"""The certificates that endpoints show, each replaced well before it ends."""

from __future__ import annotations

from tiphys.addons.authority import Authority, Pair
from tiphys.addons.inference.routes import Route

LIFETIME = 90 * 24 * 3600  # seconds of a certificate
RENEWED = 30 * 24 * 3600  # seconds before its end


class Certificates:
    """Signed by the add-on's own authority, for the names of an endpoint and its address."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._pairs: dict[tuple[str, str], Pair] = {}  # by route and address

    def of(self, route: Route, address: str, now: float) -> Pair:
        """`now` is in seconds since the epoch."""
        pair = self._pairs.get((route.key, address))
        if pair is None or pair.expires - now < RENEWED:
            host = f"{route.name}.{route.namespace}"
            pair = self._authority.server(address, now, LIFETIME, f"{host}.svc", host)
            self._pairs[route.key, address] = pair
        return pair
