"""Bootstrap tokens and the Secrets that hold them."""

from __future__ import annotations

from tiphys.api.core_v1 import Secret
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import bootstraptokens
from tiphys.machinery.bootstraptokens import Token

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


TOKEN = Token("abcdef", "0123456789abcdef")


def secret(
    name: str = "bootstrap-token-abcdef", type: str = bootstraptokens.TYPE, **values: str
) -> Secret:
    """The Secret of TOKEN; names of values are written with underscores here."""
    made = Secret(metadata=ObjectMeta(name=name, namespace="kube-system"), type=type)
    known = {"token_id": TOKEN.id, "token_secret": TOKEN.secret, **values}
    made.data = {key.replace("_", "-"): text.encode() for key, text in known.items()}
    return made
