"""The functions of OpenSSL that Python's `ssl` has no name for.

They are called in the very library that `ssl` uses. All of them are documented by OpenSSL, and
nothing here knows how a structure is laid out: a context's handle comes from OpenSSL itself, which
calls back for each new one (`CRYPTO_get_ex_new_index`). Where Python was built
with a library that hides its functions, or another one than OpenSSL, there are no handles.
"""

from __future__ import annotations

import _ssl
import ctypes
import functools
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
Handle = int  # of an SSL_CTX; lives as long as the context

_SSL_CTX = 1  # CRYPTO_EX_INDEX_SSL_CTX
_MODE, _NO_AUTO_CHAIN = 33, 8  # SSL_CTRL_MODE, SSL_MODE_NO_AUTO_CHAIN
_SESSION_CACHE_MODE = 44  # SSL_CTRL_SET_SESS_CACHE_MODE
_UNSPECIFIED = 1  # X509_V_ERR_UNSPECIFIED

_pointer, _int = ctypes.c_void_p, ctypes.c_int
_Created = ctypes.CFUNCTYPE(None, _pointer, _pointer, _pointer, _int, ctypes.c_long, _pointer)
_Verify = ctypes.CFUNCTYPE(_int, _pointer, _pointer)
# Name → (result, arguments).
_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "CRYPTO_get_ex_new_index": (
        _int,
        [_int, ctypes.c_long, _pointer, _Created, _pointer, _pointer],
    ),
    "CRYPTO_free_ex_index": (_int, [_int, _int]),
    "SSL_CTX_set_cert_verify_callback": (None, [_pointer, _Verify, _pointer]),
    "SSL_CTX_ctrl": (ctypes.c_long, [_pointer, _int, ctypes.c_long, _pointer]),
    "SSL_CTX_add_client_CA": (_int, [_pointer, _pointer]),
    "d2i_X509": (_pointer, [_pointer, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long]),
    "X509_free": (None, [_pointer]),
    "X509_verify_cert": (_int, [_pointer]),
    "X509_verify_cert_error_string": (ctypes.c_char_p, [ctypes.c_long]),
    "X509_STORE_CTX_get_error": (_int, [_pointer]),
    "ERR_set_mark": (_int, []),
    "ERR_pop_to_mark": (_int, []),
}


class _Thread(threading.local):
    """State of this thread: handles of the contexts that are being created, and the callback for
    the result of a verification."""

    created: list[Handle] | None = None
    report: Callable[[str], None] | None = None


_thread = _Thread()


@functools.cache
def _library() -> ctypes.CDLL | None:
    """That which `ssl` uses, with all functions; None where they cannot be reached."""
    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        log.warning("OpenSSL's own functions cannot be reached: %s", error)
        return None
    return library


def _created(context: Handle, *_: object) -> None:
    if _thread.created is not None:
        _thread.created.append(context)


# Kept for ever: another thread may be about to call it when it is not wanted any more.
_on_creation = _Created(_created)


def with_handle(make: Callable[[], T]) -> tuple[T, Handle | None]:
    """The context that `make` makes, and its handle, if it can be known."""
    library = _library()
    if library is None:
        return make(), None
    index = library.CRYPTO_get_ex_new_index(_SSL_CTX, 0, None, _on_creation, None, None)
    created: list[Handle] = []
    _thread.created = created
    try:
        context = make()
    finally:
        _thread.created = None
        if index >= 0:
            library.CRYPTO_free_ex_index(_SSL_CTX, index)
    return context, created[0] if len(created) == 1 else None


def disable_session_cache(context: Handle) -> None:
    """Each connection has a handshake of its own."""
    library = _library()
    assert library is not None
    library.SSL_CTX_ctrl(context, _SESSION_CACHE_MODE, 0, None)


def disable_chain_building(context: Handle) -> None:
    """A server presents only the certificates of its file. Else OpenSSL searches their issuers
    among the client authorities, and verifies signatures for that, in every handshake."""
    library = _library()
    assert library is not None
    library.SSL_CTX_ctrl(context, _MODE, _NO_AUTO_CHAIN, None)


def add_client_authority(context: Handle, certificate: bytes) -> None:
    """Adds an authority (DER) to those whose certificates clients are asked for."""
    library = _library()
    assert library is not None
    read = library.d2i_X509(None, ctypes.c_char_p(certificate), len(certificate))
    if read:
        library.SSL_CTX_add_client_CA(context, read)
        library.X509_free(read)


def accept_any_certificate(context: Handle) -> None:
    """Handshakes continue with any client certificate. It is verified as usual: a report set by
    `report_verification` gets the result; without one, a bad certificate ends the handshake."""
    library = _library()
    assert library is not None
    library.SSL_CTX_set_cert_verify_callback(context, _on_certificate, None)


def report_verification(report: Callable[[str], None] | None) -> None:
    """Sets the callback for certificates verified in this thread: it gets "" for a good one, or
    what is wrong with it. None removes it."""
    _thread.report = report


def _verify(store: int, _: object) -> int:
    """Whether the handshake continues. An exception here ends it."""
    library = _library()
    assert library is not None
    library.ERR_set_mark()
    is_good = library.X509_verify_cert(store) == 1
    library.ERR_pop_to_mark()  # a leftover error would be taken for the handshake's
    report = _thread.report
    if report is None:
        return int(is_good)
    report("" if is_good else _fault(library.X509_STORE_CTX_get_error(store) or _UNSPECIFIED))
    return 1


_on_certificate = _Verify(_verify)


def _fault(code: int) -> str:
    library = _library()
    assert library is not None
    text: bytes = library.X509_verify_cert_error_string(code)
    return text.decode()
