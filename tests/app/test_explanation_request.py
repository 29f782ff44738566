"""What requests want explained, held against models."""

import pytest

from app.explanation_request import PREDICTIONS, Route, read_request
from app.store.settings import DeploymentSettings
from backends.explanations.base import NotExplainable, NotInitialized
from schemas.arguments import ExplanationArguments, InvalidArgument
from schemas.fields import ALL

OLDER = Route(most=3)


@pytest.fixture
def ask(services, specimens):
    def ask(name, said=None, route=PREDICTIONS, **settings):
        served = services.models.get(specimens[name].model.id)
        return read_request(served, DeploymentSettings(**settings), said, route)

    return ask


def said(**given):
    return ExplanationArguments(**given)


@pytest.mark.parametrize("most", [None, 0])
def test_xemp_tells_nothing_unless_asked(ask, most):
    assert ask("churn", said(most=most, low=0.1)) is None


@pytest.mark.parametrize(("most", "features"), [(1, 1), (6, 6), (50, 6), (2**31, 6)])
def test_xemp_tells_as_much_as_there_is(ask, most, features):
    found = ask("churn", said(most=most))
    assert found.told.features == features
    assert found.explaining.algorithm == "xemp"
    assert found.explaining.most <= 50


@pytest.mark.parametrize("most", [None, 0, 100, 2**31, ALL])
def test_shap_tells_all_features_for_zero(ask, most):
    found = ask("churn", said(most=most, algorithm="shap", low=0.1, high=0.2))
    assert (found.told.features, found.told.is_shap) == (6, True)
    assert (found.explaining.low, found.explaining.high) == (None, None)


def test_shap_tells_as_many_as_asked(ask):
    assert ask("price", said(most=2, algorithm="shap")).told.features == 2


@pytest.mark.parametrize(
    ("name", "output", "algorithm"),
    [
        ("churn", "margin", "shap"),
        ("churn", "probability", "shap_probability"),
        ("price", "probability", "shap"),
    ],
)
def test_deployment_says_what_shap_adds_up_to(ask, name, output, algorithm):
    found = ask(name, said(algorithm="shap"), shap_output=output)
    assert found.explaining.algorithm == algorithm


def test_older_routes_tell_three(ask):
    assert ask("churn", None, OLDER).told.features == 3
    assert ask("churn", said(most=5), OLDER).told.features == 5
    assert ask("churn", said(most=0), OLDER) is None
    assert ask("churn", said(algorithm="shap"), OLDER).told.features == 6


def test_cells_of_texts_and_categories_are_needed(ask):
    assert ask("churn", said(most=1)).shown == ("contract", "region", "plan", "senior")
    assert ask("onnx-parcel", said(algorithm="shap")).shown == ("colour",)
    assert ask("onnx-price", said(most=2)).shown == ()


def test_one_class_is_explained_by_default(ask):
    found = ask("plan", said(most=2))
    assert (found.told.classes, found.explaining.top_classes) == (1, 1)


@pytest.mark.parametrize(("wanted", "classes"), [(2, 2), (3, 3), (10, 3)])
def test_no_more_classes_are_explained_than_there_are(ask, wanted, classes):
    found = ask("plan", said(most=2, top_classes=wanted))
    assert (found.told.classes, found.explaining.top_classes) == (classes, classes)


def test_classes_are_found_by_name(ask):
    found = ask("plan", said(most=1, class_names=("größer", "S", "größer")))
    assert (found.explaining.classes, found.told.classes) == ((2, 0), 2)
    assert ask("grade", said(most=1, class_names=("2",))).explaining.classes == (2,)


def test_unknown_class_is_named(ask):
    with pytest.raises(InvalidArgument, match="has no class named 'XL'"):
        ask("plan", said(most=1, class_names=("S", "XL")))


@pytest.mark.parametrize("name", ["churn", "price", "onnx-parcel"])
@pytest.mark.parametrize("given", [{"top_classes": 1}, {"class_names": ("Yes",)}])
@pytest.mark.parametrize("most", [0, 2])
def test_only_multiclass_models_have_classes_to_choose(ask, name, given, most):
    with pytest.raises(InvalidArgument, match="not multiclass"):
        ask(name, said(most=most, **given))


def test_words_of_texts_are_not_explained(ask):
    with pytest.raises(InvalidArgument, match="max_ngram_explanations"):
        ask("onnx-parcel", said(most=1, most_ngrams=1))
    with pytest.raises(InvalidArgument, match="max_ngram_explanations"):
        ask("onnx-parcel", said(most_ngrams=ALL))
    assert ask("churn", said(most=1, most_ngrams=5)) is not None
    assert ask("onnx-parcel", said(most=1, most_ngrams=0)) is not None


@pytest.mark.parametrize("name", ["plan", "onnx-iris"])
def test_shap_is_not_for_multiclass(ask, name):
    with pytest.raises(NotExplainable, match="^Multiclass models cannot be used for"):
        ask(name, said(algorithm="shap"))
    for given in (None, said(most=0), said(most=2)):
        with pytest.raises(NotExplainable):
            ask(name, given, OLDER)


def test_bundle_without_exemplars_is_not_initialized(ask):
    with pytest.raises(NotInitialized):
        ask("onnx-risk", said(most=1))
    assert ask("onnx-risk", said(most=0)) is None


def test_time_is_set_apart(ask):
    found = ask("churn", said(most=1))
    assert found.until(5.0).explaining.deadline == 5.0
    assert found.until(5.0).told == found.told
