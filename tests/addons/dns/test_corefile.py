"""The grammar of Corefiles."""

from __future__ import annotations

import pytest

from tiphys.addons.dns.corefile import CorefileError, Directive, parse

KUBEADM = """\
(logging) {
    errors   # to standard error
    log
}
.:53 {
    import logging
    health {
       lameduck 5s
    }
    hosts {
        192.0.2.7 "a name" b
    }
    forward . /etc/resolv.conf
}
corp.example, other.example:5353 {
    forward . 10.150.0.1
}
"""


def words(directives: list[Directive]) -> list[list[str]]:
    return [directive.words for directive in directives]


def test_blocks_have_zones_and_directives_and_those_their_own() -> None:
    root, corp = parse(KUBEADM)
    assert (root.zones, corp.zones) == ([".:53"], ["corp.example", "other.example:5353"])
    expected = [["errors"], ["log"], ["health"], ["hosts"], ["forward", ".", "/etc/resolv.conf"]]
    assert words(root.directives) == expected, "the snippet is in the place of its import"
    assert words(root.directives[2].block) == [["lameduck", "5s"]]
    assert words(root.directives[3].block) == [["192.0.2.7", "a name", "b"]]
    assert words(corp.directives) == [["forward", ".", "10.150.0.1"]]
    assert root.directives[2].line == 7


def test_an_empty_text_has_no_blocks() -> None:
    assert parse("") == parse("# nothing\n") == []


REFUSED = [
    ("forward . 1.2.3.4", "line 1: 'forward' is not followed by a block"),
    (". {\nerrors\n", "line 1: the block is not closed"),
    ("}\n", "line 1: '}' is not expected here"),
    ('. {\nlog "a\n}', "line 2: a quote is not closed"),
    (". {\na {\nb {\nc\n}\n}\n}", "line 2: blocks are nested too deep"),
    (". {\n" + "a {\n" * 500, "line 4: blocks are nested too deep"),
    ("(a) {\nimport a\n}\n. {\nimport a\n}", "line 2: too many imports"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_no_corefile_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CorefileError) as refusal:
        parse(text)
    assert str(refusal.value) == message
