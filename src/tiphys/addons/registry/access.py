"""Who may write: doors, a password, and the tokens that docker asks for in its place.

Everybody may read who reaches a door. A client that wants to write is referred to where tokens are
given out (distribution's token authentication): for the password a token that may push, for
anonymous clients one that may pull. Programs that are simpler send the password itself (Basic).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from tiphys.addons.registry.faults import Fault

USER = "tiphys"
_SERVICE = "tiphys-registry"
_LIFETIME = 3600  # seconds that a token lasts: a large layer takes a while
_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")


@dataclass(frozen=True)
class Door:
    """Where requests come in. `writers`: who may write there; `scheme` of its addresses."""

    writers: Literal["password", "anybody", "nobody"]
    scheme: str = "http"


class Access:
    """Judges requests by the password."""

    def __init__(self, password: str) -> None:
        self._password = password

    def may_write(self, request: web.BaseRequest, door: Door) -> bool:
        if door.writers == "anybody":
            # A page in a browser reaches this machine, too; browsers say whose page it is.
            return "Origin" not in request.headers
        return door.writers == "password" and self._is_proven(request)

    def check_write(self, request: web.BaseRequest, door: Door, repository: str) -> None:
        """Raises Fault."""
        if self.may_write(request, door):
            return
        if door.writers != "password":
            raise Fault(403, "DENIED", "nothing can be written here")
        raise Fault(
            401,
            "UNAUTHORIZED",
            "authentication required",
            None,
            self._challenge(request, door, f"repository:{repository}:pull,push"),
        )

    def check_api(self, request: web.BaseRequest, door: Door) -> None:
        """Of a client's first request: docker learns only here how to authenticate. Raises
        Fault."""
        has_token = request.headers.get("Authorization", "").lower().startswith("bearer ")
        if door.writers != "password" or has_token or self._is_proven(request):
            return
        raise Fault(
            401, "UNAUTHORIZED", "authentication required", None, self._challenge(request, door, "")
        )

    def token(self, request: web.BaseRequest, door: Door) -> dict[str, object]:
        """What the client gets at /token. Raises Fault when a password is wrong."""
        if "Authorization" in request.headers and not self._is_proven(request):
            raise Fault(401, "UNAUTHORIZED", "wrong user or password")
        rights = "push" if self._is_proven(request) else "pull"
        claims = f"{rights}.{int(time.time()) + _LIFETIME}"
        token = f"{claims}.{self._signature(claims)}"
        return {"token": token, "access_token": token, "expires_in": _LIFETIME}

    def _challenge(self, request: web.BaseRequest, door: Door, scope: str) -> dict[str, str]:
        host = request.headers.get("Host", "")
        where = host if _HOST.fullmatch(host) else "localhost"
        words = f'Bearer realm="{door.scheme}://{where}/token",service="{_SERVICE}"'
        return {"WWW-Authenticate": f'{words},scope="{scope}"' if scope else words}

    def _is_proven(self, request: web.BaseRequest) -> bool:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return self._knows(value)
        return scheme.lower() == "bearer" and self._may_push(value.strip())

    def _knows(self, pair: str) -> bool:
        try:
            user, _, password = base64.b64decode(pair, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        is_it = hmac.compare_digest(password.encode(), self._password.encode())
        return is_it and user == USER

    def _may_push(self, token: str) -> bool:
        claims, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(claims).encode()):
            return False
        rights, _, until = claims.partition(".")
        return rights == "push" and int(until) > time.time()

    def _signature(self, claims: str) -> str:
        return hmac.new(self._password.encode(), claims.encode(), hashlib.sha256).hexdigest()


def password_of(file: Path) -> str:
    """The password in a file that only its owner reads; made when there is none."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return file.read_text().strip()
