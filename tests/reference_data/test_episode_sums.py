"""Sums over episodes: what counts, and that merging is exact."""

from dataclasses import replace
from functools import reduce
from itertools import chain, pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_data import window_reference
from reference_data.episode_sums import Frames, merge_sums, no_sums, part_of, sum_episodes
from reference_data.summary import Summary, merge_all
from reference_data.window_reference import WindowReference
from tests.reference_data.held_out_rows import VOCAB, draw, frames

FOUND = window_reference.build(draw(150), VOCAB, seed=0)
assert isinstance(FOUND, WindowReference)
REFERENCE = FOUND
LAYOUT = REFERENCE.layout
EMBEDDINGS = np.random.default_rng(5).standard_t(2, size=(60, 16)).astype(np.float16)


def take(given_frames: Frames, places: list[int]) -> Frames:
    return Frames(
        event_ids=[given_frames.event_ids[place] for place in places],
        episode_ids=[given_frames.episode_ids[place] for place in places],
        predictions=[given_frames.predictions[place] for place in places],
        embeddings=[given_frames.embeddings[place] for place in places],
        columns={name: column[places] for name, column in given_frames.columns.items()},
        segments=[given_frames.segments[place] for place in places],
    )


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    order=st.randoms(),
)
def test_any_division_by_episode_in_any_order_merges_to_the_same_bytes(
    lengths: list[int], cuts: list[int], order: Random
) -> None:
    """Bit-equal, φ and moments included: the sums hold nothing but integers."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    episodes = [f"0-{start}" for start, n in zip(starts, lengths, strict=False) for _ in range(n)]
    window = frames(EMBEDDINGS[: len(episodes)], episode_ids=episodes)
    whole = sum_episodes(window, LAYOUT)

    of_episode = [
        [place for place in range(len(window.event_ids)) if window.episode_ids[place] == episode]
        for episode in dict.fromkeys(window.episode_ids)
    ]
    order.shuffle(of_episode)
    borders = [0, *sorted(min(cut, len(of_episode)) for cut in cuts), len(of_episode)]
    parts = [
        sum_episodes(take(window, list(chain.from_iterable(of_episode[start:stop]))), LAYOUT)
        for start, stop in pairwise(borders)
    ]

    assert reduce(merge_sums, parts, no_sums(LAYOUT)) == whole
    summaries = [Summary(n=each.predictions, sums={each.reference: each}) for each in parts]
    assert (
        merge_all(summaries).to_bytes()
        == Summary(n=whole.predictions, sums={whole.reference: whole}).to_bytes()
    )


def test_an_episode_counts_once_where_its_first_frame_lies() -> None:
    window = frames(EMBEDDINGS[:6], episode_ids=["0-0", "0-0", "0-0", "0-3", "earlier", "0-5"])
    sums = sum_episodes(window, LAYOUT)

    assert (sums.predictions, sums.episodes, sums.continued) == (6, 3, 1)
    assert sums.arrays["phi"][:, 0].sum() == sums.arrays["moments"][0] == 3
    phi = LAYOUT.features.phi(EMBEDDINGS[[0, 1, 2, 3, 5]])
    expected = np.floor(phi[:3].sum(axis=0) / 3 + 0.5) + phi[3] + phi[4]
    assert np.array_equal(sums.arrays["phi"][:, 1:].sum(axis=0), expected)
    for name in LAYOUT.edges:
        assert sums.arrays[f"column.{name}"].sum() == 3


def test_a_summary_with_sums_survives_its_bytes_and_stays_small() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(2_000, 256)).astype(np.float16)
    found = window_reference.build(draw(1_500, embedding=rows[:1_500]), VOCAB, seed=0)
    assert isinstance(found, WindowReference)
    sums = sum_episodes(frames(rows), found.layout)
    summary = Summary(n=2_000, sums={sums.reference: sums})

    data = summary.to_bytes()

    assert Summary.from_bytes(data) == summary
    assert len(data) < 25_000
    assert summary.unsummed == 0


def test_sums_for_another_reference_stand_beside_and_nothing_is_lost() -> None:
    sums = sum_episodes(frames(EMBEDDINGS), LAYOUT)
    other = replace(sums, reference="other")
    one, two = (Summary(n=60, sums={each.reference: each}) for each in (sums, other))

    merged = merge_all([one, two, Summary(n=5)])

    assert merged.sums == {sums.reference: sums, "other": other}
    assert merged.unsummed == 5


def test_what_is_not_finite_or_of_another_length_is_left_out_and_counted() -> None:
    rows = EMBEDDINGS[:8].copy()
    rows[1, 0], rows[2, 3] = np.nan, np.inf
    window = frames(rows)
    embeddings = [*window.embeddings[:5], None, b"\0" * 8, window.embeddings[7]]
    sums = sum_episodes(
        Frames(
            event_ids=window.event_ids,
            episode_ids=window.episode_ids,
            predictions=window.predictions,
            embeddings=embeddings,
            columns=window.columns,
        ),
        LAYOUT,
    )

    assert (sums.broken, sums.foreign) == (3, 1)
    assert sums.arrays["phi"][:, 0].sum() == 4
    assert sums.episodes == 8


def test_parts_halve_one_after_the_other() -> None:
    parts = np.bincount([part_of(f"episode {i}") for i in range(20_000)], minlength=16)
    expected = 20_000 / 2.0 ** np.arange(1, 17)
    assert (np.abs(parts - expected) < 4.5 * np.sqrt(expected) + 1).all()


def test_a_value_training_never_had_counts_as_another() -> None:
    sums = sum_episodes(frames(EMBEDDINGS), LAYOUT)
    assert LAYOUT.segments == {"site": ("north", "south")}
    assert (sums.arrays["segment.site"] > 0).all()
    assert sums.arrays["segment.site"].sum() == 60
