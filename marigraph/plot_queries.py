"""The model plot of a job as it can be read: between which bounds values were expected, as resources of the API."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, select

from marigraph.application import Application
from marigraph.queries import FIRST_PAGE, Page, require_job
from marigraph.resources import plot_resource
from marigraph.tables import model_plot


@dataclass(frozen=True, slots=True)
class PlotFilter:
    """Which part of a model plot is wanted; None means any. Times are milliseconds, the end is exclusive."""

    start_ms: int | None = None
    end_ms: int | None = None
    detector_index: int | None = None
    by: str | None = None
    partition: str | None = None


EVERYTHING = PlotFilter()


def get_model_plot(
    app: Application, job_id: str, selection: PlotFilter = EVERYTHING, page: Page = FIRST_PAGE
) -> dict[str, Any]:
    """List the bounds of what was expected, in order of time."""
    config = require_job(app, job_id).settings()
    if not page.every:
        page.check()
    wanted = (
        (model_plot.c.detector_index, selection.detector_index),
        (model_plot.c.by_field_value, selection.by),
        (model_plot.c.partition_field_value, selection.partition),
    )
    where = [model_plot.c.job_id == job_id, *(column == value for column, value in wanted if value is not None)]
    if selection.start_ms is not None:
        where.append(model_plot.c.timestamp >= selection.start_ms)
    if selection.end_ms is not None:
        where.append(model_plot.c.timestamp < selection.end_ms)
    condition = and_(*where)
    query = select(model_plot).where(condition).order_by(model_plot.c.timestamp, model_plot.c.sequence)
    if not page.every:
        query = query.limit(page.size).offset(page.start)
    with app.store.reading() as connection:
        total = connection.execute(select(func.count()).select_from(model_plot).where(condition)).scalar_one()
        rows = connection.execute(query).mappings().all()
    return {"count": total, "model_plots": [plot_resource(config, dict(row)) for row in rows]}
