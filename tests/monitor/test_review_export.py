"""What readers settled becomes a table that trains the next model."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from monitor.domain import Person, Role
from monitor.errors import NotFound, OptionInvalid
from monitor.review.item import Action, Origin, Why
from monitor.services.context import Context
from monitor.services.review.enqueue import enqueue
from monitor.services.review.export import ExportWish, export
from monitor.services.review.hand_out import HandedItem, claim
from monitor.services.review.history import history
from monitor.services.review.import_reference import Selection, import_reference
from monitor.services.review.submit import Answer, submit
from monitor.settings import MonitorOptions, ReviewOptions
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.payloads import Payloads, reference_of
from monitor.store.review_items import Wanted
from monitor.store.routes import Routes
from tests.monitor.installation import VOCAB, Installation

ANNA = Person(name="anna", role=Role.OPERATOR)
TRAINED = 6


def _reference_items() -> dict[str, bytes]:
    buffer = io.BytesIO()
    parquet.write_table(
        pa.table(
            {
                "path": [f"{VOCAB[n % 3]}/{n}.jpg" for n in range(TRAINED)] + ["x"] * 34,
                "label": [VOCAB[n % 3] for n in range(TRAINED)] + ["black"] * 34,
                "role": ["train"] * 4 + ["calibrate"] * 2 + ["repeat"] * 34,
                "prediction": ["black"] * 40,
                "confidence": [0.9] * 40,
                "loss": [0.1, 3.0, 2.0, 0.2, 4.0, 0.3] + [None] * 34,
            }
        ),
        buffer,
    )
    return {"reference.parquet": buffer.getvalue()}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    sure = ReviewOptions(audit=1e-9, uncertain=0.0)
    return Installation(tmp_path / "home", MonitorOptions(review=sure))


@pytest.fixture
def context(installation: Installation) -> Context:
    installation.serve(more=_reference_items())
    return installation.monitor()


def _say(context: Context, item: HandedItem, action: Action, label: str | None = None) -> None:
    answer = Answer(item_id=item.id, token=item.token, action=action, label=label, key=item.id)
    submit(context, ANNA, answer)


def _table(folder: Path, name: str = "labels.csv") -> list[Mapping[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _import(context: Context, **changes: object) -> int:
    wanted = Selection(model="bears", **changes)  # type: ignore[arg-type]
    return import_reference(context, wanted, by="test", advance=lambda _: None).queued


def test_training_items_come_largest_loss_first_by_split_and_class(context: Context) -> None:
    assert _import(context, split="train", most=2) == 2
    first, second = claim(context, ANNA, Wanted(origin=Origin.REFERENCE), most=2)
    assert [item.path for item in (first, second)] == ["grizzly/1.jpg", "teddy/2.jpg"]
    assert (first.blind, first.label, first.loss, first.reason) == (
        False,
        "grizzly",
        3.0,
        Why.TOP_LOSS,
    )
    assert _import(context, split="valid", label="grizzly") == 1
    assert _import(context, split="valid", label="grizzly") == 0


def test_a_class_or_a_split_that_is_none_is_refused_by_name(context: Context) -> None:
    with pytest.raises(NotFound, match="black, grizzly, teddy"):
        _import(context, label="panda")
    with pytest.raises(OptionInvalid, match="train or valid"):
        _import(context, split="test")


def test_readers_see_the_files_of_the_training_data_where_they_are_given(
    context: Context, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "grizzly").mkdir(parents=True)
    Image.new("RGB", (400, 300), "brown").save(data / "grizzly" / "1.jpg")
    _import(context, split="train", most=2, data=data)
    first, second = claim(context, ANNA, Wanted(), most=2)
    assert (first.has_picture, second.has_picture) == (True, False)


def test_the_table_holds_all_training_items_as_corrected_and_the_fields_settled_ones(
    installation: Installation, context: Context, tmp_path: Path
) -> None:
    _import(context, split="train", most=2)
    wrong, bad = claim(context, ANNA, Wanted(), most=2)
    _say(context, wrong, Action.RELABEL, "teddy")
    _say(context, bad, Action.DELETE)
    _record_novel(installation, context)
    [seen] = claim(context, ANNA, Wanted(origin=Origin.PRODUCTION))
    _say(context, seen, Action.RELABEL, "grizzly")
    data = tmp_path / "data"
    data.mkdir()
    done = export(context, ExportWish(model="bears", out=tmp_path / "out", data=data))
    rows = {row["path"]: row for row in _table(tmp_path / "out")}
    corrected = rows["../data/grizzly/1.jpg"]
    assert (corrected["label"], corrected["decided_by"]) == ("teddy", "anna")
    assert "../data/teddy/2.jpg" not in rows
    assert rows["../data/black/0.jpg"]["is_valid"] == "False"
    assert rows["../data/grizzly/4.jpg"]["is_valid"] == "True"
    [field] = [row for row in rows.values() if row["source"] == "production"]
    assert (field["label"], (tmp_path / "out" / field["path"]).read_bytes()[:2]) == (
        "grizzly",
        b"\xff\xd8",
    )
    [left_out] = _table(tmp_path / "out", "excluded.csv")
    assert (left_out["path"], left_out["action"]) == ("teddy/2.jpg", "delete")
    assert (done.from_field, done.excluded, done.open) == (1, 1, 0)


def test_an_event_whose_picture_is_gone_is_named_and_not_invented(
    installation: Installation, context: Context, tmp_path: Path
) -> None:
    _record_novel(installation, context, keep=False)
    [seen] = claim(context, ANNA, Wanted(origin=Origin.PRODUCTION))
    _say(context, seen, Action.RELABEL, "grizzly")
    done = export(context, ExportWish(model="bears", out=tmp_path / "out"))
    assert (done.rows, len(done.without_picture)) == (0, 1)
    with pytest.raises(OptionInvalid, match="empty folder"):
        export(context, ExportWish(model="bears", out=tmp_path / "out"))


def test_a_readers_history_counts_answers_and_what_was_changed_after_the_reveal(
    installation: Installation, context: Context
) -> None:
    _record_novel(installation, context)
    [seen] = claim(context, ANNA, Wanted())
    _say(context, seen, Action.RELABEL, "grizzly")
    changed = Answer(item_id=seen.id, token=None, action=Action.DELETE, label=None, key="2")
    submit(context, ANNA, changed)
    found = history(context, "anna")
    assert (found.answers, found.changed_after_reveal, found.undone) == (2, 1, 0)
    with pytest.raises(NotFound, match="reader ben"):
        history(context, "ben")


def _record_novel(installation: Installation, context: Context, *, keep: bool = True) -> None:

    with reading(context.engine) as conn:
        registered = Bundles(conn).trusted(Routes(conn).current()["bears"].bundle_sha)
    bundle = context.references.open(registered).bundle
    event = installation.event(bundle, p_semantic=1e-4)
    name = reference_of("bears", event.at, event.event_id)
    installation.record([msgspec.structs.replace(event, payload_ref=name)])
    if keep:
        jpeg = io.BytesIO()
        Image.new("RGB", (8, 8), "brown").save(jpeg, "JPEG")
        Payloads(context.settings.store.payloads).put(name, jpeg.getvalue())
    enqueue(context)
