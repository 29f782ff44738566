"""What a request wants explained, held against the deployment's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from app.explaining import Explaining
from app.explanation_columns import Told
from app.model_cache import ServedModel
from app.store.settings import DeploymentSettings
from backends.explanations.base import NotExplainable
from backends.model import Model
from schemas.arguments import ExplanationArguments, refusal
from schemas.fields import ALL

# More are not told, whatever a request says.
_MOST_XEMP: Final = 50
_MOST_SHAP: Final = 100
_NOTHING_SAID: Final = ExplanationArguments()


@dataclass(frozen=True, slots=True)
class Route:
    """What an address says about models and explanations.

    most: how many XEMP tells of a row, unless the request says.
    key: what the rows of JSON call them.
    models: which ones answer there.
    """

    most: int = 0
    key: str = "predictionExplanations"
    models: Literal["all", "time series", "others"] = "all"


PREDICTIONS: Final = Route()


@dataclass(frozen=True, slots=True)
class Explained:
    """How rows are explained, and what is told of it.

    shown: categorical and text features that may be told of: their cells are needed.
    """

    explaining: Explaining
    told: Told
    shown: tuple[str, ...]

    def until(self, deadline: float) -> Explained:
        """The same, with a time by which it has to be done, monotonic seconds."""
        explaining = dataclasses.replace(self.explaining, deadline=deadline)
        return dataclasses.replace(self, explaining=explaining)


def read_request(
    served: ServedModel,
    settings: DeploymentSettings,
    said: ExplanationArguments | None,
    route: Route,
) -> Explained | None:
    """What is to be explained; None if nothing is.

    Raises InvalidArgument for what the model does not have, NotExplainable and
    NotInitialized.
    """
    said = said or _NOTHING_SAID
    classes = _classes(served.model, said)
    _refuse_ngrams(served.model, said)
    if served.model.task == "multiclass" and (route.most or said.algorithm == "shap"):
        raise NotExplainable(
            "Multiclass models cannot be used for Prediction Explanations"
        )
    if not _asks(said, route):
        return None
    if said.algorithm == "shap":
        return _shap(served, settings, said, route)
    return _xemp(served, said, route, classes)


def asks_for_explanations(said: ExplanationArguments | None, route: Route) -> bool:
    """Whether an unknown deployment is told in the words of these requests."""
    return route.most > 0 or bool(said and said.most)


def _asks(said: ExplanationArguments, route: Route) -> bool:
    if said.algorithm == "shap":
        # 0 means all of them.
        return True
    return (route.most if said.most is None else said.most) > 0


def _xemp(
    served: ServedModel,
    said: ExplanationArguments,
    route: Route,
    classes: tuple[int, ...],
) -> Explained:
    model = served.model
    most = min(route.most if said.most is None else said.most, _MOST_XEMP)
    top = min(said.top_classes or 1, max(1, len(model.labels)))
    explaining = Explaining(
        served.materials,
        "xemp",
        most,
        said.low,
        said.high,
        top_classes=top,
        classes=classes,
    )
    groups = 1
    if model.task == "multiclass":
        groups = len(classes) or top
    told = Told(explaining.told(model), groups, key=route.key)
    features = served.materials.exemplars.features.tolist()
    return Explained(explaining, told, _shown(model, features))


def _shap(
    served: ServedModel,
    settings: DeploymentSettings,
    said: ExplanationArguments,
    route: Route,
) -> Explained:
    model = served.model
    most = len(model.features)
    if said.most not in (None, 0, ALL):
        most = min(most, said.most or 0, _MOST_SHAP)
    is_probability = model.task == "binary" and settings.shap_output == "probability"
    explaining = Explaining(
        served.materials, "shap_probability" if is_probability else "shap", most
    )
    told = Told(most, is_shap=True, key=route.key)
    # Any of them may be among those that count most.
    return Explained(explaining, told, _shown(model, range(len(model.features))))


def _shown(model: Model, positions: Iterable[int]) -> tuple[str, ...]:
    features = [model.features[position] for position in positions]
    return tuple(each.name for each in features if each.kind != "numeric")


def _classes(model: Model, said: ExplanationArguments) -> tuple[int, ...]:
    """Positions of the labels that are named."""
    for name, value in (
        ("explanationNumTopClasses", said.top_classes),
        ("explanationClassNames", said.class_names),
    ):
        if value and model.task != "multiclass":
            raise refusal(name, f"the model is {model.task}, not multiclass")
    known = [str(label) for label in model.labels]
    for name in said.class_names:
        if name not in known:
            raise refusal(
                "explanationClassNames", f"the model has no class named {name!r}"
            )
    return tuple(known.index(name) for name in dict.fromkeys(said.class_names))


def _refuse_ngrams(model: Model, said: ExplanationArguments) -> None:
    if said.most_ngrams and any(each.kind == "text" for each in model.features):
        raise refusal(
            "maxNgramExplanations", "the words of a text are not explained one by one"
        )
