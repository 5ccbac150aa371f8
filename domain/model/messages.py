"""The messages of a job as categories: what makes the field ``mlcategory`` that detectors and influencers may use.

Messages are categorized in the order of their records, once each, so the ids do not depend on how records were cut
into batches. A message without room for a category belongs to none, like a record without the field.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from domain.categories import NO_CATEGORY, Categorizer
from domain.config import MLCATEGORY, JobConfig
from domain.model.arrays import Ints
from domain.records import RecordBatch, TextColumn


class Messages:
    """The categorizer of a job that has a ``categorization_field_name``.

    Attributes
    ----------
    categorizer : Categorizer
    """

    def __init__(self, config: JobConfig, state: dict[str, Any] | None = None) -> None:
        self._field = config.categorization_field_name
        filters = config.analysis_config.categorization_filters or ()
        examples_limit = config.analysis_limits.categorization_examples_limit
        if state is None:
            self.categorizer = Categorizer(filters, examples_limit=examples_limit)
        else:
            self.categorizer = Categorizer.restore(state, filters, examples_limit=examples_limit)

    @classmethod
    def of(cls, config: JobConfig, state: dict[str, Any] | None = None) -> "Messages | None":
        """Make the categorizer of a job, None if the job needs none."""
        return None if config.categorization_field_name is None else cls(config, state)

    def categorized(self, batch: RecordBatch, taken: Ints) -> RecordBatch:
        """Return the batch with the column ``mlcategory``: ids as texts for the records taken, none for others.

        Parameters
        ----------
        taken : ndarray of shape (n,)
            Places of the records that the model takes, ascending.
        """
        assert self._field is not None
        column = batch.texts[self._field]
        places = taken[column.codes[taken] >= 0]
        messages = [column.values[code] for code in column.codes[places].tolist()]
        ids = np.array(self.categorizer.categorize(messages), np.int64)
        found, first, codes = np.unique(ids, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty(len(found), np.int32)
        rank[order] = np.arange(len(found), dtype=np.int32)
        numbered = np.full(len(batch), -1, np.int32)
        numbered[places] = np.where(ids == NO_CATEGORY, np.int32(-1), rank[codes])
        texts = [str(found[place]) for place in order.tolist()]
        return replace(batch, texts={**batch.texts, MLCATEGORY: TextColumn(numbered, texts)})
