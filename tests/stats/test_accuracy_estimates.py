"""Accuracy without labels: what each estimator does, and where the answer is unknown."""

import doctest
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from monitor.stats import proportion
from monitor.stats.accuracy import atc, cbpe, doc
from monitor.stats.accuracy.drift import MEASURES, measure
from monitor.stats.accuracy.estimate import Source, estimate, fit_source
from monitor.stats.accuracy.head import fit_head, softmax
from monitor.stats.accuracy.label_shift import adapt, bbse, mlls, rlls
from monitor.stats.accuracy.mixture import fit_mixture, make_cells
from monitor.stats.accuracy.recorded import Labelled, Recorded, join
from monitor.stats.accuracy.support import Interval, Outside, judge, learn, size_for
from monitor.stats.accuracy.synthetic import Shifted, draw

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def field(
    n: int,
    rng: np.random.Generator,
    *,
    shares: npt.ArrayLike = (0.5, 0.3, 0.2),
    noise: float = 1.0,
    sharpness: float = 2.0,
) -> Labelled:
    """Draw rows of Gaussian classes, seen by a model that is `sharpness` times too sure."""
    classes = len(np.asarray(shares))
    labels = rng.choice(classes, n, p=np.asarray(shares))
    seen = 2.0 * np.eye(classes)[labels] + noise * rng.normal(size=(n, classes))
    rows = Recorded(
        probabilities=softmax(2.0 * sharpness * seen),
        p_semantic=rng.uniform(size=n),
        p_domain=rng.uniform(size=n),
    )
    return Labelled(rows=rows, labels=labels)


@pytest.fixture(scope="module")
def reference() -> Labelled:
    return field(1_500, np.random.default_rng(0))


@pytest.fixture(scope="module")
def source(reference: Labelled) -> Source:
    return fit_source(reference)


@pytest.mark.parametrize("module", [atc, cbpe, doc, proportion])
def test_the_examples_in_the_manual_of_each_estimator_are_true(module: ModuleType) -> None:
    found = doctest.testmod(module, extraglobs={"np": np})

    assert found.attempted > 0
    assert found.failed == 0


def test_a_head_that_is_too_sure_is_cooled(reference: Labelled) -> None:
    head = fit_head(reference.rows.probabilities, reference.labels)

    calibrated = head.apply(reference.rows.probabilities)
    assert head.temperature > 1.5
    assert calibrated.max(axis=1).mean() == pytest.approx(reference.accuracy, abs=0.01)


def test_a_head_that_is_modest_is_not_sharpened() -> None:
    modest = field(1_500, np.random.default_rng(16), sharpness=0.3)

    head = fit_head(modest.rows.probabilities, modest.labels)
    found = estimate(fit_source(modest), modest.rows)
    assert head.temperature == pytest.approx(1.0)
    assert found is not None
    assert found.combined == pytest.approx(modest.accuracy, abs=0.01)


def test_a_head_is_left_alone_when_rows_are_few() -> None:
    few = field(9, np.random.default_rng(1))

    assert fit_head(few.rows.probabilities, few.labels).temperature == 1.0


def test_every_estimator_follows_a_harder_window(source: Source) -> None:
    drawn = field(12_000, np.random.default_rng(2))
    harder = drawn.take(np.argsort(drawn.rows.probabilities.max(axis=1))[:4_000])

    found = estimate(source, harder.rows)
    assert found is not None
    assert harder.accuracy < source.accuracy - 0.1
    for value in (found.cbpe, found.atc, found.doc, found.combined):
        assert value == pytest.approx(harder.accuracy, abs=0.1)
    assert sorted((found.cbpe, found.atc, found.doc))[1] == found.combined


def test_a_changed_class_mix_is_recognised_and_put_right(source: Source) -> None:
    shares = (0.05, 0.15, 0.8)
    window = field(2_000, np.random.default_rng(3), shares=shares)

    found = estimate(source, window.rows)
    assert found is not None
    assert found.mix_explains
    assert np.abs(found.class_mix - shares).max() < 0.04
    assert found.combined == pytest.approx(window.accuracy, abs=0.02)


