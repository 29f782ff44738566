"""Time series models on real data: trained, packaged, deployed and asked.

Their answers are held against what the training library says of features that were
derived in training, or made by hand, with the transforms undone by hand.
"""

import json
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from app.cli import cli
from app.config import Config
from app.factory import create_app
from backends.timeseries import load_spec, training_frame

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not there")

TOO_SHORT = (
    "The following errors are found:\n • The prediction data must contain historical"
    " values spanning more than {} into the past. In addition, the target cannot have"
    " missing values or missing rows which are used for differencing"
)


class Deployment:
    """A model of its own, trained on a frame, in a state folder of its own.

    X, meta: what it was trained on.
    """

    def __init__(self, home, frame, raw, categorical, objective):
        self.frame, self.spec = frame, load_spec(raw)
        self.X, y, self.meta = training_frame(frame, self.spec)
        parameters = {"verbosity": -1, "num_threads": 1, "seed": 1, **objective}
        data = lightgbm.Dataset(self.X, y, categorical_feature=categorical)
        self.booster = lightgbm.train(parameters, data, num_boost_round=40)
        self.booster.save_model(home / "model.txt")
        (home / "spec.json").write_text(json.dumps(raw))
        frame.to_csv(home / "data.csv", index=False)
        runner = CliRunner(env={"FORETELL_HOME": str(home / "state")})

        def run(*arguments):
            result = runner.invoke(cli, [*map(str, arguments)])
            assert result.exit_code == 0, result.output
            return result.stdout.strip()

        bundle = home / "bundle"
        run(
            *("package", home / "model.txt", "--data", home / "data.csv"),
            *("--time-series", home / "spec.json", "--out", bundle),
        )
        run("user", "add", "ann", "--admin")
        self.id = run("deploy", bundle, "--label", "real")
        self.token = run("token", "create", "ann")
        self.app = create_app(Config(home=home / "state"))
        self.services = self.app.extensions["foretell"]
        self.services.refresh()

    def predict(self, X):
        """What the training library says of features."""
        return self.booster.predict(X, num_threads=1)

    def times(self, frame):
        texts = frame[self.spec.datetime_column].astype(str)
        return pd.to_datetime(texts, format=self.spec.datetime_format)

    def request(self, point, history, ahead):
        """Rows around a forecast point, shuffled, as if no more were known there."""
        times = self.times(self.frame)
        moments = np.sort(times.unique())
        place = int(np.searchsorted(moments, pd.Timestamp(point).to_numpy()))
        window = moments[place - history + 1 : place + 1 + ahead]
        chosen = self.frame[times.isin(window)].copy()
        later = self.times(chosen) > pd.Timestamp(point)
        chosen[self.spec.target] = chosen[self.spec.target].astype(object)
        chosen.loc[later, self.spec.target] = None
        return chosen.sample(frac=1, random_state=1)

    def post(self, frame, **query):
        return self.app.test_client().post(
            f"/api/v2/deployments/{self.id}/predictions",
            data=frame.to_csv(index=False),
            content_type="text/csv",
            headers={"Authorization": f"Bearer {self.token}"},
            # No digit is left out.
            query_string={"decimalsNumber": 30, **query},
        )

    def ask(self, frame, **query):
        """The rows of the answer, by series, timestamp and forecast distance."""
        answer = self.post(frame, **query)
        assert answer.status_code == 200, answer.text
        return {
            (row["seriesId"], row["timestamp"][:10], row["forecastDistance"]): row
            for row in answer.json["data"]
        }

    def refusal(self, frame, **query):
        answer = self.post(frame, **query)
        assert answer.status_code == 400, answer.text
        return answer.json["message"]


@pytest.fixture(scope="module")
def deploy(tmp_path_factory):
    made = []

    def make(frame, raw, categorical=(), objective="regression", **more):
        home = tmp_path_factory.mktemp("real")
        objective = {"objective": objective, **more}
        made.append(Deployment(home, frame, raw, [*categorical], objective))
        return made[-1]

    yield make
    for each in made:
        each.services.close()


