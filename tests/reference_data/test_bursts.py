"""References made of bursts: every episode counts once, and its frames for what they are worth."""

import dataclasses
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from reference_data import held_out
from reference_data.build import ReferenceFiles
from reference_data.calibration_size import CalibrationRows, calibration_size
from reference_data.division import MOST_FRAMES, frames_each, spread
from reference_data.errors import ImportRefused
from reference_data.guarantee import choose_alpha
from reference_data.importing.table import read_table
from reference_data.roles import assign_roles
from tests.reference_data.test_build_and_score import Data, build, make_data
from tests.reference_data.test_training_table import fill


@lru_cache
def bursts() -> ReferenceFiles:
    return build(make_data(held_out=150, frames=3))


def arrays(reference: ReferenceFiles, name: str) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(io.BytesIO(reference.files[name]), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def repeated(data: Data, frames: int) -> Data:
    """Give every held-out item again, as further frames of its episode."""
    places = [
        place for place, row in enumerate(data.rows) for _ in range(frames if row.held_out else 1)
    ]
    whole = data.outputs[0].__class__(
        logits=np.concatenate([part.logits for part in data.outputs]),
        embedding=np.concatenate([part.embedding for part in data.outputs]),
        mid=np.concatenate([part.mid for part in data.outputs]),
    )
    rows = [
        dataclasses.replace(data.rows[place], item=f"{number}/{data.rows[place].item}")
        for number, place in enumerate(places)
    ]
    return Data(rows, [data.pictures[p] for p in places], [whole.take(np.array(places, np.intp))])


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(1, MOST_FRAMES))
def test_every_episode_gives_the_same_number_of_rows_and_its_first_frames(
    lengths: list[int], frames: int
) -> None:
    ends = np.cumsum(lengths).tolist()
    groups = [list(range(end - n, end)) for n, end in zip(lengths, ends, strict=True)]

    taken = spread(groups, frames, seed=4)

    assert taken == spread(groups, frames, seed=4)
    for number, group in enumerate(groups):
        own = taken[number * frames : (number + 1) * frames]
        times = [own.count(place) for place in group[:frames]]
        assert sum(times) == frames
        assert max(times) - min(times) <= 1


def test_as_many_frames_calibrate_as_episodes_usually_have() -> None:
    assert frames_each([]) == frames_each([[0], [1], [2, 3]]) == 1
    assert frames_each([[0, 1, 2], [3, 4]]) == 3
    assert frames_each([list(range(100))]) == MOST_FRAMES


def test_items_that_come_one_by_one_are_worth_what_they_are() -> None:
    reference = build(make_data(train=100, held_out=60))

    assert reference.calibration is None
    assert "n_eff" not in reference.report.guarantee


def test_further_frames_are_worth_more_than_one_and_less_than_so_many_episodes() -> None:
    reference = bursts()
    size = reference.calibration

    assert size is not None
    assert (size.episodes, size.frames, size.rows) == (126, 3, 378)
    assert all(126 <= n <= 378 for n in size.n_eff.values())
    # These frames are independent, so that most of the gain must be seen.
    assert size.smallest > 200
    assert f"n_eff = {int(size.smallest)}" in reference.report.guarantee
    assert len(arrays(reference, "reference.npz")["semantic"]) == 378
    assert arrays(reference, "reference.npz")["class_counts"].sum() == 378


def test_held_out_rows_say_which_of_them_calibrate_and_how_often() -> None:
    reference = bursts()
    kept = held_out.from_arrays(arrays(reference, held_out.FILE))
    calibrating = kept.calibrating()

    assert (np.unique(calibrating.episodes, return_counts=True)[1] == 3).all()
    assert len(kept.of_role("calibrate")) == len(np.unique(calibrating.episodes)) == 126
    calibration = arrays(reference, "reference.npz")
    assert np.allclose(np.sort(calibrating.semantic), calibration["semantic"].astype(np.float64))
    assert len(np.unique(kept.episodes)) == 150
    both = held_out.joined(kept, kept).calibrating()
    assert len(np.unique(both.episodes)) == 252


def test_rows_that_calibrate_are_judged_by_nothing() -> None:
    data = make_data(held_out=150, frames=3)
    roles = assign_roles(data.rows, 3, split_known=True)
    assert len(np.intersect1d(roles.spread, [*roles.temperature, *roles.estimate])) == 0
    assert {data.rows[p].episode for p in roles.spread.tolist()} == {
        data.rows[p].episode for p in roles.calibrate.tolist()
    }


