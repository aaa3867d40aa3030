"""Certificates are kept, newest first, and read back as they were."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from monitor.store.bundles import Bundles
from monitor.store.certificates import Certificates
from tests.drill.made_up import certificate

SHA = "a" * 64


@pytest.fixture
def registered(engine: Engine, now: datetime) -> Engine:
    with engine.begin() as conn:
        Bundles(conn).register(SHA, "bears", "1", "/bundles/bears", True, "ann", now)
    return engine


def test_a_certificate_reads_back_as_it_was(registered: Engine) -> None:
    made = certificate(SHA)
    with registered.begin() as conn:
        Certificates(conn).add(made)
        assert Certificates(conn).get(made.id) == made
        assert Certificates(conn).get("nobody's") is None


def test_stamps_come_newest_first_and_only_of_the_model(registered: Engine, now: datetime) -> None:
    old = certificate(SHA, created_at=now)
    new = certificate(SHA, created_at=now + timedelta(hours=1), refused="no power")
    other = certificate(SHA, model="birds")
    with registered.begin() as conn:
        for made in (new, old, other):
            Certificates(conn).add(made)
        stamps = Certificates(conn).stamps("bears")
    assert [stamp.id for stamp in stamps] == [new.id, old.id]
    assert (stamps[0].refused, stamps[0].weak_spots) == ("no power", ("blur 3",))
    assert stamps[1].settings == {"delta": "0.05"}