def iso(time):
    return pd.Timestamp(time).strftime("%Y-%m-%d")


# ---- Rented bikes: days, four series, log1p and the week before

BIKES = {
    "version": 1,
    "target": "users",
    "datetimeColumn": "date",
    "datetimeFormat": "%m/%d/%y",
    "seriesIdColumn": "part",
    "featureDerivationWindow": {"start": -35, "end": 0},
    "forecastWindow": {"start": 1, "end": 7},
    "knownInAdvance": ["holiday", "workingday", "weather"],
    "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 7}],
    "calendar": ["2011-11-24", "2011-12-25", "2012-07-04", "2012-11-22", "2012-12-25"],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "users (lag 0)", "op": "lag"},
        {"name": "users (1 day diff)", "op": "diff", "period": 1},
        {"name": "users (naive 7 day)", "op": "seasonal_lag", "period": 7},
        *(
            {
                "name": f"users ({window} day {stat})",
                "op": "rolling",
                "stat": stat,
                "window": window,
            }
            for window in (7, 28)
            for stat in ("mean", "std", "min", "max", "median")
        ),
        {
            "name": "temp (35 day mean)",
            "op": "rolling",
            "column": "temp",
            "stat": "mean",
            "window": 35,
        },
        {"name": "holiday (actual)", "op": "known", "column": "holiday"},
        {"name": "workingday (actual)", "op": "known", "column": "workingday"},
        {
            "name": "weather (actual)",
            "op": "known",
            "column": "weather",
            "categories": ["clear", "mist", "rain"],
        },
        {
            "name": "part (actual)",
            "op": "series_code",
            "categories": ["night", "morning", "afternoon", "evening"],
        },
        {"name": "date (dayofweek)", "op": "date", "part": "dayofweek"},
        {"name": "days to holiday", "op": "days_to_event"},
    ],
}


@pytest.fixture(scope="module")
def bikes(deploy):
    frame = pd.read_csv(DATA / "bike_daily_4series.csv")
    return deploy(frame, BIKES, ["weather (actual)", "part (actual)"])


def trained_on(bikes, chosen):
    """What the training library predicts for rows of training, in users."""
    meta = bikes.meta[chosen]
    keys = pd.MultiIndex.from_arrays([bikes.frame["part"], bikes.times(bikes.frame)])
    users = pd.Series(bikes.frame["users"].to_numpy(), keys)
    week_before = pd.MultiIndex.from_arrays(
        [meta["series"], meta["timestamp"] - pd.Timedelta(days=7)]
    )
    added = np.log1p(users[week_before].to_numpy())
    values = np.expm1(bikes.predict(bikes.X[chosen]) + added)
    times = meta["timestamp"].map(iso)
    keys = zip(meta["series"], times, meta["forecastDistance"], strict=True)
    return dict(zip(keys, values.tolist(), strict=True))


POINTS = ["2011-02-04", "2011-08-27", "2012-05-28", "2012-10-29", "2012-12-24"]


@pytest.mark.parametrize("point", POINTS)
def test_bikes_from_the_least_history_are_those_of_training(bikes, point):
    """Training derived the same from up to two years."""
    answer = bikes.ask(bikes.request(point, history=35, ahead=7))
    expected = trained_on(bikes, bikes.meta["forecastPoint"] == point)
    assert len(expected) == 28
    found = {key: row["prediction"] for key, row in answer.items()}
    assert found == expected


def test_bikes_of_a_fortnight_are_those_of_training_from_every_point(bikes):
    dates = {"predictionsStartDate": "2012-12-18", "predictionsEndDate": "2013-01-01"}
    answer = bikes.ask(bikes.frame, **dates)
    expected = trained_on(bikes, bikes.meta["timestamp"] >= "2012-12-18")
    assert len(expected) == 4 * 14 * 7
    assert {key: row["prediction"] for key, row in answer.items()} == expected


def test_bikes_need_35_days(bikes):
    request = bikes.request("2012-12-24", history=34, ahead=7)
    assert bikes.refusal(request) == TOO_SHORT.format("35 day(s)")


