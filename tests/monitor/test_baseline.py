"""What is read of the calibration rows: flagged ones, properties, segments, ties and samples."""

import numpy as np
import numpy.typing as npt

from monitor.domain import StreamName
from monitor.services.streams.baseline import count_flagged, pick_properties, rank_segments
from reference_data.held_out import HeldOut

N = 400


def rows(semantic: npt.NDArray[np.float64], domain: npt.NDArray[np.float64]) -> HeldOut:
    count = len(semantic)
    return HeldOut(
        rows=np.arange(count),
        role=np.full(count, "calibrate"),
        labels=np.zeros(count, np.intp),
        logits=np.zeros((count, 2), np.float32),
        embedding=np.zeros((count, 2), np.float16),
        semantic=semantic,
        domain=domain,
        properties={},
        segments={"site": np.where(np.arange(count) < count // 2, "north", "")},
    )


def test_rows_beyond_either_score_are_counted_once() -> None:
    scores = np.arange(N, dtype=np.float64)
    same = count_flagged(rows(scores, scores), N, 0.05, 1, joint=False)
    opposite = count_flagged(rows(scores, -scores), N, 0.05, 1, joint=False)
    assert same is not None
    assert opposite is not None
    # α/2 of 401 ranks is 10.025: the eleventh row flags for some ties.
    assert (same.beyond, same.flagged) == (11, 11)
    assert (opposite.beyond, opposite.flagged) == (11, 22)


def test_as_many_rows_as_lie_beyond_a_joint_score_are_flagged() -> None:
    found = count_flagged(rows(np.arange(float(N)), -np.arange(float(N))), N, 0.05, 1, joint=True)
    assert found is not None
    # α of 401 ranks is 20.05.
    assert (found.beyond, found.flagged, found.joint) == (21, 21, True)


def test_saturated_scores_flag_no_more_rows_than_their_threshold_says() -> None:
    tied = count_flagged(rows(np.ones(N), np.ones(N)), N, 0.05, 1, joint=False)
    assert tied is not None
    assert 11 <= tied.flagged <= 22


def test_of_a_sample_as_many_count_as_there_can_be() -> None:
    sampled = count_flagged(rows(np.arange(N / 2), np.arange(N / 2)), N, 0.05, 1, joint=False)
    assert sampled is not None
    assert sampled.flagged == 22
    assert count_flagged(rows(np.ones(9), np.ones(9)), 9, 2.0, 1, joint=False) is None


def test_only_properties_with_enough_finite_values_are_watched() -> None:
    values = np.arange(N, dtype=np.float64)[::-1]
    few = np.where(np.arange(N) < 99, values, np.nan)
    picked = pick_properties({"few": few, "some": np.where(values < 150, np.inf, values)})
    assert list(picked) == ["some"]
    assert picked["some"].tolist() == list(range(150, N))
    many = pick_properties({f"p{i:02d}": values for i in range(20)})
    assert list(many) == [f"p{i:02d}" for i in range(12)]


def test_tied_rows_of_a_segment_lie_anywhere_among_those_they_tie_with() -> None:
    tied = {StreamName.SEMANTIC: np.ones(N), StreamName.DOMAIN: np.ones(N)}
    segment = rank_segments(rows(np.ones(N), np.ones(N)), tied, 3)["site=north"]
    assert segment.rows == N // 2
    for above in segment.above.values():
        assert abs(int(above[N // 2]) - N // 4) < 40
        assert (np.diff(above) >= 0).all()
        assert above[-1] == segment.rows
