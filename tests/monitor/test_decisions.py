"""Human decisions: from files and requests, late, twice, wrong and corrected."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet
from starlette.testclient import TestClient

from monitor.cli import main
from monitor.domain import Role, Status
from monitor.errors import DecisionsUnreadable, NotFound
from monitor.services import key_desk
from monitor.services.context import Context
from monitor.services.decisions.decide import DecisionReport, decide
from monitor.services.decisions.files import read_decisions
from monitor.services.decisions.rows import Delivery
from monitor.store.decisions import Decisions, standing
from monitor.store.engine import reading
from monitor.wiring import make_app
from tests.monitor.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home")


@pytest.fixture
def monitor(installation: Installation) -> Context:
    return installation.monitor()


def deliver(
    monitor: Context, *rows: Mapping[str, object] | str, model: str | None = None
) -> DecisionReport:
    delivery = Delivery(model=model, decided_by="anna", source="test", recorded_by="importer")
    return decide(monitor, enumerate(rows, start=1), delivery, monitor.clock())


def labels(monitor: Context) -> dict[str | None, str]:
    with reading(monitor.engine) as conn:
        stand = standing(Decisions(conn).all("bears"))
    return {event or case: each.label for (event, case), each in stand.items()}


def test_decisions_are_taken_once_corrected_and_kept(
    installation: Installation, monitor: Context
) -> None:
    [event, _] = installation.healthy(installation.serve(), 2)
    first: dict[str, object] = {"event_id": event, "label": "black"}

    assert deliver(monitor, first).accepted == 1
    again = deliver(monitor, first, first)
    assert (again.accepted, again.duplicates) == (0, 2)
    corrected = deliver(monitor, {"event_id": event, "label": "teddy"})
    assert (corrected.accepted, corrected.corrections) == (1, 1)

    assert labels(monitor) == {event: "teddy"}
    with reading(monitor.engine) as conn:
        history = Decisions(conn).all("bears")
    assert [(each.label, each.revision) for each in history] == [("black", 1), ("teddy", 2)]
    assert history[1].supersedes == history[0].id
    assert {each.recorded_by for each in history} == {"importer"}


def test_decisions_may_come_out_of_order(installation: Installation, monitor: Context) -> None:
    installation.serve()
    at = monitor.clock() - timedelta(days=1)

    report = deliver(
        monitor,
        {"case_id": "c1", "label": "teddy", "decided_at": at.isoformat()},
        {"case_id": "c1", "label": "black", "decided_at": (at - timedelta(hours=5)).isoformat()},
    )

    assert (report.accepted, report.pending) == (0, 2)
    assert (report.late, report.corrections) == (1, 0)
    assert labels(monitor) == {"c1": "teddy"}


def test_a_decision_may_come_before_its_prediction_and_waits(
    installation: Installation, monitor: Context
) -> None:
    bundle = installation.serve()
    early = deliver(monitor, {"case_id": "c1", "label": "teddy"})
    event = msgspec.structs.replace(installation.event(bundle), case_id="c1")
    refused = installation.event(bundle, status=Status.REJECTED)
    installation.record([event, msgspec.structs.replace(refused, case_id="c2")])

    later = deliver(
        monitor,
        {"case_id": "c1", "label": "black"},
        {"case_id": "c2", "label": "black"},
        {"event_id": "nobody", "label": "black"},
    )
    assert (early.accepted, early.pending, early.pending_subjects) == (0, 1, ("c1",))
    assert (later.accepted, later.corrections) == (1, 1)
    assert (later.pending, later.pending_subjects) == (2, ("c2", "nobody"))


def test_a_decision_far_older_than_its_prediction_counts_and_is_pointed_at(
    installation: Installation, monitor: Context
) -> None:
    bundle = installation.serve()
    events = installation.healthy(bundle, 2)
    ages = (timedelta(days=300), timedelta(days=400))

    report = deliver(
        monitor,
        *(
            {"event_id": event, "label": "black", "decided_at": (monitor.clock() - age).isoformat()}
            for event, age in zip(events, ages, strict=True)
        ),
    )

    assert (report.accepted, report.long_before) == (2, 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"case_id": "c", "label": "panda"}, "'panda' is not in the vocabulary of bears: black"),
        ({"label": "black"}, "neither an event_id nor a case_id"),
        ({"case_id": "c"}, "it has no label"),
        ({"case_id": "c", "label": "black", "model": "birds"}, "there is no model birds"),
        ({"case_id": "c", "label": "black", "decided_at": "yesterday"}, "write it like"),
        ({"case_id": "c", "label": "black", "decided_at": "2026-01-01T10:00:00"}, "time zone"),
        ({"case_id": "c", "label": "black", "decided_at": "2126-01-01T10:00:00Z"}, "to come"),
        ({"case_id": "c", "label": "black", "decided_at": "1999-12-31T10:00:00Z"}, "ten years ago"),
        ({"case_id": "c", "label": "black", "inclusion_probability": "0"}, "at least 1e-09"),
        ({"case_id": "c", "label": "black", "inclusion_probability": "1e-320"}, "at least 1e-09"),
        ({"case_id": "c", "label": "black", "inclusion_probability": "nan"}, "at least 1e-09"),
        ({"case_id": "c\x00d", "label": "black"}, "U+0000"),
        ({"case_id": "c", "label": "black", "inclusion_probability": "often"}, "at least 1e-09"),
        ({"case_id": "c" * 201, "label": "black"}, "has 201 characters"),
        ({"case_id": 1.5, "label": "black"}, "is no text"),
        ("it is no JSON object", "it is no JSON object"),
    ],
)
def test_a_row_that_could_never_count_is_refused_and_named(
    installation: Installation,
    monitor: Context,
    row: Mapping[str, object] | str,
    reason: str,
) -> None:
    installation.serve()

    report = deliver(monitor, {"case_id": "good", "label": "black"}, row)

    assert (report.pending, report.refused) == (1, 1)
    assert report.refusals[0].row == 2
    assert reason in report.refusals[0].reason


def test_a_key_that_was_used_for_another_decision_is_refused(
    installation: Installation, monitor: Context
) -> None:
    installation.serve()
    keyed = {"case_id": "c1", "label": "black", "idempotency_key": "k"}

    assert deliver(monitor, keyed, keyed).duplicates == 1
    report = deliver(monitor, {**keyed, "label": "teddy"})
    assert "was used for another decision" in report.refusals[0].reason


def test_an_event_of_another_model_is_refused(installation: Installation, monitor: Context) -> None:
    installation.serve()
    [event] = installation.healthy(installation.serve(model="birds"), 1)

    report = deliver(monitor, {"event_id": event, "label": "black"}, model="bears")
    assert "was answered by birds" in report.refusals[0].reason


def test_rows_must_say_which_of_several_models_they_mean(
    installation: Installation, monitor: Context
) -> None:
    installation.serve()
    installation.serve(model="birds")

    report = deliver(monitor, {"case_id": "c", "label": "black"})
    assert "names no model, and there are bears, birds" in report.refusals[0].reason
    with pytest.raises(NotFound, match="there is no model fish"):
        deliver(monitor, model="fish")


ROWS: list[dict[str, object]] = [
    {"case_id": "c1", "label": "black", "decided_at": "2026-11-01T10:00:00Z", "weather": "fog"},
    {"case_id": "c2", "label": "panda"},
    {"case_id": "c3", "label": "teddy", "inclusion_probability": 0.1},
]


def write(folder: Path, ending: str) -> Path:
    file = folder / f"decisions{ending}"
    columns = sorted({name for row in ROWS for name in row})
    match ending:
        case ".csv":
            lines = [",".join(str(row.get(name, "")) for name in columns) for row in ROWS]
            file.write_text("\n".join([",".join(columns), *lines]), encoding="utf-8-sig")
        case ".jsonl":
            file.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n{oops\n")
        case _:
            table = pa.table({name: [row.get(name) for row in ROWS] for name in columns})
            parquet.write_table(table, file)
    return file


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_a_file_of_decisions_is_imported_from_the_command_line(
    tmp_path: Path,
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: str,
) -> None:
    installation.serve()
    monkeypatch.setenv("FIELDWATCH_HOME", str(installation.settings.store.home))
    command = ["decisions", "import", str(write(tmp_path, ending))]

    with pytest.raises(SystemExit) as ended:
        main([*command, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert (report["accepted"], report["pending"]) == (0, 2)
    assert report["ignored_columns"] == ["weather"]
    assert {refusal["row"] for refusal in report["refusals"]} == {
        ".csv": {3},
        ".parquet": {2},
        ".jsonl": {2, 5},
    }[ending]

    with pytest.raises(SystemExit):
        main(command)
    shown = capsys.readouterr().out
    assert "'panda' is not in the vocabulary of bears" in shown
    assert "columns not looked at: weather" in shown


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.xlsx", b"", "its ending '.xlsx' is none of these"),
        ("a.csv", b"case,answer\n1,2\n", "its columns are case, answer"),
        ("a.csv", b"", "its columns are none"),
        ("a.csv", b"case_id,label\n\xff,black\n", "can't decode"),
        ("a.parquet", b"PAR1", "cannot be read as decisions"),
        ("gone.csv", None, "No such file"),
    ],
)
def test_a_file_that_holds_no_decisions_is_refused_with_the_way_out(
    tmp_path: Path, name: str, content: bytes | None, cause: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(DecisionsUnreadable, match=cause) as fault:
        list(read_decisions(file))
    assert "needs a column 'label'" in str(fault.value)


def test_a_line_with_too_many_cells_is_a_refused_row(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("case_id,label\nc1,black,extra\nc2,teddy\n")

    assert list(read_decisions(file)) == [
        (2, "it has more cells than the header"),
        (3, {"case_id": "c2", "label": "teddy"}),
    ]


def test_decisions_come_by_request_in_the_name_of_the_key(
    installation: Installation, monitor: Context
) -> None:
    installation.serve()
    client = TestClient(make_app(monitor))
    tokens = {
        role: key_desk.create(
            installation.engine, f"a {role.value}", role, "test", installation.clock
        )
        for role in Role
    }

    def post(role: Role, **decision: object) -> int:
        answer = client.post(
            "/v1/decisions",
            headers={"Authorization": f"Bearer {tokens[role]}"},
            json={"decisions": [{"label": "black", **decision}]},
        )
        return answer.status_code

    assert post(Role.VIEWER, case_id="c1") == 403
    assert post(Role.SERVICE, case_id="c1", decided_by="ranger Anna") == 200
    assert post(Role.OPERATOR, case_id="c2", decided_by="somebody else") == 200
    assert post(Role.OPERATOR, case_id="c3", weather="fog") == 422
    with reading(monitor.engine) as conn:
        found = Decisions(conn).all("bears")
    assert [(each.decided_by, each.recorded_by) for each in found] == [
        ("ranger Anna", "a service"),
        ("a operator", "a operator"),
    ]