def test_a_class_mix_that_still_fits_is_kept(source: Source) -> None:
    found = estimate(source, field(300, np.random.default_rng(15)).rows)

    assert found is not None
    assert not found.mix_explains


def test_a_class_mix_is_not_put_right_where_it_explains_nothing(source: Source) -> None:
    window = field(2_000, np.random.default_rng(4), shares=(0.05, 0.15, 0.8))
    strange = Recorded(
        probabilities=window.rows.probabilities,
        p_semantic=window.rows.p_semantic**3,
        p_domain=window.rows.p_domain,
    )

    found = estimate(source, strange)
    assert found is not None
    assert not found.mix_explains


def test_a_class_mix_is_not_put_right_where_inputs_changed_within_the_classes(
    source: Source,
) -> None:
    window = field(2_000, np.random.default_rng(5), shares=(0.05, 0.15, 0.8), noise=1.4)

    found = estimate(source, window.rows)
    assert found is not None
    assert not found.mix_explains


@pytest.mark.parametrize(("rows", "classes"), [(1, 3), (5, 2), (60, 60)])
def test_a_mixture_of_few_rows_and_empty_classes_is_still_a_probability(
    rows: int, classes: int
) -> None:
    rng = np.random.default_rng(6)
    labels, predicted = rng.integers(classes, size=(2, rows))
    cells = make_cells(labels, predicted, rng.random(rows), classes)
    assert cells is not None

    fit = fit_mixture(cells, rng.integers(classes, size=1), rng.random(1))

    assert 0 <= fit.best <= 1
    assert 0 <= fit.as_it_was <= 1
    assert make_cells(labels[:0], predicted[:0], rng.random(0), classes) is None


def test_the_three_ways_to_estimate_a_class_mix_agree(source: Source) -> None:
    shares = np.array([0.2, 0.2, 0.6])
    window = field(20_000, np.random.default_rng(5), shares=shares).rows
    calibrated = source.head.apply(window.probabilities)

    inverted = bbse(source.labels, source.predicted, window.predicted, 3)
    ridged = rlls(source.labels, source.predicted, window.predicted, 3)
    likely = mlls(calibrated, source.prior)
    assert inverted is not None
    assert ridged is not None
    assert likely is not None
    for found in (inverted.shares, ridged, likely):
        assert np.abs(found - shares).max() < 0.05
        assert found.sum() == pytest.approx(1.0, abs=0.02)
    assert (inverted.low <= shares).all()
    assert (shares <= inverted.high).all()


def test_a_confusion_matrix_that_cannot_be_inverted_gives_no_class_mix() -> None:
    labels, always = np.array([0, 1] * 50), np.zeros(100, dtype=np.intp)

    assert bbse(labels, always, always, 2) is None
    assert rlls(labels, always, always, 2) is not None


def test_a_class_without_labelled_rows_is_left_out() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, 200)

    found = bbse(labels, labels, labels, 3)
    assert found is not None
    assert found.shares[2] == 0
    assert found.shares.sum() == pytest.approx(1.0)


def test_nothing_is_said_about_no_rows(source: Source) -> None:
    nothing = field(5, np.random.default_rng(7)).rows.take(np.array([], dtype=np.intp))
    none = np.array([], dtype=np.intp)

    assert estimate(source, nothing) is None
    assert bbse(source.labels, source.predicted, none, 3) is None
    assert rlls(source.labels, source.predicted, none, 3) is None
    assert mlls(np.zeros((0, 3)), source.prior) is None


def test_a_reference_of_one_class_is_estimated_without_a_fault() -> None:
    rng = np.random.default_rng(8)
    one = field(200, rng, shares=(1.0, 0.0, 0.0))

    found = estimate(fit_source(one), field(100, rng, shares=(1.0, 0.0, 0.0)).rows)
    assert found is not None
    assert 0 <= found.combined <= 1


