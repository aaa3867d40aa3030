"""Where each rollout stands, what its gates say, and how the model compares with people."""

from dataclasses import replace

from dashboards.grafana.boards.frame import MODELS, Board, Row
from dashboards.grafana.boards.limits import compared
from dashboards.grafana.boards.panels import (
    ORANGE,
    RED,
    Place,
    Query,
    chart,
    coloured,
    tile,
    timeline,
)
from dashboards.grafana.boards.signals import (
    ACTED_ON,
    ACTORS,
    MODEL,
    OUTCOME_COLUMN,
    OUTCOMES,
    REASONS,
    STAGE,
    STAGES,
    STATUS,
    STATUSES,
    YES_NO,
    numbered,
    stored,
)
from dashboards.grafana.boards.tables import Column, sheet

HALVED, DOUBLED = sorted(compared("FieldwatchActionRateChanged"))
ROLLOUTS = ("Rollouts (with a key)", "${console}/v1/rollouts")
_TILE = Place(title="", about="", width=3, height=4)


_SILENCE = (
    f"time() - max by (model) ({stored('fieldwatch_supervisor_last_seen_timestamp_seconds')})"
)
_LIMIT = f"max by (model) ({stored('fieldwatch_supervisor_limit_seconds')})"

_NOW = Row(
    title="Now",
    panels=(
        tile(
            replace(
                _TILE,
                title="Stage",
                about="Where the model stands on its way into the field. It acts from *limited* "
                "on; in *observe* and *shadow* people act on everything.",
                words=STAGES,
            ),
            STAGE,
            legend="{{model}}",
        ),
        tile(
            replace(
                _TILE,
                title="Last attempt",
                about="*running* measures its gates; *awaiting_approval* waits for people; *hold* "
                "waits for a reason to go. Empty without a rollout.",
                words=STATUSES,
                empty="none",
                links=(ROLLOUTS,),
                alerts=("FieldwatchRolloutWaits", "FieldwatchRolledBack"),
            ),
            STATUS,
            legend="{{model}}",
        ),
        tile(
            replace(
                _TILE,
                title="Share of units",
                about="Units that are the model's by the plan; 0 in *limited*, where the scope "
                "names them.",
                unit="percentunit",
                decimals=0,
            ),
            f"max by (model) ({stored('fieldwatch_rollout_share_ratio')})",
            legend="{{model}}",
        ),
        tile(
            replace(
                _TILE,
                title="Model acts on",
                about="Share of inputs the model did act on lately. Less than its share of units: "
                "see the reasons below.",
                unit="percentunit",
                decimals=1,
                empty="none",
            ),
            ACTED_ON,
            legend="{{model}}",
        ),
        tile(
            replace(
                _TILE,
                title="Kill latch",
                about="Whether somebody has stopped the model. While it is on, humans act on "
                "everything.",
                words=YES_NO,
                steps=((1, RED),),
                alerts=("FieldwatchKilled",),
            ),
            f"max by (model) ({stored('fieldwatch_killed')})",
            legend="{{model}}",
        ),
        tile(
            replace(
                _TILE,
                title="Supervisor silent",
                about="How long nobody who watches was heard of; beyond the plan's limit humans "
                "act. Empty where the stage asks for nobody.",
                unit="s",
                decimals=0,
                empty="not needed",
                alerts=("FieldwatchSupervisorSilent",),
            ),
            _SILENCE,
            legend="{{model}}",
        ),
        tile(
            replace(
                _TILE,
                title="Reasons to hold",
                about="How many reasons hold rollouts now; the timeline below names them.",
                steps=((1, ORANGE),),
                alerts=("FieldwatchGateInconclusive",),
            ),
            f"sum({stored('fieldwatch_rollout_hold')}) or vector(0)",
        ),
        tile(
            replace(
                _TILE,
                title="Last rollback",
                about="When a rollout was last taken back, by a gate or a person. The safe state "
                "is reached then; nothing is urgent.",
                unit="dateTimeFromNow",
                empty="never",
                alerts=("FieldwatchRolledBack",),
            ),
            f"max({stored('fieldwatch_rollback_timestamp_seconds')} > 0) * 1000",
        ),
    ),
)

_WAY = Row(
    title="The way so far",
    panels=(
        timeline(
            Place(
                title="Stage and status",
                about="The way of the last attempts: stage above, status below. Steps to the "
                "right and up are earned at gates; a fall back to *observe* is a rollback or an "
                "abort.",
                width=24,
                height=6,
                words={**STAGES, **STATUSES},
                links=(ROLLOUTS,),
                alerts=("FieldwatchRolledBack",),
            ),
            Query(STAGE, "{{model}} stage"),
            Query(STATUS, "{{model}} status"),
        ),
        chart(
            Place(
                title="Share of the model",
                about="Units that are the model's by the plan, and inputs it did act on. They "
                "need not be equal (units differ), but move together.",
                width=8,
                unit="percentunit",
                least=0,
                most=1,
            ),
            Query(
                f"max by (model) ({stored('fieldwatch_rollout_share_ratio')})", "{{model}} units"
            ),
            Query(ACTED_ON, "{{model}} inputs"),
        ),
        coloured(
            chart(
                Place(
                    title="Who acts",
                    about="Inputs a second by who acts.",
                    width=8,
                    unit="reqps",
                    least=0,
                ),
                Query(
                    f"sum by (actor) (rate(fieldwatch_routed_total{{{MODEL}}}[$__rate_interval]))",
                    "{{actor}}",
                ),
                stacked=True,
            ),
            ACTORS,
        ),
        coloured(
            chart(
                Place(
                    title="Why humans act",
                    about="Inputs a second that people act on, by reason. *control* and "
                    "*hold_out* are the plan's comparison; *out_of_domain* and *low_confidence* "
                    "are its guards; *plan_stale*, *unwatched* and *unsupervised* want somebody's "
                    "attention.",
                    width=8,
                    unit="reqps",
                    least=0,
                ),
                Query(
                    "sum by (reason) (rate(fieldwatch_routed_total"
                    f'{{{MODEL}, actor="human"}}[$__rate_interval])) > 0',
                    "{{reason}}",
                ),
                stacked=True,
            ),
            REASONS,
        ),
    ),
)

