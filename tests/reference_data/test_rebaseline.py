"""Confirmed data of the field become part of a reference: by a new version, and never unnoticed."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from monitor.services.references import read_reference
from reference_data import held_out, pictures, shifted, shifted_pass, window_reference
from reference_data.bundle import Bundle, Manifest, load
from reference_data.errors import ImportRefused
from reference_data.importing.rebaseline import (
    Mode,
    Rebaselined,
    RebaselineRequest,
    rebaseline,
)
from reference_data.preprocess import UNLIMITED as LIMITS
from reference_data.report import Report
from reference_data.scoring import Scored, Scorer
from tests.inference.tiny_model import encoded
from tests.reference_data.tiny_reference import (
    Quiet,
    darker,
    drawn,
    make_bundle,
    write_confirmed,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIELD = range(9_999, 10_179)
ALREADY = r"in it already|in the reference already"


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Nobody looks at the null of the window tests here, and its draws take a second a bundle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_reference, "DRAWS", 500)
        yield


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles"))


def run(
    parent: Bundle,
    data: Path,
    mode: Mode = "join",
    *,
    accept_shift: bool = False,
    drill: bool = False,
    group_by: str | None = None,
) -> Rebaselined:
    request = RebaselineRequest(
        parent=parent,
        data=data,
        mode=mode,
        reason="confirmed by the rangers",
        by="ann",
        at=NOW,
        accept_shift=accept_shift,
        drill=drill,
        group_by=group_by,
    )
    return rebaseline(request, Quiet())


def items_of(bundle: Bundle) -> pa.Table:
    return pq.read_table(pa.BufferReader(bundle.read("reference.parquet")))


def check_places(bundle: Bundle) -> None:
    """Whatever points into the table of items points at the right one."""
    items = items_of(bundle)["path"].to_pylist()
    arrays = bundle.arrays("reference.npz")
    held = held_out.read(bundle)
    assert held is not None
    scorer = Scorer.open(bundle)

    def embedding(item: str) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
        seed = int(Path(item).stem)
        image = drawn(seed) if seed < 9_999 else darker(drawn(seed))
        prepared = scorer.prepare(encoded(image), LIMITS)
        [scored] = scorer.score(prepared.tensor[None], ["x"])
        assert isinstance(scored, Scored)
        return scored.embedding

    for rows, vectors in (
        (arrays["embedding_rows"], arrays["embeddings"]),
        (held.rows, held.embedding),
    ):
        for place in (0, len(rows) // 2, len(rows) - 1):
            np.testing.assert_allclose(
                vectors[place].astype(np.float64),
                embedding(items[int(rows[place])]).astype(np.float64),
                atol=2e-3,
            )
    for kept in pictures.read(bundle) or []:
        assert items[kept.row] == kept.item
    thumbnails = pq.read_table(pa.BufferReader(bundle.read("thumbnails.parquet")))
    for row, jpeg in list(zip(*thumbnails.to_pydict().values(), strict=True))[::40]:
        seed = int(Path(items[row]).stem)
        image = drawn(seed) if seed < 9_999 else darker(drawn(seed))
        seen = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), dtype=float).mean()
        assert abs(seen - np.asarray(image, dtype=float).mean()) < 4


def test_joined_rows_add_to_the_calibration_and_leave_model_and_scores_alone(
    parent: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shifted_pass, "QUICK_PICTURES", 1)
    data = write_confirmed(tmp_path, FIELD, darker, columns=lambda s: {"light": "night"})
    made = run(parent, data, accept_shift=True, drill=True)
    bundle, manifest = made.bundle, made.bundle.manifest
    assert load(parent.path).digest == parent.digest
    assert bundle.digest != parent.digest
    assert (manifest.version, manifest.segments) == ("2", ("site", "light"))
    for same in ("model.onnx", "scores.npz"):
        assert manifest.files[same] == parent.manifest.files[same]

    record = manifest.rebaselined
    assert record is not None
    assert (record.parent, record.mode, record.by) == (parent.digest, "join", "ann")
    assert (record.rows, record.episodes, record.accepted_shift) == (180, 180, True)
    assert record.reason == "confirmed by the rangers"
    old, new = parent.manifest.counts, manifest.counts
    assert new.train == old.train
    assert new.calibrate + new.temperature + new.estimate == 180 + 240

    before, after = parent.arrays("reference.npz"), bundle.arrays("reference.npz")
    for name in ("semantic", "domain", "confidence"):
        assert len(after[name]) == new.calibrate
        assert (np.diff(after[name].astype(np.float64)) >= 0).all()
        assert np.isin(before[name], after[name]).all()
    assert after["class_counts"].sum() == new.calibrate
    held = held_out.read(bundle)
    assert held is not None
    assert (len(held), (held.role == "calibrate").sum()) == (420, new.calibrate)
    assert set(held.segments["light"]) == {"", "night"}
    check_places(bundle)
    assert "windows.npz" in manifest.files
    assert shifted.read(bundle) is not None
    report = msgspec.json.decode(bundle.read("report.json"), type=Report)
    assert any("mixture" in note for note in report.notes)
    assert report.held_out_rows == 420
    assert made.flagged_before > 0.9
    assert made.flagged_after is not None
    assert made.flagged_after < 0.5


@pytest.mark.statistics
def test_the_new_calibration_is_uniform_over_the_mixture_it_stands_for(
    parent: Bundle, tmp_path: Path
) -> None:
    bundle = run(parent, write_confirmed(tmp_path, FIELD, darker), accept_shift=True).bundle
    scorer = Scorer.open(bundle)
    counts = (parent.manifest.counts.calibrate, 150)
    fresh = [drawn(seed) for seed in range(20_000, 20_000 + counts[0])]
    fresh += [darker(drawn(seed)) for seed in range(30_000, 30_000 + counts[1])]
    tensors = np.stack([scorer.prepare(encoded(image), LIMITS).tensor for image in fresh])
    outputs = scorer.forward(tensors)
    ids = [f"fresh {place}" for place in range(len(fresh))]
    judged = scorer.calibration.judge(
        scorer.semantic.score(outputs), scorer.domain.score(outputs.mid), ids, 3
    )
    for p in (judged.semantic, judged.domain, judged.value):
        assert 0.43 < p.mean() < 0.57
        assert (p <= 0.1).mean() < 0.17


@pytest.mark.parametrize(("episodes", "certified"), [(180, True), (60, False)])
def test_replacing_rows_take_the_place_of_those_held_out(
    parent: Bundle, tmp_path: Path, episodes: int, certified: bool
) -> None:
    data = write_confirmed(tmp_path, FIELD[:episodes], darker)
    made = run(parent, data, "replace", accept_shift=True)
    manifest = made.bundle.manifest
    assert manifest.certified is certified
    assert manifest.counts.calibrate < episodes
    assert manifest.counts.train == 150
    items = items_of(made.bundle)
    assert items.num_rows == 150 + episodes
    assert set(items["role"].to_pylist()[:150]) == {"train"}
    check_places(made.bundle)
    [note] = made.notes
    assert "no longer healthy by itself" in note


def test_frames_of_one_episode_stay_together(parent: Bundle, tmp_path: Path) -> None:
    data = write_confirmed(
        tmp_path, FIELD, darker, columns=lambda seed: {"episode": f"burst {seed // 3}"}
    )
    made = run(parent, data, accept_shift=True)
    assert made.bundle.manifest.rebaselined is not None
    assert made.bundle.manifest.rebaselined.episodes == 60
    held = held_out.read(made.bundle)
    assert held is not None
    added = held.role[held.rows >= 390]
    assert (added == "repeat").sum() == 2 * (added == "calibrate").sum()


def test_bursts_that_replace_a_reference_count_once_and_for_what_they_are_worth(
    parent: Bundle, tmp_path: Path
) -> None:
    data = write_confirmed(
        tmp_path, FIELD, darker, columns=lambda seed: {"trigger": f"burst {seed // 3}"}
    )
    made = run(parent, data, "replace", accept_shift=True, group_by="trigger")
    manifest = made.bundle.manifest
    size = manifest.calibration
    assert size is not None
    assert (size.frames, size.rows) == (3, 3 * manifest.counts.calibrate)
    assert manifest.counts.calibrate <= manifest.effective <= size.rows
    assert "trigger" not in manifest.segments

    baseline = read_reference(made.bundle).baseline
    assert baseline.rows == size.rows
    assert baseline.flagged is not None
    assert baseline.flagged.flagged < 2 * baseline.flagged.beyond
    assert baseline.n_eff("semantic") == size.n_eff["semantic"]
    assert all(worth <= size.rows for worth in baseline.worth.values())


def test_data_that_the_parent_flags_are_refused_unless_that_is_accepted(
    parent: Bundle, tmp_path: Path
) -> None:
    data = write_confirmed(tmp_path, FIELD, darker)
    before = sorted(parent.path.parent.iterdir())
    with pytest.raises(ImportRefused, match="--accept-shift"):
        run(parent, data)
    assert sorted(parent.path.parent.iterdir()) == before


def test_what_the_reference_has_already_is_refused(parent: Bundle, tmp_path: Path) -> None:
    trained = write_confirmed(tmp_path / "a", range(100))
    with pytest.raises(ImportRefused, match="in the reference already"):
        run(parent, trained)
    calibrating = write_confirmed(tmp_path / "b", range(200, 300))
    with pytest.raises(ImportRefused, match=ALREADY):
        run(parent, calibrating)


def test_data_like_the_references_need_no_consent_and_a_few_repeats_are_left_out(
    parent: Bundle, tmp_path: Path
) -> None:
    data = write_confirmed(tmp_path, [*FIELD, 5, 200])
    made = run(parent, data)
    record = made.bundle.manifest.rebaselined
    assert record is not None
    assert (record.rows, record.accepted_shift) == (180, False)
    assert made.flagged_before < 0.2
    assert any(note.startswith("2 of 182 rows were left out") for note in made.notes)
    with pytest.raises(ImportRefused, match=ALREADY):
        run(made.bundle, data)


def test_rows_that_cannot_serve_are_refused(parent: Bundle, tmp_path: Path) -> None:
    few = write_confirmed(tmp_path / "few", FIELD[:20])
    with pytest.raises(ImportRefused, match="holds 20 confirmed episodes"):
        run(parent, few)
    strange = write_confirmed(tmp_path / "strange", FIELD)
    strange.write_text(strange.read_text().replace("red", "purple"))
    with pytest.raises(ImportRefused, match="purple"):
        run(parent, strange)
    broken = write_confirmed(tmp_path / "broken", FIELD)
    for seed in FIELD[:30]:
        (broken.parent / f"{seed}.png").write_bytes(f"no picture {seed}".encode())
    with pytest.raises(ImportRefused, match="cannot be read"):
        run(parent, broken)
    with pytest.raises(ImportRefused, match="no training data"):
        run(parent, tmp_path / "nowhere.csv")


def test_nothing_joins_a_reference_whose_rows_were_not_kept(tmp_path: Path) -> None:
    bare = make_bundle(tmp_path / "bare", keep_held_out=False)
    data = write_confirmed(tmp_path / "data", FIELD)
    with pytest.raises(ImportRefused, match="before held-out rows were kept"):
        run(bare, data)
    assert run(bare, data, "replace").bundle.manifest.certified


def test_joining_does_not_certify_what_nobody_knows(tmp_path: Path) -> None:
    unknown = make_bundle(tmp_path / "unknown", split_known=False)
    data = write_confirmed(tmp_path / "data", FIELD)
    made = run(unknown, data, accept_shift=True)
    assert not made.bundle.manifest.certified
    assert "unknown which rows" in made.bundle.manifest.certified_reason


def test_a_manifest_from_before_there_was_rebaselining_still_reads(parent: Bundle) -> None:
    told = msgspec.json.decode(msgspec.json.encode(parent.manifest))
    del told["rebaselined"]
    assert msgspec.json.decode(msgspec.json.encode(told), type=Manifest) == parent.manifest