def test_frames_that_repeat_each_other_do_not_make_a_reference_certified() -> None:
    reference = build(repeated(make_data(held_out=90), 3))
    size = reference.calibration

    assert size is not None
    assert size.rows > 200
    assert int(size.smallest) == size.episodes < 100
    assert not reference.certified
    assert f"worth n_eff = {size.episodes}" in reference.certified_reason
    assert reference.alpha == choose_alpha(size.episodes)


def test_a_quantity_that_stays_within_a_burst_is_worth_its_episodes() -> None:
    rng, episodes = np.random.default_rng(3), np.repeat(np.arange(60), 4)
    rows = CalibrationRows(
        episodes=episodes,
        frames=4,
        scores={name: rng.normal(size=240) for name in ("semantic", "domain", "confidence")},
        predictions=rng.integers(0, 3, 60)[episodes],
        properties={"width": rng.normal(size=60)[episodes], "none": np.full(240, np.nan)},
    )

    size = calibration_size(rows)

    assert size is not None
    assert size.n_eff["classes"] == pytest.approx(60)
    assert size.n_eff["property.width"] == pytest.approx(60)
    assert size.smallest > 100
    assert "property.none" not in size.n_eff


def differing(by: float, seed: int) -> bool:
    rng, episodes = np.random.default_rng(seed), np.repeat(np.arange(120), 4)
    scores = {
        name: 0.7 * rng.normal(size=120)[episodes] + 0.7 * rng.normal(size=480)
        for name in ("semantic", "domain", "confidence")
    }
    scores["domain"][::4] += by
    size = calibration_size(
        CalibrationRows(
            episodes=episodes,
            frames=4,
            scores=scores,
            predictions=rng.integers(0, 3, 480),
            properties={},
        )
    )
    assert size is not None
    return not size.first_alike


def test_first_frames_that_are_unlike_the_others_are_found_out() -> None:
    assert all(differing(0.5, seed) for seed in range(10))
    assert sum(differing(0.0, seed) for seed in range(40)) <= binom.ppf(0.999, 40, 0.2)


def test_a_pattern_groups_files_of_one_burst_and_says_what_it_made(tmp_path: Path) -> None:
    names = [
        "train/a/cam1_7_1.png",
        "train/a/cam1_7_2.png",
        "train/b/x.png",
        "valid/a/cam2_1_1.png",
    ]
    table = read_table(fill(tmp_path, *names), group_by=r"(.*)_\d+\.png")

    episodes = {row.item: row.episode for row in table.rows}
    assert episodes[names[0]] == episodes[names[1]] == "a/cam1_7"
    assert episodes["train/b/x.png"] is None
    assert table.episodes_known
    assert any("3 episodes of 4 items; 1 items do not match" in note for note in table.notes)


def test_a_column_of_the_table_groups_its_rows_and_is_no_segment(tmp_path: Path) -> None:
    root = fill(tmp_path, "1.png", "2.png", "3.png")
    file = root / "data.csv"
    file.write_text(
        "path,label,is_valid,trigger,site\n"
        "1.png,a,0,t1,north\n2.png,a,0,t1,north\n3.png,a,1,,south\n"
    )
    table = read_table(file, group_by="trigger")

    assert [row.episode for row in table.rows] == ["t1", "t1", None]
    assert table.segments == ("site",)
    assert not read_table(file).episodes_known


@pytest.mark.parametrize(("wish", "match"), [("(", "regular expression"), ("zebra", "1.png")])
def test_a_grouping_that_groups_nothing_is_refused(tmp_path: Path, wish: str, match: str) -> None:
    root = fill(tmp_path, "train/a/1.png", "valid/a/2.png")
    with pytest.raises(ImportRefused, match=match):
        read_table(root, group_by=wish)


def test_a_burst_cut_by_the_split_is_still_one_burst(tmp_path: Path) -> None:
    table = read_table(
        fill(tmp_path, "train/a/cam1_1.png", "valid/a/cam1_2.png", "valid/a/cam2_1.png"),
        group_by=r"(.*)_\d",
    )
    assert [row.episode for row in table.rows] == ["a/cam1", "a/cam1", "a/cam2"]
