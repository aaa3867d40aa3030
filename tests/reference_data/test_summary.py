"""Summaries: what they count, and that merging is exact."""

import json
import math
from dataclasses import fields, replace
from functools import reduce
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_data.episode_sums import Incompatible
from reference_data.summary import (
    PropertySums,
    Summary,
    SummaryTooNew,
    merge,
    merge_all,
    p_bin_edges,
    summarise,
)

unit = st.floats(0, 1)
events = st.lists(
    st.tuples(
        st.sampled_from(["bear", "fox", "none"]),
        unit,
        unit,
        unit,
        st.floats(-1e9, 1e9),
        st.booleans(),
    ),
    max_size=30,
)
Events = list[tuple[str, float, float, float, float, bool]]


def summary_of(batch: Events) -> Summary:
    return summarise(
        predictions=[event[0] for event in batch],
        confidences=[event[1] for event in batch],
        p_semantic=[event[2] for event in batch],
        p_domain=[event[3] for event in batch],
        flagged=sum(event[5] for event in batch),
        rejected=len(batch) % 3,
        properties={"brightness": [event[4] for event in batch]} if batch else {},
    )


def without_rejected(summary: Summary) -> Summary:
    return replace(summary, rejected=0)


@settings(max_examples=60, deadline=None)
@given(batch=events, cuts=st.lists(st.integers(0, 30), max_size=4), order=st.randoms())
def test_any_division_in_any_order_merges_to_the_same_bytes(
    batch: Events, cuts: list[int], order: Random
) -> None:
    borders = [0, *sorted(min(cut, len(batch)) for cut in cuts), len(batch)]
    parts = [summary_of(batch[start:stop]) for start, stop in pairwise(borders)]
    order.shuffle(parts)

    assert without_rejected(merge_all(parts)) == without_rejected(summary_of(batch))


@settings(max_examples=30, deadline=None)
@given(one=events, other=events, third=events)
def test_merging_is_associative_and_commutative(one: Events, other: Events, third: Events) -> None:
    a, b, c = summary_of(one), summary_of(other), summary_of(third)

    assert merge(a, b).to_bytes() == merge(b, a).to_bytes()
    assert merge(merge(a, b), c).to_bytes() == merge(a, merge(b, c)).to_bytes()
    assert merge(a, Summary()) == a


@settings(max_examples=30, deadline=None)
@given(batch=events)
def test_a_summary_survives_its_bytes(batch: Events) -> None:
    summary = summary_of(batch)

    assert Summary.from_bytes(summary.to_bytes()) == summary


def test_every_column_counts_every_prediction_once() -> None:
    rng = np.random.default_rng(1)
    summary = summarise(
        predictions=["a"] * 60 + ["b"] * 40,
        confidences=rng.random(100),
        p_semantic=rng.random(100),
        p_domain=rng.random(100),
    )

    assert summary.n == 100
    assert summary.classes == {"a": 60, "b": 40}
    assert sum(summary.p_semantic) == sum(summary.p_domain) == sum(summary.confidence) == 100


def test_the_ends_of_the_scales_are_counted() -> None:
    summary = summarise(
        predictions=["a", "a"], confidences=[0, 1], p_semantic=[0, 1], p_domain=[0.0009, 0.9991]
    )

    assert (summary.p_semantic[0], summary.p_semantic[-1]) == (1, 1)
    assert (summary.p_domain[0], summary.p_domain[-1]) == (1, 1)
    assert (summary.confidence[0], summary.confidence[-1]) == (1, 1)


def test_p_bins_are_mirrored_and_one_fewer_edges_than_bins() -> None:
    edges = p_bin_edges()

    assert (np.diff(edges) > 0).all()
    assert np.sort(1 - edges) == pytest.approx(edges)
    assert len(Summary().p_semantic) == len(edges) + 1


def test_moments_of_a_property_are_right() -> None:
    values = [0.25, 1.5, -3.0]
    sums = summarise(properties={"x": values}).properties["x"]

    assert sums.mean == pytest.approx(np.mean(values))
    assert sums.variance == pytest.approx(np.var(values))
    assert PropertySums().mean is None
    assert PropertySums().variance is None


def test_large_numbers_do_not_overflow() -> None:
    one = summarise(properties={"bytes": [1e12] * 10})
    many = reduce(merge, [one] * 200)

    assert many.properties["bytes"].mean == pytest.approx(1e12)
    assert many.properties["bytes"].variance == 0


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="same requests"):
        summarise(predictions=["a"], confidences=[], p_semantic=[0.5], p_domain=[0.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        summarise(predictions=["a"], confidences=[math.nan], p_semantic=[0.5], p_domain=[0.5])
    with pytest.raises(ValueError, match="brightness"):
        summarise(properties={"brightness": [math.inf]})


def test_summaries_of_newer_versions_are_refused() -> None:
    newer = Summary(version=3)

    with pytest.raises(SummaryTooNew, match="version 3"):
        Summary.from_bytes(newer.to_bytes())
    with pytest.raises(Incompatible):
        merge(Summary(), newer)


def test_a_summary_of_version_1_is_read_and_says_what_it_lacks() -> None:
    counted = summary_of([("bear", 0.9, 0.5, 0.5, 1.0, False)] * 3)
    document = {each.name: getattr(counted, each.name) for each in fields(counted)}
    del document["sums"]
    document["version"] = 1
    document["properties"] = {"brightness": [3, 3 << 20, 3 << 40]}

    old = Summary.from_bytes(json.dumps(document).encode())

    assert old == counted
    assert old.unsummed == 3
    assert merge(old, Summary()) == old
