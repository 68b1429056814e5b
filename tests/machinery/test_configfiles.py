"""Configuration files of components: what is read, and what is wrong with the rest."""

from __future__ import annotations

import pytest

from tiphys.api.core_v1 import ConfigMap
from tiphys.machinery.configfiles import ConfigFileError, check, read, read_strictly
from tiphys.machinery.fielderrors import required

GOOD = "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n"
VERSIONS = ("v1", "v1beta1")


def test_a_document_of_the_kind_is_read() -> None:
    content, problems = read(GOOD.encode(), VERSIONS, ConfigMap)
    assert (content.data, problems) == ({"a": "b"}, [])
    assert read_strictly(GOOD.replace("v1", "v1beta1").encode(), VERSIONS, ConfigMap).data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "yaml: line 2: did not find expected node content"),
        ("", "couldn't get version/kind: a ConfigMap is needed"),
        ("- a", "couldn't get version/kind: a ConfigMap is needed"),
        ("apiVersion: v1", "Object 'Kind' is missing: a ConfigMap is needed"),
        ("apiVersion: v1\nkind: ''", "Object 'Kind' is missing"),
        (
            "apiVersion: v1\nkind: Pod",
            'no kind "Pod" is registered for version "v1": a ConfigMap of v1 or v1beta1 is needed',
        ),
        ("apiVersion: v2\nkind: ConfigMap", 'no kind "ConfigMap" is registered for version "v2"'),
        ("kind: ConfigMap", 'no kind "ConfigMap" is registered for version "None"'),
        ("apiVersion: v1\nkind: ConfigMap\ndata: 7", "cannot unmarshal number"),
    ],
)
def test_what_is_not_of_the_kind_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigFileError) as refused:
        read(text.encode(), VERSIONS, ConfigMap)
    assert words in str(refused.value)


def test_fields_that_are_unknown_or_double_are_told_and_strictly_refused() -> None:
    text = f"{GOOD}other: 1\ndata: {{c: d}}\n".encode()
    content, problems = read(text, VERSIONS, ConfigMap)
    assert content.data == {"c": "d"} and len(problems) == 2
    assert 'key "data" already set in map' in problems[0]
    assert problems[1] == 'unknown field "other"'
    with pytest.raises(ConfigFileError, match=r"strict decoding error: (?s:.*), unknown field"):
        read_strictly(text, VERSIONS, ConfigMap)


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        ([], ""),
        (["a"], "a: Required value"),
        (["a", "b"], "[a: Required value, b: Required value]"),
    ],
)
def test_violations_are_told_together(paths: list[str], text: str) -> None:
    violations = [required(path) for path in paths]
    if not text:
        check(violations)
        return
    with pytest.raises(ConfigFileError) as refused:
        check(violations)
    assert str(refused.value) == text
