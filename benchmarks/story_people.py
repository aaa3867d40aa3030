"""The people of a rollout story: crews, readers, a supervisor, and those who approve.

Crews decide whatever is left to them and write it down, with 3 % errors; a second reader and an
adjudicator answer what the review queue hands them; a supervisor says that she watches. All of it
goes in over the API, each with a key of their own, and is tried again when the monitor is away.
"""

import threading
import time
from collections import Counter
from datetime import datetime
from typing import Any

import httpx

from benchmarks.story_field import ERROR_OF_PEOPLE, Field
from benchmarks.story_model import MODEL
from benchmarks.story_processes import Yard
from benchmarks.story_traffic import Passage, Seen, Traffic

CREWS = ("crew-day", "crew-night")
ERROR_OF_ADJUDICATOR = 0.003
WRITTEN_DOWN_LATER = 0.25
"""Share of what crews decide after the trial that they write down, drawn at random. What nobody
reports on counts for neither side."""
TOGETHER = 500
EVERY_S = 0.5
BEAT_S = 2.0
ROLES = {
    "anna": "operator",
    "ben": "operator",
    "cleo": "operator",
    "dora": "operator",
    "emil": "operator",
    "yard office": "service",
}
"""The author, two who approve, a second reader, an adjudicator, and the crews' book."""


class People:
    """Work while the context is open."""

    def __init__(self, yard: Yard, field: Field, traffic: Traffic, rollout: str) -> None:
        self.keys = {person: yard.make_key(person, role) for person, role in ROLES.items()}
        self.did: Counter[str] = Counter()
        self._url = yard.addresses.monitor.url
        self._field, self._traffic, self._rollout = field, traffic, rollout
        self._seen, self._looking = Seen(traffic), threading.Lock()
        self._place = 0
        self._unsent: list[dict[str, object]] = []
        self._client = httpx.Client(base_url=self._url, timeout=60)
        self._leaving = threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(work, every_s), daemon=True)
            for work, every_s in (
                (self._write_down, EVERY_S),
                (lambda: self._read("dora", "second_reading", ERROR_OF_PEOPLE), EVERY_S),
                (lambda: self._read("emil", "adjudication", ERROR_OF_ADJUDICATOR), EVERY_S),
                (self._watch, BEAT_S),
            )
        ]

    def __enter__(self) -> "People":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(90)
        self._client.close()

    def ask(self, person: str, method: str, path: str, body: object = None) -> Any:
        """Ask the monitor with somebody's key."""
        answer = self._client.request(
            method, path, json=body, headers={"X-API-Key": self.keys[person]}
        )
        answer.raise_for_status()
        return answer.json()

    def report(self) -> dict[str, Any]:
        """Look at the rollout."""
        found: dict[str, Any] = self.ask("anna", "GET", f"/v1/rollouts/{self._rollout}")
        return found

    def approve(self, person: str, evidence_hash: str, reason: str) -> None:
        """Say yes over the API."""
        body = {"evidence_hash": evidence_hash, "reason": reason}
        self.ask(person, "POST", f"/v1/rollouts/{self._rollout}/approve", body)

    def _write_down(self) -> None:
        """Decide what was left to people, and send the book's new pages."""
        passages = self._traffic.passages
        until = len(passages)
        for passage in passages[self._place : until]:
            if passage.actor == "human" and self._is_written_down(passage):
                self._unsent.append(self._decision(passage))
        self._place = until
        while self._unsent:
            page = self._unsent[:TOGETHER]
            self.ask("yard office", "POST", "/v1/decisions", {"decisions": page})
            del self._unsent[: len(page)]
            self.did["decisions"] += len(page)

    def _is_written_down(self, passage: Passage) -> bool:
        """Tell whether a crew writes it down: in the trial always, later by chance."""
        return passage.reason == "shadow" or self._field.happens(WRITTEN_DOWN_LATER)

    def _decision(self, passage: Passage) -> dict[str, object]:
        return {
            "case_id": passage.case,
            "label": str(self._field.read_by_people(passage.visit.digit)),
            "decided_by": CREWS[self.did["cases"] % len(CREWS)],
            "decided_at": passage.answered_at.isoformat(),
            "source": "the yard's book",
        }

    def _read(self, reader: str, purpose: str, error: float) -> None:
        """Read what the queue hands out, without seeing what anybody said."""
        wanted = {"model": MODEL, "purposes": [purpose], "count": 20}
        for item in self.ask(reader, "POST", "/v1/review/claim", wanted):
            if self._leaving.is_set():
                return
            self._answer(reader, item, error)
            self.did[purpose] += 1

    def _answer(self, reader: str, item: dict[str, Any], error: float) -> None:
        with self._looking:
            digit = self._seen.digit(item["unit"], datetime.fromisoformat(item["at"]))
        said: dict[str, object] = {
            "token": item["token"],
            "idempotency_key": f"{reader}:{item['id']}:{item['token']}",
        }
        if digit is None:
            said |= {"action": "unsure"}
        else:
            label = str(self._field.read_by_people(digit, error))
            said |= {"action": "relabel", "label": label}
        self.ask(reader, "POST", f"/v1/review/items/{item['id']}/answer", said)

    def _watch(self) -> None:
        self.ask("cleo", "POST", f"/v1/rollouts/{self._rollout}/heartbeat")

    def _again(self, work: Any, every_s: float) -> None:
        while not self._leaving.wait(every_s):
            try:
                work()
            except httpx.HTTPStatusError as fault:
                # Such as a heartbeat before the start or after the end.
                self.did[f"refused {fault.response.status_code} {fault.request.url.path}"] += 1
                self.last_refusal = fault.response.text
            except httpx.TransportError:
                self.did["monitor away"] += 1
                time.sleep(0.5)
