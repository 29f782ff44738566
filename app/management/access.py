"""Who may ask a deployment for predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.store.errors import UnknownUser
from app.store.records import Deployment, Snapshot, User
from app.store.store import Store
from schemas.management import InvalidFields


def roles(deployment: Deployment, snapshot: Snapshot) -> list[tuple[User, str]]:
    """Everybody who may, the owner first, with their roles."""
    users = snapshot.users
    others = [users[each] for each in deployment.shared_with if each in users]
    return [
        (users[deployment.owner_id], "OWNER"),
        *((user, "CONSUMER") for user in others),
    ]


def listed(deployment: Deployment, snapshot: Snapshot) -> list[dict[str, Any]]:
    """As `deployments/<id>/accessControl/` tells it."""
    return [
        {
            "username": user.name,
            "userId": user.id,
            "role": role,
            "canShare": role == "OWNER",
        }
        for user, role in roles(deployment, snapshot)
    ]


def shared_roles(deployment: Deployment, snapshot: Snapshot) -> list[dict[str, Any]]:
    """As `deployments/<id>/sharedRoles/` tells it."""
    return [
        {"id": user.id, "name": user.name, "role": role, "shareRecipientType": "user"}
        for user, role in roles(deployment, snapshot)
    ]


def change(
    store: Store,
    deployment: Deployment,
    snapshot: Snapshot,
    wanted: Sequence[dict[str, Any]],
    field: str,
) -> None:
    """Give and take away roles; all of them, or none.

    wanted: with a `username` or an `id`, and a `role`. field: of the request, which
        mistakes are told of under. Raises InvalidFields.
    """
    by_name = {user.name: user for user in snapshot.users.values()}
    found: dict[str, bool] = {}
    problems: dict[str, Any] = {}
    for place, each in enumerate(wanted):
        name, user_id = each.get("username"), each.get("id")
        user = snapshot.users.get(str(user_id)) if name is None else by_name.get(name)
        if user is None:
            key = "id" if name is None else "username"
            text = f"There is no user {str(user_id if name is None else name)[:64]!r}"
            problems[str(place)] = {key: text}
        elif user.id == deployment.owner_id:
            problems[str(place)] = {"role": "The owner's role stays OWNER"}
        else:
            found[user.name] = each["role"] == "CONSUMER"
    if problems:
        raise InvalidFields({field: problems})
    try:
        store.change_sharing(deployment.id, found)
    except UnknownUser as error:
        raise InvalidFields({field: str(error)}) from None
