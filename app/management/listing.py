"""Which deployments a list has, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from app.management.deployments import status_of
from app.store.records import Caller, Deployment, Snapshot

_IMPORTANCE: Final = ("LOW", "MODERATE", "HIGH", "CRITICAL")
# What the lists' healths are of every deployment: none of them is measured.
_HEALTHS: Final = {
    "service_health": "unknown",
    "model_health": "unavailable",
    "accuracy_health": "unavailable",
}

_Key = Callable[[Deployment], Any]
_ORDERS: Final[Mapping[str, _Key]] = {
    "label": lambda each: (each.label.casefold(), each.label),
    "createdAt": lambda each: each.created_at,
    "createdAtTimestamp": lambda each: each.created_at,
    "currentModelDeployedTimestamp": lambda each: each.deployed_at,
    "importance": lambda each: _IMPORTANCE.index(each.importance),
    "status": status_of,
}


def listed(
    snapshot: Snapshot, caller: Caller, query: Mapping[str, Any]
) -> list[Deployment]:
    """The caller's deployments that a query asks for, oldest first unless it says.

    query: as `schemas.management_deployments.DeploymentQuery` reads it.
    """
    found = [
        each
        for each in snapshot.deployments_of(caller)
        if _is_wanted(each, snapshot, caller, query)
    ]
    order = query.get("order_by")
    if order is None:
        return found
    # What no deployment has keeps them in their order.
    key = _ORDERS.get(order.removeprefix("-"), lambda _: 0)
    return sorted(found, key=key, reverse=order.startswith("-"))


def _is_wanted(
    each: Deployment, snapshot: Snapshot, caller: Caller, query: Mapping[str, Any]
) -> bool:
    searched = query.get("search", "").casefold()
    if searched not in f"{each.label}\n{each.description or ''}".casefold():
        return False
    facts = {
        "status": status_of(each),
        "importance": each.importance,
        "execution_environment_type": "datarobot" if each.model_id else "external",
        **_HEALTHS,
    }
    if any(facts[name] not in query[name] for name in facts if name in query):
        return False
    if query.get("role", role_of(each, caller)) != role_of(each, caller):
        return False
    owner = snapshot.users[each.owner_id].name
    return bool(query.get("owner_username", owner) == owner)


def role_of(deployment: Deployment, caller: Caller) -> str:
    """OWNER of those who may change it, CONSUMER of those who may ask it."""
    return "OWNER" if deployment.is_changed_by(caller) else "CONSUMER"
