"""`foretell user` and `foretell token`: who may ask for predictions."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import json_option, moment, print_json, print_table
from app.commands.state import opened_state

if TYPE_CHECKING:
    from app.store.records import Role, Token, User
    from app.store.store import Store

_ROLE = click.Choice(["admin", "user", "predictor"])
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
@click.option(
    "--role",
    type=_ROLE,
    help="admin: everybody's deployments; user: the own ones; predictor: asks what is"
    " shared for predictions.  [user]",
)
@click.option("--admin", is_flag=True, help="The same as --role admin.")
@json_option
def add_user(name: str, role: Role | None, admin: bool, as_json: bool) -> None:
    """Add a user and print the user's id."""
    if admin and role not in (None, "admin"):
        raise click.UsageError("--admin goes with no other --role.")
    with opened_state() as state:
        added = state.store.add_user(name, role="admin" if admin else role or "user")
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
        rows = [(each.id, each.name, each.role, each.created_at) for each in users]
        print_table(("ID", "NAME", "ROLE", "CREATED"), rows)


@user.command("update")
@click.argument("name")
@click.option("--role", type=_ROLE, required=True, help="See `foretell user add`.")
@json_option
def update_user(name: str, role: Role, as_json: bool) -> None:
    """Give a user another role; it counts within a second."""
    with opened_state() as state:
        changed = state.store.update_user(name, role=role)
    if as_json:
        print_json(_user_facts(changed))
    else:
        click.echo(f"{changed.id} has the role {changed.role}")


@user.command("password")
@click.argument("name")
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read it from standard input."
)
@json_option
def set_password(name: str, from_stdin: bool, as_json: bool) -> None:
    """Set a user's password, for which /predApi/v1.0/api_token gives out tokens.

    It is asked for twice and not shown; tokens that were given out stay good.
    """
    from app.passwords import hash_password

    with opened_state() as state:
        state.store.user_by_name(name)
        password = _read_password(from_stdin)
        changed = state.store.update_user(name, password=hash_password(password))
    if as_json:
        print_json(_user_facts(changed))
    else:
        click.echo(f"{changed.id} has a new password")


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        # One line, as `echo` and files bring it.
        line = sys.stdin.readline()
        return line.removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask at: give --stdin.")
    password: str = click.prompt(
        "Password", hide_input=True, confirmation_prompt=True, err=True
    )
    return password


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
        "role": user.role,
        "admin": user.admin,
        "has_password": user.password is not None,
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
