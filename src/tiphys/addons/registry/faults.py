"""Errors, as the distribution specification defines them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Fault(Exception):
    """`status` is HTTP's, `code` the specification's (``BLOB_UNKNOWN``), `headers` go with it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        detail: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail or {}
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        error = {"code": self.code, "message": str(self), "detail": dict(self.detail)}
        return {"errors": [error]}
