"""The dossier holds the evidence, says what is not known, and can be opened anywhere."""

import io
import re
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from monitor.errors import NotFound
from monitor.rollouts.gate import Reaction
from monitor.rollouts.plan import Risk
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.trial.dossier import Dossier, compile_dossier
from monitor.store.gates import GateVerdicts, StoredVerdict
from monitor.store.payloads import Payloads, reference_of
from monitor.web.rendering import dossier_page
from tests.monitor.installation import START, Installation
from tests.trial.trials import PLAN, begin, decide_cases, shadow_event

HOSTILE = "<script>alert('x')</script>"
RISKS = (
    Risk(name=f"ranger ignores alerts {HOSTILE}"),
    Risk(name="the manual process acts half as often", signal="action_rate"),
    Risk(name="night images", signal="domain_drift"),
)


def _verdict(gate: str, outcome: Outcome, at: datetime) -> StoredVerdict:
    verdict = Verdict(
        gate=gate,
        outcome=outcome,
        reason=f"because of {HOSTILE}",
        n=12,
        estimate=0.9,
        lower=0.7,
        upper=1.0,
        log_evidence=1.0,
        alpha=0.05,
        limit="lower bound at least 0.92",
        epochs=(1,),
        source="s",
        measured_at=at,
        on_fail=Reaction.ROLLBACK,
        required=True,
        dry_run=False,
    )
    return StoredVerdict(
        gate=gate,
        epoch=1,
        outcome=outcome.value,
        document=msgspec.json.encode(verdict).decode(),
        measured_at=at,
    )


@pytest.fixture
def context(tmp_path: Path) -> Context:
    installation = Installation(tmp_path)
    bundle = installation.serve()
    begin(installation, bundle, msgspec.structs.replace(PLAN, risks=RISKS))
    event = shadow_event(installation, bundle, "black", "one")
    name = reference_of("bears", event.at, event.event_id)
    installation.record(
        [
            msgspec.structs.replace(event, payload_ref=name),
            shadow_event(installation, bundle, "grizzly", "two"),
        ]
    )
    jpeg = io.BytesIO()
    Image.new("RGB", (96, 64), "brown").save(jpeg, "JPEG")
    Payloads(installation.settings.store.payloads).put(name, jpeg.getvalue())
    context = installation.monitor()
    decide_cases(context, {"one": "grizzly", "two": "grizzly"})
    with installation.engine.begin() as conn:
        for gate, outcome in (("agreement", Outcome.FAIL), ("action_rate", Outcome.INCONCLUSIVE)):
            GateVerdicts(conn).add("r1", _verdict(gate, outcome, START))
    return context


@pytest.fixture
def dossier(context: Context) -> Dossier:
    return compile_dossier(context, "bears-v7")


def test_what_is_known_is_sorted_and_what_is_not_is_never_taken_for_good(
    dossier: Dossier,
) -> None:
    assert any("gate agreement" in line for line in dossier.balance.speaks_against)
    assert any("gate action_rate" in line for line in dossier.balance.unknown)
    assert any("adjudicated" in line for line in dossier.balance.unknown)
    assert dossier.balance.speaks_for == ()


def test_each_risk_says_what_its_signal_says_and_one_without_is_called_unwatched(
    dossier: Dossier,
) -> None:
    unwatched, by_gate, by_alarm = dossier.risks
    assert (unwatched.monitored, unwatched.says) == (False, "nothing watches it")
    assert by_gate.says.startswith("inconclusive")
    assert by_alarm.says == "0 alarms since the start"


def test_the_page_holds_all_it_shows_and_escapes_what_people_wrote(
    context: Context, dossier: Dossier
) -> None:
    page = dossier_page(context, dossier)
    assert HOSTILE not in page
    assert "data:image/jpeg;base64," in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    for said in ("shall it go on?", "people <b>grizzly</b>", "unwatched", "1 of 1"):
        assert said in page


def test_a_dossier_of_nothing_is_refused_by_name(context: Context) -> None:
    with pytest.raises(NotFound, match="rollout wolves"):
        compile_dossier(context, "wolves")
