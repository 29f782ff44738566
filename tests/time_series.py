"""Time series of many kinds, and specs to forecast them by."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

SEED = 5
# A row as CSV has it.
Row = dict[str, str]


def sales() -> list[Row]:
    """A shop's days up to those of the documented messages."""
    random = np.random.default_rng(SEED)
    first, days = datetime(2008, 3, 1), 247
    rows = []
    for day in range(days):
        time = first + timedelta(days=day)
        promo = int(random.random() < 0.2)
        weather = str(random.choice(["clear", "rain", "snow"], p=[0.6, 0.3, 0.1]))
        temperature = round(15 - day / 20 + random.normal(0, 2), 1)
        value = 100 + 20 * (time.weekday() >= 5) + 30 * promo - 15 * (weather == "rain")
        value += temperature + random.normal(0, 4)
        rows.append(
            {
                "Time": time.strftime("%m/%d/%y"),
                "sales": f"{value:.2f}",
                "promo": str(promo),
                "weather": weather,
                "temperature": str(temperature),
            }
        )
    return rows


def stores() -> list[Row]:
    """Days of shops, which have ids of letters, of digits, and of marks."""
    random = np.random.default_rng(SEED)
    rows = []
    for number, store in enumerate(("north", "007", '12, "b"')):
        for day in range(80 + number):
            time = datetime(2021, 1, 4) + timedelta(days=day - number)
            promo = int(random.random() < 0.3)
            value = 50 * (number + 1) + 10 * promo + 5 * time.weekday()
            rows.append(
                {
                    "store": store,
                    "day": time.strftime("%Y-%m-%d"),
                    "sold": f"{value + random.normal():.3f}",
                    "promo": str(promo),
                }
            )
    return rows


def months(count: int, first: int = 0) -> list[datetime]:
    """Firsts of months from January 1949 on."""
    return [datetime(1949 + at // 12, at % 12 + 1, 1) for at in range(first, count)]


def passengers() -> list[Row]:
    """Months in which few or many flew."""
    random = np.random.default_rng(SEED)
    rows = []
    for number, time in enumerate(months(148)):
        value = np.sin(time.month / 12 * 2 * np.pi) + random.normal(0, 0.4)
        rows.append(
            {
                "Month": time.strftime("%Y-%m-%d"),
                "load": "high" if value > 0 else "low",
                "fuel": f"{np.cos(number / 9) + random.normal(0, 0.1):.3f}",
            }
        )
    return rows


def weather() -> list[Row]:
    """Days that were dry, wet or white."""
    random = np.random.default_rng(SEED)
    rows = []
    for day in range(120):
        time = datetime(2020, 1, 1) + timedelta(days=day)
        cold = np.cos(day / 58) + random.normal(0, 0.3)
        wet = np.sin(day / 3) + random.normal(0, 0.3) > 0
        kind = ("weiß" if cold > 0.5 else "wet") if wet else "dry"
        rows.append(
            {
                "Tag": time.strftime("%d.%m.%Y"),
                "sky": kind,
                "pressure": f"{1000 - 10 * wet + random.normal():.1f}",
            }
        )
    return rows


def jobs() -> list[Row]:
    """Months of sectors that grow, with a season."""
    random = np.random.default_rng(SEED)
    rows = []
    for number, sector in enumerate(("mines", "shops")):
        level = 100.0 * (number + 1)
        for time in months(90):
            level += random.normal(0.5, 1)
            season = 8 * np.sin(time.month / 6 * np.pi)
            rows.append(
                {
                    "sector": sector,
                    "month": time.strftime("%Y-%m-%d"),
                    "jobs": f"{level + season:.2f}",
                    "holidays": str(1 + time.month % 3),
                }
            )
    return rows


def power() -> list[Row]:
    """Every second hour of a grid."""
    random = np.random.default_rng(SEED)
    rows = []
    for step in range(200):
        time = datetime(2022, 3, 20, 1) + timedelta(hours=2 * step)
        value = 40 + 15 * np.sin(time.hour / 12 * np.pi) + random.normal()
        rows.append({"at": time.strftime("%Y-%m-%d %H:%M"), "power": f"{value:.4f}"})
    return rows


def visits() -> list[Row]:
    """A doctor's days, of which many have no hours."""
    random = np.random.default_rng(SEED)
    rows, time = [], datetime(2019, 5, 1)
    for number in range(90):
        time += timedelta(days=int(random.integers(1, 6)))
        value = 20 + number % 4 * 5 + random.normal()
        rows.append({"day": time.strftime("%y%m%d"), "visits": f"{value:.3f}"})
    return rows


# ---- Specs

SALES: dict[str, Any] = {
    "version": 1,
    "target": "sales",
    "targetType": "Regression",
    "datetimeColumn": "Time",
    "datetimeFormat": "%m/%d/%y",
    "featureDerivationWindow": {"start": -35, "end": 0},
    "forecastWindow": {"start": 1, "end": 7},
    "knownInAdvance": ["promo", "weather"],
    "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 7}],
    "calendar": ["2008-05-26", "2008-07-04", "2008-09-01", "2008-11-27"],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "sales (lag 0)", "op": "lag", "offset": 0},
        {"name": "sales (7 day mean)", "op": "rolling", "stat": "mean", "window": 7},
        {"name": "sales (35 day std)", "op": "rolling", "stat": "std", "window": 35},
        {
            "name": "sales (naive 7 day seasonal value)",
            "op": "seasonal_lag",
            "period": 7,
        },
        {
            "name": "temperature (7 day mean)",
            "op": "rolling",
            "column": "temperature",
            "stat": "mean",
            "window": 7,
        },
        {"name": "promo (actual)", "op": "known", "column": "promo"},
        {
            "name": "weather (actual)",
            "op": "known",
            "column": "weather",
            "categories": ["clear", "rain", "snow"],
        },
        {"name": "Time (dayofweek)", "op": "date", "part": "dayofweek"},
        {"name": "days to holiday", "op": "days_to_event"},
    ],
    "predictionIntervals": {
        "space": "model",
        "80": {str(each): [-0.1 - each / 100, 0.12] for each in range(1, 8)},
        # Beyond all numbers from the distance 3 on.
        "95": {str(each): [-0.3, 0.3 if each < 3 else 800.0] for each in range(1, 8)},
    },
}

