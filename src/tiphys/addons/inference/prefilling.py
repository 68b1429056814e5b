"""Long prompts are read by other servers than those that answer: the bodies of both requests, in
the fields of vLLM's disaggregated prefill. Pure, with the standard library alone, since it
runs in pods.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_CHARACTERS_OF_A_TOKEN = 4
_PROMPTS = ("messages", "prompt")
_TRANSFER = "kv_transfer_params"
_REMOTE = ("remote_engine_id", "remote_block_ids", "remote_host", "remote_port")


@dataclass(frozen=True)
class Prefill:
    """Where prompts of so many estimated tokens or more are read."""

    host: str
    port: int
    threshold: int = 4096


def tokens_of(prompt: Any) -> int:
    """An estimate: a list of numbers is tokens already, of text four characters are one."""
    if isinstance(prompt, list) and all(isinstance(one, int) for one in prompt):
        return len(prompt)
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return len(text) // _CHARACTERS_OF_A_TOKEN


def long_prompt(body: bytes, threshold: int) -> dict[str, Any] | None:
    """The request, if its prompt is one to be read elsewhere."""
    if len(body) < threshold:
        return None  # no token has less than a byte
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    prompts = [request[name] for name in _PROMPTS if name in request]
    return request if prompts and tokens_of(prompts[0]) >= threshold else None


def to_prefill(request: dict[str, Any]) -> bytes:
    """One token is requested: what matters is the cache that is filled for it."""
    asked = {**request, "stream": False, "max_tokens": 1}
    asked.pop("stream_options", None)
    for name in ("min_tokens", "min_completion_tokens"):
        asked.pop(name, None)
    if "max_completion_tokens" in asked:
        asked["max_completion_tokens"] = 1
    transfer = {"do_remote_decode": True, "do_remote_prefill": False}
    return json.dumps({**asked, _TRANSFER: {**transfer, **dict.fromkeys(_REMOTE)}}).encode()


def to_decode(request: dict[str, Any], answer: bytes) -> bytes | None:
    """The request with what the prefilling server said about its cache; None where it said
    nothing."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    transfer = document.get(_TRANSFER) if isinstance(document, dict) else None
    return json.dumps({**request, _TRANSFER: transfer}).encode() if transfer else None
