"""Where gates look: each source is read at most once in a look, and its fault remembered."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import pyarrow as pa

from monitor.domain import Window
from monitor.rollouts.gate import OutOfDomainGate
from monitor.rollouts.rollout import Rollout
from monitor.services.accuracy.estimate import EstimatedAccuracy, estimate_accuracy
from monitor.services.context import Context
from monitor.services.gates.case_gates import Adjudicated
from monitor.services.gates.cost import Cost
from monitor.services.gates.decided import Decided, DecidedCase, read_decided
from monitor.services.gates.traffic import Traffic, read_traffic
from monitor.services.gates.traffic_gates import arms_of, decided_arms_of
from monitor.services.gates.truths import read_truths
from monitor.services.references import Reference
from monitor.store import epoch_events
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.decisions import Decisions, StandingLabel
from monitor.store.engine import reading
from monitor.store.epoch_events import Loss

T = TypeVar("T")


class Sources:
    """What the gates of one rollout rest on, at one look."""

    def __init__(self, context: Context, rollout: Rollout, now: datetime) -> None:
        """Remember where to look; nothing is read before it is asked for."""
        self.context = context
        self.rollout = rollout
        self.now = now
        self._read: dict[str, object] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return max(0.0, (self.now - self.rollout.state.entered_at).total_seconds())

    @property
    def cases_cost_s(self) -> float:
        """Seconds of processor time it took to read the decided cases in this look."""
        cost = self._read.get("cost of the cases", 0.0)
        return cost if isinstance(cost, float) else 0.0

    def registered(self) -> RegisteredBundle:
        """Find the candidate among the trusted bundles.

        Raises
        ------
        BundleUntrusted
            It was withdrawn.
        """

        def load() -> RegisteredBundle:
            with reading(self.context.engine) as conn:
                return Bundles(conn).trusted(self.rollout.bundle_sha)

        return self._once("registered", load)

    def reference(self) -> Reference:
        """Open the candidate's reference.

        Raises
        ------
        BundleError
            It is missing or damaged.
        """
        return self._once("reference", lambda: self.context.references.open(self.registered()))

    def traffic(self) -> Traffic:
        """Count what came in since the last look."""
        return self._once(
            "traffic",
            lambda: read_traffic(self.context, self.rollout, self.reference(), self.now),
        )

    def decided(self) -> Decided:
        """Read the candidate's cases that people decided."""

        def load() -> Decided:
            spent = Cost()
            found = read_decided(
                self.context.events,
                self.rollout.plan,
                self.rollout.state.epochs,
                self.rollout.bundle_sha,
                self._labels(),
            )
            self._read["cost of the cases"] = spent.seconds
            return found

        return self._once("decided", load)

    def judged_cases(self) -> tuple[DecidedCase, ...]:
        """Pick the candidate's cases that people decided whatever it said of them."""
        return self.decided().of_arms(decided_arms_of(self.rollout.position.stage))

    def adjudicated(self) -> Adjudicated:
        """Read the cases whose truth is known."""
        return self._once("adjudicated", self._adjudicated)

    def loss(self) -> Loss:
        """Count the gaps in what the gateways recorded since the step began."""
        entered = self.rollout.state.entered_at
        end = self.now + timedelta(days=1)
        return self._once("loss", lambda: epoch_events.loss(self.context.events, entered, end))

    def estimate(self) -> EstimatedAccuracy:
        """Estimate the candidate's accuracy in this step without labels."""
        window = Window(start=self.rollout.state.entered_at, end=self.now)
        return self._once(
            "estimate",
            lambda: estimate_accuracy(self.context, self.registered(), window, None),
        )

    def recent(self, gate: OutOfDomainGate) -> pa.Table:
        """Read which episodes of a gate's fast window are flagged."""
        window_s = gate.fast_window_s or 0.0
        start = max(self.rollout.state.entered_at, self.now - timedelta(seconds=window_s))
        return epoch_events.recent_flags(
            self.context.events,
            self.rollout.model,
            self.rollout.state.epochs,
            self.rollout.bundle_sha,
            [arm.value for arm in arms_of(self.rollout.position.stage)],
            start,
            self.now + timedelta(seconds=1),
        )

    def _labels(self) -> list[StandingLabel]:
        def load() -> list[StandingLabel]:
            with reading(self.context.engine) as conn:
                return Decisions(conn).labels(self.rollout.model)

        return self._once("labels", load)

    def _adjudicated(self) -> Adjudicated:
        with reading(self.context.engine) as conn:
            truths = read_truths(conn, self.rollout)
        plan = self.rollout.plan
        by_case = {each.case_id: each.label for each in self._labels() if each.case_id is not None}
        by_event = {each.event_id: each.label for each in self._labels() if each.event_id}
        found = {}
        ids = [truth.event_id for truth in truths]
        for part in (ids[at : at + 1_000] for at in range(0, len(ids), 1_000)):
            rows = epoch_events.single_events(
                self.context.events,
                plan.model,
                self.rollout.state.epochs,
                self.rollout.bundle_sha,
                plan.levers,
                part,
                confidence_floor=plan.confidence_floor,
                out_of_domain_guard=plan.out_of_domain_guard,
            ).to_pylist()
            found.update({row["event_id"]: row for row in rows})
        known = [truth for truth in truths if truth.event_id in found]
        humans = [
            by_event.get(each.event_id) or by_case.get(found[each.event_id]["case_id"])
            for each in known
        ]
        return Adjudicated(
            [found[each.event_id]["prediction"] for each in known],
            humans,
            [each.truth for each in known],
            [each.inclusion_probability for each in known],
            least=plan.trial.adjudicated_agreement_share,
        )

    def _once(self, name: str, load: Callable[[], T]) -> T:
        if name not in self._read:
            try:
                self._read[name] = load()
            except Exception as fault:  # noqa: BLE001 - raised anew to whoever asks
                self._read[name] = _Fault(fault)
        found = self._read[name]
        if isinstance(found, _Fault):
            raise found.error
        return found  # type: ignore[return-value]  # what `load` of this name gave


class _Fault:
    def __init__(self, error: Exception) -> None:
        self.error = error
