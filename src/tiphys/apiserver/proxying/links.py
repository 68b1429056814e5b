"""Links in what a proxied server answers, made to lead through the proxy again.

Only what names the proxied server itself, by its host or by a path from the root, is changed: the
rest of a page stays as it is, byte for byte.
"""

from __future__ import annotations

import html
import posixpath
import re
import zlib
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

MOST = 8 << 20  # bytes of a page that is looked through; a larger one is passed on as it is

# Elements and their attributes that hold URLs, as upstream's proxy knows them.
_ATTRIBUTES = {
    "a": {"href"},
    "applet": {"codebase"},
    "area": {"href"},
    "audio": {"src"},
    "base": {"href"},
    "blockquote": {"cite"},
    "body": {"background"},
    "button": {"formaction"},
    "command": {"icon"},
    "del": {"cite"},
    "embed": {"src"},
    "form": {"action"},
    "frame": {"longdesc", "src"},
    "head": {"profile"},
    "html": {"manifest"},
    "iframe": {"longdesc", "src"},
    "img": {"longdesc", "src", "usemap"},
    "input": {"src", "usemap", "formaction"},
    "ins": {"cite"},
    "link": {"href"},
    "object": {"classid", "codebase", "data", "usemap"},
    "q": {"cite"},
    "script": {"src"},
    "source": {"src"},
    "video": {"poster", "src"},
}
# Elements that hold text, not tags.
_RAW = frozenset(("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"))
_NAME = re.compile(r"[A-Za-z][^\s/>]*")
_ATTRIBUTE = re.compile(
    r"""[\s/]*([^\s/>=][^\s/>=]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s>"'][^\s>]*|(?=>)))?"""
)
_SPACE = re.compile(r"[\s/]*")


@dataclass(frozen=True)
class Rewriter:
    """`prefix` is the path of the proxy, `host` the proxied server's host and port, `asked` those
    that the client asked."""

    prefix: str
    host: str
    asked: str

    def url(self, text: str) -> str:
        """A URL as it leads through the proxy; one of another server, or relative, as it is."""
        try:
            parts = urlsplit(text)
        except ValueError:
            return text
        if parts.netloc and parts.netloc not in (self.host, self.asked):
            return text
        if not parts.path.startswith("/"):
            return text
        scheme = netloc = ""
        if parts.netloc == self.asked:
            scheme = parts.scheme
            netloc = parts.netloc
        path = parts.path
        if path != self.prefix and not path.startswith(self.prefix + "/"):
            joined = posixpath.normpath(f"{self.prefix}/{path}")
            path = joined + "/" if path.endswith("/") and not joined.endswith("/") else joined
        return urlunsplit((scheme, netloc, path, parts.query, parts.fragment))

    def page(self, text: str) -> str:
        """A page of HTML with its links rewritten. Takes time in proportion to its length."""
        done: list[str] = []
        position = kept = 0
        while (position := text.find("<", position)) >= 0:
            if text.startswith("<!--", position):
                position = _after(text, "-->", position + 4)
                continue
            name = _NAME.match(text, position + 1)
            if name is None:
                position += 1
                continue
            element = name[0].lower()
            position = name.end()
            while (attribute := _ATTRIBUTE.match(text, position)) is not None:
                position = attribute.end()
                if attribute[2] and attribute[1].lower() in _ATTRIBUTES.get(element, ()):
                    done += [text[kept : attribute.start(2)], self._value(attribute[2])]
                    kept = position
            end = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text[end : end + 1] == ">":
                position = end + 1
                if element in _RAW:
                    position = _end_of_raw(text, element, position)
            else:
                position = max(end, position)
        return "".join([*done, text[kept:]])

    def _value(self, written: str) -> str:
        quoted = written[0] in "\"'"
        value = html.unescape(written[1:-1] if quoted else written)
        changed = self.url(value)
        return written if changed == value else f'"{html.escape(changed)}"'


def _after(text: str, end: str, position: int) -> int:
    index = text.find(end, position)
    return len(text) if index < 0 else index + len(end)


def _end_of_raw(text: str, element: str, position: int) -> int:
    closing = re.compile(f"</{re.escape(element)}", re.IGNORECASE).search(text, position)
    return len(text) if closing is None else closing.start() + 1


def unpacked(data: bytes, encoding: str) -> bytes | None:
    """A body without its Content-Encoding; None for an encoding that is not known, and for what is
    larger than `MOST`."""
    windows = {"gzip": 31, "deflate": -15}
    if not encoding:
        return data
    if encoding not in windows:
        return None
    decoder = zlib.decompressobj(windows[encoding])
    try:
        plain = decoder.decompress(data, MOST + 1)
    except zlib.error:
        return None
    return plain if decoder.eof and len(plain) <= MOST else None
