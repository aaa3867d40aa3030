"""People beside the model while signals are tested: they decide, approve, watch and roll back."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import yaml

from benchmarks.compose_file import ROOT
from benchmarks.composed import GATEWAYS, Composed
from benchmarks.signals_field import Streets
from benchmarks.story_traffic import Passage

EVERY_S = 0.5
SLOW_S = 240.0
_GATES: list[dict[str, object]] = [
    {
        "id": "agreement",
        "metric": "human_agreement",
        "stages": ["shadow"],
        "min_lower_bound": 0.5,
        "min_n": 30,
        "on_fail": "hold",
    },
    {
        "id": "action_rate",
        "metric": "action_rate_ratio",
        "stages": ["shadow"],
        "bounds": [0.2, 5.0],
        "min_n": 20,
        "on_fail": "hold",
    },
    {"id": "drift", "metric": "stream_evidence", "alpha": 0.001, "min_n": 5, "on_fail": "rollback"},
]


def wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Look now and then until it holds, or fail; what is looked at has work of its own to do."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(EVERY_S)


def short_plan() -> dict[str, Any]:
    """Take the plan of the rollout story, with gates that a few dozen pictures pass."""
    plan: dict[str, Any] = yaml.safe_load((ROOT / "benchmarks" / "story_plan.yaml").read_text())
    risks = [
        {"risk": "a camera slips from its mount", "signal": "drift"},
        {"risk": "people follow the model and read no more", "signal": "agreement"},
    ]
    stages = [dict(stage) for stage in plan["stages"]]
    for stage in stages:
        [options] = stage.values()
        options["approval"] = {"n": 1}
    return {**plan, "gates": _GATES, "risks": risks, "stages": stages}


class Trial:
    """A rollout and its people; they work while the context is open."""

    def __init__(self, composed: Composed, streets: Streets) -> None:
        self._composed, self._streets = composed, streets
        self._url = composed.places.url("monitor-2")
        self._anna, self._ben = (composed.make_key(p, "operator") for p in ("anna", "ben"))
        self._office = composed.make_key("yard office", "service")
        self._plan = short_plan()
        self._name: str = self._plan["rollout"]
        self._decided: set[str] = set()
        self._leaving = threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(work,), daemon=True)
            for work in (self._decide, self._watch, self._mistake)
        ]
        self._client = httpx.Client(base_url=self._url, timeout=60)

    def __enter__(self) -> "Trial":
        given = {"plan": self._plan, "reason": "the trial of the first version"}
        self._ask(self._anna, "", given)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(60)
        self._client.close()

    def bring_to_limited(self) -> None:
        """Wait until the model may act for some, under supervision; say yes when asked."""
        asked: set[str] = set()

        def is_limited() -> bool:
            line = self._report()["line"]
            awaiting = line["awaiting"]
            if awaiting is not None and awaiting["evidence_hash"] not in asked:
                asked.add(awaiting["evidence_hash"])
                given = {"evidence_hash": awaiting["evidence_hash"], "reason": "read the dossier"}
                self._ask(self._ben, f"/{self._name}/approve", given)
            stage: str = line["stage"]
            return stage == "limited"

        wait_until(is_limited, SLOW_S)

    def hold(self) -> None:
        """Let nothing advance for now."""
        self._ask(self._anna, f"/{self._name}/hold", {"reason": "fog"})

    def roll_back(self) -> None:
        """Do what whoever is paged does."""
        self._ask(self._anna, f"/{self._name}/rollback", {"reason": "I was paged"})

    def _report(self) -> dict[str, Any]:
        answer = self._client.get(
            f"/v1/rollouts/{self._name}", headers={"X-API-Key": self._anna}
        ).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _ask(self, key: str, path: str, given: object = None) -> None:
        self._client.post(
            f"/v1/rollouts{path}", json=given, headers={"X-API-Key": key}
        ).raise_for_status()

    def _decide(self) -> None:
        """Write down what people read of each new picture: the digit that is there."""
        new = [p for p in self._streets.passages if p.case not in self._decided]
        page = [_decision(passage) for passage in new if passage.actor == "human"][:500]
        if page:
            self._client.post(
                "/v1/decisions", json={"decisions": page}, headers={"X-API-Key": self._office}
            ).raise_for_status()
        self._decided |= {passage.case for passage in new}

    def _watch(self) -> None:
        self._ask(self._ben, f"/{self._name}/heartbeat")

    def _mistake(self) -> None:
        """Send what is no picture, and a key that is none, as somebody does now and then."""
        url = f"{self._composed.places.url(GATEWAYS[0])}/predict"
        for key in (self._office, "mistyped"):
            self._client.post(
                url, files={"file": ("note.txt", b"no picture")}, headers={"X-API-Key": key}
            )

    def _again(self, work: Callable[[], None]) -> None:
        while not self._leaving.wait(EVERY_S):
            try:
                work()
            except httpx.HTTPError:
                # Such as a heartbeat after the end.
                continue


def _decision(passage: Passage) -> dict[str, object]:
    return {
        "case_id": passage.case,
        "label": str(passage.visit.digit),
        "decided_by": "crew-day",
        "decided_at": passage.answered_at.isoformat(),
        "source": "the yard's book",
    }
