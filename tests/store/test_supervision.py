"""Who watches, and how much of a day's actions is taken: shared by all gateways."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from sqlalchemy import Engine, update

from monitor.store.engine import database_now, reading
from monitor.store.schema import supervisors
from monitor.store.spent_actions import SpentActions
from monitor.store.supervisors import Supervisors

DAY = date(2026, 11, 23)


def take(engine: Engine, wanted: int, most: int = 10, day: date = DAY, attempt: int = 1) -> int:
    with engine.begin() as conn:
        return SpentActions(conn).take("bears", attempt, day, wanted=wanted, most=most)


def test_no_more_is_taken_than_the_day_has(engine: Engine) -> None:
    assert [take(engine, 4) for _ in range(4)] == [4, 4, 2, 0]
    with reading(engine) as conn:
        assert SpentActions(conn).spent("bears", 1, DAY) == 10
        assert SpentActions(conn).spent("wolves", 1, DAY) == 0


def test_days_and_attempts_have_budgets_of_their_own(engine: Engine) -> None:
    assert take(engine, 10) == 10
    assert take(engine, 3, day=DAY + timedelta(days=1)) == 3
    assert take(engine, 3, attempt=2) == 3
    assert take(engine, 3) == 0


def test_a_budget_that_was_lowered_below_what_is_taken_gives_nothing(engine: Engine) -> None:
    assert take(engine, 8) == 8
    assert take(engine, 1, most=5) == 0
    assert take(engine, 5, most=9) == 1


def test_what_is_given_back_can_be_taken_again(engine: Engine) -> None:
    assert take(engine, 10) == 10
    with engine.begin() as conn:
        SpentActions(conn).give_back("bears", 1, DAY, 3)
        SpentActions(conn).give_back("bears", 2, DAY, 3)  # nothing was taken of this one
    assert take(engine, 9) == 3


def test_gateways_that_ask_at_once_get_no_more_than_there_is(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: take(engine, 3, most=20), range(12)))
    assert sum(taken) == 20


def test_the_last_word_of_any_supervisor_counts_by_the_databases_clock(engine: Engine) -> None:
    with engine.begin() as conn:
        assert Supervisors(conn).silent_s() == {}
        for person in ("anna", "ben"):
            Supervisors(conn).beat("bears", person, database_now(conn))
        Supervisors(conn).beat("wolves", "anna", database_now(conn))
        conn.execute(
            update(supervisors)
            .where(supervisors.c.person == "anna")
            .values(last_at=database_now(conn) - timedelta(hours=1))
        )
    with engine.begin() as conn:
        silent = Supervisors(conn).silent_s()
        assert 0 <= silent["bears"] < 60
        assert 3_600 <= silent["wolves"] < 3_660
        Supervisors(conn).beat("wolves", "anna", database_now(conn))
        assert 0 <= Supervisors(conn).silent_s()["wolves"] < 60
