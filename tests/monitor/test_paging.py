"""Who is paged: only with a certificate of this bundle and these detectors."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from monitor.certificate import State
from monitor.commands.drill import weak_spots
from monitor.domain import AlarmKind, AlarmState, Role, Severity
from monitor.services import key_desk
from monitor.services.context import Context
from monitor.services.doctor import examine
from monitor.services.drills.certificates import look_up
from monitor.services.ingest import ingest
from monitor.services.references import read_reference
from monitor.services.streams.opening import detector_configuration
from monitor.settings import Addresses, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.certificates import Certificates
from monitor.store.engine import reading
from monitor.wiring import make_app
from reference_data.bundle import Bundle
from tests.drill.made_up import certificate
from tests.monitor.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home")


def certify(
    installation: Installation,
    bundle: Bundle,
    *,
    configuration: str | None = None,
    refused: str | None = None,
    resolve_after: int = 100,
) -> None:
    options = installation.settings.monitor.detectors
    now = detector_configuration(options, read_reference(bundle).baseline)
    made = certificate(
        bundle.digest, configuration or now, refused=refused, resolve_after=resolve_after
    )
    with installation.engine.begin() as conn:
        Certificates(conn).add(made)


def novelty(installation: Installation, bundle: Bundle) -> tuple[Severity, str, int]:
    installation.healthy(bundle, 40)
    installation.novel(bundle, 40)
    context = installation.monitor()
    ingest(context, installation.clock)
    with reading(context.engine) as conn:
        alarms = Alarms(conn).all(model="bears", state=AlarmState.OPEN)
    [alarm] = [alarm for alarm in alarms if alarm.kind is AlarmKind.NOVELTY]
    return alarm.severity, alarm.severity_reason, alarm.resolve_after


def test_with_a_valid_certificate_novelty_pages_and_waits_as_long_as_the_drill_says(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    certify(installation, bundle, resolve_after=170)
    severity, reason, resolve_after = novelty(installation, bundle)
    assert severity is Severity.PAGE
    assert "quick drill of 2026-05-04" in reason
    assert resolve_after == 170


def test_without_one_it_is_a_ticket(installation: Installation) -> None:
    severity, reason, _ = novelty(installation, installation.serve())
    assert severity is Severity.TICKET
    assert "no drill has been run" in reason


def test_one_of_other_detectors_is_void(installation: Installation) -> None:
    bundle = installation.serve()
    certify(installation, bundle, configuration="e" * 64)
    severity, reason, _ = novelty(installation, bundle)
    assert severity is Severity.TICKET
    assert "void:" in reason


def test_one_of_another_bundle_is_void(installation: Installation) -> None:
    certify(installation, installation.serve())
    severity, reason, _ = novelty(installation, installation.serve(version="2"))
    assert severity is Severity.TICKET
    assert "another bundle" in reason


def test_one_that_was_refused_says_why(installation: Installation) -> None:
    bundle = installation.serve()
    certify(installation, bundle, refused="no shift was seen")
    severity, reason, _ = novelty(installation, bundle)
    assert severity is Severity.TICKET
    assert "no shift was seen" in reason


def test_the_api_gives_the_standing_and_the_certificate_in_full(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    token = key_desk.create(installation.engine, "v", Role.VIEWER, "test", installation.clock)
    client = TestClient(make_app(installation.monitor()), raise_server_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    none = client.get("/v1/models/bears/certificate", headers=headers).json()
    assert (none["standing"]["state"], none["certificate"]) == ("none", None)
    certify(installation, bundle)
    found = client.get("/v1/models/bears/certificate", headers=headers).json()
    assert found["standing"]["state"] == "valid"
    assert found["certificate"]["injected"][0]["shift"] == "blur"
    assert client.get("/v1/models/cats/certificate", headers=headers).status_code == 404


def looked_up(installation: Installation) -> Context:
    certify(installation, installation.serve())
    return installation.monitor()


def test_a_certificate_is_looked_up_with_its_weak_spots_named_first(
    installation: Installation,
) -> None:
    found = look_up(looked_up(installation), "bears")
    assert found.standing.state is State.VALID
    assert found.standing.weak_spots == ("blur 3",)
    assert found.certificate is not None
    [line] = weak_spots(found.certificate)
    assert "blur 3 costs 30% of accuracy and is not seen within 1,000 events" in line.replace(
        "[red]weak spot:[/] ", ""
    )


def test_doctor_notes_traffic_far_from_what_was_drilled(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "home", MonitorOptions())
    bundle = installation.serve()
    certify(installation, bundle)
    context = installation.monitor()

    def notes() -> list[str]:
        findings = examine(context, Addresses(store=installation.settings.store))
        return [finding.found for finding in findings if "episodes an hour" in finding.found]

    assert notes() == []
    installation.healthy(bundle, 150)
    [note] = notes()
    assert note.startswith("bears was drilled for 60 episodes an hour and has 3,6")


def test_doctor_notes_weak_spots_and_a_missing_certificate(installation: Installation) -> None:
    bundle = installation.serve()
    context = installation.monitor()

    def notes() -> list[str]:
        findings = examine(context, Addresses(store=installation.settings.store))
        return [finding.found for finding in findings if finding.check == "certificate"]

    assert notes() == ["alarms of bears never page: no drill has been run"]
    certify(installation, bundle)
    assert notes()[1] == "bears loses accuracy unseen under blur 3"
