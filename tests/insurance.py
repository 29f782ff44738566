"""Models that were trained with LightGBM's init_score, packaged with its columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from app.compilation import build
from app.config import Config
from app.package import PackageOptions, package
from backends import compiled, load
from backends.base import Backend
from backends.compiled import TREES, Verdict
from backends.explanations.materials import Materials
from backends.model import Model

ROWS = 300
FEATURES = ["age", "town"]


@dataclass(frozen=True)
class Policy:
    """A packaged model, and what it was made of.

    frame: the training data as its file has it, but for the categories' dtype.
    bundle, compiled: folders.
    """

    model: Model
    booster: lightgbm.Booster
    frame: pd.DataFrame
    data: Path
    bundle: Path
    compiled: Path

    def expected(self, frame: pd.DataFrame) -> np.ndarray:
        """Predictions by hand, of the positive label: float64 (n_rows,)."""
        features = frame[FEATURES]
        margin = np.asarray(
            self.booster.predict(features, raw_score=True, num_threads=1)
        )
        if self.model.offset is not None:
            margin = margin + frame[self.model.offset].to_numpy()
        if self.model.task == "binary":
            chance = 1 / (1 + np.exp(-margin))
            return chance if self.model.positive_label == "yes" else 1 - chance
        if self.model.link == "log":
            margin = np.exp(margin)
        if self.model.exposure is not None:
            margin = margin * frame[self.model.exposure].to_numpy()
        return margin

    def backend(self, engine: str) -> Backend:
        """engine: see `Backend.engine`."""
        found = load(
            self.bundle, self.model, self.compiled if engine == TREES else None
        )
        assert found.engine == engine
        return found

    @property
    def materials(self) -> Materials:
        return Materials(self.bundle, self.model)


def people(rows: int = ROWS, seed: int = 4) -> pd.DataFrame:
    """Numbers with gaps, levels, an offset `grade` and an exposure `years`."""
    random = np.random.default_rng(seed)
    age = np.round(random.uniform(18, 90, rows), 1)
    return pd.DataFrame(
        {
            "age": np.where(random.random(rows) < 0.1, np.nan, age),
            "town": pd.Categorical(random.choice(["Oslo", "a, b", "Łódź"], rows)),
            "grade": np.round(random.normal(0, 0.5, rows), 3),
            "years": np.round(random.uniform(0.1, 4, rows), 3),
        }
    )


def trained(frame: pd.DataFrame, objective: str, seed: int = 5) -> tuple[Any, Any]:
    """The target as the data has it, and as training takes it."""
    random = np.random.default_rng(seed)
    lean = frame["age"].fillna(30) / 40 - (frame["town"] == "Oslo") - 1
    if objective == "binary":
        codes = (lean + frame["grade"] + random.normal(0, 0.3, len(frame)) > 0) * 1
        return np.where(codes == 1, "yes", "no"), codes
    if objective == "regression":
        values = np.round(lean * 10 + frame["grade"] * 10, 3)
        return values, values
    rate = np.exp(lean + frame["grade"]) * frame["years"]
    claims = random.poisson(rate) + (objective == "gamma")
    return claims, claims


def make_policy(
    folder: Path,
    objective: str,
    *,
    offset: str | None = None,
    exposure: str | None = None,
    **options: Any,
) -> Policy:
    """Train with the columns as init_score, package, and compile."""
    folder.mkdir()
    frame = people()
    target, codes = trained(frame, objective)
    start = np.zeros(len(frame))
    if offset is not None:
        start += frame[offset].to_numpy()
    if exposure is not None:
        start += np.log(frame[exposure].to_numpy())
    parameters = {"objective": objective, "num_leaves": 5, "num_threads": 1}
    booster = lightgbm.train(
        parameters | {"verbosity": -1, "min_data_per_group": 5},
        lightgbm.Dataset(frame[FEATURES], codes, init_score=start),
        num_boost_round=10,
    )
    booster.save_model(folder / "model.txt")
    data = folder / "data.csv"
    frame.assign(target=target).to_csv(data, index=False)
    wanted = PackageOptions(
        model=folder / "model.txt",
        data=data,
        target="target",
        out=folder / "bundle",
        offset=offset,
        exposure=exposure,
        **options,
    )
    report = package(wanted, Config(home=folder))
    arrays = folder / "compiled"
    arrays.mkdir()
    reason, detail = build(str(report.folder), str(arrays))
    assert (reason, detail) == ("", "")
    compiled.write(arrays, report.model.id, Verdict(TREES))
    return Policy(report.model, booster, frame, data, report.folder, arrays)


def make_insurance(base: Path) -> dict[str, Policy]:
    """By name: each link, and each of the columns alone and both together."""
    return {
        "claims": make_policy(base / "claims", "poisson", exposure="years"),
        "costs": make_policy(base / "costs", "gamma", offset="grade", exposure="years"),
        "price": make_policy(base / "price", "regression", offset="grade"),
        "fraud": make_policy(
            base / "fraud", "binary", offset="grade", positive_class="no"
        ),
    }
