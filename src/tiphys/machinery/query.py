"""Values in a request's query."""

from __future__ import annotations


def truth(text: str | None) -> bool:
    """A boolean parameter: everything but its absence, ``0`` and ``false`` in any case is true, an
    empty value too. Clients write ``1``, ``true`` and ``True``."""
    return text is not None and text != "0" and text.lower() != "false"
