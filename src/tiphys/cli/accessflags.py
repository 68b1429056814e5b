"""The flags of authentication and authorization, by upstream's names, and the options that they
make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiphys.cli.durations import Duration

if TYPE_CHECKING:
    from tiphys.apiserver.access.authenticationoptions import AuthenticationOptions
    from tiphys.apiserver.access.authorizationoptions import AuthorizationOptions

_FILE = click.Path(path_type=Path)
_OIDC: tuple[tuple[str, Any, Any, str], ...] = (
    ("issuer-url", str, "", "An issuer whose tokens are believed."),
    ("client-id", str, "", "The audience that its tokens must have."),
    ("ca-file", _FILE, None, "The authority of its certificate [default: the system's]."),
    ("username-claim", str, "sub", "The claim that names the user."),
    ("username-prefix", str, "", "What stands before it; - is nothing [default: the issuer]."),
    ("groups-claim", str, "", "The claim that lists the groups."),
    ("groups-prefix", str, "", "What stands before each."),
    ("signing-algs", str, "RS256", "Comma-separated algorithms of signatures."),
)


def authentication_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command, which gets them as arguments."""
    options = [
        click.option(
            "--authentication-config", type=_FILE, help="An AuthenticationConfiguration: issuers."
        ),
        click.option(
            "--anonymous-auth", type=bool, help="Whether those are let in who do not say who."
        ),
        click.option(
            "--authentication-token-webhook-config-file",
            type=_FILE,
            help="A kubeconfig: who is asked about tokens.",
        ),
        click.option("--authentication-token-webhook-version", default="v1beta1", hidden=True),
        click.option(
            "--authentication-token-webhook-cache-ttl",
            type=Duration(),
            default="2m",
            show_default=True,
            help="How long its answers are kept.",
        ),
        *(
            click.option(f"--oidc-{name}", type=kind, default=default, help=text)
            for name, kind, default, text in _OIDC
        ),
        click.option(
            "--oidc-required-claim", multiple=True, metavar="KEY=VALUE", help="May be repeated."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def authentication_options(flags: dict[str, Any]) -> AuthenticationOptions:
    """The options of the flags' values, which are taken out of `given`."""
    from tiphys.apiserver.access.authenticationoptions import AuthenticationOptions, OIDCOptions
    from tiphys.apiserver.access.tokenwebhooks import TokenWebhookOptions

    claims = []
    for claim in flags.pop("oidc_required_claim"):
        name, equals, value = claim.partition("=")
        if not equals:
            raise ValueError(f"--oidc-required-claim: {claim!r} is no key=value pair")
        claims.append((name, value))
    oidc = {
        name.replace("-", "_"): flags.pop(f"oidc_{name.replace('-', '_')}") for name, *_ in _OIDC
    }
    algorithms = tuple(name.strip() for name in oidc.pop("signing_algs").split(","))
    prefix = "authentication_token_webhook"
    file = flags.pop(f"{prefix}_config_file")
    version = flags.pop(f"{prefix}_version")
    ttl = flags.pop(f"{prefix}_cache_ttl")
    return AuthenticationOptions(
        flags.pop("authentication_config"),
        flags.pop("anonymous_auth"),
        OIDCOptions(**oidc, signing_algs=algorithms, required_claims=tuple(claims)),
        TokenWebhookOptions(file, version, ttl) if file is not None else None,
    )


def authorization_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command, which gets them as arguments."""
    options = [
        click.option(
            "--authorization-config",
            type=_FILE,
            help="An AuthorizationConfiguration: who decides, in which order.",
        ),
        click.option(
            "--authorization-mode",
            default="Node,RBAC",
            show_default=True,
            help="Comma-separated authorizers, in their order.",
        ),
        click.option(
            "--authorization-webhook-config-file",
            type=_FILE,
            help="A kubeconfig: who is asked with mode Webhook.",
        ),
        click.option("--authorization-webhook-version", default="v1beta1", show_default=True),
        click.option(
            "--authorization-webhook-cache-authorized-ttl", default="5m", show_default=True
        ),
        click.option(
            "--authorization-webhook-cache-unauthorized-ttl", default="30s", show_default=True
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def authorization_options(flags: dict[str, Any]) -> AuthorizationOptions:
    """The options of the flags' values, which are taken out of `given`."""
    from tiphys.apiserver.access.authorizationoptions import AuthorizationOptions

    modes = flags.pop("authorization_mode").split(",")
    prefix = "authorization_webhook"
    return AuthorizationOptions(
        flags.pop("authorization_config"),
        tuple(mode.strip() for mode in modes),
        flags.pop(f"{prefix}_config_file"),
        flags.pop(f"{prefix}_version"),
        flags.pop(f"{prefix}_cache_authorized_ttl"),
        flags.pop(f"{prefix}_cache_unauthorized_ttl"),
    )