def test_a_thousand_classes_are_estimated() -> None:
    rng = np.random.default_rng(9)
    classes = 1_000
    labels = rng.integers(0, classes, 600)
    logits = rng.normal(size=(600, classes)) + 6 * np.eye(classes)[labels]
    rows = Recorded(
        probabilities=softmax(logits),
        p_semantic=rng.uniform(size=600),
        p_domain=rng.uniform(size=600),
    )
    many = Labelled(rows=rows, labels=labels)

    found = estimate(fit_source(many.take(np.arange(400))), many.take(np.arange(400, 600)).rows)
    assert found is not None
    assert abs(found.combined - many.accuracy) < 0.1


def test_posteriors_carried_over_to_the_same_mix_stay_what_they_are() -> None:
    given = np.array([[0.7, 0.3], [0.2, 0.8]])

    assert np.allclose(adapt(given, np.ones(2)), given)


def test_rows_that_are_not_finite_are_told_apart() -> None:
    rows = field(4, np.random.default_rng(10)).rows
    broken = Recorded(
        probabilities=np.where(np.eye(4, 3) == 1, np.nan, rows.probabilities),
        p_semantic=rows.p_semantic,
        p_domain=np.array([0.1, 0.2, 0.3, np.inf]),
    )

    assert not broken.finite().any()
    assert rows.finite().all()


@pytest.mark.parametrize(
    ("rows", "held_out", "size"),
    [(49, 5_000, None), (50, 5_000, 50), (999, 5_000, 500), (9_999, 5_000, 2_000), (999, 120, 60)],
)
def test_a_window_is_compared_with_synthetic_ones_no_larger(
    rows: int, held_out: int, size: int | None
) -> None:
    assert size_for(rows, held_out) == size


def test_synthetic_windows_come_in_every_kind_the_rows_allow(reference: Labelled) -> None:
    rng = np.random.default_rng(11)
    harder = field(400, rng, noise=2.0)
    shifted = Shifted(rows=harder, origin=np.arange(400), kind=np.array(["fog-1", "fog-2"] * 200))
    grouped = Labelled(
        rows=reference.rows,
        labels=reference.labels,
        groups={"site": np.where(np.arange(1_500) < 300, "north", "south")},
    )

    def kinds(rows: Labelled, moved: Shifted | None) -> set[str]:
        return {each.kind for each in draw(rows, moved, size=60, count=60, rng=rng)}

    assert kinds(reference, None) == {"plain", "mix", "tilt"}
    assert kinds(grouped, shifted) == {"plain", "mix", "tilt", "group", "shift"}


def test_an_undrifted_window_gets_an_interval_and_a_strange_one_none(
    reference: Labelled, source: Source
) -> None:
    rng = np.random.default_rng(12)
    table = learn(reference, None, 200, rng)
    assert table is not None
    window = field(200, rng).rows
    found = estimate(source, window)
    assert found is not None

    known = judge(table, found.combined, measure(source, window), 200)
    assert isinstance(known, Interval)
    assert known.low <= known.value <= known.high
    assert known.high - known.low < 0.2

    def unusual(p: Floats) -> Outside:
        strange = Recorded(probabilities=window.probabilities, p_semantic=p, p_domain=p)
        verdict = judge(table, found.combined, measure(source, strange), 200)
        assert isinstance(verdict, Outside)
        return verdict

    assert "can no longer be measured" in unusual(np.full(200, 0.001)).reason
    assert "no synthetic window drifted like this one" in unusual(window.p_domain**4).reason


def test_a_window_is_measured_in_every_direction(source: Source) -> None:
    same = measure(source, source.rows)

    assert same.shape == (len(MEASURES),)
    assert np.abs(same).max() < 0.05


def test_too_few_held_out_rows_teach_nothing(reference: Labelled) -> None:
    rng = np.random.default_rng(13)

    assert learn(reference.take(np.arange(59)), None, 50, rng) is None
    with pytest.raises(ValueError, match="without rows"):
        fit_source(reference.take(np.array([], dtype=np.intp)))


def test_joined_rows_are_those_of_both() -> None:
    rng = np.random.default_rng(14)
    first, second = field(3, rng), field(2, rng)

    both = join(first, second)
    assert len(both) == 5
    assert (both.labels == np.concatenate([first.labels, second.labels])).all()
