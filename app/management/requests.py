"""What every management request brings: its caller, query and JSON body, and the
deployment that it names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from app.access_log import RequestRecord
from app.body import MULTIPART, read_content_type, to_utf8
from app.errors import (
    DuplicateColumns,
    FormInsteadOfJson,
    InsufficientScope,
    JsonUnreadable,
    NoDataToPredict,
    NotPermitted,
)
from app.json_records import parse
from app.multipart import read_parts
from app.receiving import body_of, caller_of
from app.services import Services
from app.store.errors import StoreUnavailable
from app.store.records import Caller, Deployment
from app.store.store import Store
from schemas import errors
from schemas.management import Fields, InvalidFields, load

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# A body says what to change; rows and bundles have routes of their own.
MOST_BODY: Final = 1_048_576
# A body so small that takes longer holds a place for nothing.
_BODY_SECONDS: Final = 60.0
_EXPECTED: Final = "an object is expected"
_FORMS: Final = ("application/x-www-form-urlencoded", MULTIPART)


@dataclass(frozen=True, slots=True)
class Asked:
    """A management request of a known caller.

    base_url: the server's, without a slash at its end.
    """

    services: Services
    record: RequestRecord
    environ: WSGIEnvironment
    caller: Caller
    base_url: str

    @property
    def store(self) -> Store:
        """The store, whose changes are told as the caller's."""
        return self.services.store_of(self.caller)

    @property
    def path(self) -> str:
        """Of the request, as the client sees it."""
        return str(self.environ["PATH_INFO"]).encode("latin-1").decode(errors="replace")

    def query(self, schema: Fields) -> dict[str, Any]:
        """What the query says; raises InvalidFields."""
        return load(schema, query_of(self.environ.get("QUERY_STRING", "")))

    def body(self, schema: Fields) -> dict[str, Any]:
        """What the body says; raises InvalidFields and what `json_body` does."""
        return load(schema, self.json_body())

    def body_or_form(self, schema: Fields) -> dict[str, Any]:
        """The same of a body that may be a multipart form, whose fields are texts.

        Source: the R package, which sends a form for a new deployment.
        """
        media_type, _, boundary = self._content_type
        if media_type != MULTIPART:
            return self.body(schema)
        return load(schema, _form(self._whole_body(), boundary))

    def json_body(self) -> dict[str, Any]:
        """The body's JSON object.

        Raises FormInsteadOfJson, BodyUnreadable, BodyTooLarge, UnsupportedMediaType
        and SlowClient.
        """
        value = self.json_value()
        if not isinstance(value, dict):
            raise JsonUnreadable(f"The JSON body is not an object: {_EXPECTED}")
        return value

    def json_value(self) -> Any:
        """The same of any JSON value."""
        media_type, codec, _ = self._content_type
        if media_type in _FORMS:
            raise FormInsteadOfJson
        try:
            body = self._whole_body()
            return parse(to_utf8(body, codec or "utf_8"), 0, _EXPECTED)
        except NoDataToPredict:
            raise JsonUnreadable(f"The body is empty: {_EXPECTED}") from None
        except DuplicateColumns:
            raise JsonUnreadable(
                "The JSON body has an object with a key twice"
            ) from None

    @property
    def _content_type(self) -> tuple[str, str | None, str]:
        return read_content_type(self.environ.get("CONTENT_TYPE", ""))

    def _whole_body(self) -> bytes:
        config = self.services.config
        deadline = time.monotonic() + min(config.request_seconds, _BODY_SECONDS)
        limits = replace(config, max_body=min(MOST_BODY, config.max_body))
        body = body_of(self.services, self.environ, deadline, limits)
        self.record.received = len(body)
        return body

    def deployment(self, deployment_id: str) -> Deployment:
        """The deployment, when the caller may see it.

        Raises InsufficientScope for a token of another deployment, UnknownDeployment.
        """
        self.record.deployment = deployment_id
        if not self.caller.may_open(deployment_id):
            raise InsufficientScope
        if deployment_id not in self.services.snapshot.deployments:
            self.services.catch_up()
        return self.services.snapshot.deployment(deployment_id, self.caller)

    def changeable(self, deployment_id: str) -> Deployment:
        """The deployment, when the caller may change it.

        Raises NotPermitted where the caller may only see it, and what `deployment`
        does.
        """
        deployment = self.deployment(deployment_id)
        if not deployment.is_changed_by(self.caller):
            raise NotPermitted(
                f"User {self.caller.user.id} may ask deployment {deployment_id} for"
                " predictions, and not change it"
            )
        return deployment

    def check_creates(self) -> None:
        """Raises NotPermitted where the caller owns nothing."""
        if self.caller.user.role == "predictor":
            raise NotPermitted(
                f"User {self.caller.user.id} may ask for predictions, and make nothing"
            )

    def changed(self) -> None:
        """Take up at once what this request has changed; it is kept in any case."""
        with suppress(StoreUnavailable):
            self.services.refresh()


def _form(body: bytes, boundary: str) -> dict[str, str]:
    """The fields of a form by name; raises InvalidFields for one given twice."""
    found: dict[str, str] = {}
    for part, data in read_parts(body, boundary):
        if part.name in found:
            raise InvalidFields({part.name: errors.REPEATED})
        found[part.name] = data.decode(errors="replace")
    return found


def asked(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    base_url: str,
    *,
    scoped: bool = False,
) -> Asked:
    """The request, once its caller is known.

    scoped: whether tokens of one deployment are let in.
    Raises NotReady, InvalidToken, NoCredentials and InsufficientScope.
    """
    caller = caller_of(services, environ, record)
    before = services.snapshot
    # What this client changed through another worker a moment ago is told as it is
    # now. Without a database the last picture is, and changes say so themselves.
    with suppress(StoreUnavailable):
        services.refresh()
    if services.snapshot is not before:
        caller = caller_of(services, environ, record)
    if caller.deployment_id is not None and not scoped:
        raise InsufficientScope("The token opens one deployment, and its predictions")
    return Asked(services, record, environ, caller, base_url)


def query_of(query: str) -> Mapping[str, str]:
    """A query string's values by name; raises InvalidFields for one given twice."""
    # The names are bytes of UTF-8, which WSGI hands over as Latin-1.
    text = query.encode("latin-1").decode(errors="replace")
    given = parse_qs(text, keep_blank_values=True)
    repeated = [name for name, values in given.items() if len(values) > 1]
    if repeated:
        raise InvalidFields({name: errors.REPEATED for name in repeated})
    return {name: values[0] for name, values in given.items()}
