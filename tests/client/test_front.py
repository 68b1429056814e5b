"""How many connections a process may have."""

from __future__ import annotations

import resource

from tiphys.client.front import raise_file_limit, room_for_connections


def test_a_process_may_have_as_many_files_as_it_is_allowed_and_keeps_some_for_itself() -> None:
    most = raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard and most == (1 << 20 if soft == resource.RLIM_INFINITY else soft)
    assert room_for_connections(1 << 40) == most - 512
    assert room_for_connections(100) == 100
    assert room_for_connections(5) == 64, "a server without connections is none"
