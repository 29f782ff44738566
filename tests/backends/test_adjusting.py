"""Offset and exposure enter predictions as they entered training."""

from collections.abc import Mapping
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import adjusting
from backends.explanations.base import NotExplainable
from backends.features import Columns, Decoder
from backends.model import Feature, Model
from tests.insurance import FEATURES, Policy, people

NAMES = ["claims", "costs", "price", "fraud"]
ENGINES = ["lightgbm", "trees"]

every = pytest.mark.parametrize("name", NAMES)
both = pytest.mark.parametrize("engine", ENGINES)

LOG = Model(
    id="",
    name="",
    format="lightgbm",
    file="model.txt",
    task="regression",
    target="y",
    features=(Feature("x", "numeric"),),
    offset="o",
    exposure="e",
    link="log",
)


def decoded(policy: Policy, rows: int = 150, seed: int = 9) -> Columns:
    """Rows that the model was not trained on."""
    frame = people(rows, seed).astype({"town": object})
    records = frame.where(frame.notna(), None).to_dict("records")
    return Decoder.of(policy.model).from_records(records)


@every
@both
def test_predictions_are_those_of_the_booster_by_hand(
    insurance: Mapping[str, Policy], name: str, engine: str
) -> None:
    policy = insurance[name]
    answers = policy.backend(engine).predict(decoded(policy))
    expected = policy.expected(people(150, 9))
    np.testing.assert_allclose(answers[:, 0], expected, rtol=1e-13)
    plain = policy.booster.predict(people(150, 9)[FEATURES], num_threads=1)
    assert np.abs(answers[:, 0] - plain).max() > 0.1


def test_training_library_evaluates_the_same_predictions() -> None:
    # Unlike its predictions, its evaluations have the init_score in them.
    frame = people()
    target = np.round(frame["years"] * 2)
    start = np.log(frame["years"].to_numpy())
    data = lightgbm.Dataset(
        frame[FEATURES], target, init_score=start, free_raw_data=False
    )
    seen: list[np.ndarray] = []

    def keep(values: np.ndarray, _: lightgbm.Dataset) -> tuple[str, float, bool]:
        seen.append(np.array(values))
        return "kept", 0.0, False

    parameters = {"objective": "poisson", "num_threads": 1, "verbosity": -1}
    booster = lightgbm.train(
        parameters | {"metric": "none"},
        data,
        num_boost_round=5,
        valid_sets=[data],
        feval=keep,
    )
    margins = booster.predict(frame[FEATURES], raw_score=True, num_threads=1)
    columns = Columns(np.zeros((len(frame), 1)), exposure=frame["years"].to_numpy())
    answers = adjusting.predictions(LOG, margins[:, None], columns)
    np.testing.assert_allclose(answers[:, 0], seen[-1], rtol=1e-9)


@every
@both
def test_rows_are_predicted_alike_alone_and_together(
    insurance: Mapping[str, Policy], name: str, engine: str
) -> None:
    policy = insurance[name]
    backend, columns = policy.backend(engine), decoded(policy)
    together = backend.predict(columns)
    singly = [backend.predict(columns.take(np.array([row]))) for row in range(150)]
    np.testing.assert_array_equal(np.concatenate(singly), together)


@every
@both
def test_raw_scores_are_the_trees_own(
    insurance: Mapping[str, Policy], name: str, engine: str
) -> None:
    policy = insurance[name]
    raw = policy.backend(engine).raw_scores(decoded(policy))
    features = people(150, 9)[FEATURES]
    expected = policy.booster.predict(features, raw_score=True, num_threads=1)
    np.testing.assert_array_equal(raw[:, 0], expected)


@every
@both
def test_rows_without_offset_and_exposure_are_predicted_by_the_trees_alone(
    insurance: Mapping[str, Policy], name: str, engine: str
) -> None:
    policy = insurance[name]
    alone = replace(decoded(policy), offset=None, exposure=None)
    bare = policy.backend(engine).predict(alone)
    expected = policy.booster.predict(people(150, 9)[FEATURES], num_threads=1)
    if name == "fraud":
        expected = 1 - np.asarray(expected)
    np.testing.assert_allclose(bare[:, 0], expected, rtol=1e-13)


numbers = st.floats(-30, 30)


@settings(deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers, st.floats(1e-6, 1e6)), min_size=1, max_size=9)
)
def test_log_link_adds_the_offset_and_multiplies_by_the_exposure(
    rows: list[tuple[float, float, float]],
) -> None:
    margins, offset, exposure = np.array(rows).T
    columns = Columns(margins[:, None], offset=offset, exposure=exposure)
    answers = adjusting.predictions(LOG, margins[:, None], columns)
    np.testing.assert_allclose(
        answers[:, 0], np.exp(margins + offset + np.log(exposure)), rtol=1e-12
    )


def test_what_is_beyond_all_numbers_is_infinite_without_a_warning() -> None:
    columns = Columns(np.zeros((1, 1)), offset=np.array([1000.0]))
    assert adjusting.predictions(LOG, np.zeros((1, 1)), columns)[0, 0] == np.inf


# ---- Explanations


def brute_force(policy: Policy, columns: Columns, engine: str) -> np.ndarray:
    """XEMP strengths (n_rows, f), a prediction for each substitution."""
    backend, exemplars = policy.backend(engine), policy.materials.exemplars

    def scale(rows: Columns) -> np.ndarray:
        values = backend.predict(rows)[:, 0]
        is_binary = policy.model.task == "binary"
        return np.log(values / (1 - values)) if is_binary else values

    strengths = np.zeros((len(columns), len(exemplars.features)))
    for place, feature in enumerate(exemplars.features.tolist()):
        for number, weight in enumerate(exemplars.weights[:, place].tolist()):
            changed = columns.take(np.arange(len(columns)))
            changed.matrix[:, feature] = exemplars.columns.matrix[number, feature]
            if weight:
                strengths[:, place] += weight * (scale(columns) - scale(changed))
    return strengths


@every
@both
def test_xemp_explains_predictions_with_offset_and_exposure(
    insurance: Mapping[str, Policy], name: str, engine: str
) -> None:
    policy = insurance[name]
    columns = decoded(policy, 40)
    found = policy.backend(engine).explain(columns, "xemp", policy.materials)
    expected = brute_force(policy, columns, engine)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-7, atol=1e-9)
    assert np.abs(expected).max() > 0.1


@every
@both
def test_shap_explains_the_trees_margin(
    insurance: Mapping[str, Policy], name: str, engine: str
) -> None:
    policy = insurance[name]
    columns = decoded(policy, 40)
    backend = policy.backend(engine)
    found = backend.explain(columns, "shap", policy.materials)
    sign = -1 if name == "fraud" else 1
    margins = sign * backend.raw_scores(columns)[:, 0]
    assert found.base is not None
    added = found.base[:, 0] + found.values[:, 0].sum(axis=1)
    np.testing.assert_allclose(added, margins, rtol=1e-9, atol=1e-9)
    features = people(40, 9)[FEATURES]
    own = policy.booster.predict(features, pred_contrib=True, num_threads=1)
    every = np.zeros((40, len(FEATURES)))
    every[:, found.features] = found.values[:, 0]
    np.testing.assert_allclose(every, sign * own[:, :-1], atol=1e-9)


@both
def test_probability_with_an_offset_is_not_shared_among_features(
    insurance: Mapping[str, Policy], engine: str
) -> None:
    policy = insurance["fraud"]
    with pytest.raises(NotExplainable, match="shap_output=margin"):
        policy.backend(engine).explain(
            decoded(policy, 20), "shap_probability", policy.materials
        )
