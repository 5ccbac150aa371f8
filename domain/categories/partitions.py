"""The categories of a whole job: of all its messages together, or apart for each value of a partition field.

Each partition has a categorizer of its own; its categories get ids that are unique in the job, in the order in which
their first messages came. Partitions share the tokenizer and an account of memory: once that is full, no new category
and no new partition is made. Knows nothing of jobs, detectors or times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from domain.categories.budget import Budget
from domain.categories.categorizer import EXAMPLES_LIMIT, KNOWN_COUNT_MAX, NO_CATEGORY, Categorizer
from domain.categories.quality import OK, WARN
from domain.categories.tokens import Tokenizes

CHECKED_FROM: Final = 101
"""Messages of a partition after which it is first asked whether its categories tell anything: the reference's 100 and
one more. Asked again whenever they have grown by a tenth: chosen, since the answer takes a look at all categories."""
KNOWN_PER_PARTITION_MAX: Final = 2_000
"""Token sequences remembered per partition, where there are several."""
PARTITION_BYTES: Final = 1_200
"""What a partition takes beside its categories and its name. Measured by tracemalloc over 2,000 partitions."""


@dataclass(slots=True)
class Partition:
    """One partition.

    Attributes
    ----------
    ids : list of int
        Id in the job of each of its categories.
    next_check : int
        How many messages it has when it is next asked whether its categories tell anything.
    is_warned : bool
        What the answer was when it was last asked.
    """

    value: str
    categorizer: Categorizer
    ids: list[int] = field(default_factory=list)
    next_check: int = CHECKED_FROM
    is_warned: bool = False

    def check(self) -> None:
        """Ask whether the categories tell anything."""
        self.is_warned = self.categorizer.counts()["categorization_status"] == WARN
        self.next_check = self.categorizer.message_count + max(self.categorizer.message_count // 10, 1)


class JobCategories:
    """Streaming categorization of the messages of a job.

    Parameters
    ----------
    tokenizer : Tokenizes
    field_name : str or None
        The partition field; None: all messages together.
    stop_on_warn : bool
        A partition whose categories tell nothing gets no more messages.
    budget : Budget
    examples_limit : int
        Examples kept per category.

    Examples
    --------
    >>> from domain.categories.tokens import Tokenizer
    >>> categories = JobCategories(Tokenizer(), field_name="host")
    >>> categories.categorize(["disk is full", "disk is full", "user bob left"], ["a", "b", "a"])
    [1, 2, 3]
    """

    def __init__(
        self,
        tokenizer: Tokenizes,
        *,
        field_name: str | None = None,
        stop_on_warn: bool = False,
        budget: Budget | None = None,
        examples_limit: int = EXAMPLES_LIMIT,
    ) -> None:
        self._tokenizer = tokenizer
        self._field_name = field_name
        self._stops = stop_on_warn
        self._budget = budget or Budget()
        self._examples_limit = examples_limit
        self._partitions: dict[str, Partition] = {}
        self._owners: list[tuple[Partition, int]] = []
        self._failed_count = 0
        if field_name is None:
            self._create("")

    def categorize(self, messages: Sequence[str], partitions: Sequence[str] | None = None) -> list[int]:
        """Return the id of each message's category, in order.

        `NO_CATEGORY` where there is no room for another, or categorization of its partition has stopped.

        Parameters
        ----------
        partitions : sequence of str
            The partition of each message, if there is a partition field.
        """
        values = [""] * len(messages) if partitions is None else partitions
        return [self._categorize(value, message) for value, message in zip(values, messages, strict=True)]

    def _categorize(self, value: str, message: str) -> int:
        partition = self._partitions.get(value) or self._create(value)
        if partition is None:
            self._failed_count += 1
            return NO_CATEGORY
        if partition.is_warned and self._stops:
            return NO_CATEGORY
        own = partition.categorizer.category_of(message)
        if own == NO_CATEGORY:
            return NO_CATEGORY
        if own > len(partition.ids):
            self._owners.append((partition, own))
            partition.ids.append(len(self._owners))
        if self._field_name is not None and partition.categorizer.message_count >= partition.next_check:
            partition.check()
        return partition.ids[own - 1]

    def _create(self, value: str) -> Partition | None:
        if self._field_name is not None and not self._budget.take(_cost_of(value)):
            return None
        partition = Partition(value, Categorizer(**self._settings()))
        self._partitions[value] = partition
        return partition

    def _settings(self) -> dict[str, Any]:
        is_apart = self._field_name is not None
        return {
            "tokenizer": self._tokenizer,
            "budget": self._budget,
            "examples_limit": self._examples_limit,
            "known_count_max": KNOWN_PER_PARTITION_MAX if is_apart else KNOWN_COUNT_MAX,
        }

    @property
    def category_count(self) -> int:
        """Categories so far; their ids are 1 to this."""
        return len(self._owners)

    @property
    def size_bytes(self) -> int:
        """About what partitions and categories take in memory; the caches, which are bounded, left out."""
        return self._budget.used

    @property
    def is_full(self) -> bool:
        """Whether a partition or a category was refused for want of memory."""
        return self._budget.is_full

    def resource(self, category_id: int) -> dict[str, Any]:
        """Return a category as the API shows it, without the job's id.

        Raises
        ------
        IndexError
            When there is no such category.
        """
        if not 1 <= category_id <= len(self._owners):
            reason = f"expected a category id from 1 to {len(self._owners)}, got {category_id}"
            raise IndexError(reason)
        partition, own = self._owners[category_id - 1]
        resource = partition.categorizer.resource(own)
        resource["preferred_to_categories"] = [partition.ids[each - 1] for each in resource["preferred_to_categories"]]
        del resource["category_id"]
        if self._field_name is None:
            return {"category_id": category_id, **resource}
        of_partition = {"partition_field_name": self._field_name, "partition_field_value": partition.value}
        return {"category_id": category_id, **of_partition, **resource}

    def resources(self) -> list[dict[str, Any]]:
        """Return all categories as the API shows them, by id."""
        return [self.resource(category_id) for category_id in range(1, len(self._owners) + 1)]

    def take_touched(self) -> list[int]:
        """Return the ids of categories that got messages since this was last asked, ascending.

        It is no part of the state: after `restore` it starts empty.
        """
        parts = self._partitions.values()
        return sorted(part.ids[own - 1] for part in parts for own in part.categorizer.take_touched())

    def counts(self) -> dict[str, Any]:
        """Return the fields of ``model_size_stats`` that tell of categories: a warning if any partition has one."""
        each = [partition.categorizer.counts() for partition in self._partitions.values()]
        has_warning = any(counts.pop("categorization_status") == WARN for counts in each)
        names = ("categorized_doc_count", "total_category_count", "frequent_category_count", "rare_category_count")
        total = {name: sum(counts[name] for counts in each) for name in (*names, "dead_category_count")}
        failed = self._failed_count + sum(counts["failed_category_count"] for counts in each)
        return {**total, "failed_category_count": failed, "categorization_status": WARN if has_warning else OK}

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, of types that JSON and MessagePack have."""
        return {
            "failed_count": self._failed_count,
            "is_full": self._budget.is_full,
            "partitions": [
                [part.value, part.categorizer.state(), list(part.ids), part.next_check, part.is_warned]
                for part in self._partitions.values()
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; the settings are those of the constructor."""
        self._failed_count, self._budget.is_full = state["failed_count"], state["is_full"]
        self._partitions.clear()
        owners: dict[int, tuple[Partition, int]] = {}
        for value, own_state, ids, next_check, is_warned in state["partitions"]:
            if self._field_name is not None:
                self._budget.add(_cost_of(value))
            categorizer = Categorizer.restore(own_state, **self._settings())
            partition = self._partitions[value] = Partition(value, categorizer, list(ids), next_check, is_warned)
            owners.update((category_id, (partition, own)) for own, category_id in enumerate(ids, 1))
        self._owners = [owners[category_id] for category_id in range(1, len(owners) + 1)]


def _cost_of(value: str) -> int:
    return PARTITION_BYTES + len(value)
