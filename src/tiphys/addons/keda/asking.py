"""HTTP of triggers: credentials as KEDA's triggers take them, TLS, and bounds for what comes
back."""

from __future__ import annotations

import base64
import ssl
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp
import msgspec
import yarl

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import Scaler, ScalerError
from tiphys.addons.reaching import HostResolver
from tiphys.client.answers import body_of
from tiphys.machinery.names import is_ip

_LONGEST = 4 << 20  # bytes of an answer
_MODES = "apiKey basic tls bearer custom oauth"
_BOTH = "metadata auth"


class Answer(NamedTuple):
    status: int
    body: bytes


class HttpScaler(Scaler):
    """A trigger that asks an HTTP server. Its parameters are those of every such trigger."""

    auth_modes: list[str] = parameter(
        "authModes",
        "authMode",
        places=_BOTH,
        optional=True,
        enum=_MODES,
        exclusive="bearer basic oauth",
    )
    bearer_token: str = parameter("bearerToken", "token", places="auth", optional=True)
    username: str = parameter(places="auth", optional=True)
    password: str = parameter(places="auth", optional=True)
    cert: str = parameter(places="auth", optional=True)
    key: str = parameter(places="auth", optional=True)
    ca: str = parameter(places="auth", optional=True)
    oauth_token_uri: str = parameter("oauthTokenURI", places="auth", optional=True)
    scopes: list[str] = parameter("scopes", "scope", places="auth", optional=True)
    client_id: str = parameter("clientID", places="auth", optional=True)
    client_secret: str = parameter("clientSecret", places="auth", optional=True)
    endpoint_params: str = parameter("endpointParams", places="auth", optional=True)
    custom_auth_header: str = parameter("customAuthHeader", places="auth", optional=True)
    custom_auth_value: str = parameter("customAuthValue", places="auth", optional=True)
    api_key: str = parameter("apiKey", places=_BOTH, optional=True)
    method: str = parameter(places=_BOTH, default="header", enum="header query")
    key_param_name: str = parameter("keyParamName", places=_BOTH, optional=True)
    unsafe_ssl: bool = parameter("unsafeSsl", default="false")

    _session: aiohttp.ClientSession | None = None
    _oauth_token = ""

    def check(self) -> None:
        """Raises ParameterError when a mode lacks what it needs."""
        required = {
            "bearer": {"bearer token": self.bearer_token},
            "basic": {"username": self.username},
            "tls": {"cert": self.cert, "key": self.key},
            "oauth": {"oauthTokenURI": self.oauth_token_uri, "clientID": self.client_id},
            "custom": {
                "customAuthHeader": self.custom_auth_header,
                "customAuthValue": self.custom_auth_value,
            },
        }
        for mode in self.auth_modes:
            fields = required.get(mode, {})
            if all(fields.values()):
                continue
            described = " and ".join(
                f"{name}={value or '<empty>'}" for name, value in fields.items()
            )
            verb = "is" if len(fields) == 1 else "are"
            word = mode if mode == "oauth" else f"{mode} auth"
            raise ParameterError(f"{described} {verb} required when {word} is enabled")
        if "apiKey" in self.auth_modes and not self.api_key:
            raise ParameterError("apiKey is required when apiKey auth is enabled")

    @property
    def seconds(self) -> float:
        """How long an answer may take."""
        return self.config.surroundings.timeout

    async def get(self, url: str, headers: dict[str, str] | None = None) -> Answer:
        """What a GET answers, with this trigger's credentials. Raises ScalerError."""
        return await self.request("GET", url, headers=headers)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Raises ScalerError when nothing answers in time."""
        try:
            credentials = await self._credentials()
            return await self._sent(
                method, self._with_key(yarl.URL(url)), body, {**(headers or {}), **credentials}
            )
        except TimeoutError:
            raise ScalerError(f'{method.title()} "{url}": no answer in time') from None
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            reason = getattr(error, "os_error", None) or error  # ours, where it may not go there
            raise ScalerError(f'{method.title()} "{url}": {reason}') from None

    async def _sent(
        self, method: str, url: yarl.URL, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        """Without following redirects: their targets were not checked."""
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("unsupported protocol scheme")
        if is_ip(url.host):  # for which an HTTP client asks no resolver
            await self.config.surroundings.reach.find(url.host, url.port or 80)
        async with self.session().request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self.seconds),
        ) as answer:
            return Answer(answer.status, await body_of(answer, _LONGEST))

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = HostResolver(self.config.surroundings.reach, self.config.namespace)
            connector = aiohttp.TCPConnector(
                resolver=resolver, ssl=self._tls(), use_dns_cache=False, limit=10
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _tls(self) -> ssl.SSLContext:
        pair = (self.cert, self.key) if "tls" in self.auth_modes else ("", "")
        return tls_context(self.ca, *pair, unsafe=self.unsafe_ssl)

    def _with_key(self, url: yarl.URL) -> yarl.URL:
        if "apiKey" in self.auth_modes and self.method == "query":
            return url.update_query({self.key_param_name or "api_key": self.api_key})
        return url

    async def _credentials(self) -> dict[str, str]:
        """The headers with the credentials."""
        headers = {}
        if "apiKey" in self.auth_modes and self.method == "header":
            headers[self.key_param_name or "X-API-KEY"] = self.api_key
        if "basic" in self.auth_modes:
            pair = f"{self.username}:{self.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        if "bearer" in self.auth_modes:
            headers["Authorization"] = f"Bearer {self.bearer_token}"
        if "oauth" in self.auth_modes:
            headers["Authorization"] = f"Bearer {await self._token()}"
        if "custom" in self.auth_modes:
            headers[self.custom_auth_header] = self.custom_auth_value
        return headers

    async def _token(self) -> str:
        """By the grant client_credentials of OAuth 2. It is requested once in the life of the
        trigger, which is rebuilt after each failure."""
        if not self._oauth_token:
            form = {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
                "scope": " ".join(self.scopes),
                **dict(yarl.URL(f"http://x/?{self.endpoint_params}").query),
            }
            media = {"Content-Type": "application/x-www-form-urlencoded"}
            url = yarl.URL(self.oauth_token_uri)
            status, body = await self._sent("POST", url, urlencode(form).encode(), media)
            if status != 200:
                raise ValueError(f"oauth2: cannot fetch token: {status}")
            self._oauth_token = str(msgspec.json.decode(body)["access_token"])
        return self._oauth_token

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def tls_context(
    ca: str = "", certificate: str = "", key: str = "", *, password: str = "", unsafe: bool = False
) -> ssl.SSLContext:
    """TLS of a client: with authorities beside the system's, and a certificate of its own. Raises
    ScalerError for what is neither."""
    context = ssl.create_default_context()
    load_certificates(context, ca, certificate, key, password)
    if unsafe:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def load_certificates(
    context: ssl.SSLContext, ca: str, certificate: str, key: str, password: str = ""
) -> None:
    """Raises ScalerError for what is none. Half a pair is left out, as KEDA does."""
    try:
        if ca:
            context.load_verify_locations(cadata=ca)
        if certificate and key:
            _load(context, certificate, key, password)
    except (ssl.SSLError, ValueError) as error:
        raise ScalerError(f"error parsing TLS certificates: {error}") from None


def _load(context: ssl.SSLContext, certificate: str, key: str, password: str) -> None:
    """Python's TLS takes certificates from files alone."""
    with tempfile.TemporaryDirectory(prefix="tiphys-keda-") as folder:  # of mode 0700
        file = Path(folder) / "pair.pem"
        file.write_text(f"{key.strip()}\n{certificate.strip()}\n")
        context.load_cert_chain(file, password=password or None)


def decoded(body: bytes) -> Any:
    """JSON. Raises ScalerError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ScalerError(f"unexpected answer: {error}") from None
