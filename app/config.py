"""The settings: each once, with its default, unit, meaning and environment name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.machine import cores


class InvalidConfig(ValueError):
    """One or more settings are wrong; the message lists them all."""


def _setting(default: Any, meaning: str, unit: str = "") -> Any:
    return dataclasses.field(
        default=default, metadata={"meaning": meaning, "unit": unit}
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting; the environment name is `FORETELL_` and the name in capitals."""

    home: Path = _setting(
        Path("~/.foretell"), "state folder: database, model bundles, caches"
    )
    kernels: Path = _setting(
        "", "folder of compiled kernels; empty: `kernels` in the state folder"
    )
    database_url: str = _setting(
        "", "SQLAlchemy URL of the database; empty: a SQLite file in the state folder"
    )
    store_url: str = _setting(
        "",
        "URL of the object store that servers share bundles and jobs through, such as"
        " s3://BUCKET/FOLDER; empty: the state folder",
    )
    bind: str = _setting(
        "127.0.0.1:8080", "address to listen on, or unix:/path/to/socket"
    )
    workers: int = _setting(0, "worker processes; 0: one for each core")
    scoring_threads: int = _setting(
        0, "threads a worker scores large requests with; 0: one for each core"
    )
    datarobot_key: str = _setting(
        "", "datarobot-key that /predApi routes ask for; empty: none is asked for"
    )
    max_body: int = _setting(
        52_428_800, "largest request body, before and after inflation", "bytes"
    )
    max_inflation: int = _setting(
        200, "largest ratio of an inflated body to what was sent"
    )
    max_rows: int = _setting(5_000_000, "most rows in a request")
    max_columns: int = _setting(10_000, "most columns in a request")
    max_answer: int = _setting(536_870_912, "largest answer of the rows API", "bytes")
    max_pixels: int = _setting(50_000_000, "largest picture in a request", "pixels")
    request_seconds: float = _setting(
        600.0, "time a request may take before it is answered 504", "s"
    )
    explanation_seconds: float = _setting(
        60.0, "time that the explanations of a request may take", "s"
    )
    max_explanations: int = _setting(
        5_000_000, "most explanations in an answer: rows × features × classes told"
    )
    max_forecasts: int = _setting(500_000, "most forecasts in an answer")
    max_steps: int = _setting(
        20_000_000, "time steps × series that the forecasts of a request may look at"
    )
    max_in_flight: int = _setting(
        64, "requests being answered at once, all workers; beyond it 503"
    )
    bulk_body: int = _setting(
        1_048_576, "bodies larger than this wait for one of the bulk slots", "bytes"
    )
    bulk_slots: int = _setting(1, "large requests that a worker scores at once")
    model_cache: int = _setting(
        2_147_483_648, "memory for loaded models in each worker", "bytes"
    )
    refresh_seconds: float = _setting(
        0.1, "how often a worker looks for changed deployments and tokens", "s"
    )
    model_seconds: float = _setting(
        120.0, "time a model file may take to be parsed and checked", "s"
    )
    model_memory: int = _setting(
        4_294_967_296, "memory that parsing and checking a model may take", "bytes"
    )
    hook_seconds: float = _setting(
        60.0, "time that a Python hook may take to answer a request", "s"
    )
    max_upload: int = _setting(
        21_474_836_480, "largest bundle, and largest input of a batch job", "bytes"
    )
    batch_locations: str = _setting(
        "",
        "where batch jobs may read and write beside uploads and downloads, separated by"
        " blanks: folders, and beginnings of s3:// and http(s):// URLs; empty: nowhere",
    )
    batch_hours: int = _setting(48, "how long the output of a batch job is kept", "h")
    dask_scheduler: str = _setting(
        "", "tcp://HOST:PORT of the Dask cluster that scores batch jobs; empty: none"
    )
    keep_alive: int = _setting(65, "idle time before a connection is closed", "s")
    graceful_seconds: int = _setting(
        30, "time that requests in flight have to finish on a stop", "s"
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the FORETELL_* variables.

        Raises InvalidConfig listing every wrong or unknown one.
        """
        environ = os.environ if environ is None else environ
        fields = {environment_name(field.name): field for field in settings()}
        given = {
            name: value
            for name, value in environ.items()
            if name.startswith("FORETELL_")
        }
        values: dict[str, Any] = {}
        wrong = [
            f"{name} is not a setting" for name in sorted(set(given) - set(fields))
        ]
        for name, field in fields.items():
            if name not in given:
                continue
            try:
                values[field.name] = _parse(given[name], field.default)
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        if wrong:
            raise InvalidConfig("; ".join(wrong))
        return cls(**values)

    def __post_init__(self) -> None:
        # A frozen dataclass settles its derived values once, here.
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        kernels = self.kernels or self.home / "kernels"
        object.__setattr__(self, "kernels", Path(kernels).expanduser().absolute())
        for name in ("workers", "scoring_threads"):
            if getattr(self, name) == 0:
                object.__setattr__(self, name, cores().usable)
        if not self.database_url:
            object.__setattr__(
                self, "database_url", f"sqlite:///{self.home / 'foretell.db'}"
            )


def settings() -> tuple[dataclasses.Field[Any], ...]:
    """Every setting, with meaning and unit in its metadata."""
    return dataclasses.fields(Config)


def environment_name(name: str) -> str:
    """`max_body` → `FORETELL_MAX_BODY`."""
    return f"FORETELL_{name.upper()}"


def _parse(text: str, default: Any) -> Any:
    if isinstance(default, Path):
        if not text:
            raise ValueError("a path is expected")
        return Path(text)
    if isinstance(default, str):
        return text
    kind = type(default)
    try:
        value = kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{wanted} is expected, not {text!r}") from None
    if not 0 <= value < 2**53 or (value == 0 and default != 0):
        raise ValueError(f"{text} is out of range")
    return value
