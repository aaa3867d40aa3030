"""The queue draws events with the chance it says, so that estimates weighted by it are unbiased."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitor.review.item import Why
from monitor.review.sampling import Facts, Rates, chance, draw

shares = st.floats(0, 1)
facts = st.builds(
    Facts,
    event_id=st.uuids().map(str),
    prediction=st.sampled_from("ab"),
    confidence=shares,
    flagged=st.booleans(),
    acted=st.booleans(),
    decided=st.none() | st.sampled_from("ab"),
)
rates = st.builds(
    Rates,
    audit=st.floats(1e-6, 1),
    out_of_domain=shares,
    uncertain=shares,
    disagreement=shares,
    action=shares,
    uncertain_below=shares,
)


def _facts(event_id: str = "e", **changes: object) -> Facts:
    plain: dict[str, object] = {
        "event_id": event_id,
        "prediction": "a",
        "confidence": 0.9,
        "flagged": False,
        "acted": False,
        "decided": None,
    }
    return Facts(**(plain | changes))  # type: ignore[arg-type]


@given(facts, rates)
def test_an_event_is_drawn_exactly_when_its_number_is_below_its_chance(
    of: Facts, given_rates: Rates
) -> None:
    drawn = draw(of, given_rates)
    if drawn is None:
        assert chance(of.event_id) >= given_rates.audit
        return
    assert chance(of.event_id) < drawn.inclusion_probability
    assert drawn.inclusion_probability >= given_rates.audit
    assert drawn.audit == (chance(of.event_id) < given_rates.audit)


@given(facts, rates)
def test_knowing_the_human_decision_never_takes_an_event_out_again(
    of: Facts, given_rates: Rates
) -> None:
    before = draw(
        Facts(
            event_id=of.event_id,
            prediction=of.prediction,
            confidence=of.confidence,
            flagged=of.flagged,
            acted=of.acted,
            decided=None,
        ),
        given_rates,
    )
    after = draw(of, given_rates)
    if before is not None:
        assert after is not None
        assert after.inclusion_probability >= before.inclusion_probability


@pytest.mark.parametrize(
    ("changes", "reason", "probability"),
    [
        ({"flagged": True}, Why.OUT_OF_DOMAIN, 1.0),
        ({"decided": "b"}, Why.DISAGREEMENT, 1.0),
        ({"flagged": True, "decided": "b"}, Why.OUT_OF_DOMAIN, 1.0),
    ],
)
def test_the_most_telling_reason_is_named(
    changes: dict[str, object], reason: Why, probability: float
) -> None:
    drawn = draw(_facts(**changes), Rates())  # type: ignore[arg-type]
    assert drawn is not None
    assert (drawn.reason, drawn.inclusion_probability) == (reason, probability)


def test_agreeing_sure_events_come_in_by_chance_alone() -> None:
    ids = [f"event-{n}" for n in range(20_000)]
    drawn = [draw(_facts(event_id, decided="a"), Rates(audit=0.05)) for event_id in ids]
    found = [each for each in drawn if each is not None]
    assert {each.reason for each in found} == {Why.AUDIT}
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], len(ids), 0.05)
    assert low <= len(found) <= high


@pytest.mark.statistics
def test_weighting_by_the_inverse_chance_recovers_the_error_rate_of_a_biased_queue() -> None:
    rng = np.random.default_rng(7)
    estimates = []
    for round_ in range(200):
        wrong = rng.random(1_000) < 0.1
        # Mistakes are mostly uncertain, so the queue is full of them: unweighted it would say .3.
        confidence = np.where(wrong, rng.uniform(0.3, 0.7, 1_000), rng.uniform(0.5, 1, 1_000))
        total = 0.0
        for n in range(1_000):
            drawn = draw(
                _facts(f"{round_}/{n}", confidence=confidence[n]), Rates(audit=0.1, uncertain=0.6)
            )
            total += 0.0 if drawn is None else wrong[n] / drawn.inclusion_probability
        estimates.append(total / 1_000 - wrong.mean())
    error = float(np.mean(estimates))
    assert abs(error) < 4 * float(np.std(estimates)) / 200**0.5


def test_a_queue_without_an_audit_is_refused() -> None:
    with pytest.raises(ValueError, match="audit"):
        Rates(audit=0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Rates(uncertain=1.5)
