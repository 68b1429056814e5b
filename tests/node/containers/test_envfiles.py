"""Variables out of files of a volume, as upstream reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tiphys.node.containers.envfiles import EnvFileError, value_of, variable

TEXT = """# of the installer
A='one'  # yes
 B='two
three'
C= 'none'
D='it'\"'\"'s'
"""


def test_values_stand_in_single_quotes_over_any_number_of_lines() -> None:
    found = {key: value_of(TEXT.rpartition("D")[0], key) for key in ("A", "B", "C", "E")}
    assert found == {"A": "one", "B": "two\nthree", "C": "", "E": ""}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEXT, "at line 6: unexpected content after closing quote"),
        ("A", "at line 1: missing '='"),
        ("\n='x'", "at line 2: empty variable name"),
        ("A ='x'", "at line 1: whitespace before '=' is not allowed"),
        ("A=x", "at line 1: value must be enclosed in single quotes"),
        ("A='x\ny", "starting at line 1: unclosed single quote"),
    ],
)
def test_what_is_no_file_of_variables_is_refused(text: str, why: str) -> None:
    with pytest.raises(EnvFileError, match=re.escape(why)):
        value_of(text, "Z")


def test_no_link_leads_out_of_the_volume(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "secret").write_text("A='x'")
    (tmp_path / "v" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "v" / "file").write_text("A='y'")
    assert variable(str(tmp_path / "v"), "file", "A") == "y"
    for path in ("link", "none"):
        with pytest.raises(OSError, match=r"No such|symbolic"):
            variable(str(tmp_path / "v"), path, "A")
