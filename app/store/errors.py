"""What can go wrong in the store; every message is ready for a person."""

from __future__ import annotations

from app.errors import AppError


class InvalidDatabaseUrl(AppError):
    """The database URL cannot be used; the message never repeats a password."""


class InvalidStoreUrl(AppError):
    """The URL of the shared files cannot be used."""


class StoreUnreachable(AppError):
    """The files that servers share cannot be reached, or not be read or written."""

    def __init__(self, path: str) -> None:
        super().__init__(f"The store cannot be asked for {path}")


class NotShared(AppError):
    """No server has put such a folder into the store."""

    def __init__(self, path: str) -> None:
        super().__init__(f"The store has no {path}")


class InvalidTar(AppError):
    """What lies in the store is no tar of plain files."""


class StoreUnavailable(AppError):
    """The database does not answer, or not in time."""


class SchemaTooNew(AppError):
    """A newer release has been at this database."""

    def __init__(self, found: str, known: str) -> None:
        super().__init__(
            f"The database has schema {found}, and this release knows schemas up to "
            f"{known}: install the newer release again, or restore a backup"
        )


class InvalidId(AppError):
    """An identifier is not 24 lower-case hexadecimal digits."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:64]!r} is not 24 lower-case hexadecimal digits")


class InvalidName(AppError):
    """A user's name or a deployment's label cannot be kept or shown as it is."""


class InvalidSetting(AppError):
    """A setting has a wrong value or does not exist; the message names it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")


class InvalidBundle(AppError):
    """A bundle folder holds something other than files and folders."""


class NameTaken(AppError):
    """There is a user of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a user {name!r} already")


class DeploymentIdTaken(AppError):
    """There is a deployment with this id."""

    def __init__(self, deployment_id: str) -> None:
        super().__init__(f"There is a deployment {deployment_id} already")


class UnknownUser(AppError):
    """No user has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user {name!r}")


class CannotOwn(AppError):
    """The user's role and what the user owns, or would, do not go together."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"User {name!r} owns {what}")


class UnknownToken(AppError):
    """No token has this id."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"There is no token {token_id[:24]!r}")


class AmbiguousToken(AppError):
    """More than one token id begins like this."""

    def __init__(self, beginning: str) -> None:
        super().__init__(f"More than one token id begins with {beginning!r}")


class UnknownModel(AppError):
    """No stored model has this id."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"There is no model {model_id[:64]!r}")


class UnknownDeployment(AppError):
    """No deployment with this id is there, or not for this user.

    Source: "Predictions for deployments", the list of errors.
    """

    def __init__(self, deployment_id: str, user_id: str | None = None) -> None:
        whom = "" if user_id is None else f" for user {user_id}"
        super().__init__(f"Deployment {deployment_id} cannot be found{whom}")


class UnknownJob(AppError):
    """No job with this id is there, or not for this user."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Batch prediction job {job_id[:64]} cannot be found")


class JobLost(AppError):
    """Another runner has the job now, or it was ended."""


class UploadRefused(AppError):
    """The job waits for no input, or gets it from another request already."""
