"""What is said in one line says no more than is known."""

import pytest

from monitor.commands.screen import interval
from monitor.services.accuracy.estimate import EstimatedAccuracy
from monitor.services.accuracy.measure import MeasuredAccuracy
from monitor.services.explanations import headlines
from monitor.stats.accuracy.measured import LabelledPrediction, measured_share

UNKNOWN = EstimatedAccuracy(
    value=None,
    low=None,
    high=None,
    reason="nobody knows",
    held_out=0.97,
    rows=1,
    of=1,
    excluded=0,
    estimators={},
    class_mix={},
    class_mix_explains=None,
)


def measured(right: int, wrong: int) -> MeasuredAccuracy:
    labels = [
        LabelledPrediction(unit=str(i), prediction="black", label="black" if i < right else "teddy")
        for i in range(right + wrong)
    ]
    return MeasuredAccuracy(
        overall=measured_share(labels), reason=None, classes={}, without_probability=0, waiting=0
    )


@pytest.mark.parametrize("right", [0, 1])
def test_one_label_is_no_accuracy_of_none_or_all(right: int) -> None:
    said = headlines.accuracy(UNKNOWN, measured(right, 1 - right))
    assert said.startswith("somewhere from ")
    assert "measured by 1 label; " in said


def test_a_hundred_labels_are_a_number_with_its_interval() -> None:
    said = headlines.accuracy(UNKNOWN, measured(93, 7))
    assert said.startswith("93")
    assert "measured by 100 labels; " in said


def test_an_interval_of_more_than_half_of_all_shares_stands_alone() -> None:
    assert interval(0.0, 0.0, 0.98) == "0.0% … 98.0%"
    assert interval(0.9, 0.8, 0.95) == "90.0% (80.0% … 95.0%)"
    assert "unknown" in interval(None, None, None)
