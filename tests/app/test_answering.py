"""How rows are answered does not hang on how many of them are taken at once."""

import pytest

from app import answering, decode

ASKED = {
    "xemp": {"maxExplanations": 3, "thresholdHigh": 0.4},
    "shap": {"maxExplanations": 2, "explanationAlgorithm": "shap"},
}


@pytest.fixture
def body(specimens):
    """A file that goes through Arrow, of rows with gaps and levels."""
    text = specimens["churn"].frame.head(120).to_csv(index=False)
    while len(text) <= decode._SMALL_CSV:
        text += text.partition("\n")[2]
    return text


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("algorithm", ASKED)
def test_explanations_few_at_once_are_those_of_all(
    predict, body, monkeypatch, accept, algorithm
):
    query = {**ASKED[algorithm], "passthroughColumnsSet": "all"}

    def answer():
        found = predict("churn", body, query=query, headers={"Accept": accept})
        assert found.status_code == 200
        return found.data

    together = answer()
    sizes = []
    real = answering.score

    def watched(backend, columns, *given, **more):
        sizes.append(len(columns))
        return real(backend, columns, *given, **more)

    monkeypatch.setattr(answering, "score", watched)
    monkeypatch.setattr(answering, "_ITEMS", 23)
    assert answer() == together
    assert max(sizes) == 23 // query["maxExplanations"]
