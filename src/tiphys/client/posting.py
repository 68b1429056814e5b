"""Posts JSON to the server of a kubeconfig: webhooks of the API server that are configured by one
(audit, authorization, tokens), as upstream's `GenericWebhook`."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from tiphys.client.answers import TooLong, body_of
from tiphys.client.config import Config

_SECONDS = 30.0  # of a request: upstream's defaultRequestTimeout
_LIMIT = 4 << 20  # bytes of an answer


class PostError(Exception):
    """There was no answer, or none that is a success. `code` is its status, 0 if there is none.
    `is_transient`: whether another attempt may have more luck; `is_timeout`: it took too long."""

    def __init__(self, text: str, code: int = 0, transient: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.is_transient = transient
        self.is_timeout = False


class Poster:
    """One server, over connections that are kept. Its URL is the one that the kubeconfig gives,
    with its path. Redirects are not followed."""

    def __init__(self, config: Config, seconds: float = _SECONDS) -> None:
        """Raises OSError for files that cannot be used."""
        self._config = config
        self._url = config.server
        self._tls: ssl.SSLContext | bool = True
        if self._url.startswith("https:"):
            self._tls = config.ssl_context()
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, body: bytes) -> bytes:
        """The body of a successful answer. Raises PostError."""
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http().post(
                    self._url,
                    data=body,
                    headers=self._headers(),
                    ssl=self._tls,
                    allow_redirects=False,
                ) as answer,
            ):
                data = await body_of(answer, _LIMIT)
                if not 200 <= answer.status < 300:
                    retry = answer.status in (429, 500, 504) or "Retry-After" in answer.headers
                    excerpt = data[:200].decode(errors="replace")
                    text = f"the server responded with status {answer.status}: {excerpt}"
                    raise PostError(text, answer.status, retry)
                return data
        except TimeoutError:
            failure = PostError(f'Post "{self._url}": context deadline exceeded')
            failure.is_timeout = True
            raise failure from None
        except aiohttp.ClientConnectorError as error:
            raise PostError(f'Post "{self._url}": {error}') from None
        except (aiohttp.ClientError, OSError, ValueError, TooLong) as error:
            reset = isinstance(error, ConnectionError | aiohttp.ServerDisconnectedError)
            raise PostError(f'Post "{self._url}": {error}', transient=reset) from None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token = self._config.token
        if self._config.token_file is not None:
            token = self._config.token_file.read_text().strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"User-Agent": "kube-apiserver"}, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session
