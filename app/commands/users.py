"""`foretell user` and `foretell token`: who may ask for predictions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import json_option, moment, print_json, print_table
from app.commands.state import opened_state

if TYPE_CHECKING:
    from app.store.records import Token, User
    from app.store.store import Store

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is none of the form 12h, 90d or 4w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group()
def user() -> None:
    """Those who own deployments and tokens."""


@user.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Sees and uses everybody's deployments.")
@json_option
def add_user(name: str, admin: bool, as_json: bool) -> None:
    """Add a user and print the user's id."""
    with opened_state() as state:
        added = state.store.add_user(name, admin=admin)
    if as_json:
        print_json(_user_facts(added))
    else:
        click.echo(added.id)


@user.command("list")
@json_option
def list_users(as_json: bool) -> None:
    """List the users, oldest first."""
    with opened_state() as state:
        users = state.store.users()
    if as_json:
        print_json(list(map(_user_facts, users)))
    else:
        rows = [(each.id, each.name, each.admin, each.created_at) for each in users]
        print_table(("ID", "NAME", "ADMIN", "CREATED"), rows)


@click.group()
def token() -> None:
    """What clients send to say who they are."""


@token.command("create")
@click.argument("user", required=False)
@click.option(
    "--deployment",
    "deployment_id",
    metavar="ID",
    help="Instead of USER: it opens this deployment's predictions, and nothing else.",
)
@click.option(
    "--expires",
    type=_duration,
    metavar="TIME",
    help="How long it is good: 12h, 90d, 4w.  [until it is revoked]",
)
@json_option
def create_token(
    user: str | None,
    deployment_id: str | None,
    expires: timedelta | None,
    as_json: bool,
) -> None:
    """Print a new token of USER, or of one deployment; it is shown this once."""
    if (user is None) == (deployment_id is None):
        raise click.UsageError("Give a USER, or --deployment ID without one.")
    with opened_state() as state:
        created, secret = _created(state.store, user, deployment_id, expires)
        names = {each.id: each.name for each in state.store.users()}
    if as_json:
        facts = _token_facts(created, names[created.user_id])
        print_json({"token": secret} | facts)
        return
    click.echo(secret)
    until = "is good until revoked"
    if created.expires_at is not None:
        until = f"expires {moment(created.expires_at)}"
    click.echo(f"Shown this once; {until}.", err=True)


def _created(
    store: Store,
    user: str | None,
    deployment_id: str | None,
    expires: timedelta | None,
) -> tuple[Token, str]:
    if deployment_id is not None:
        return store.create_deployment_token(deployment_id, expires)
    return store.create_token(str(user), expires)


@token.command("list")
@json_option
def list_tokens(as_json: bool) -> None:
    """List the tokens, oldest first, without their secrets."""
    with opened_state() as state:
        tokens = state.store.tokens()
        names = {each.id: each.name for each in state.store.users()}
    if as_json:
        print_json([_token_facts(each, names[each.user_id]) for each in tokens])
        return
    rows = [
        (
            *(each.id, names[each.user_id], each.deployment_id, _state(each)),
            *(each.created_at, each.expires_at),
        )
        for each in tokens
    ]
    print_table(("ID", "USER", "DEPLOYMENT", "STATE", "CREATED", "EXPIRES"), rows)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@json_option
def revoke_token(token_id: str, as_json: bool) -> None:
    """End a token at once.

    ID may be the token itself, its id, or the first 6 digits or more of it.
    """
    with opened_state() as state:
        revoked = state.store.revoke_token(token_id)
        names = {each.id: each.name for each in state.store.users()}
    if as_json:
        print_json(_token_facts(revoked, names[revoked.user_id]))
    else:
        click.echo(f"{revoked.id} is revoked")


def _user_facts(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "admin": user.admin,
        "created_at": moment(user.created_at),
    }


def _token_facts(token: Token, user_name: str) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": user_name,
        "deployment_id": token.deployment_id,
        "state": _state(token),
        "created_at": moment(token.created_at),
        "expires_at": token.expires_at and moment(token.expires_at),
        "revoked_at": token.revoked_at and moment(token.revoked_at),
    }


def _state(token: Token) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "live" if token.is_live(datetime.now(UTC)) else "expired"
