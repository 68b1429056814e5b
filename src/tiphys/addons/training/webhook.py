"""The admission webhook: jobs that could not run are refused with the paths of their fields.

Its certificate is made anew with each start of the add-on, and the webhook's configuration names
it. While the add-on is away jobs are let through: the operator judges them again, and a job that
cannot run fails with the same words.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import tempfile

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tiphys.addons.training import GROUP, WEBHOOK
from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.addons.training.validation import errors_of
from tiphys.api import admission_v1
from tiphys.api import admissionregistration_v1 as registration_v1
from tiphys.api.base import decode, encode, from_builtins
from tiphys.api.meta_v1 import ObjectMeta, Status, StatusCause, StatusDetails
from tiphys.machinery.addresses import authority

PATH = "/validate"
_LARGEST = 4 << 20  # bytes of a review: twice what an object may have
_READ = 10.0  # seconds in which a review must have come
_LIFETIME = datetime.timedelta(days=3650)
_NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def review(body: bytes) -> bytes:
    """The answer to an AdmissionReview. Raises msgspec.DecodeError for what is none."""
    asked = decode(body, admission_v1.AdmissionReview).request
    if asked is None or not isinstance(asked.object, dict):
        raise msgspec.DecodeError("a review holds a request with an object")
    response = admission_v1.AdmissionResponse(uid=asked.uid, allowed=True)
    job = from_builtins(asked.object, HyperPodPyTorchJob)
    job.metadata.name = job.metadata.name or asked.name or "generated"
    wrong = errors_of(job) if not job.metadata.deletion_timestamp else []
    if wrong:
        response.allowed = False
        said = ", ".join(map(str, wrong))
        response.status = Status(
            message=said if len(wrong) == 1 else f"[{said}]",
            code=422,
            reason="Invalid",
            details=StatusDetails(
                name=job.metadata.name,
                group=GROUP,
                kind=HyperPodPyTorchJob.__name__,
                causes=[
                    StatusCause(reason=error.reason, message=error.detail, field=error.field)
                    for error in wrong
                ],
            ),
        )
    return encode(admission_v1.AdmissionReview(response=response))


class Webhook:
    async def start(self, address: str, port: int, context: ssl.SSLContext) -> int:
        """Listens and returns the port. Raises OSError when it is taken."""
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=context).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_READ):
                body = await request.read()
            return web.Response(body=review(body), content_type="application/json")
        except TimeoutError:
            return web.Response(status=408)
        except _NO_REVIEW as error:
            return web.Response(status=400, text=str(error)[:200])


def configuration(
    address: str, port: int, certificate: bytes
) -> registration_v1.ValidatingWebhookConfiguration:
    hook = registration_v1.ValidatingWebhook(
        name=WEBHOOK,
        client_config=registration_v1.WebhookClientConfig(
            url=f"https://{authority(address, port)}{PATH}", ca_bundle=certificate
        ),
        rules=[
            registration_v1.RuleWithOperations(
                operations=["CREATE", "UPDATE"],
                api_groups=[GROUP],
                api_versions=["v1"],
                resources=["hyperpodpytorchjobs"],
                scope="Namespaced",
            )
        ],
        failure_policy="Ignore",
        match_policy="Equivalent",
        side_effects="None",
        timeout_seconds=5,
        admission_review_versions=["v1"],
    )
    return registration_v1.ValidatingWebhookConfiguration(
        metadata=ObjectMeta(name=WEBHOOK), webhooks=[hook]
    )


def self_signed(address: str) -> tuple[bytes, ssl.SSLContext]:
    """A certificate for an address, and what serves with it. The key is in this process alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "training-webhook")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([_name_of(address)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # ssl reads files alone; mode 0600
        file.write(private + certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return certificate, context


def _name_of(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
