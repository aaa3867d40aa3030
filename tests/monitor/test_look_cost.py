"""What a gate's look costs decides how long it rests: its work, not its waiting."""

import time

from monitor.services.gates.cost import Cost


def test_a_look_that_waits_for_others_costs_next_to_nothing() -> None:
    spent = Cost()
    time.sleep(0.1)
    assert spent.seconds < 0.05


def test_a_look_that_works_costs_its_work_and_never_more_than_has_passed() -> None:
    begun, spent = time.perf_counter(), Cost()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        sum(range(1_000))
    assert 0.05 <= spent.seconds <= time.perf_counter() - begun
