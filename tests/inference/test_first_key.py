"""A gateway that is the first to start can be entered at once."""

import asyncio
from pathlib import Path

import pytest

from inference.app import running
from inference.settings import GatewayOptions, GatewaySettings
from monitor.domain import Role
from monitor.store.settings import StoreSettings
from tests.templates import migrated


@pytest.mark.parametrize(("host", "made"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_the_first_start_on_loopback_makes_a_key_the_gateway_knows_at_once(
    host: str, made: bool, tmp_path: Path
) -> None:
    store = StoreSettings(home=tmp_path)
    engine = migrated(store)
    engine.dispose()
    settings = GatewaySettings(store=store, gateway=GatewayOptions(host=host, id="gw"))

    async def first_start() -> Role | None:
        async with running(settings) as context:
            plan = context.keeper.plan
            assert plan is not None
            if not store.key_file.exists():
                return None
            person = plan.keys.verify(store.key_file.read_text().strip())
            return None if person is None else person.role

    assert asyncio.run(first_start()) == (Role.ADMIN if made else None)
    assert store.key_file.exists() is made
