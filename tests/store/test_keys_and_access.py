"""Keys: shown once, stored as hashes, checked without a database; and the first one."""

import base64
import multiprocessing
import re
import stat
import threading
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from monitor.domain import Person, Role
from monitor.errors import KeyUnknown, LastAdminKey
from monitor.store.authorization import parse_authorization
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.engine import connect, reading
from monitor.store.keys import Keys
from monitor.store.schema import keys
from monitor.store.settings import StoreSettings


def _create(engine: Engine, now: datetime, person: str, role: Role) -> str:
    with engine.begin() as connection:
        return Keys(connection).create(person, role, now, by="anna")


def test_a_key_verifies_as_its_person_and_is_not_stored(engine: Engine, now: datetime) -> None:
    token = _create(engine, now, "cam-service", Role.SERVICE)
    assert re.fullmatch(r"fw_[A-Za-z0-9_-]{43}", token)
    with reading(engine) as connection:
        ring = Keys(connection).all()
        stored = connection.execute(select(keys)).one()
    assert ring.verify(token) == Person(name="cam-service", role=Role.SERVICE)
    assert token not in str(stored)
    assert token.removeprefix("fw_") not in str(stored)


def test_a_wrong_or_revoked_key_is_nobody(engine: Engine, now: datetime) -> None:
    _create(engine, now, "anna", Role.ADMIN)
    token = _create(engine, now, "berta", Role.OPERATOR)
    with engine.begin() as connection:
        ring = Keys(connection).all()
        assert ring.verify(token[:-1]) is None
        assert ring.verify("") is None
        berta = next(key for key in Keys(connection).listed() if key.person.name == "berta")
        Keys(connection).revoke(berta.id, now, by="anna")
        assert Keys(connection).all().verify(token) is None
        revoked = next(key for key in Keys(connection).listed() if key.id == berta.id)
    assert (revoked.revoked_at, revoked.revoked_by) == (now, "anna")
    with pytest.raises(KeyUnknown), engine.begin() as connection:
        Keys(connection).revoke(berta.id, now)


def test_the_last_admin_key_cannot_be_revoked(engine: Engine, now: datetime) -> None:
    _create(engine, now, "anna", Role.ADMIN)
    _create(engine, now, "berta", Role.OPERATOR)
    with engine.begin() as connection:
        admin = next(key for key in Keys(connection).listed() if key.person.role is Role.ADMIN)
        with pytest.raises(LastAdminKey):
            Keys(connection).revoke(admin.id, now)
    _create(engine, now, "carla", Role.ADMIN)
    with engine.begin() as connection:
        Keys(connection).revoke(admin.id, now)


def test_two_admins_cannot_revoke_each_other_at_once(engine: Engine, now: datetime) -> None:
    _create(engine, now, "anna", Role.ADMIN)
    _create(engine, now, "berta", Role.ADMIN)
    with reading(engine) as connection:
        ids = [key.id for key in Keys(connection).listed()]
    barrier = threading.Barrier(2)
    refused: list[str] = []

    def revoke(key_id: str) -> None:
        barrier.wait()
        try:
            with engine.begin() as connection:
                Keys(connection).revoke(key_id, now)
        except LastAdminKey:
            refused.append(key_id)

    threads = [threading.Thread(target=revoke, args=(key_id,)) for key_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    with reading(engine) as connection:
        assert len(Keys(connection).all()) == 1


TOKEN = "fw_" + "x" * 43


def _basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer   {TOKEN} "},
        {"x-api-key": TOKEN},
        {"authorization": _basic(f"anybody:{TOKEN}")},
        {"authorization": _basic(f":{TOKEN}")},
        {"authorization": f"Bearer {TOKEN}", "x-api-key": "another"},
    ],
)
def test_a_key_is_found_wherever_a_client_may_put_it(headers: dict[str, str]) -> None:
    assert parse_authorization(headers) == TOKEN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Digest x"},
        {"authorization": "Basic %%%"},
        {"authorization": _basic("no colon")},
        {"authorization": "Basic " + base64.b64encode(b"a:\xff").decode()},
        {"authorization": "Digest x", "x-api-key": TOKEN},
        {"x-api-key": " "},
    ],
)
def test_a_request_without_a_readable_key_has_none(headers: dict[str, str]) -> None:
    assert parse_authorization(headers) is None


@given(st.text(max_size=80))
def test_no_authorization_header_makes_parsing_fail(value: str) -> None:
    for scheme in ("", "Basic ", "Bearer "):
        parse_authorization({"authorization": scheme + value})


def test_the_first_start_leaves_an_admin_key_only_its_owner_can_read(
    engine: Engine, now: datetime, tmp_path: Path
) -> None:
    path = ensure_admin_key(engine, tmp_path / "home", now)
    assert path == tmp_path / "home" / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with reading(engine) as connection:
        person = Keys(connection).all().verify(path.read_text().strip())
    assert person == Person(name="admin", role=Role.ADMIN)
    assert list(path.parent.iterdir()) == [path]


def test_later_starts_make_no_key_even_where_all_are_revoked(
    engine: Engine, now: datetime, tmp_path: Path
) -> None:
    _create(engine, now, "berta", Role.VIEWER)
    with engine.begin() as connection:
        Keys(connection).revoke(Keys(connection).listed()[0].id, now)
    assert ensure_admin_key(engine, tmp_path, now) is None
    assert not (tmp_path / "admin.key").exists()


@pytest.mark.stores
def test_processes_that_start_together_make_one_admin_key(
    settings: StoreSettings, engine: Engine, now: datetime
) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        made = pool.starmap(_ensure, [(settings, now)] * 3, chunksize=1)
    assert sorted(path is None for path in made) == [False, True, True]
    with reading(engine) as connection:
        ring = Keys(connection).all()
    assert len(ring) == 1
    assert ring.verify(settings.key_file.read_text().strip()) is not None


def _ensure(settings: StoreSettings, now: datetime) -> Path | None:
    engine = connect(settings)
    try:
        return ensure_admin_key(engine, settings.home, now)
    finally:
        engine.dispose()
