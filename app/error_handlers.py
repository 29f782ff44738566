"""Everything raised on the way, as JSON in the documented envelope.

The one place where exceptions become HTTP.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from app.batch.downloading import CsvNotAccepted, DownloadUnavailable
from app.batch.expiry import StorageFailed
from app.batch.intake import InputRefused
from app.batch.uploading import UploadNotCsv
from app.context import current_record
from app.errors import (
    AlreadyInStatus,
    AssociationIdMissing,
    BodyTooLarge,
    BodyUnreadable,
    DatarobotKeyMissing,
    DeadlineExceeded,
    DeploymentIsExternal,
    DeploymentNotActive,
    DeploymentNotEnabled,
    DuplicateColumns,
    ExplainedDeploymentNotFound,
    FormInsteadOfJson,
    HookNotAllowed,
    InsufficientScope,
    IntervalsUnknown,
    InvalidToken,
    IsForecasting,
    IsTimeSeries,
    IsUnstructured,
    JsonUnreadable,
    ModelPackageNotFound,
    ModelUnavailable,
    NoCredentials,
    NoDataToPredict,
    NoRoomForUpload,
    NotAcceptable,
    NotPermitted,
    NotReady,
    NotTimeSeries,
    NotUnstructured,
    OutputColumnsClash,
    Overloaded,
    PassthroughColumnsMissing,
    PredictionNotFinite,
    QueryNotAccepted,
    ScoredElsewhere,
    SlowClient,
    TakesTensors,
    TooManyLogins,
    TooManyRequests,
    UnsupportedMediaType,
)
from app.front import methods_of
from app.humility_changes import HumilityRefused, SeriesUnknown, UnknownRule
from app.management.projects import UnknownProject
from app.replacement import ReplacementRefused, ThresholdRefused
from app.store.errors import (
    CannotOwn,
    InvalidName,
    InvalidSetting,
    StoreUnavailable,
    StoreUnreachable,
    UnknownDeployment,
    UnknownJob,
    UnknownUser,
    UploadRefused,
)
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    NotInitialized,
)
from backends.features import DataError
from backends.humility import HumilityError
from backends.humility_json import InvalidRule
from backends.tensors.refusals import DataUrlInvalid, FeatureMissing, TypeMismatch
from backends.timeseries.refusals import ForecastRefused, ForecastTooLarge
from backends.unstructured.refusals import (
    ContentNotTaken,
    HookFailed,
    HookTooSlow,
    TooLarge,
)
from schemas.arguments import InvalidArgument, InvalidInstant
from schemas.management import InvalidFields

log = logging.getLogger(__name__)

Entry = TypeVar("Entry")

# A status that HTTP knows nothing of: the documents' own.
HUMILITY: Final = 480

# Looked up along the class's ancestry. 504 and 503 are retried by clients.
_STATUS: Final[dict[type[Exception], int]] = {
    InvalidToken: 401,
    NoCredentials: 401,
    DatarobotKeyMissing: 401,
    InsufficientScope: 403,
    CannotOwn: 403,
    DeploymentNotEnabled: 403,
    NotPermitted: 403,
    UnknownDeployment: 404,
    ModelPackageNotFound: 404,
    ExplainedDeploymentNotFound: 404,
    DeploymentIsExternal: 400,
    ScoredElsewhere: 400,
    UnknownJob: 404,
    DownloadUnavailable: 404,
    CsvNotAccepted: 406,
    UploadNotCsv: 406,
    UploadRefused: 422,
    InputRefused: 422,
    StorageFailed: 503,
    DeploymentNotActive: 422,
    NotInitialized: 422,
    NotExplainable: 422,
    ExplanationTooSlow: 422,
    HumilityError: HUMILITY,
    NotTimeSeries: 422,
    IsTimeSeries: 422,
    IntervalsUnknown: 422,
    TakesTensors: 422,
    IsForecasting: 422,
    IsUnstructured: 422,
    NotUnstructured: 422,
    HookNotAllowed: 422,
    HookFailed: 422,
    HookTooSlow: 504,
    QueryNotAccepted: 400,
    ContentNotTaken: 415,
    TooLarge: 413,
    ForecastRefused: 400,
    ForecastTooLarge: 413,
    NotAcceptable: 406,
    InvalidArgument: 422,
    InvalidInstant: 400,
    PassthroughColumnsMissing: 400,
    OutputColumnsClash: 422,
    AlreadyInStatus: 409,
    AssociationIdMissing: 422,
    InvalidFields: 422,
    InvalidName: 422,
    InvalidRule: 422,
    InvalidSetting: 422,
    UnknownUser: 422,
    HumilityRefused: 422,
    SeriesUnknown: 422,
    UnknownRule: 404,
    UnknownProject: 404,
    ReplacementRefused: 422,
    ThresholdRefused: 422,
    FormInsteadOfJson: 422,
    BodyUnreadable: 400,
    NoDataToPredict: 422,
    DuplicateColumns: 422,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    DataError: 422,
    TooManyRequests: 429,
    TooManyLogins: 429,
    PredictionNotFinite: 422,
    Overloaded: 503,
    NotReady: 503,
    StoreUnavailable: 503,
    ModelUnavailable: 503,
    NoRoomForUpload: 503,
    StoreUnreachable: 503,
    DeadlineExceeded: 504,
    SlowClient: 408,
}

# The rows API tells errors apart by a code, and its statuses are others.
_ROWS: Final[dict[type[Exception], tuple[str, int]]] = {
    FeatureMissing: ("FeatureNotFound", 400),
    DataUrlInvalid: ("DataUriError", 400),
    TypeMismatch: ("JsonPropertyTypeMismatch", 400),
    JsonUnreadable: ("JsonParsingError", 400),
    InvalidToken: ("InvalidTokenError", 401),
    NoCredentials: ("InvalidTokenError", 401),
    InsufficientScope: ("InsufficientScopeTokenError", 403),
    DeploymentNotEnabled: ("DeploymentNotEnabled", 403),
    HumilityError: ("BadData", 400),
}
_ROWS_CODES: Final = {
    400: "BadData",
    403: "InsufficientScopeTokenError",
    404: "ResourceNotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "RequestTooLarge",
    415: "UnsupportedContentType",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}

# The documented text has two blanks after "server.".
_UNKNOWN_URL = (
    "The requested URL was not found on the server.  If you entered the URL manually,"
    " please check your spelling and try again."
)
_STORE_AWAY = "The server's database does not answer; try again shortly"
_INTERNAL = "The server met an internal error; its log has the request id"


def register_error_handlers(app: Flask) -> None:
    """Answer every exception of this application as JSON."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _any)


