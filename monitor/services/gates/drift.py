"""Play the episodes of a batch to the drift gate's streams."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa

from monitor.domain import StreamKey
from monitor.rollouts.rollout import Rollout
from monitor.services.gates.counting import answered_first
from monitor.services.gates.tally import Tally
from monitor.services.references import Reference
from monitor.services.streams.episodes import COLUMNS, select_frames
from monitor.services.streams.opening import open_charts
from monitor.services.streams.stream import Stream
from monitor.settings import DetectorOptions
from monitor.stats.gates.stream_drift import AT_ONCE, DriftState, begin, play, worth_of_epoch

Streams = Mapping[StreamKey, Stream]


def open_gate_streams(model: str, reference: Reference, options: DetectorOptions) -> Streams:
    """Open the streams of the whole traffic, with all of their slack."""
    return open_charts(model, reference.baseline, options)


def weights_of(streams: Streams, options: DetectorOptions) -> dict[str, float]:
    """Give each stream its part of the gate's α: they add up to 1."""
    total = sum(options.weights[key.stream] for key in streams)
    return {key.stream.value: options.weights[key.stream] / total for key in streams}


def play_drift(
    tally: Tally,
    batch: pa.Table,
    arms: frozenset[str],
    streams: Streams,
    reference: Reference,
    *,
    number: int,
    grant: float,
    now: datetime,
) -> Tally:
    """Play the candidate's episodes of a batch.

    Parameters
    ----------
    tally
        So far; not changed.
    batch
        Events that were not played yet.
    arms
        Those judged.
    streams, reference
        Of the candidate.
    number
        Which epoch of the step it is, the first is 0.
    grant
        What every bet is granted before the batch; see `grant_of`.
    now
        When the batch was read.
    """
    mine = np.isin(batch["arm"].to_numpy(zero_copy_only=False).astype(str), sorted(arms))
    kept = batch.filter(pa.array(mine & answered_first(batch)))
    frames = select_frames(kept.select(COLUMNS), reference.baseline, (), now).frames
    episodes = [frame.seen for frame in frames if frame.begins]
    if not episodes:
        return tally
    grants = np.zeros(len(episodes))
    grants[0] = grant
    states = {}
    for key, stream in streams.items():
        saved = tally.drift.get(key.stream.value)
        state = (
            begin(stream.bets, worth_of_epoch(number))
            if saved is None
            else DriftState.from_json(saved)
        )
        paid = stream.bets.log_e(stream.observe(episodes))
        states[key.stream.value] = play(state, paid, grants).to_json()
    return msgspec.structs.replace(
        tally, drift=states, drift_episodes=tally.drift_episodes + len(episodes)
    )


def grant_of(tally: Tally, rollout: Rollout, now: datetime) -> float:
    """Give what the time since the last grant is worth, in this step."""
    pace, entered = rollout.position.pace, rollout.state.entered_at
    since = (max(entered, tally.granted_until or entered) - entered).total_seconds()
    until = min((now - entered).total_seconds(), pace.max_duration_s)
    return (1 - AT_ONCE) * max(0.0, until - since) / pace.max_duration_s
