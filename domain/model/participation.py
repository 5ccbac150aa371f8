"""Taking part: at how many of the values judged in a bucket each value of an influencer field takes part.

A host with fifty metrics has fifty chances to be unusual. Where a field tells the series of a detector apart, its value
takes part in the series that bear it; of every other field, in the series that had records with it in the bucket.
"""

from collections.abc import Sequence

from domain.model.detector_model import DetectorModel
from domain.model.findings import Findings


class TakingPart:
    """Counts when asked, as few buckets ask."""

    def __init__(self, detectors: Sequence[DetectorModel], findings: Sequence[Findings]) -> None:
        self._detectors = detectors
        self._findings = findings
        self._seen: dict[tuple[int, str], dict[str, int]] = {}

    def count(self, field: str, value: str) -> float:
        """Return at how many of the values judged a value of an influencer field takes part."""
        return sum(self._of_finding(finding, field, value) for finding in self._findings)

    def _of_finding(self, finding: Findings, field: str, value: str) -> float:
        n_judged, detector = finding.candidates.n_judged, self._detectors[finding.detector_index]
        if n_judged == 0:
            return 0.0
        if field in detector.series.fields:
            return detector.n_taking_part(field, value, n_judged)
        if finding.accumulator is None:
            return 0.0
        key = (finding.detector_index, field)
        if key not in self._seen:
            place = detector.influencers.index(field)
            self._seen[key] = finding.accumulator.influences[place].n_series()
        return float(min(self._seen[key].get(value, 0), n_judged))
