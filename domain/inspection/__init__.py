"""Looking into a model: which series it has, what it knows of each, and what lies where in its state; read only."""

from domain.inspection.components import Part, Table, tables
from domain.inspection.series import Readings, SeriesFinder, SeriesPlace, all_readings, find_series

__all__ = ["Part", "Readings", "SeriesFinder", "SeriesPlace", "Table", "all_readings", "find_series", "tables"]