# ---- Carbon dioxide on Mauna Loa: weeks, some without a measurement

CO2 = {
    "version": 1,
    "target": "co2",
    "datetimeColumn": "date",
    "datetimeFormat": "%Y%m%d",
    "timeUnit": "WEEK",
    "featureDerivationWindow": {"start": -60, "end": 0},
    "forecastWindow": {"start": 1, "end": 4},
    "targetTransform": [{"op": "baseline", "period": 52}],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "mean", "op": "rolling", "stat": "mean", "window": 8},
        {"name": "full mean", "op": "rolling", "stat": "mean", "window": 8}
        | {"minCount": 8},
        {"name": "count", "op": "rolling", "stat": "count", "window": 60},
        {"name": "lag 5", "op": "lag", "offset": -5},
        {"name": "week", "op": "date", "part": "week"},
    ],
}


@pytest.fixture(scope="module")
def co2(deploy):
    return deploy(pd.read_csv(DATA / "co2_weekly.csv"), CO2)


def test_weeks_without_a_measurement_are_left_out_of_statistics(co2):
    measured = pd.Series(co2.frame["co2"].to_numpy(), co2.times(co2.frame))
    history = measured.loc["1963-06-08":"1964-07-25"]
    assert len(history) == 60 and history[-8:].isna().sum() == 2
    own = pd.DataFrame(
        {
            "Forecast Distance": [1, 2, 3, 4],
            "mean": history[-8:].mean(),
            "full mean": np.nan,
            "count": history.count(),
            "lag 5": np.nan,
            "week": [31, 32, 33, 34],
        }
    )
    expected = co2.predict(own) + measured.loc["1963-08-03":"1963-08-24"].to_numpy()
    request = co2.request("1964-07-25", history=60, ahead=4)
    is_future = co2.times(request) > "1964-07-25"
    # An empty cell, or no row at all.
    for rows in (request, request[request["co2"].notna() | is_future]):
        answer = co2.ask(rows)
        assert len(answer) == 4
        for distance, row in enumerate(sorted(answer), 1):
            assert row[2] == distance
            found = answer[row]["prediction"]
            assert found == pytest.approx(expected[distance - 1], rel=1e-14)


def test_missing_week_of_a_baseline_is_refused(co2):
    request = co2.request("1965-01-16", history=60, ahead=4)
    measured = request[request["co2"].notna() | (co2.times(request) > "1965-01-16")]
    assert len(measured) < len(request)
    for rows in (request, measured):
        assert co2.refusal(rows) == TOO_SHORT.format("60 week(s)")


# ---- Weather in Seattle: days, classes

KINDS = ["drizzle", "fog", "rain", "snow", "sun"]
WEATHER = {
    "version": 1,
    "target": "weather",
    "targetType": "Multiclass",
    "classes": KINDS,
    "datetimeColumn": "date",
    "datetimeFormat": "%Y/%m/%d",
    "featureDerivationWindow": {"start": -14, "end": 0},
    "forecastWindow": {"start": 1, "end": 3},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "weather (lag 0)", "op": "lag"},
        {"name": "weather (lag 1)", "op": "lag", "offset": -1},
        {
            "name": "weather (14 day most frequent)",
            "op": "rolling",
            "stat": "most_frequent",
            "window": 14,
        },
        {"name": "wind (lag 0)", "op": "lag", "column": "wind"},
        {
            "name": "precipitation (3 day max)",
            "op": "rolling",
            "column": "precipitation",
            "stat": "max",
            "window": 3,
        },
        {"name": "date (month)", "op": "date", "part": "month"},
    ],
}


@pytest.fixture(scope="module")
def weather(deploy):
    categorical = [each["name"] for each in WEATHER["features"][1:4]]
    frame = pd.read_csv(DATA / "seattle_weather_daily.csv")
    return deploy(frame, WEATHER, categorical, "multiclass", num_class=5)


