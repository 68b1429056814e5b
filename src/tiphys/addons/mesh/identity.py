"""Who is who in the mesh."""

from __future__ import annotations


def spiffe(domain: str, namespace: str, account: str) -> str:
    """The identity of a ServiceAccount, as SPIFFE writes it."""
    return f"spiffe://{domain}/ns/{namespace}/sa/{account}"
