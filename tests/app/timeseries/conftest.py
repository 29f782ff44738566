"""Bundles of time series models as packaging makes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from app.bundling import PackageReport
from app.config import Config
from app.timeseries.card import TimeSeriesOptions
from app.timeseries.packaging import package
from tests.forecasts import Forecaster
from tests.training_files import write_training_files


@pytest.fixture(scope="session")
def packaged(
    forecasters: Mapping[str, Forecaster], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], PackageReport]:
    """Bundles by the forecaster's name, each made once."""
    kept: dict[str, PackageReport] = {}

    def find(name: str) -> PackageReport:
        if name not in kept:
            folder = tmp_path_factory.mktemp(name)
            given = write_training_files(folder, forecasters[name])
            kept[name] = package(TimeSeriesOptions(**given), Config())
        return kept[name]

    return find


@pytest.fixture
def again(
    packaged: Callable[[str], PackageReport], tmp_path: Path
) -> Callable[[str], Path]:
    """A copy of a bundle, to be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(packaged(name).folder, tmp_path / "again"))

    return copy
