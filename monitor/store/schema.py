"""The tables of the state store.

Times are `UTCDateTime`; documents (snapshots, detector states, evidence) are JSON text that carries
its own format number, because only our code reads them and both databases keep text
unchanged. Indexes are named for the question they answer.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from monitor.store.columns import UTCDateTime

HEAD = "0010"
"""The migration this program was written for."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

bundles = Table(
    "bundles",
    metadata,
    Column("sha", String(64), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("version", String(200), nullable=False),
    Column("path", Text, nullable=False),
    Column("certified", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("registered_by", String(200), nullable=False),
    Column("registered_at", UTCDateTime, nullable=False),
    Column("withdrawn_by", String(200)),
    Column("withdrawn_at", UTCDateTime),
    CheckConstraint("state IN ('trusted', 'withdrawn')", name="state"),
    Index("ix_bundles_of_model", "model", "registered_at"),
)
"""The trust list: a gateway serves no digest that is not here as trusted."""

routes = Table(
    "routes",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("bundle_sha", String(64), ForeignKey("bundles.sha"), nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("published_at", UTCDateTime, nullable=False),
)
"""The current snapshot of each model; the audit table holds the ones before."""

kill_latches = Table(
    "kill_latches",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("key", String(400), primary_key=True),
    Column("armed_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("armed_at", UTCDateTime, nullable=False),
)
"""The latches armed now."""

gateways = Table(
    "gateways",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("url", Text, nullable=False),
    Column("epochs", Text, nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Column("last_seen", UTCDateTime, nullable=False),
)
"""Which gateways are alive, and the epoch each has taken up per model."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("person", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("revoked_at", UTCDateTime),
    Column("revoked_by", String(200)),
    CheckConstraint("role IN ('viewer', 'service', 'operator', 'admin')", name="role"),
)
"""SHA-256 of each token, never the token."""

cursors = Table(
    "cursors",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("writer", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
)
"""How far the detectors of a model have read in each writer."""

intakes = Table(
    "intakes",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("status", String(16), primary_key=True),
    Column("events", BigInteger, nullable=False),
)
"""How many events of each status lie behind a model's cursors."""

streams = Table(
    "streams",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("bundle_sha", String(64), primary_key=True),
    Column("stream", String(32), primary_key=True),
    Column("segment", String(400), primary_key=True),
    Column("mode", String(16), primary_key=True),
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
)
"""Detector states; `version` is compared and set."""

open_episodes = Table(
    "open_episodes",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("bundle_sha", String(64), primary_key=True),
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
)
"""Episodes whose frames are still coming; `version` is compared and set."""

budget = Table(
    "budget",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("claim", String(36), nullable=False),
    Column("model", String(200), nullable=False),
    Column("bundle_sha", String(64), nullable=False),
    Column("stream", String(32), nullable=False),
    Column("segment", String(400), nullable=False),
    Column("pool", String(16), nullable=False),
    Column("demand", Float, nullable=False),
    Column("weight", Float, nullable=False),
    Column("granted_at", UTCDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("begun_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),
    Column("ended_reason", Text),
    CheckConstraint("weight > 0 AND weight <= 1", name="weight"),
    CheckConstraint("(ended_at IS NULL) = (ended_reason IS NULL)", name="ended"),
    Index(
        "uq_budget_one_running",
        "model",
        "bundle_sha",
        "stream",
        "segment",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
"""Who holds which part of the false-alarm budget, and held it; rows are ended, never deleted."""

registered_references = Table(
    "registered_references",
    metadata,
    Column("bundle_sha", String(64), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("model", String(200), nullable=False),
    Column("registered_at", UTCDateTime, nullable=False),
)
"""Every reference ever watched, numbered: the number decides its part of δ for good."""

exclusions = Table(
    "exclusions",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("cause", String(32), primary_key=True),
    Column("observations", BigInteger, nullable=False),
)
"""How many observations the detectors left out or did not trust in full, and why."""

sightings = Table(
    "sightings",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("unit", String(200), primary_key=True),
    Column("last_at", UTCDateTime, nullable=False),
)
"""When each unit was last heard of; a bounded number of them."""

alarms = Table(
    "alarms",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("incident_id", String(36), nullable=False),
    Column("model", String(200), nullable=False),
    Column("bundle_sha", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("severity_reason", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", UTCDateTime, nullable=False),
    Column("last_crossing_at", UTCDateTime, nullable=False),
    Column("crossings", Integer, nullable=False),
    Column("quiet_episodes", Integer, nullable=False),
    Column("resolve_after", Integer, nullable=False),
    Column("resolved_at", UTCDateTime),
    Column("evidence", Text, nullable=False),
    CheckConstraint("state IN ('open', 'resolved')", name="state"),
    Column("acknowledged_by", String(200)),
    Column("acknowledged_at", UTCDateTime),
    Column("acknowledged_reason", Text),
    Column("acknowledged_silence", String(64)),
    CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved"),
    Index("ix_alarms_newest", "opened_at"),
    Index("ix_alarms_of_incident", "incident_id"),
    Index(
        "uq_alarms_one_open",
        "model",
        "bundle_sha",
        "kind",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)
"""What operators are told; one open alarm per version of a model and kind."""

signals = Table(
    "signals",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("severity", String(200), nullable=False),
    Column("model", String(200)),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("alarm_id", String(36)),
    Column("starts_at", UTCDateTime, nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Column("seen_at", UTCDateTime, nullable=False),
    Column("resolved_at", UTCDateTime),
    Column("acknowledged_by", String(200)),
    Column("acknowledged_at", UTCDateTime),
    Column("acknowledged_reason", Text),
    Column("acknowledged_silence", String(64)),
    CheckConstraint("state IN ('firing', 'resolved')", name="state"),
    UniqueConstraint("fingerprint", "starts_at"),
    Index("ix_signals_newest", "state", "starts_at"),
    Index("ix_signals_of_alarm", "alarm_id"),
    Index(
        "uq_signals_one_firing",
        "fingerprint",
        unique=True,
        sqlite_where=text("state = 'firing'"),
        postgresql_where=text("state = 'firing'"),
    ),
)
"""Alerts that Alertmanager told of; those with an `alarm_id` speak of an alarm of ours."""

silences = Table(
    "silences",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("subject", String(64), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("silence_id", String(64)),
    Column("matchers", Text, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Column("ends_at", UTCDateTime, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),
    Column("owner", String(200)),
    Column("token", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", UTCDateTime, nullable=False),
    Column("last_error", Text),
    CheckConstraint("origin IN ('here', 'alertmanager')", name="origin"),
    CheckConstraint("state IN ('pending', 'active', 'ending', 'ended')", name="state"),
    UniqueConstraint("silence_id", "subject"),
    Index("ix_silences_of_subject", "subject", "created_at"),
    Index("ix_silences_due", "state", "not_before"),
    Index(
        "uq_silences_one_wanted",
        "subject",
        unique=True,
        sqlite_where=text("origin = 'here' AND state IN ('pending', 'active')"),
        postgresql_where=text("origin = 'here' AND state IN ('pending', 'active')"),
    ),
)
"""Silences in Alertmanager: those an acknowledgement here asks for, and those found there."""

decisions = Table(
    "decisions",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("model", String(200), nullable=False),
    Column("event_id", String(200)),
    Column("case_id", String(200)),
    Column("label", String(200), nullable=False),
    Column("decided_by", String(200), nullable=False),
    Column("decided_at", UTCDateTime, nullable=False),
    Column("source", String(200), nullable=False),
    Column("inclusion_probability", Float),
    Column("revision", Integer, nullable=False),
    Column("supersedes", BigInteger().with_variant(Integer, "sqlite"), ForeignKey("decisions.id")),
    Column("key", String(200), nullable=False),
    Column("content", String(64), nullable=False),
    Column("recorded_by", String(200), nullable=False),
    Column("recorded_at", UTCDateTime, nullable=False),
    CheckConstraint("(event_id IS NULL) <> (case_id IS NULL)", name="subject"),
    CheckConstraint(
        "inclusion_probability IS NULL OR "
        "(inclusion_probability > 0 AND inclusion_probability <= 1)",
        name="inclusion",
    ),
    UniqueConstraint("model", "key"),
    Index("ix_decisions_of_event", "model", "event_id"),
    Index("ix_decisions_of_case", "model", "case_id"),
)
"""What humans decided, about one event or one case; rows are only ever added.

The decision that stands is the latest by `decided_at`, then by `id`: a correction is a row more.
`key` makes a delivery idempotent; `content` is the digest of what it said.
"""

accuracy_readings = Table(
    "accuracy_readings",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("bundle_sha", String(64), primary_key=True),
    Column("reading", Text, nullable=False),
    Column("computed_at", UTCDateTime, nullable=False),
)
"""The last estimated and measured accuracy of each version of a model, for status and scrapes."""

windows = Table(
    "windows",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("scope", String(400), primary_key=True),
    Column("start_at", UTCDateTime, primary_key=True),
    Column("end_at", UTCDateTime, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("owner", String(200)),
    Column("token", BigInteger, nullable=False),
    Column("lease_until", UTCDateTime),
    Column("attempts", Integer, nullable=False),
    Column("input_hash", String(64)),
    Column("created_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("last_error", Text),
    CheckConstraint("status IN ('pending', 'running', 'done', 'dead')", name="status"),
    CheckConstraint("start_at < end_at", name="span"),
    Index("ix_windows_claimable", "job", "status", "end_at"),
)
"""Work by span of time: claimed with a lease, fenced by a token, done exactly once."""

summaries = Table(
    "summaries",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("segment", String(400), primary_key=True),
    Column("start_at", UTCDateTime, primary_key=True),
    Column("end_at", UTCDateTime, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("bundle_sha", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
)
"""Mergeable summaries of the windows done, one row per revision."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("topic", String(64), nullable=False),
    Column("key", String(200), nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("owner", String(200)),
    Column("token", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", UTCDateTime, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("delivered_at", UTCDateTime),
    Column("last_error", Text),
    CheckConstraint("status IN ('pending', 'delivered', 'dead')", name="status"),
    UniqueConstraint("topic", "key"),
    Index("ix_outbox_due", "status", "not_before"),
)
"""Messages written with the state that caused them, delivered afterwards."""

job_runs = Table(
    "job_runs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job", String(64), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("summary", Text),
    Column("error", Text),
    CheckConstraint("status IN ('running', 'succeeded', 'failed')", name="status"),
    Index("ix_job_runs_newest", "job", "started_at"),
)
"""When each job last ran, and how it went."""

certificates = Table(
    "certificates",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("bundle_sha", String(64), ForeignKey("bundles.sha"), nullable=False),
    Column("configuration", String(64), nullable=False),
    Column("settings", Text, nullable=False),
    Column("depth", String(16), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("refused", Text),
    Column("resolve_after", Integer, nullable=False),
    Column("weak_spots", Text, nullable=False),
    Column("document", Text, nullable=False),
    CheckConstraint("depth IN ('quick', 'full')", name="depth"),
    Index("ix_certificates_of_model", "model", "created_at"),
)
"""What drills found; one that refused nothing lets the alarms of its bundle and detectors page."""

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("version", String(200), nullable=False),
    Column("bundle_sha", String(64), ForeignKey("bundles.sha"), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("author", String(200), nullable=False),
    Column("plan", Text, nullable=False),
    Column("plan_hash", String(64), nullable=False),
    Column("state", Text, nullable=False),
    Column("state_version", BigInteger, nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),
    UniqueConstraint("name", "attempt"),
    Index(
        "uq_rollouts_one_active",
        "model",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
"""Attempts at rollouts; `state_version` is compared and set; one active per model."""

rollout_events = Table(
    "rollout_events",
    metadata,
    Column("rollout_id", String(36), ForeignKey("rollouts.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("type", String(32), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("plan_hash", String(64), nullable=False),
    Column("evidence_hash", String(64)),
    Column("key", String(200)),
    Column("document", Text, nullable=False),
    Column("at", UTCDateTime, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("rollout_id", "key"),
)
"""All that ever happened to a rollout; rows are only ever added, each naming the one before."""

rollout_evidence = Table(
    "rollout_evidence",
    metadata,
    Column("rollout_id", String(36), ForeignKey("rollouts.id"), primary_key=True),
    Column("hash", String(64), primary_key=True),
    Column("document", Text, nullable=False),
    Column("frozen_at", UTCDateTime, nullable=False),
)
"""What a transition rested on, by its digest."""

gate_verdicts = Table(
    "gate_verdicts",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("rollout_id", String(36), ForeignKey("rollouts.id"), nullable=False),
    Column("gate", String(200), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("document", Text, nullable=False),
    Column("measured_at", UTCDateTime, nullable=False),
    CheckConstraint("outcome IN ('pass', 'fail', 'inconclusive', 'error')", name="outcome"),
    Index("ix_gate_verdicts_newest", "rollout_id", "gate", "id"),
)
"""What gates said: a row whenever the outcome or the evidence changed."""

gate_states = Table(
    "gate_states",
    metadata,
    Column("rollout_id", String(36), ForeignKey("rollouts.id"), primary_key=True),
    Column("gate", String(200), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
)
"""What a gate has counted so far in one epoch; `version` is compared and set."""

supervisors = Table(
    "supervisors",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("person", String(200), primary_key=True),
    Column("last_at", UTCDateTime, nullable=False),
)
"""When each supervisor of an acting model was last heard of."""

spent_actions = Table(
    "spent_actions",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("granted", BigInteger, nullable=False),
)
"""Actions of a day's budget that gateways have taken."""

review_items = Table(
    "review_items",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("bundle_sha", String(64), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("subject", String(1000), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("inclusion_probability", Float, nullable=False),
    Column("audit", Boolean, nullable=False),
    Column("priority", Float, nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("case_id", String(200)),
    Column("unit", String(200)),
    Column("at", UTCDateTime),
    Column("prediction", String(200)),
    Column("confidence", Float),
    Column("label", String(200)),
    Column("loss", Float),
    Column("split", String(16)),
    Column("picture", String(400)),
    Column("attempt", Integer),
    Column("stage", String(16)),
    Column("not_for", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("resolved_at", UTCDateTime),
    Column("action", String(16)),
    Column("truth", String(200)),
    CheckConstraint(
        "inclusion_probability > 0 AND inclusion_probability <= 1",
        name="inclusion",
    ),
    CheckConstraint("state IN ('open', 'done', 'conflicting', 'withdrawn')", name="state"),
    Index(
        "uq_review_items_once",
        "model",
        "bundle_sha",
        "origin",
        "subject",
        "purpose",
        unique=True,
    ),
    Index("ix_review_items_next", "state", "model", "priority"),
)
"""What waits for people, and what came of it; a subject has one item for each purpose."""

review_leases = Table(
    "review_leases",
    metadata,
    Column("item_id", String(36), ForeignKey("review_items.id"), primary_key=True),
    Column("reviewer", String(200), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("until", UTCDateTime, nullable=False),
    Index("ix_review_leases_of_reviewer", "reviewer"),
)
"""Who has which item in hand; an expired lease keeps its token, so that a late answer is stale."""

review_readings = Table(
    "review_readings",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("item_id", String(36), ForeignKey("review_items.id"), nullable=False),
    Column("reviewer", String(200), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("action", String(16), nullable=False),
    Column("label", String(200)),
    Column("seconds", Float),
    Column("note", Text, nullable=False),
    Column("changed_after_reveal", Boolean, nullable=False),
    Column(
        "supersedes",
        BigInteger().with_variant(Integer, "sqlite"),
        ForeignKey("review_readings.id"),
    ),
    Column("withdrawn", Boolean, nullable=False),
    Column("key", String(200), nullable=False),
    Column("content", String(64), nullable=False),
    Column("at", UTCDateTime, nullable=False),
    UniqueConstraint("reviewer", "key"),
    Index("ix_review_readings_of_item", "item_id"),
)
"""What readers said; rows are only ever added, and undo is a row that takes one back."""

review_cursors = Table(
    "review_cursors",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("writer", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
"""How far the queue has read the events of a model in each writer."""

audit = Table(
    "audit",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(400), nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_audit_of_target", "target", "id"),
)
"""Who did what to what; rows are only ever added."""
