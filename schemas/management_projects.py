"""What requests about projects and their models say."""

from __future__ import annotations

from schemas.management import Fields
from schemas.management_fields import Number, Switch, Text, Whole


class ProjectQuery(Fields):
    """Which projects a list has."""

    limit = Whole(low=1, high=1000, load_default=1000)
    offset = Whole(low=0, high=2**31 - 1, load_default=0)
    project_name = Text(least=0, data_key="projectName")
    order_by = Text(data_key="orderBy")


class ModelChange(Fields):
    """Where the positive class begins, and whether people have an eye on it."""

    threshold = Number(low=0, high=1, data_key="predictionThreshold")
    is_starred = Switch(data_key="isStarred")


class ModelDeploymentQuery(Fields):
    """What older clients ask a list for: how fresh numbers are that it has not."""

    skip_stats = Text(least=0, data_key="skipStats")
    update_interval = Text(least=0, data_key="updateInterval")
    limit = Whole(low=1, high=1000, load_default=1000)
    offset = Whole(low=0, high=2**31 - 1, load_default=0)
