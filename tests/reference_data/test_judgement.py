"""One rule from scores to the flag: calibrated jointly, and by two p-values in bundles of old."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from reference_data.bundle import Bundle, load, write
from reference_data.calibration import archive
from reference_data.conformal import combined
from reference_data.judgement import JOINT, Calibration
from reference_data.preprocess import prepare
from reference_data.scores.joint import JointScore
from reference_data.scoring import Scored, Scorer
from tests.inference.tiny_model import PREPROCESSING, picture
from tests.reference_data.tiny_reference import make_bundle

Floats = npt.NDArray[np.float64]
JOINING = JointScore(
    semantic=np.sort(np.random.default_rng(0).normal(size=500)),
    domain=np.sort(np.random.default_rng(1).gamma(9, size=500)),
    rows=500,
)


def ids(count: int) -> list[str]:
    return [f"e{place}" for place in range(count)]


def drawn(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    return rng.normal(size=rows), rng.gamma(9, size=rows)


def as_of_old(bundle: Bundle, parent: Path) -> Bundle:
    """Write the bundle as it was before there was a joint score."""
    files: dict[str, bytes | Path] = {name: bundle.file(name) for name in bundle.manifest.files}
    for name in ("scores.npz", "reference.npz"):
        arrays = bundle.arrays(name)
        files[name] = archive({k: a for k, a in arrays.items() if not k.startswith("joint")})
    return write(parent, bundle.manifest, files)


def test_what_is_unusual_in_either_way_or_a_little_in_both_is_unusual() -> None:
    usual, odd = JOINING.score(np.zeros(1), np.full(1, 9.0))[0], 8.0
    shown = JOINING.score(np.full(1, odd), np.full(1, 9.0))[0]
    taken = JOINING.score(np.zeros(1), np.full(1, 60.0))[0]
    both = JOINING.score(np.full(1, 2.0), np.full(1, 17.0))[0]
    one = JOINING.score(np.full(1, 2.0), np.full(1, 9.0))[0]
    assert min(shown, taken, both) > one > usual
    kept = JointScore.from_arrays(JOINING.to_arrays())
    assert kept.score(np.zeros(1), np.full(1, 9.0))[0] == usual


def test_a_calibration_with_further_rows_is_that_of_all_rows() -> None:
    rng = np.random.default_rng(2)
    (s, d), (t, e) = drawn(rng, 70), drawn(rng, 30)
    whole = Calibration.of(np.concatenate([s, t]), np.concatenate([d, e]), JOINING)
    grown = Calibration.of(s, d, JOINING).joined_by(t, e)
    for name, array in whole.to_arrays().items():
        assert (grown.to_arrays()[name] == array).all()
    assert set(Calibration.of(s, d, None).joined_by(t, e).to_arrays()) == {"semantic", "domain"}


def test_the_seed_and_the_id_decide_ties_alone() -> None:
    calibration = Calibration.of(np.zeros(50), np.zeros(50), JOINING)
    same = [calibration.judge(np.zeros(3), np.zeros(3), ids(3), 1).value for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert len(set(same[0])) == 3
    assert (same[0] != calibration.judge(np.zeros(3), np.zeros(3), ids(3), 2).value).all()


def test_a_bundle_without_a_joint_score_flags_as_it_did(tmp_path: Path) -> None:
    new = make_bundle(tmp_path / "new")
    old = as_of_old(new, tmp_path / "old")
    assert any(name.startswith(JOINT) for name in new.arrays("scores.npz"))
    pictures = [picture(("blue", "green", "red")[seed % 3], seed) for seed in range(900, 930)]
    tensors = np.stack([prepare(image, PREPROCESSING) for image in pictures])
    judged: list[list[Scored]] = []
    for bundle in (new, old):
        results = Scorer.open(load(bundle.path), threads=1).score(tensors, ids(30))
        judged.append([each for each in results if isinstance(each, Scored)])
    for ours, theirs in zip(*judged, strict=True):
        assert (ours.p_semantic, ours.p_domain) == (theirs.p_semantic, theirs.p_domain)
        p = combined(np.array([theirs.p_semantic]), np.array([theirs.p_domain]))[0]
        assert theirs.p_value == p
        assert theirs.flagged == (p <= old.manifest.alpha)
    assert any(a.p_value != b.p_value for a, b in zip(*judged, strict=True))


def test_a_damaged_joint_calibration_is_no_reason_to_fall_back(tmp_path: Path) -> None:
    arrays = make_bundle(tmp_path).arrays("reference.npz")
    del arrays["joint"]
    fitted = {f"{JOINT}{name}": array for name, array in JOINING.to_arrays().items()}
    with pytest.raises(KeyError):
        Calibration.read(fitted, arrays)


@pytest.mark.statistics
def test_healthy_inputs_have_a_joint_p_below_alpha_as_often_as_alpha_says() -> None:
    rng, alphas = np.random.default_rng(4), (0.1, 0.01)
    low = np.zeros(2)
    for _ in range(200):
        calibration = Calibration.of(*drawn(rng, 300), JOINING)
        p = calibration.judge(*drawn(rng, 500), ids(500), 0).value
        low += [(p <= alpha).mean() for alpha in alphas]
    # One reference's rate is Beta(k, n+1-k): over 200 its mean is within a tenth or so of α.
    assert low / 200 == pytest.approx(alphas, rel=0.12)
