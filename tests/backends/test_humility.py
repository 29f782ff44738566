"""Humility rules: what triggers, what wins, and which rules are refused."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.bundle import STATISTICS
from backends.features import Columns, Decoder
from backends.humility import (
    HumilityError,
    LowObservation,
    NewSeries,
    NoOperation,
    OutlyingInput,
    Override,
    Rule,
    ThrowError,
    UncertainPrediction,
    fitting,
    judge,
    misfit,
)
from backends.humility_bounds import (
    BoundsUnknown,
    most_important_number,
    outlying_input,
    target_value,
    uncertain_prediction,
)
from backends.humility_check import check
from backends.humility_json import InvalidRule, from_json, to_json
from backends.model import Feature, Model

CITIES = ("Berlin", "Łódź", "a, b")
PRICE = Model(
    id="ab" * 12,
    name="price",
    format="lightgbm",
    file="model.txt",
    task="regression",
    target="price",
    features=(
        Feature("income", "numeric"),
        Feature("city", "categorical", categories=CITIES),
        Feature("note", "text"),
        Feature("rooms", "categorical", categories=(1, 2, 3)),
    ),
    prediction_bounds=(10.0, 90.0),
)
SALE = dataclasses.replace(
    PRICE,
    task="binary",
    target="sale",
    labels=("no", "yes"),
    positive_label="yes",
    prediction_bounds=None,
)
SIZE = dataclasses.replace(SALE, task="multiclass", labels=("S", "M", "L"))
CODES = dataclasses.replace(SALE, labels=(0, 1), positive_label=1)
TASKS = {"regression": PRICE, "binary": SALE, "multiclass": SIZE}
SERIES = {"seriesIdColumn": "shop"}
ONE_SERIES = {"seriesIdColumn": None}


def of_series(model, time_series=SERIES):
    return dataclasses.replace(model, time_series=time_series)


def rule(trigger, action=None, number=0):
    return Rule(f"{number:024x}", f"rule {number}", trigger, action or NoOperation())


def rules(*pairs):
    return [rule(*pair, number) for number, pair in enumerate(pairs)]


def rows(**cells):
    """Columns of rows; what is not given is missing."""
    count = len(next(iter(cells.values())))
    records = [
        {
            each.name: cells[each.name][row]
            for each in PRICE.features
            if each.name in cells
        }
        | {each.name: None for each in PRICE.features if each.name not in cells}
        for row in range(count)
    ]
    return Decoder(PRICE.features).from_records(records, refuse_invalid=False)


def triggered(trigger, model, values, **cells):
    values = np.array(values, float).reshape(-1, 1)
    columns = rows(**cells) if cells else rows(income=[None] * len(values))
    return judge([rule(trigger)], model, columns, values).triggered[0].tolist()


def test_regression_is_uncertain_outside_of_the_bounds():
    trigger = UncertainPrediction(10, 90)
    values = [9.999, 10, 50, 90, 90.001]
    expected = [True, False, False, False, True]
    assert triggered(trigger, PRICE, values) == expected


def test_binary_is_uncertain_inside_of_the_bounds():
    trigger = UncertainPrediction(0.4, 0.6)
    values = [0.399, 0.4, 0.5, 0.6, 0.601]
    expected = [False, True, True, True, False]
    assert triggered(trigger, SALE, values) == expected


def test_outlying_input_is_outside_of_the_bounds_and_not_missing():
    trigger = OutlyingInput("income", 1, 5)
    cells = [0.9, 1, 5, 5.1, None, math.inf, "x"]
    expected = [True, False, False, True, False, True, False]
    assert triggered(trigger, PRICE, [0] * len(cells), income=cells) == expected


def test_low_observation_is_what_is_not_listed():
    trigger = LowObservation("city", ("Łódź", "a, b"))
    cells = ["Łódź", "Berlin", "a, b", "Atlantis", None, ""]
    expected = [False, True, False, True, True, True]
    assert triggered(trigger, SALE, [0] * len(cells), city=cells) == expected


def test_text_that_is_not_listed_triggers():
    trigger = LowObservation("note", ("fine", "5", " fine"))
    cells = ["fine", "Fine", " fine", "", None, 5, "5.0", "fine, too"]
    expected = [False, True, False, True, True, False, True, True]
    assert triggered(trigger, PRICE, [0] * len(cells), note=cells) == expected
    empty = LowObservation("note", ("",))
    assert triggered(empty, SALE, [0] * 3, note=["", None, "x"]) == [
        *(False,) * 2,
        True,
    ]


def test_levels_may_be_numbers():
    trigger = LowObservation("rooms", (3, 1))
    assert triggered(trigger, PRICE, [0] * 4, rooms=[1, "2", "3.0", 4]) == [
        *(False, True, False, True)
    ]


def test_new_series_are_those_that_training_did_not_have():
    listed = rules((NewSeries(), Override(3)), (NewSeries(), NoOperation()))
    new = np.array([False, True, True])
    arguments = listed, of_series(PRICE), rows(income=[1, 1, 1]), np.zeros((3, 1))
    found = judge(*arguments, new)
    assert found.triggered.tolist() == [[False, True, True]] * 2
    assert found.overriding.tolist() == [-1, 0, 0]
    unknown = judge(*arguments)
    assert not unknown.triggered.any()
    assert unknown.overriding.tolist() == [-1, -1, -1]


def test_new_series_is_refused_by_an_error():
    listed = [rule(NewSeries(), ThrowError("new"))]
    arguments = listed, of_series(PRICE), rows(income=[1, 1]), np.zeros((2, 1))
    with pytest.raises(HumilityError, match="^new$") as raised:
        judge(*arguments, np.array([False, True]))
    assert raised.value.humbled.triggered.tolist() == [[False, True]]
    assert not judge(*arguments, np.zeros(2, bool)).triggered.any()


def test_first_value_wins():
    # The documented example: the value 100, and both rules trigger.
    both = rules(
        (UncertainPrediction(1, 50), Override(55)),
        (UncertainPrediction(45, 50), Override(66)),
    )
    found = judge(both, PRICE, rows(income=[1]), np.array([[100.0]]))
    assert found.triggered.tolist() == [[True], [True]]
    assert found.overriding.tolist() == [0]
    found = judge(both[::-1], PRICE, rows(income=[1]), np.array([[100.0]]))
    assert found.overriding.tolist() == [0]


def test_error_wins_over_values():
    # The documented example, with a value that is outside of both.
    both = rules(
        (UncertainPrediction(1, 55), Override(55)),
        (UncertainPrediction(45, 60), ThrowError()),
    )
    with pytest.raises(
        HumilityError, match=r"^Humility ReturnError action triggered\.$"
    ) as raised:
        judge(both, PRICE, rows(income=[1, 1]), np.array([[70.0], [50.0]]))
    assert raised.value.humbled.triggered.tolist() == [[True, False], [True, False]]
    assert raised.value.humbled.overriding.tolist() == [0, -1]
    assert raised.value.rule is both[1]


def test_first_error_is_told():
    listed = rules(
        (UncertainPrediction(0, 1000), ThrowError("never")),
        (UncertainPrediction(0, 10), ThrowError("first")),
        (UncertainPrediction(0, 1), ThrowError("second")),
    )
    with pytest.raises(HumilityError, match="^first$"):
        judge(listed, PRICE, rows(income=[1, 1]), np.array([[5.0], [50.0]]))


def test_later_value_is_taken_where_the_first_does_not_trigger():
    listed = rules(
        (UncertainPrediction(0, 50), NoOperation()),
        (UncertainPrediction(0, 100), Override(1)),
        (UncertainPrediction(0, 50), Override(2)),
    )
    values = np.array([[20.0], [70.0], [200.0]])
    found = judge(listed, PRICE, rows(income=[1, 1, 1]), values)
    assert found.overriding.tolist() == [-1, 2, 1]


def test_no_rows_are_judged():
    columns = Columns(np.empty((0, 4)))
    found = judge(
        rules((OutlyingInput("income", 0, 1), ThrowError())),
        *(PRICE, columns, np.empty((0, 1))),
    )
    assert found.triggered.shape == (1, 0)
    assert found.overriding.shape == (0,)


NUMBERS = st.sampled_from([-math.inf, -1.0, 0.0, 0.4, 0.5, 0.6, 1.0, 7.0, math.inf])
BOUNDS = st.tuples(*[st.sampled_from([-1.0, 0.0, 0.4, 0.5, 0.6, 1.0, 6.0])] * 2).map(
    sorted
)
MADE = st.builds(
    rule,
    st.one_of(
        BOUNDS.map(lambda each: UncertainPrediction(*each)),
        BOUNDS.map(lambda each: OutlyingInput("income", *each)),
        st.sets(st.sampled_from(CITIES), min_size=1).map(
            lambda each: LowObservation("city", tuple(each))
        ),
        st.just(NewSeries()),
        # Rules that do not fit: they are held against nothing.
        st.just(OutlyingInput("gone", 1, 2)),
        st.just(OutlyingInput("city", 1, 2)),
        st.just(LowObservation("income", ("x",))),
    ),
    st.sampled_from(
        [
            *(NoOperation(), Override(5.0), Override("yes"), Override("M")),
            *(Override(True), ThrowError(), ThrowError("stop")),
        ]
    ),
)
ROW = st.tuples(
    NUMBERS.filter(math.isfinite),
    NUMBERS | st.none(),
    st.sampled_from([*CITIES, "Atlantis", None]),
    st.booleans(),
)


def fits(each, task, time_series):
    trigger, action = each.trigger, each.action
    if isinstance(trigger, NewSeries):
        fits = time_series is SERIES
    elif isinstance(trigger, UncertainPrediction):
        fits = task != "multiclass"
    elif isinstance(trigger, OutlyingInput):
        fits = trigger.feature == "income"
    else:
        fits = trigger.feature == "city"
    if isinstance(action, Override):
        values = {"regression": [5.0], "binary": ["yes"], "multiclass": ["M"]}
        # True is not 1.0 here.
        return fits and repr(action.value) in map(repr, values[task])
    return fits and task != "multiclass"


@given(
    st.lists(MADE),
    st.sampled_from(list(TASKS)),
    st.sampled_from([None, {}, ONE_SERIES, SERIES]),
)
def test_rules_that_do_not_fit_rest(listed, task, time_series):
    found = fitting(listed, of_series(TASKS[task], time_series))
    assert found == tuple(each for each in listed if fits(each, task, time_series))


def slowly_triggers(trigger, model, value, income, city, is_new):
    match trigger:
        case NewSeries():
            return is_new
        case UncertainPrediction(low, high):
            inside = low <= value <= high
            return inside if model.task == "binary" else not inside
        case OutlyingInput("income", low, high):
            return income is not None and not low <= income <= high
        case LowObservation("city", levels):
            return city not in levels


@given(
    st.sampled_from(list(TASKS)),
    st.lists(MADE, max_size=5),
    st.lists(ROW, min_size=1, max_size=8),
)
def test_rows_are_judged_as_one_by_one(task, listed, drawn):
    model = of_series(TASKS[task])
    values = np.array([each[0] for each in drawn])
    new = np.array([each[3] for each in drawn])
    columns = rows(income=[each[1] for each in drawn], city=[each[2] for each in drawn])
    listed = fitting(listed, model)
    expected = [
        [slowly_triggers(each.trigger, model, *row) for row in drawn] for each in listed
    ]
    overriding = [
        next(
            (
                number
                for number, each in enumerate(listed)
                if isinstance(each.action, Override) and expected[number][row]
            ),
            -1,
        )
        for row in range(len(drawn))
    ]
    errors = [
        each.action.message
        for number, each in enumerate(listed)
        if isinstance(each.action, ThrowError) and any(expected[number])
    ]
    # Multiclass: as many columns as classes; nothing looks at them.
    wide = np.repeat(values[:, None], 3 if task == "multiclass" else 1, axis=1)
    try:
        found = judge(listed, model, columns, wide, new)
    except HumilityError as error:
        assert [str(error)] == errors[:1]
        found = error.humbled
    else:
        assert not errors
    assert found.triggered.tolist() == expected
    assert found.overriding.tolist() == overriding


@given(MADE)
def test_rule_survives_json(made):
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


CARD = {
    "id": "0" * 24,
    "name": "far out",
    "trigger": {"type": "outlying_input", "feature": "x", "lower": 0, "upper": 1},
    "action": {"type": "no_operation"},
}


def test_rule_is_read_as_people_write_it():
    made = from_json({**CARD, "action": {"type": "error"}})
    assert made.trigger == OutlyingInput("x", 0.0, 1.0)
    assert made.action == ThrowError("Humility ReturnError action triggered.")


def with_trigger(**changes):
    return {**CARD, "trigger": {**CARD["trigger"], **changes}}


@pytest.mark.parametrize(
    ("card", "text"),
    [
        (None, "a rule: an object"),
        ([], "a rule: an object"),
        ({**CARD, "colour": 1}, "a rule: unknown key 'colour'"),
        ({key: CARD[key] for key in CARD if key != "name"}, "name is missing"),
        ({**CARD, "id": "0" * 23}, "^id: 24"),
        ({**CARD, "id": 0}, "^id: 24"),
        ({**CARD, "name": ""}, "^name: "),
        ({**CARD, "name": " x"}, "^name: "),
        ({**CARD, "name": "a\nb"}, "^name: "),
        ({**CARD, "name": "x" * 257}, "^name: at most 256"),
        ({**CARD, "trigger": "uncertain"}, "^trigger: an object with a type"),
        ({**CARD, "trigger": {"type": "old_series"}}, "^trigger: .*, new_series$"),
        (
            {**CARD, "trigger": {"type": "new_series", "feature": "x"}},
            "^trigger: unknown key 'feature'",
        ),
        ({**CARD, "trigger": {"type": ["x"]}}, "^trigger: an object with a type"),
        ({**CARD, "action": {}}, "^action: .*no_operation, override, error"),
        ({**CARD, "action": {"type": "override"}}, "^action: value is missing"),
        ({**CARD, "action": {"type": "override", "value": None}}, "^action: value: "),
        ({**CARD, "action": {"type": "override", "value": math.nan}}, "^action: va"),
        ({**CARD, "action": {"type": "override", "value": [1]}}, "^action: value: "),
        ({**CARD, "action": {"type": "error", "message": " "}}, "^action: message: "),
        ({**CARD, "action": {"type": "error", "message": "\0"}}, "^action: message: "),
        ({**CARD, "action": {"type": "error", "text": "x"}}, "^action: unknown key"),
        (with_trigger(lower="0"), "^trigger: lower: a finite number"),
        (with_trigger(lower=True), "^trigger: lower: a finite number"),
        (with_trigger(upper=math.nan), "^trigger: upper: a finite number"),
        (with_trigger(upper=10**400), "^trigger: upper: a finite number"),
        (with_trigger(lower=2), r"^trigger: upper: 1.0 is below the lower bound 2.0"),
        (with_trigger(feature=""), "^trigger: feature: "),
        (with_trigger(feature="\ud800"), "^trigger: feature: "),
        (with_trigger(levels=["x"]), "^trigger: unknown key 'levels'"),
        (
            {**CARD, "trigger": {"type": "low_observation", "feature": "x"}},
            "^trigger: levels is missing",
        ),
        *(
            (
                {
                    **CARD,
                    "trigger": {
                        "type": "low_observation",
                        "feature": "x",
                        "levels": levels,
                    },
                },
                "^trigger: levels: ",
            )
            for levels in ([], "x", None, [None], [math.inf], [["x"]])
        ),
    ],
)
def test_every_mistake_is_named(card, text):
    with pytest.raises(InvalidRule, match=text):
        from_json(card)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
    | st.fixed_dictionaries(
        {
            key: st.just(CARD[key])
            | st.dictionaries(
                st.sampled_from(["type", "lower", "levels", "value"]),
                st.sampled_from(["override", "low_observation"]) | st.integers(),
            )
            for key in CARD
        }
    )
)
def test_anything_is_read_or_refused(card):
    try:
        made = from_json(card)
    except InvalidRule:
        return
    assert from_json(to_json(made)) == made


UNCERTAIN = UncertainPrediction(0.4, 0.6)


@pytest.mark.parametrize(
    ("model", "trigger", "action", "text"),
    [
        (PRICE, OutlyingInput("gone", 0, 1), None, "no feature 'gone'"),
        (PRICE, OutlyingInput("city", 0, 1), None, "'city' is categorical, not num"),
        (PRICE, OutlyingInput("note", 0, 1), None, "'note' is text, not numeric"),
        (PRICE, LowObservation("income", ("1",)), None, "is numeric, not categorical"),
        (PRICE, LowObservation("income", ("1",)), None, "not categorical or text"),
        (PRICE, LowObservation("note", ("1", 1)), None, "1 is no text, as 'note' is"),
        (PRICE, LowObservation("gone", ("1",)), None, "no feature 'gone'"),
        (PRICE, LowObservation("city", ("Rome",)), None, "'Rome' is not a level of"),
        (PRICE, LowObservation("rooms", ("1",)), None, "'1' is not a level of"),
        (PRICE, LowObservation("city", ()), None, "levels: a list of one level"),
        (PRICE, UncertainPrediction(2, 1), None, "below the lower bound"),
        (PRICE, UncertainPrediction(math.nan, 1), None, "lower: a finite number"),
        (PRICE, UNCERTAIN, Override("yes"), "'yes' is none"),
        (PRICE, UNCERTAIN, Override(True), "True is none"),
        (PRICE, UNCERTAIN, Override(math.inf), "value: a finite number is expected"),
        (SALE, UNCERTAIN, Override("maybe"), "'maybe' is not a class"),
        (SALE, UNCERTAIN, Override(1), "1 is not a class"),
        (SALE, UncertainPrediction(40, 60), None, "between 0 and 1"),
        (CODES, UNCERTAIN, Override(True), "True is not a class"),
        (CODES, UNCERTAIN, Override("1"), "'1' is not a class"),
        (CODES, UNCERTAIN, Override(1.0), "1.0 is not a class"),
        (PRICE, NewSeries(), None, "only a time series model knows new series"),
        (of_series(PRICE, ONE_SERIES), NewSeries(), None, "forecasts one series only"),
        (of_series(SIZE), NewSeries(), None, "overrides the prediction"),
        (SIZE, UNCERTAIN, Override("M"), "of a multiclass model are not held"),
        (SIZE, OutlyingInput("income", 0, 1), None, "overrides the prediction"),
        (SIZE, OutlyingInput("income", 0, 1), ThrowError(), "overrides the pred"),
        (SIZE, OutlyingInput("income", 0, 1), Override("XL"), "'XL' is not a class"),
    ],
)
def test_rule_that_is_wrong_for_the_model_is_refused(model, trigger, action, text):
    with pytest.raises(InvalidRule, match=f"^Rule 'rule 0': .*{text}"):
        check([rule(trigger, action)], model)


def test_right_rules_are_taken():
    check([], PRICE)
    check(
        rules(
            (UncertainPrediction(5, 5), Override(0)),
            (OutlyingInput("income", -1, 1), ThrowError("x")),
            (LowObservation("rooms", (1, 3)), NoOperation()),
        ),
        PRICE,
    )
    check(rules((LowObservation("city", CITIES), Override("L"))), SIZE)
    check(rules((LowObservation("note", ("anything", " ")), Override("L"))), SIZE)
    check(rules((UNCERTAIN, Override(1))), CODES)
    check(rules((NewSeries(), Override(1)), (NewSeries(), None)), of_series(PRICE))
    check(rules((NewSeries(), Override("L"))), of_series(SIZE))


def test_there_are_at_most_ten():
    many = [rule(UncertainPrediction(0, each), None, each) for each in range(11)]
    check(many[:10], PRICE)
    with pytest.raises(InvalidRule, match="at most 10"):
        check(many, PRICE)


def test_same_trigger_and_action_are_one_rule():
    city = LowObservation("city", ("Berlin", "Łódź"))
    turned = LowObservation("city", ("Łódź", "Berlin"))
    check(rules((city, Override(1)), (turned, Override(2)), (city, None)), PRICE)
    with pytest.raises(InvalidRule, match="'rule 1' has the trigger and the action"):
        check(rules((city, Override(1)), (turned, Override(1.0))), PRICE)
    with pytest.raises(InvalidRule, match="'rule 1' has the trigger and the action"):
        check(rules((NewSeries(), None), (NewSeries(), None)), of_series(PRICE))


def test_ids_differ():
    twins = [rule(UNCERTAIN), rule(UNCERTAIN, ThrowError())]
    with pytest.raises(InvalidRule, match="one id"):
        check(twins, PRICE)


def test_level_that_is_gone_does_not_keep_a_rule_from_fitting():
    assert misfit(rule(LowObservation("city", ("Rome",))), PRICE) is None
    cells = ["Berlin", None]
    found = triggered(LowObservation("city", ("Rome",)), PRICE, [0, 0], city=cells)
    assert found == [True, True]


GRID = np.linspace(0, 1, 201).tolist()
KNOWN = {
    "grid": GRID,
    "target": {"missing": 0, "mean": 5.5, "quantiles": [1.0, *[5.0] * 199, 9.0]},
    "predictions": [{"quantiles": [each * 100 for each in GRID]}],
    "impact": {"normalised": [0.2, 1.0, 0.9, 0.5]},
    "features": [
        {"name": "city"},
        {"name": "income", "quantiles": [each * 1000 for each in GRID]},
    ],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / STATISTICS).write_text(json.dumps(KNOWN))
    return tmp_path


@pytest.mark.parametrize(
    ("threshold", "bounds"),
    [(0.5, (0.4, 0.6)), (0.4, (0.3, 0.5)), (0.05, (0.0, 0.15)), (1.0, (0.9, 1.0))],
)
def test_binary_bounds_lie_around_the_threshold(tmp_path, threshold, bounds):
    found = uncertain_prediction(SALE, tmp_path, threshold)
    assert (found.lower, found.upper) == bounds


def test_regression_bounds_are_those_of_the_holdout(folder):
    assert uncertain_prediction(PRICE, folder, 0.5) == UncertainPrediction(10, 90)
    other = dataclasses.replace(PRICE, prediction_bounds=None)
    found = uncertain_prediction(other, folder, 0.5)
    assert found.lower == pytest.approx(0.5)
    assert found.upper == pytest.approx(99.5)


def test_bounds_of_a_number_are_those_of_training(folder):
    found = outlying_input("income", folder)
    assert found.feature == "income"
    assert found.lower == pytest.approx(5)
    assert found.upper == pytest.approx(995)


def test_target_tells_its_extremes_and_mean(folder):
    found = [target_value(which, folder) for which in ("min", "max", "mean")]
    assert found == [1.0, 9.0, 5.5]


def test_most_important_number_is_numeric(folder):
    assert most_important_number(PRICE, folder) == "income"


@pytest.mark.parametrize(
    "impact",
    [{}, {"normalised": None}, {"normalised": [1]}, {"normalised": [0, 1, 1, 1]}],
)
def test_no_number_is_important_where_no_impact_is_known(folder, impact):
    (folder / STATISTICS).write_text(json.dumps({**KNOWN, "impact": impact}))
    assert most_important_number(PRICE, folder) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "holds no statistics.json"),
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ("{}", "does not tell bounds of 'income'"),
        (json.dumps({"grid": [0.5], "features": 5}), "does not tell"),
        (json.dumps({**KNOWN, "features": [{"name": "income"}]}), "does not tell"),
        (
            json.dumps({**KNOWN, "features": [{"name": "income", "quantiles": None}]}),
            "does not tell",
        ),
    ],
)
def test_bundle_that_does_not_tell_is_an_error(tmp_path, content, text):
    if content is not None:
        (tmp_path / STATISTICS).write_text(content)
    with pytest.raises(BoundsUnknown, match=text):
        outlying_input("income", tmp_path)


@pytest.mark.parametrize("mean", ["NaN", "-Infinity", "1" + 400 * "0"])
def test_statistics_that_are_no_number_are_not_taken(tmp_path, mean):
    (tmp_path / STATISTICS).write_text(f'{{"target": {{"mean": {mean}}}}}')
    with pytest.raises(BoundsUnknown, match="does not tell the target's mean"):
        target_value("mean", tmp_path)
