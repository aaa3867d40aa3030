"""The log alone gives where a rollout stands, and what was changed in it shows."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from monitor.rollouts import orders
from monitor.rollouts.chain import Link, digest
from monitor.rollouts.evidence import digest as evidence_digest
from monitor.rollouts.plan_document import to_json
from monitor.rollouts.replay import Log, replay
from monitor.rollouts.verdict import Outcome
from tests.rollouts.attempts import BEN, Attempt


def rich() -> Attempt:
    """An attempt in which much has happened."""
    attempt = Attempt().climb(2)
    attempt.say(Outcome.FAIL, "recording")
    attempt.look()
    attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    attempt.say(Outcome.FAIL, "agreement")
    attempt.look()
    return attempt


def test_the_log_gives_the_stored_state() -> None:
    attempt = rich()
    found = attempt.replay()
    assert found.difference is None
    assert [each.type for each in found.played] == [link.type for link in attempt.links]
    assert found.played[-1].where == "gradual 5 %, rolled back"
    assert {each.type for each in found.played if not each.decided} == {
        "started",
        "approved",
        "held",
    }


@pytest.mark.parametrize("number", [0, 2, -1])
@pytest.mark.parametrize(
    "change",
    [
        {"actor": "eve"},
        {"reason": "all is well"},
        {"document": "{}"},
        {"evidence_hash": "0" * 64},
        {"key": "k"},
        {"plan_hash": "0" * 64},
        {"type": "superseded"},
    ],
)
def test_a_changed_row_is_named(number: int, change: dict[str, Any]) -> None:
    attempt = rich()
    links = list(attempt.links)
    links[number] = replace(links[number], **change)
    difference = attempt.replay(links).difference
    assert difference is not None
    assert difference.row == f"event {links[number].sequence}"
    assert difference.cause == "its content is not what its hash covers"


def test_a_moved_time_is_named() -> None:
    attempt = rich()
    links = list(attempt.links)
    links[1] = replace(links[1], at=links[1].at + timedelta(microseconds=1))
    difference = attempt.replay(links).difference
    assert difference is not None
    assert difference.row == "event 2"


def test_a_missing_row_is_named_and_so_is_a_cut_tail() -> None:
    attempt = rich()
    links = list(attempt.links)
    gone = attempt.replay([*links[:2], *links[3:]]).difference
    assert gone is not None
    assert (gone.row, gone.cause) == ("event 3", "it is missing; 4 follows")
    cut = attempt.replay(links[:-1]).difference
    assert cut is not None
    assert cut.row == "the stored state"
    none = attempt.replay([]).difference
    assert none is not None
    assert none.row == "event 1"


def reforged(attempt: Attempt, links: list[Link], number: int, **change: Any) -> list[Link]:
    """Change a row and rewrite every hash after it, as somebody with patience would."""
    links = list(links)
    links[number] = replace(links[number], **change)
    for i in range(number, len(links)):
        previous = links[i - 1].hash if i else links[i].previous_hash
        open_link = replace(links[i], previous_hash=previous)
        links[i] = replace(open_link, hash=digest(attempt.rollout.id, open_link))
    return links


def test_a_rewritten_chain_does_not_lead_to_the_stored_head() -> None:
    attempt = rich()
    links = reforged(attempt, attempt.links, 2, reason="all is well")
    difference = attempt.replay(links).difference
    assert difference is not None
    assert difference.row == "the stored state"
    assert difference.cause.startswith("head is ")


def test_an_advance_that_its_evidence_does_not_give_is_named() -> None:
    """Chain and head are rewritten as well: the frozen evidence still tells."""
    attempt = rich()
    number = next(i for i, link in enumerate(attempt.links) if link.type == "rolled_back")
    held = next(link for link in attempt.links if link.type == "held")
    links = reforged(
        attempt, attempt.links, number, type="held", document=held.document, actor="fieldwatch"
    )
    difference = attempt.replay(links).difference
    assert difference is not None
    assert difference.row == f"event {links[number].sequence}"
    assert "held does not follow from its evidence: rolled_back does" in difference.cause


def test_changed_evidence_is_named() -> None:
    attempt = rich()
    used = attempt.links[-1].evidence_hash
    assert used is not None
    attempt.frozen[used] = attempt.frozen[used].replace("it is fail", "it is pass")
    difference = attempt.replay().difference
    assert difference is not None
    assert difference.row == f"event {len(attempt.links)}"
    assert "is missing, or not what its hash covers" in difference.cause
    assert evidence_digest("x") != used


def test_a_changed_plan_state_or_row_is_named() -> None:
    attempt = rich()

    def differs(log: Log) -> str:
        difference = replay(log).difference
        assert difference is not None
        return f"{difference.row}: {difference.cause}"

    log = Log(
        rollout=attempt.rollout,
        plan_document="{}",
        links=attempt.links,
        evidence=attempt.frozen,
    )
    assert differs(log).startswith("the stored plan: it is not what its hash covers")
    log = replace(log, plan_document=to_json(attempt.plan))
    assert replay(log).difference is None
    other = replace(attempt.rollout, salt="mine")
    assert differs(replace(log, rollout=other)).startswith("event 1: it started salt s")
    moved = replace(attempt.rollout, state=msgspec.structs.replace(attempt.state, position=4))
    assert differs(replace(log, rollout=moved)) == (
        "the stored state: position is 4, and the events give 2"
    )
    open_again = replace(attempt.rollout, ended_at=None)
    assert "do not agree about whether it has ended" in differs(replace(log, rollout=open_again))