STORES: dict[str, Any] = {
    "version": 1,
    "target": "sold",
    "targetType": "Regression",
    "datetimeColumn": "day",
    "datetimeFormat": "%Y-%m-%d",
    "seriesIdColumn": "store",
    "featureDerivationWindow": {"start": -14, "end": 0},
    "forecastWindow": {"start": 1, "end": 3},
    "knownInAdvance": ["promo"],
    "targetTransform": [{"op": "baseline", "period": 7}],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "sold (7 day mean)", "op": "rolling", "stat": "mean", "window": 7},
        {"name": "sold (7 day diff)", "op": "diff", "period": 7},
        {"name": "promo (actual)", "op": "known", "column": "promo"},
        {
            "name": "store (actual)",
            "op": "series_code",
            "categories": ["north", "007", '12, "b"'],
        },
    ],
}

PASSENGERS: dict[str, Any] = {
    "version": 1,
    "target": "load",
    "targetType": "Binary",
    "classes": ["low", "high"],
    "datetimeColumn": "Month",
    "datetimeFormat": "%Y-%m-%d",
    "timeUnit": "MONTH",
    "featureDerivationWindow": {"start": -12, "end": 0},
    "forecastWindow": {"start": 1, "end": 3},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "load (lag 0)", "op": "lag"},
        {"name": "load (12 month mean)", "op": "rolling", "stat": "mean", "window": 12},
        {"name": "fuel (lag 0)", "op": "lag", "column": "fuel"},
        {"name": "Month (month)", "op": "date", "part": "month"},
    ],
}

WEATHER: dict[str, Any] = {
    "version": 1,
    "target": "sky",
    "targetType": "Multiclass",
    "classes": ["dry", "wet", "weiß"],
    "datetimeColumn": "Tag",
    "datetimeFormat": "%d.%m.%Y",
    # Of the last two days nothing is known yet.
    "featureDerivationWindow": {"start": -9, "end": -2},
    "forecastWindow": {"start": 2, "end": 4},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "sky (2nd lag)", "op": "lag", "offset": -2},
        {
            "name": "sky (7 day most frequent)",
            "op": "rolling",
            "stat": "most_frequent",
            "window": 7,
        },
        {
            "name": "pressure (3 day min)",
            "op": "rolling",
            "column": "pressure",
            "stat": "min",
            "window": 3,
        },
    ],
}

JOBS: dict[str, Any] = {
    "version": 1,
    "target": "jobs",
    "targetType": "Regression",
    "datetimeColumn": "month",
    "datetimeFormat": "%Y-%m-%d",
    "seriesIdColumn": "sector",
    "timeUnit": "MONTH",
    "strategy": "recursive",
    "featureDerivationWindow": {"start": -3, "end": 0},
    "forecastWindow": {"start": 1, "end": 6},
    "knownInAdvance": ["holidays"],
    "targetTransform": [
        {"op": "difference", "period": 1},
        {"op": "difference", "period": 12},
    ],
    "features": [
        {"name": "lag1", "op": "lag"},
        {"name": "lag3", "op": "lag", "offset": -2},
        {"name": "mean2", "op": "rolling", "stat": "mean", "window": 2},
        {"name": "holidays", "op": "known", "column": "holidays"},
        {"name": "month", "op": "date", "part": "month"},
    ],
}

POWER: dict[str, Any] = {
    "version": 1,
    "target": "power",
    "targetType": "Regression",
    "datetimeColumn": "at",
    "datetimeFormat": "%Y-%m-%d %H:%M",
    "timeUnit": "HOUR",
    "timeStep": 2,
    "featureDerivationWindow": {"start": -12, "end": 0},
    "forecastWindow": {"start": 1, "end": 4},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "power (lag 0)", "op": "lag"},
        {"name": "power (lag 11)", "op": "lag", "offset": -11},
        {"name": "at (hour)", "op": "date", "part": "hour"},
    ],
}

VISITS: dict[str, Any] = {
    "version": 1,
    "target": "visits",
    "targetType": "Regression",
    "datetimeColumn": "day",
    "datetimeFormat": "%y%m%d",
    "windowsBasisUnit": "ROW",
    "featureDerivationWindow": {"start": -5, "end": 0},
    "forecastWindow": {"start": 1, "end": 2},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "visits (4th lag)", "op": "lag", "offset": -3},
        {"name": "visits (5 row max)", "op": "rolling", "stat": "max", "window": 5},
    ],
}

# One model for each distance, which is no feature of theirs.
BY_DISTANCE: dict[str, Any] = {
    **STORES,
    "features": STORES["features"][1:],
    "models": {"1": "model-1.txt", "2": "model-2.txt", "3": "model-3.txt"},
}
