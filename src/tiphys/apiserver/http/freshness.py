"""How new the answer to a read has to be: what `resourceVersion` asks for."""

from __future__ import annotations

import json

from tiphys.apiserver.registry.objects import outage
from tiphys.machinery import errors
from tiphys.store.engine import StoreError
from tiphys.store.store import Store

_WAIT = 3.0  # seconds a read waits for a revision that this server has not seen yet


def revision(text: str, doing: str = "") -> int:
    """The number of a `resourceVersion`. Raises 400; `doing` precedes the message."""
    if text.isascii() and text.isdigit() and len(text) <= 20:
        return int(text)
    shown = json.dumps(text, ensure_ascii=False)
    raise errors.bad_request(
        f"{doing}resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}:"
        " invalid syntax"
    )


async def fresh(store: Store, asked: str, doing: str = "") -> int:
    """Waits until the cache is at least as new as the client asks. Returns the cache's revision.

    Without a version, that is everything that was acknowledged before. Raises 400, and 504 for a
    version that does not come.
    """
    if not asked:
        try:
            return await store.fresh()
        except StoreError as error:
            raise outage(error) from error
    if asked != "0":
        wanted = revision(asked, doing)
        if not await store.reached(wanted, _WAIT):
            raise errors.too_large_version(wanted, store.revision)
    return store.revision
