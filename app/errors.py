"""What can go wrong; which HTTP status it gets is said in `app.error_handlers`."""

from __future__ import annotations

from collections.abc import Sequence


class AppError(Exception):
    """Something a client did or met; the message is ready for the client."""


class InvalidToken(AppError):
    """No token, an unknown, expired or revoked one, or one of another user."""

    def __init__(self) -> None:
        super().__init__("Invalid API token")


class NoCredentials(AppError):
    """An Authorization header with a scheme and nothing behind it."""

    def __init__(self) -> None:
        super().__init__("Invalid Authorization header. No credentials provided.")


class InsufficientScope(AppError):
    """The token is good, and for another deployment only, or for predictions only."""

    def __init__(self, text: str = "The token is for another deployment") -> None:
        super().__init__(text)


class NotPermitted(AppError):
    """The caller may see what is asked for, and may not do this with it."""


class DatarobotKeyMissing(AppError):
    """The datarobot-key header is absent, empty or wrong."""

    def __init__(self) -> None:
        super().__init__("The datarobot-key header is missing")


class ExplainedDeploymentNotFound(AppError):
    """No such deployment, in the words of a request for explanations."""


class DeploymentIsExternal(AppError):
    """The deployment's model is scored elsewhere."""

    def __init__(self) -> None:
        super().__init__("Bad request")


class ScoredElsewhere(AppError):
    """The same, in the words of the rows API."""

    def __init__(self) -> None:
        super().__init__("The deployment's model is scored elsewhere")


class DeploymentNotActive(AppError):
    """The deployment is disabled."""

    def __init__(self) -> None:
        super().__init__("The deployment you are trying to predict on is not active.")


class DeploymentNotEnabled(AppError):
    """The same, in the words of the rows API."""

    def __init__(self, deployment_id: str) -> None:
        super().__init__(
            f"\N{OCTAGONAL SIGN} Deployment {deployment_id!r} is not enabled"
        )


class TakesTensors(AppError):
    """The model takes named tensors, where one that takes columns is needed."""

    def __init__(self) -> None:
        super().__init__(
            "The deployment's model takes and answers named tensors: send its rows to"
            " /deployment/<id>/forward"
        )


class IsUnstructured(AppError):
    """The model takes bytes, where one that takes rows is needed."""

    def __init__(self) -> None:
        super().__init__(
            "The deployment's model is unstructured: send its requests to"
            " /predictionsUnstructured"
        )


class NotUnstructured(AppError):
    """The model takes rows, where one that takes bytes is needed."""

    def __init__(self) -> None:
        super().__init__(
            "Only unstructured custom models can be used with this endpoint. Use"
            " /predictions instead."
        )


class QueryNotAccepted(AppError):
    """A query at an address that takes none."""

    def __init__(self) -> None:
        super().__init__("Query parameters not accepted on this endpoint")


class HookNotAllowed(AppError):
    """The model is code that the server's operator did not allow to be run."""

    def __init__(self) -> None:
        super().__init__(
            "The deployment's model is a Python hook, which is not run unless the"
            " server's operator allows it: foretell update <id> --allow-python-hook"
        )


class IsForecasting(AppError):
    """Rows by name of a model that needs the history of series."""

    def __init__(self) -> None:
        super().__init__(
            "The deployment's model is a time series model: send its series to the"
            " timeSeriesPredictions route"
        )


class TooManyRequests(AppError):
    """The deployment was asked more often than it may be.

    retry_after: whole seconds until it may be asked again.
    """

    def __init__(self, most: int, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            f"The deployment may be asked {most} times a minute; try again in"
            f" {retry_after} s"
        )


class ModelPackageNotFound(AppError):
    """No model package with this id is there, or not for this user."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"Model package {model_id[:64]} cannot be found")


class NoRoomForUpload(AppError):
    """What a client sends cannot be written to the disk; the log says why."""

    def __init__(self) -> None:
        super().__init__("The server cannot keep what was sent; try again later")


class TooManyLogins(AppError):
    """More passwords were tried than are looked at.

    retry_after: whole seconds until another one is.
    """

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"Too many passwords were tried; try again in {retry_after} s")


class NotTimeSeries(AppError):
    """A time series parameter for a model that is none."""

    def __init__(self) -> None:
        super().__init__(
            "Predictions on models that are not time series models are not supported"
            " on this endpoint. Please use the predict endpoint instead."
        )


class IsTimeSeries(AppError):
    """Explanations of a time series model at an address that knows of none."""

    def __init__(self) -> None:
        super().__init__(
            "This endpoint does not support predictions on time series models. Please"
            " use the timeSeriesPredictions route instead."
        )


class IntervalsUnknown(AppError):
    """The deployment tells prediction intervals that its model does not have."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The deployment tells prediction intervals of {size} %, which its model"
            " does not have: set another prediction_interval_size, or deploy a model"
            " with intervals of that size"
        )


class NotAcceptable(AppError):
    """The Accept header allows neither JSON nor CSV."""

    def __init__(self) -> None:
        super().__init__("Accept must allow application/json or text/csv")


class Overloaded(AppError):
    """As many requests are in flight as the server takes on."""

    def __init__(self) -> None:
        super().__init__("The server is busy; try again shortly")


class NotReady(AppError):
    """The database could not be read yet: nobody's token is known."""

    def __init__(self) -> None:
        super().__init__("The server is not ready")


class ModelUnavailable(AppError):
    """The deployment's model cannot be loaded on this server."""

    def __init__(self) -> None:
        super().__init__("The deployment's model cannot be loaded")


class BodyUnreadable(AppError):
    """The body is not what its type says, or cannot be told apart into rows."""


class JsonUnreadable(BodyUnreadable):
    """The body is to be JSON and is not."""


class AlreadyInStatus(AppError):
    """The deployment is to become what it is.

    Source: the wire contract, a recorded answer.
    """

    def __init__(self, status: str) -> None:
        super().__init__(f"Deployment already in {status} status.")


class FormInsteadOfJson(AppError):
    """The body is a form where an object in JSON is needed."""

    def __init__(self) -> None:
        super().__init__(
            "The body is a form: send JSON, with Content-Type: application/json"
        )


class NoDataToPredict(AppError):
    """The body holds no rows."""

    def __init__(self) -> None:
        super().__init__("No data to predict on")


class DuplicateColumns(AppError):
    """A column name stands twice in the data."""


class BodyTooLarge(AppError):
    """The body is over a limit: bytes, inflated bytes, rows or columns."""


class UnsupportedMediaType(AppError):
    """The body's type or encoding is none that is read here."""


class PassthroughColumnsMissing(AppError):
    """A column that the request wants passed through is not in the data."""


class AssociationIdMissing(AppError):
    """The column that the deployment tells rows apart by is not in the data."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"The deployment needs the column {column!r}, which tells rows apart: it is"
            " not in the data"
        )


class DeadlineExceeded(AppError):
    """The request took longer than a request may."""

    def __init__(self) -> None:
        super().__init__("The request took longer than the server allows")


class SlowClient(AppError):
    """The body did not arrive in the time that a request may take."""

    def __init__(self) -> None:
        super().__init__("The request's body did not arrive in time")


class PredictionNotFinite(AppError):
    """The model answered no finite number for a row."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}: the model's prediction is not a finite number")


class OutputColumnsRefused(AppError):
    """What a job says of its output's columns does not fit the model's."""


class OutputColumnsClash(AppError):
    """A passthrough column has the name of an output column."""

    def __init__(self, names: Sequence[str]) -> None:
        listed = ", ".join(map(repr, names))
        super().__init__(
            f"'passthroughColumns': the answer itself has columns named {listed}"
        )
