"""Lists in pages: where one begins, where it ends, and where the next one is."""

from __future__ import annotations

import json
from pathlib import Path

from tests.addons.registry.world import CONFIG, MANIFEST, manifest, registry

PAGES = [
    ("", ["a", "b", "c"], ""),
    ("?n=3", ["a", "b", "c"], ""),
    ("?n=999999999", ["a", "b", "c"], ""),
    ("?n=2", ["a", "b"], "n=2&last=b"),
    ("?n=1&last=a", ["b"], "n=1&last=b"),
    ("?n=2&last=a", ["b", "c"], ""),
    ("?last=b", ["c"], ""),
    ("?last=aa", ["b", "c"], ""),
    ("?n=5&last=c", [], ""),
    ("?n=0", [], ""),
    ("?n=0&last=a", [], ""),
]


async def test_a_page_goes_on_behind_its_last_row(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push_blob("r", CONFIG)
        for tag in ("b", "c", "a"):
            path = f"/v2/r/manifests/{tag}"
            assert (await raw.ask("PUT", path, manifest(), Content_Type=MANIFEST)).status == 201
        for query, rows, link in PAGES:
            answer = await raw.ask("GET", f"/v2/r/tags/list{query}")
            assert json.loads(answer.body) == {"name": "r", "tags": rows}, query
            wanted = f'</v2/r/tags/list?{link}>; rel="next"' if link else None
            assert answer.headers.get("Link") == wanted, query


async def test_a_page_has_a_number_of_rows(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        for count in ("1000000000", "x", "-1", "1.5"):
            answer = await raw.ask("GET", f"/v2/_catalog?n={count}")
            assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID"), count
