"""Explanations: the parts that made a record's probability and score, and one sentence.

Start at ``explaining.py``; what an explanation is made of is in ``parts.py``, and ``recombination.py`` works it out
again.
"""

from domain.explanation.explaining import Closing, Witness, explain
from domain.explanation.parts import Evidence, Explanation, Part, Stage
from domain.explanation.recombination import recombined, work_out
from domain.explanation.score_parts import later_stages

__all__ = [
    "Closing",
    "Evidence",
    "Explanation",
    "Part",
    "Stage",
    "Witness",
    "explain",
    "later_stages",
    "recombined",
    "work_out",
]
