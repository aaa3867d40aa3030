"""One attempt at a rollout: who, what, by which plan, and where it stands."""

from dataclasses import dataclass
from datetime import datetime

from monitor.domain import Stage
from monitor.rollouts.gate import Gate
from monitor.rollouts.plan import Position, RolloutPlan, positions
from monitor.rollouts.state import End, RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One attempt. All but its state is fixed when it starts."""

    id: str
    name: str
    model: str
    attempt: int
    """From 1; a retry is a new one."""
    version: str
    bundle_sha: str
    """The candidate."""
    salt: str
    """Decides which units come first; kept across attempts."""
    author: str
    """Of the plan."""
    plan: RolloutPlan
    plan_hash: str
    state: RolloutState
    state_version: int
    """Rises with every change; compared and set."""
    started_at: datetime
    ended_at: datetime | None

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.name} (attempt {self.attempt})"

    @property
    def position(self) -> Position:
        """The step it stands at."""
        return positions(self.plan)[self.state.position]

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates of the stage it is in."""
        return tuple(gate for gate in self.plan.gates if self.position.stage in gate.stages)

    @property
    def acts(self) -> bool:
        """Whether the model acts on anything, kill latches aside."""
        ended = self.state.ended
        if ended is not None:
            return ended.end is End.COMPLETED
        return self.position.stage is not Stage.SHADOW