@pytest.mark.parametrize("point", ["2012/01/14", "2013/12/21", "2015/12/28"])
def test_weather_is_forecast_by_the_classes_of_days_before(weather, point):
    frame = weather.frame
    place = frame["date"].tolist().index(point)
    codes = frame["weather"].map(KINDS.index)
    often = codes[place - 13 : place + 1].value_counts()
    own = pd.DataFrame(
        {
            "Forecast Distance": [1, 2, 3],
            "weather (lag 0)": codes[place],
            "weather (lag 1)": codes[place - 1],
            "weather (14 day most frequent)": min(often[often == often.max()].index),
            "wind (lag 0)": frame["wind"][place],
            "precipitation (3 day max)": frame["precipitation"][place - 2 :][:3].max(),
            "date (month)": [int(day[5:7]) for day in frame["date"][place + 1 :][:3]],
        }
    )
    expected = weather.predict(own)
    answer = weather.ask(weather.request(point, history=14, ahead=3))
    assert len(answer) == 3
    for key, probabilities in zip(sorted(answer), expected, strict=True):
        values = {
            each["label"]: each["value"] for each in answer[key]["predictionValues"]
        }
        assert values == dict(zip(KINDS, probabilities.tolist(), strict=True))
        assert answer[key]["prediction"] == max(values, key=values.get)


def test_unheard_of_weather_is_refused(weather):
    request = weather.request("2015/12/28", history=14, ahead=3)
    request.loc[request["date"] == "2015/12/16", "weather"] = "hail"
    row = request["date"].tolist().index("2015/12/16")
    assert weather.refusal(request) == (
        f"The \"weather\" feature contains the value 'hail' (row {row}), which is none"
        " of the classes 'drizzle', 'fog', 'rain', 'snow', 'sun'."
    )


# ---- The economy of the United States: quarters

ECONOMY = {
    "version": 1,
    "target": "realgdp",
    "datetimeColumn": "date",
    "datetimeFormat": "%Y-%m-%d",
    "timeUnit": "QUARTER",
    "featureDerivationWindow": {"start": -8, "end": 0},
    "forecastWindow": {"start": 1, "end": 4},
    "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 1}],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "growth", "op": "diff", "period": 4, "source": "transformed"},
        {"name": "unemployment", "op": "lag", "column": "unemp"},
        {
            "name": "inflation",
            "op": "rolling",
            "column": "infl",
            "stat": "median",
            "window": 8,
        },
        {"name": "quarter", "op": "date", "part": "quarter"},
    ],
}


@pytest.fixture(scope="module", params=["first day", "last day"])
def economy(deploy, request):
    frame = pd.read_csv(DATA / "us_macro_quarterly.csv")
    quarters = pd.PeriodIndex.from_fields(year=frame["year"], quarter=frame["quarter"])
    days = {"first day": quarters.start_time, "last day": quarters.end_time}
    frame.insert(0, "date", days[request.param].strftime("%Y-%m-%d"))
    return deploy(frame, ECONOMY)


def test_quarters_are_steps_on_whatever_day_they_are(economy):
    """They are 90, 91 and 92 days long."""
    frame, point = economy.frame, 180
    levels = np.log1p(frame["realgdp"].to_numpy())
    own = pd.DataFrame(
        {
            "Forecast Distance": [1, 2, 3, 4],
            "growth": levels[point] - levels[point - 4],
            "unemployment": frame["unemp"][point],
            "inflation": frame["infl"][point - 7 : point + 1].median(),
            "quarter": frame["quarter"][point + 1 : point + 5].to_numpy(),
        }
    )
    expected = np.expm1(economy.predict(own) + levels[point])
    answer = economy.ask(economy.request(frame["date"][point], history=8, ahead=4))
    keys = [(None, day, n) for n, day in enumerate(frame["date"][point + 1 :][:4], 1)]
    assert sorted(answer) == keys
    assert [answer[key]["prediction"] for key in keys] == expected.tolist()
    assert {row["forecastPoint"][:10] for row in answer.values()} == {
        frame["date"][point]
    }
