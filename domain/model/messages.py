"""The messages of a job as categories: what makes the field ``mlcategory`` that detectors and influencers may use.

Messages are categorized in the order of their records, once each, so the ids do not depend on how records were cut
into batches. A message without room for a category belongs to none, like a record without the field; so does one whose
partition is no longer categorized.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from domain.categories import NO_CATEGORY, AnalyzerTokenizer, Budget, JobCategories, Tokenizer, Tokenizes
from domain.config import MLCATEGORY, JobConfig
from domain.config.analyzer import read_analyzer
from domain.model.arrays import Ints
from domain.records import RecordBatch, TextColumn

CATEGORIES_SHARE: Final = 0.25
"""Part of the memory limit that is set aside for categories in a job that has any. Chosen; apart from that of the
series, since who came first, a category or a series, must not depend on how records were cut."""


def bytes_for_categories(config: JobConfig) -> int:
    """Return the memory that is set aside for categories."""
    if config.categorization_field_name is None:
        return 0
    return int(config.model_memory_limit_bytes * CATEGORIES_SHARE)


class Messages:
    """The categories of a job that has a ``categorization_field_name``.

    Attributes
    ----------
    categories : JobCategories
    """

    def __init__(self, config: JobConfig, state: dict[str, Any] | None = None) -> None:
        analysis = config.analysis_config
        setting = analysis.per_partition_categorization
        self._field = config.categorization_field_name
        self._partition_field = analysis.categorization_partition_field_name
        self.categories = JobCategories(
            _tokenizer(config),
            field_name=self._partition_field,
            stop_on_warn=setting is not None and setting.stop_on_warn,
            budget=Budget(bytes_for_categories(config)),
            examples_limit=config.analysis_limits.categorization_examples_limit,
        )
        if state is not None:
            self.categories.load(state)

    @classmethod
    def of(cls, config: JobConfig, state: dict[str, Any] | None = None) -> "Messages | None":
        """Make the categories of a job, None if the job needs none."""
        return None if config.categorization_field_name is None else cls(config, state)

    def categorized(self, batch: RecordBatch, taken: Ints) -> RecordBatch:
        """Return the batch with the column ``mlcategory``: ids as texts for the records taken, none for others.

        Parameters
        ----------
        taken : ndarray of shape (n,)
            Places of the records that the model takes, ascending.
        """
        assert self._field is not None
        places = taken[batch.texts[self._field].codes[taken] >= 0]
        messages = _texts_at(batch.texts[self._field], places)
        partitions = None
        if self._partition_field is not None:
            partitions = _texts_at(batch.texts[self._partition_field], places)
        ids = np.array(self.categories.categorize(messages, partitions), np.int64)
        found, first, codes = np.unique(ids, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty(len(found), np.int32)
        rank[order] = np.arange(len(found), dtype=np.int32)
        numbered = np.full(len(batch), -1, np.int32)
        numbered[places] = np.where(ids == NO_CATEGORY, np.int32(-1), rank[codes])
        texts = [str(found[place]) for place in order.tolist()]
        return replace(batch, texts={**batch.texts, MLCATEGORY: TextColumn(numbered, texts)})


def _tokenizer(config: JobConfig) -> Tokenizes:
    analyzer = config.analysis_config.categorization_analyzer
    if analyzer is not None:
        return AnalyzerTokenizer(read_analyzer(analyzer))
    return Tokenizer.of(config.analysis_config.categorization_filters or ())


def _texts_at(column: TextColumn, places: Ints) -> list[str]:
    """Return the texts of some records; the empty text for those that have none."""
    values = [*column.values, ""]  # the last is what code -1 finds
    return [values[code] for code in column.codes[places].tolist()]
