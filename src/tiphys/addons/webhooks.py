"""A server of webhooks for add-ons: reviews of admission and of conversion, over TLS.

Its certificate is made when it starts and its key never leaves the process; who calls it knows it
by `ca`, which stands in the configurations that name it.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tiphys.api import admission_v1
from tiphys.api.base import decode, encode
from tiphys.api.meta_v1 import Status
from tiphys.machinery.addresses import authority

Review = Callable[[admission_v1.AdmissionRequest], list[dict[str, Any]]]
"""The operations of a JSON patch for the object of a request. Raises Refused."""
Convert = Callable[[dict[str, Any], str], dict[str, Any]]
"""(object, version): the object in another version. Raises Refused."""

_LARGEST = 16 << 20  # bytes: a conversion is of a whole page of a list
_READ = 10.0  # seconds in which a review must have come
_AT_ONCE = 8
_VALID = datetime.timedelta(days=3650)
_EARLIER = datetime.timedelta(minutes=5)  # a clock may be behind
# What comes of a body that no API server sends: it has looked at its objects before.
_NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Refused(Exception):
    """What is asked for is not done; the text is for who asked."""


class WebhookServer:
    """`reviews` and `conversions` are by path."""

    def __init__(
        self, reviews: Mapping[str, Review], conversions: Mapping[str, Convert] | None = None
    ) -> None:
        self._reviews = reviews
        self._conversions = conversions or {}
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self.ca = b""
        self._base = ""

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listens; port 0 is any. Raises OSError when the address is taken."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca, pair = _certificate(address)
        with tempfile.TemporaryDirectory(prefix="tiphys-webhooks-") as folder:
            file = Path(folder) / "pair.pem"  # ssl takes certificates from files alone
            file.touch(mode=0o600)
            file.write_bytes(pair)
            context.load_cert_chain(file)
        app = web.Application(client_max_size=_LARGEST)
        for path in (*self._reviews, *self._conversions):
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=context).start()
        self._base = f"https://{authority(address, int(self._runner.addresses[0][1]))}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def url(self, path: str) -> str:
        return self._base + path

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_READ), self._turn:
                body = await request.read()
            review = self._reviews.get(request.path)
            if review is not None:
                answer = reviewed(body, review)
            else:
                answer = converted(body, self._conversions[request.path])
            return web.Response(body=answer, content_type="application/json")
        except TimeoutError:
            return web.Response(status=408)
        except _NO_REVIEW as error:
            return web.Response(status=400, text=str(error)[:200])


def reviewed(body: bytes, review: Review) -> bytes:
    """The answer to an AdmissionReview. Raises msgspec.DecodeError for what is none."""
    asked = decode(body, admission_v1.AdmissionReview).request
    if asked is None or not isinstance(asked.object, dict):
        raise msgspec.DecodeError("a review holds a request with an object")
    response = admission_v1.AdmissionResponse(uid=asked.uid, allowed=True)
    try:
        operations = review(asked)
    except Refused as error:
        response.allowed = False
        response.status = Status(message=str(error), code=422, reason="Invalid")
    else:
        if operations:
            response.patch_type = "JSONPatch"
            response.patch = msgspec.json.encode(operations)
    return encode(admission_v1.AdmissionReview(response=response))


def converted(body: bytes, convert: Convert) -> bytes:
    """The answer to a ConversionReview. Raises ValueError for what is none."""
    asked = msgspec.json.decode(body)["request"]
    response: dict[str, Any] = {"uid": asked["uid"], "result": {"status": "Success"}}
    wanted = str(asked["desiredAPIVersion"])
    try:
        response["convertedObjects"] = [convert(one, wanted) for one in asked["objects"]]
    except Refused as error:
        response["result"] = {"status": "Failure", "message": str(error)}
        response["convertedObjects"] = []
    answer = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "response": response,
    }
    return msgspec.json.encode(answer)


def _certificate(address: str) -> tuple[bytes, bytes]:
    """(certificate, certificate and key) in PEM: one that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tiphys-webhooks")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate = signed.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return certificate, certificate + private
