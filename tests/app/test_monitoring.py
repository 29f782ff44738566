"""What monitoring is told, and who is told."""

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from app.store.errors import StoreUnavailable
from app.store.humility_totals import HumilityCount
from backends.humility import NoOperation, Rule, UncertainPrediction


def samples(answer):
    text = answer.get_data(as_text=True)
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def deployments(answer):
    found = samples(answer)
    return {
        labels["deployment"]: labels
        for name, labels, _ in found
        if name == "foretell_deployment_info"
    }


def test_every_deployment_tells_its_engine(client, site, specimens):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    found = deployments(answer)
    churn = site.deployments["churn"]
    assert found[churn] == {
        "deployment": churn,
        "model": specimens["churn"].model.id,
        "format": "lightgbm",
        "task": "binary",
        "engine": "trees",
        "reason": "",
    }
    linear = found[site.deployments["onnx-price"]]
    assert (linear["engine"], linear["reason"]) == ("onnxruntime", "not covered")
    assert site.deployments["disabled"] in found
    assert site.deployments["external"] not in found


def test_release_is_told(client):
    [build] = [each for each in samples(client.get("/metrics")) if "build" in each[0]]
    assert build[0] == "foretell_build_info"
    assert set(build[1]) == {"version"}
    assert build[2] == 1


def counted(client, deployment):
    return {
        (name, labels["rule"]): value
        for name, labels, value in samples(client.get("/metrics"))
        if "humility" in name and labels["deployment"] == deployment
    }


def test_rules_tell_what_they_triggered_for(client, predict, services):
    store = services.store
    deployment = predict.deploy("churn")
    rules = [
        Rule(each * 24, "x", UncertainPrediction(0, int(each)), NoOperation())
        for each in "12"
    ]
    store.change_humility(deployment, lambda found: rules)
    services.refresh()
    hour = datetime(2026, 1, 1, tzinfo=UTC)
    counts = [
        HumilityCount(deployment, "1" * 24, hour, 3, 10),
        HumilityCount(deployment, "1" * 24, hour + timedelta(hours=1), 4, 10),
        # Of a rule that was removed.
        HumilityCount(deployment, "3" * 24, hour, 5, 10),
    ]
    services.humility_totals.add(counts)
    assert counted(client, deployment) == {
        ("foretell_humility_triggered_rows_total", "1" * 24): 7,
        ("foretell_humility_triggered_rows_total", "2" * 24): 0,
        ("foretell_humility_rows_total", "1" * 24): 20,
        ("foretell_humility_rows_total", "2" * 24): 0,
    }


def test_store_that_is_away_leaves_the_rest(client, site, services, monkeypatch):
    def away():
        raise StoreUnavailable("away")

    monkeypatch.setattr(services.humility_totals, "read", away)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert site.deployments["churn"] in deployments(answer)
    assert "humility" not in answer.get_data(as_text=True)


def test_nobody_is_named(client, site):
    text = client.get("/metrics").get_data(as_text=True)
    for secret in (*site.tokens.values(), *site.users, *site.users.values()):
        assert secret not in text


def test_other_machines_are_told_nothing(client):
    for peer in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"):
        answer = client.get("/metrics", environ_base={"REMOTE_ADDR": peer})
        assert answer.status_code == 404
        assert "not found" in answer.get_json()["message"]
    forwarded = client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    assert forwarded.status_code == 404


def test_peers_on_this_machine_are_told(client):
    for peer in ("127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1", ""):
        answer = client.get("/metrics", environ_base={"REMOTE_ADDR": peer})
        assert answer.status_code == 200, peer