def _http(error: HTTPException) -> Response:
    if isinstance(error, NotFound) and request.url_rule is None:
        error = _not_allowed() or error
    text = _UNKNOWN_URL if isinstance(error, NotFound) else error.description
    response = _told(error, text or error.name, error.code or 500)
    # 405 names the methods that are allowed, 413 and 416 their own headers.
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _not_allowed() -> MethodNotAllowed | None:
    """What there is to say of an address that is there, but for its slash at the end
    and for the method: routing tells only of one of the two."""
    adapter = current_app.create_url_adapter(request)
    methods = methods_of(adapter, request.path) if adapter is not None else []
    return MethodNotAllowed(methods) if methods else None


def _any(error: Exception) -> Response:
    status = _status(error)
    if status is None:
        log.exception("request %s failed", current_record().request_id)
        return _told(error, _INTERNAL, 500)
    if status == 503 and error.__cause__ is not None:
        log.error("request %s: %s", current_record().request_id, error.__cause__)
    text = error.message if isinstance(error, InvalidArgument) else str(error)
    if isinstance(error, StoreUnavailable):
        # The reason is the driver's, and names the database.
        log.error("request %s: %s", current_record().request_id, error)
        text = _STORE_AWAY
    response = _told(error, text, status)
    if isinstance(error, InvalidFields):
        response = message(text, status, error.errors)
    if status == 503:
        response.headers["Retry-After"] = "1"
    if isinstance(error, TooManyRequests | TooManyLogins):
        response.headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _told(error: Exception, text: str | dict[str, str], status: int) -> Response:
    """The answer in the dialect of the address."""
    if not request.path.startswith("/deployment/"):
        return message(text, status)
    known = _found(error, _ROWS)
    if known is None:
        status = 400 if status in (406, 422) else status
        known = _ROWS_CODES.get(status, "BadData"), status
    code, status = known
    body = json.dumps({"errorCode": code, "errorMessage": text})
    return Response(body, status, content_type="application/json")


def _status(error: Exception) -> int | None:
    return _found(error, _STATUS)


def _found(error: Exception, table: Mapping[type[Exception], Entry]) -> Entry | None:
    kinds = type(error).__mro__
    return next((table[kind] for kind in kinds if kind in table), None)


def message(
    text: str | dict[str, str], status: int, errors: Mapping[str, Any] | None = None
) -> Response:
    """An error body; errors: what is wrong by field, where fields are.

    ASCII with escapes, and a bare content type: clients that find any other type
    read the body as ASCII text.
    """
    told = {"message": text} if errors is None else {"message": text, "errors": errors}
    body = json.dumps(told)
    # Without a phrase of ours this status line would say UNKNOWN.
    line = f"{HUMILITY} HUMILITY RULE" if status == HUMILITY else status
    return Response(body, line, content_type="application/json")
