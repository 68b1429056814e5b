"""Corefiles, the configuration language of CoreDNS, as far as blocks, directives and snippets go.

The grammar is Caddy's: words and quoted words, comments from ``#`` on, a block in braces behind the
zones it is for, one directive a line, with a block of its own where it needs one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST_IMPORTS = 100  # of snippets, in all: one that imports itself ends there


class CorefileError(ValueError):
    """Text that is no Corefile. The message names the line."""


@dataclass
class Directive:
    """One line of a block: its words, and the lines of its own block."""

    words: list[str]
    line: int
    block: list[Directive] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.words[0]

    @property
    def arguments(self) -> list[str]:
        return self.words[1:]


@dataclass
class ServerBlock:
    """The directives for some zones; `zones` are as written, with a port perhaps."""

    zones: list[str]
    directives: list[Directive]


class _Token(NamedTuple):
    text: str
    line: int
    quoted: bool

    def opens(self) -> bool:
        return self.text == "{" and not self.quoted

    def closes(self) -> bool:
        return self.text == "}" and not self.quoted


def parse(text: str) -> list[ServerBlock]:
    """Raises CorefileError."""
    lines = _Lines(text)
    snippets: dict[str, list[Directive]] = {}
    blocks: list[ServerBlock] = []
    while lines.more:
        head = lines.take()
        if not lines.has_block:
            raise CorefileError(f"line {head.line}: {head.name!r} is not followed by a block")
        body = lines.block(head.line)
        if head.name.startswith("(") and head.name.endswith(")"):
            snippets[head.name[1:-1]] = body
        else:
            zones = [zone for word in head.words for zone in word.split(",") if zone]
            blocks.append(ServerBlock(zones, body))
    importing = _Importing(snippets)
    for block in blocks:
        block.directives = list(importing.expanded(block.directives))
    return blocks


class _Importing:
    """Puts snippets in the places of their imports."""

    def __init__(self, snippets: dict[str, list[Directive]]) -> None:
        self._snippets = snippets
        self._left = _MOST_IMPORTS

    def expanded(self, directives: list[Directive]) -> Iterator[Directive]:
        for directive in directives:
            snippet = self._snippet(directive)
            if snippet is None:
                yield directive
                continue
            self._left -= 1
            if self._left < 0:
                raise CorefileError(f"line {directive.line}: too many imports")
            yield from self.expanded(snippet)

    def _snippet(self, directive: Directive) -> list[Directive] | None:
        """None for what is no import of a snippet; an import of files stays as it is."""
        if directive.name != "import" or len(directive.arguments) != 1:
            return None
        return self._snippets.get(directive.arguments[0])


class _Lines:
    """The tokens of a text, taken a line at a time."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0

    @property
    def more(self) -> bool:
        return self._next < len(self._tokens)

    @property
    def has_block(self) -> bool:
        """Whether the next token opens a block."""
        return self.more and self._tokens[self._next].opens()

    @property
    def _closes(self) -> bool:
        return self.more and self._tokens[self._next].closes()

    def take(self) -> Directive:
        """The words up to the end of the line, or to the brace that opens their block."""
        first = self._tokens[self._next]
        words: list[str] = []
        while self.more:
            token = self._tokens[self._next]
            if token.line != first.line or token.opens() or token.closes():
                break
            words.append(token.text)
            self._next += 1
        if not words:
            raise CorefileError(f"line {first.line}: {first.text!r} is not expected here")
        return Directive(words, first.line)

    def block(self, opened: int) -> list[Directive]:
        """The directives between the brace that is next and the one that closes it. Directives have
        blocks, and those have none below them: CoreDNS knows no third level."""
        directives = self._directives(opened)
        for directive in directives:
            if any(inner.block for inner in directive.block):
                raise CorefileError(f"line {directive.line}: blocks are nested too deep")
        return directives

    def _directives(self, opened: int, depth: int = 0) -> list[Directive]:
        if depth > 2:
            raise CorefileError(f"line {opened}: blocks are nested too deep")
        self._next += 1
        directives: list[Directive] = []
        while self.more and not self._closes:
            directive = self.take()
            if self.has_block:
                directive.block = self._directives(directive.line, depth + 1)
            directives.append(directive)
        if not self.more:
            raise CorefileError(f"line {opened}: the block is not closed")
        self._next += 1
        return directives


def _tokens(text: str) -> Iterator[_Token]:
    for number, line in enumerate(text.splitlines(), start=1):
        yield from _tokens_of_line(line, number)


def _tokens_of_line(line: str, number: int) -> Iterator[_Token]:
    position = 0
    while position < len(line):
        character = line[position]
        if character.isspace():
            position += 1
        elif character == "#":
            return
        elif character == '"':
            end = line.find('"', position + 1)
            if end < 0:
                raise CorefileError(f"line {number}: a quote is not closed")
            yield _Token(line[position + 1 : end], number, True)
            position = end + 1
        else:
            end = position
            while end < len(line) and not line[end].isspace():
                end += 1
            yield _Token(line[position:end], number, False)
            position = end