_GATES = Row(
    title="Gates",
    panels=(
        sheet(
            Place(
                title="What the gates of this step say",
                about="One line for each gate of the present step. Every required one must pass; "
                "*inconclusive* is not yet, never a pass. The reason and the numbers are in "
                "`fieldwatch rollout show`. Empty while nothing runs.",
                width=11,
                height=9,
                empty="No rollout is running",
                links=(),
                alerts=("FieldwatchGateUnreadable", "FieldwatchGateInconclusive"),
            ),
            (
                Column(of="model", title="Model", width=90, link=ROLLOUTS),
                Column(of="gate", title="Gate"),
                Column(of="metric", title="Metric"),
                OUTCOME_COLUMN,
                Column(of="B", title="Age", unit="s", decimals=0, width=70),
            ),
            Query(
                f"max by (model, gate, metric, outcome) ({stored('fieldwatch_gate_outcome')}) == 1"
            ),
            Query(
                "(time() - max by (model, gate) "
                f"({stored('fieldwatch_gate_measured_timestamp_seconds')})) "
                "* on (model, gate) group_right () (max by (model, gate, metric, outcome) "
                f"({stored('fieldwatch_gate_outcome')}) == 1)"
            ),
        ),
        timeline(
            Place(
                title="What each gate said",
                about="Grey is not decided yet, green a pass, red a failure, orange a source that "
                "could not be read. A gate is asked in the steps the plan names; each step begins "
                "its count anew.",
                width=13,
                height=9,
                words=OUTCOMES,
                empty="No rollout is running",
                alerts=("FieldwatchGateUnreadable", "FieldwatchGateInconclusive"),
            ),
            Query(
                numbered("fieldwatch_gate_outcome", "outcome", OUTCOMES, "model, gate"),
                "{{model}} {{gate}}",
            ),
        ),
    ),
)

_PEOPLE = Row(
    title="Beside people",
    panels=(
        chart(
            Place(
                title="Agreement with people",
                about="Share of cases in which the model says what the human decided, with bounds "
                "that hold at every look. They narrow as decisions come in; each step begins "
                "anew. A ticket opens when the upper bound falls below what was certain before.",
                unit="percentunit",
                most=1,
                empty="No gate measures it now",
                alerts=("FieldwatchAgreementFalling",),
            ),
            Query(
                f"max by (model, gate, bound) (model:fieldwatch_human_agreement:max{{{MODEL}}})",
                "{{model}} {{gate}} {{bound}}",
            ),
            bounds=True,
        ),
        chart(
            Place(
                title="Actions of the model for one of people",
                about="Actions an episode, model against the manual process, on a logarithmic "
                "axis: 1 is alike. A ticket opens when even the nearer bound is beyond a line: "
                "twice as many actions tire people out, half as many miss what matters. A missing "
                "upper bound is one that does not exist yet.",
                decimals=2,
                steps=((HALVED, RED), (DOUBLED, RED)),
                empty="No gate measures it now",
                alerts=("FieldwatchActionRateChanged",),
            ),
            Query(
                "max by (model, gate, bound) "
                f"(model:fieldwatch_action_rate_ratio:max{{{MODEL}}} > 0) < Inf",
                "{{model}} {{gate}} {{bound}}",
            ),
            log=2,
            bounds=True,
        ),
    ),
)

_GUARDS = Row(
    title="Guards",
    panels=(
        timeline(
            Place(
                title="Held for",
                about="Reasons that hold a rollout; each goes by itself, but for *operator*, whom "
                "somebody must resume. Empty is normal.",
                width=8,
                height=7,
                words={1: ("held", ORANGE)},
                empty="Nothing was held",
                alerts=("FieldwatchGateInconclusive", "FieldwatchSupervisorSilent"),
            ),
            Query(
                f"max by (model, reason) ({stored('fieldwatch_rollout_hold')}) > 0",
                "{{model}} {{reason}}",
            ),
        ),
        chart(
            Place(
                title="Supervisor",
                about="How long nobody who watches was heard of, below the longest silence the "
                "plan allows. Empty where the stage asks for nobody.",
                width=8,
                height=7,
                unit="s",
                least=0,
                empty="Nobody is asked for",
                alerts=("FieldwatchSupervisorSilent",),
            ),
            Query(_SILENCE, "{{model}} silent for"),
            Query(_LIMIT, "{{model}} limit"),
        ),
        chart(
            Place(
                title="Inputs that named no unit",
                about="Inputs of a model in a rollout that cannot be assigned to anybody: humans "
                "act on them. 0 is normal.",
                width=8,
                height=7,
                unit="reqps",
                least=0,
                reach=1,
            ),
            Query(
                f"sum by (model) (rate(fieldwatch_without_unit_total{{{MODEL}}}"
                "[$__rate_interval]))",
                "{{model}} without a unit",
            ),
        ),
    ),
)

BOARD = Board(
    name="rollout",
    title="Shadow and rollout",
    about="Where each rollout stands, what its gates say, and how the model compares with people.",
    choices=(MODELS,),
    rows=(_NOW, _WAY, _GATES, _PEOPLE, _GUARDS),
    since="now-24h",
)
