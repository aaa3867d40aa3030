"""Sending: bounded, patient when told to wait, and going on when one input is refused."""

import asyncio
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from pyarrow import parquet
from typing_extensions import override

from monitor.errors import GatewayRefused, GatewayUnreachable, NothingToSend
from monitor.services.sending import Answer, Destination, Item, SendSummary, find_items, send

DESTINATION = Destination(url="http://gateway", key="fw_k", model="bears", concurrency=4)


def answer(name: str, status: int = 200, **body: object) -> httpx.Response:
    ok = {"event_id": name, "prediction": "black", "confidence": 0.9, "p_value": 0.5}
    return httpx.Response(status, json={**ok, "flagged": False, **body})


class Gateway(httpx.AsyncBaseTransport):
    """Answers as told, and remembers what it was asked."""

    def __init__(self, answers: dict[str, list[httpx.Response]] | None = None) -> None:
        self.answers = answers or {}
        self.bodies: list[bytes] = []
        self.under_way = 0
        self.most = 0

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.001)
        body = await request.aread()
        self.under_way -= 1
        self.bodies.append(body)
        assert request.headers["Authorization"] == "Bearer fw_k"
        for name, prepared in self.answers.items():
            if name.encode() in body and prepared:
                return prepared.pop(0)
        return answer("e")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", ".hidden/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def deliver(items: list[Item], gateway: Gateway) -> tuple[SendSummary, list[Answer]]:
    answers: list[Answer] = []
    summary = asyncio.run(send(items, DESTINATION, answers.append, transport=gateway))
    return summary, answers


def test_a_folder_is_sent_whole_with_unit_case_and_segment(folder: Path) -> None:
    items = find_items(folder, unit="cam-1", case_from_name=True, segment={"site": "north"})
    gateway = Gateway()
    summary, _ = deliver(items, gateway)

    assert [item.path.name for item in items] == ["a.jpg", "b.jpg", "c.jpg"]
    assert (summary.sent, summary.ok, summary.predictions) == (3, 3, {"black": 3})
    body = next(body for body in gateway.bodies if b"a.jpg" in body)
    for part in (b"cam-1", b'name="case_id"\r\n\r\na', b'{"site":"north"}', b"bears"):
        assert part in body


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_gives_units_cases_and_segments_and_never_the_label(
    folder: Path, kind: str
) -> None:
    table = folder / f"table.{kind}"
    columns = {
        "path": ["a.jpg", "sub/c.jpg"],
        "label": ["black", "teddy"],
        "unit": ["cam-1", ""],
        "site": ["north", "south"],
    }
    if kind == "csv":
        rows = zip(*columns.values(), strict=True)
        table.write_text("\n".join([",".join(columns), *(",".join(row) for row in rows)]))
    else:
        parquet.write_table(pa.table(columns), table)

    first, second = find_items(table, unit="cam-9")
    assert (first.path, first.unit, first.segment) == (folder / "a.jpg", "cam-1", {"site": "north"})
    assert (second.path, second.unit) == (folder / "sub/c.jpg", "cam-9")


def test_a_refused_input_is_counted_by_cause_and_the_others_go_on(folder: Path) -> None:
    refusal = httpx.Response(422, json={"error": "truncated", "detail": "the file ends early"})
    summary, _ = deliver(find_items(folder), Gateway({"b.jpg": [refusal]}))

    assert (summary.ok, summary.rejected, summary.causes) == (2, 1, {"truncated": 1})
    assert summary.examples == (f"{folder / 'b.jpg'}: the file ends early",)


def test_too_many_requests_is_tried_again_when_the_gateway_says(folder: Path) -> None:
    wait = httpx.Response(429, headers={"Retry-After": "0.01"}, json={"error": "overloaded"})
    gateway = Gateway({"a.jpg": [wait, wait]})
    summary, answers = deliver(find_items(folder), gateway)

    assert (summary.ok, summary.failed) == (3, 0)
    assert len(gateway.bodies) == 5
    assert all(each.outcome == "ok" for each in answers)


def test_no_more_than_the_allowed_number_is_under_way(folder: Path) -> None:
    gateway = Gateway()
    deliver(find_items(folder / "a.jpg") * 40, gateway)
    assert gateway.most == DESTINATION.concurrency


def test_a_wrong_key_stops_everything_with_the_way_out(folder: Path) -> None:
    denied = httpx.Response(401, json={"error": "unauthorized", "detail": "no such key."})
    with pytest.raises(GatewayRefused, match="FIELDWATCH_KEY"):
        deliver(find_items(folder), Gateway({"jpg": [denied] * 3}))


def test_an_absent_gateway_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(Gateway):
        @override
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

    monkeypatch.setattr("monitor.services.sending.MAX_ATTEMPTS", 1)
    with pytest.raises(GatewayUnreachable, match="no gateway answers at http://gateway"):
        deliver(find_items(folder), Absent())


def test_a_lost_answer_is_not_sent_again_for_it_may_have_been_recorded(folder: Path) -> None:
    class Lossy(Gateway):
        @override
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await super().handle_async_request(request)
            raise httpx.ReadError("gone")

    gateway = Lossy()
    summary, _ = deliver(find_items(folder), gateway)
    assert (summary.failed, summary.causes, len(gateway.bodies)) == (3, {"no_answer": 3}, 3)


def test_nothing_to_send_says_why(tmp_path: Path) -> None:
    with pytest.raises(NothingToSend, match="no such file"):
        find_items(tmp_path / "gone")
    with pytest.raises(NothingToSend, match="holds no file"):
        find_items(tmp_path)
    (tmp_path / "t.csv").write_text("file\na.jpg\n")
    with pytest.raises(NothingToSend, match="row 1 has no value in the column 'path'"):
        find_items(tmp_path / "t.csv")
