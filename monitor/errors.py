"""What can go wrong around the state, the events and the settings.

::

    FieldwatchError
    ├── SettingsInvalid           the configuration says something nobody can follow
    ├── OptionInvalid             an option of a command has a value it cannot have
    ├── DocumentTooNew            stored by a newer Fieldwatch than this one
    ├── DocumentUnreadable        stored, and not what it should be
    ├── TimeNotAware              a time without a zone
    ├── StoreError
    │   ├── StoreUnreachable      the database does not answer
    │   ├── HomeUnusable          the folder of the installation cannot be made
    │   ├── StaleSchema           the database is older than this program
    │   ├── SchemaTooNew          the database is newer than this program
    │   ├── ConstraintBroken      a row the schema forbids
    │   ├── Conflict              somebody else was first; load again and decide again
    │   │   ├── EpochConflict
    │   │   ├── StreamConflict
    │   │   ├── CursorConflict
    │   │   ├── AlarmConflict
    │   │   ├── BudgetConflict
    │   │   ├── GateConflict
    │   │   ├── RolloutConflict
    │   │   ├── LeaseLost
    │   │   └── StaleLease      a review item that is no longer in this reader's hands
    │   ├── BundleUntrusted       not registered, or withdrawn
    │   ├── KeyUnknown
    │   └── LastAdminKey
    ├── EventsError
    │   ├── EventsUnreachable     the events table does not answer
    │   └── BatchInvalid          rows that would break the order within a writer
    ├── KeyFileUnusable           a file from which no key can be taken up
    ├── AccessDenied              no valid key, or one whose role may not do this
    ├── RolloutActive             another rollout of the model has not ended
    ├── RolloutRefused            not in the state it is in
    │   ├── ApprovalRefused       nothing is asked, or something else than was looked at
    │   └── PlanChanged           a plan stays as it is while its rollout runs
    ├── PersonNeeded              what takes a person, and a key of their own
    │   └── SecondPersonNeeded    and another one than whoever was first
    ├── AlarmResolved             an alarm that is over cannot be acknowledged
    ├── SignalResolved            nor can an alert of Alertmanager's that is over
    ├── EventSealed               nobody may see yet what the model said
    ├── NotFound                  no model, event, alarm or window of that name
    ├── AmbiguousId               the beginning of an id that several have
    ├── DecisionsUnreadable       a file of decisions that cannot be read as one
    ├── PlanUnreadable            a rollout's plan whose file cannot be opened as text
    ├── PlanInvalid               a rollout's plan that is not one
    ├── AnswerRefused             a reader's answer that fits its item in no way
    ├── DrillRefused              a bundle that holds nothing to drill
    ├── ReportFailed              a report that could not be made
    ├── ReportsUnavailable        reports need a library that is not installed
    ├── NotDelivered              a notice's destination did not take it
    ├── NotificationInvalid       what came to Alertmanager's webhook is none of its notifications
    ├── AlertmanagerUnreachable   it does not answer
    ├── AlertmanagerRefused       it answers, and does not do what it was asked
    └── ClientError
        ├── NothingToSend         no input there to send
        ├── NoKey                 no key on this machine to send with
        ├── GatewayUnreachable    nothing listens at the gateway's address
        ├── GatewayRefused        the gateway does not take this key
        ├── PortTaken             somebody else listens where a process of ours should
        ├── ProcessEnded          the gateway or the monitor stopped by itself
        └── DemoFailed            the demo could not be played to its end

Each message names the thing, the cause and the way out. None knows HTTP: `monitor.web` has
the table of statuses.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.rollouts.remark import Remark


class FieldwatchError(Exception):
    """Anything Fieldwatch refuses or fails at, in words for people."""


def code_of(error: Exception) -> str:
    """Name an error for programs: its class, in small letters, such as ``stale_schema``."""
    letters = (f"_{each.lower()}" if each.isupper() else each for each in type(error).__name__)
    return "".join(letters).lstrip("_")


class SettingsInvalid(FieldwatchError):
    """The configuration holds keys or values that are not understood."""

    def __init__(self, faults: list[str], config: Path | None) -> None:
        source = (
            "FIELDWATCH_* variables" if config is None else f"{config} or FIELDWATCH_* variables"
        )
        listed = "".join(f"\n  - {fault}" for fault in faults)
        super().__init__(f"the settings cannot be used; correct these in {source}:{listed}")
        self.faults = faults


class OptionInvalid(FieldwatchError):
    """An option of a command has a value it cannot have."""

    def __init__(self, option: str, value: str, way_out: str) -> None:
        super().__init__(f"{option} {value!r} is not understood: {way_out}.")


class DocumentTooNew(FieldwatchError):
    """A stored document has a format this program has never heard of."""

    def __init__(self, what: str, found: object, supported: object) -> None:
        super().__init__(
            f"{what} has format {found}; this Fieldwatch reads up to {supported}. "
            "Upgrade this process to the version that wrote it."
        )


class DocumentUnreadable(FieldwatchError):
    """A stored document is not what it should be."""

    def __init__(self, what: str, cause: str) -> None:
        super().__init__(
            f"{what} cannot be read: {cause}. Something else than this Fieldwatch wrote or changed "
            "it; upgrade this process, or restore the state store from a backup."
        )


class TimeNotAware(FieldwatchError, ValueError):
    """A time without a zone, which could mean any of 38 instants."""

    def __init__(self, value: datetime) -> None:
        super().__init__(f"{value!r} has no time zone; Fieldwatch stores UTC. Attach one first.")


class StoreError(FieldwatchError):
    """The state store refused or failed."""


class StoreUnreachable(StoreError):
    """The database does not answer, or stayed locked for too long."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(
            f"the state store {address} does not answer: {cause}. Check that it runs, that this "
            "process may reach and write it, and that its disk is not full."
        )


class HomeUnusable(StoreError):
    """The folder of the installation cannot be made."""

    def __init__(self, home: Path, cause: str) -> None:
        super().__init__(
            f"the folder {home} cannot be made: {cause}. Name another one with FIELDWATCH_HOME or "
            "store.home, or let this user write there."
        )


class StaleSchema(StoreError):
    """The database was made by an older Fieldwatch, or never set up."""

    def __init__(self, address: str, found: str | None, expected: str) -> None:
        state = "has no tables yet" if found is None else f"has schema {found}"
        super().__init__(
            f"the state store {address} {state}; this Fieldwatch needs schema {expected}. "
            "Run `fieldwatch db upgrade`."
        )


class SchemaTooNew(StoreError):
    """The database was upgraded by a newer Fieldwatch."""

    def __init__(self, address: str, found: str, expected: str) -> None:
        super().__init__(
            f"the state store {address} has schema {found}, which this Fieldwatch (schema "
            f"{expected}) does not know. Upgrade this process to the version that upgraded it."
        )


class ConstraintBroken(StoreError):
    """A statement asked for a row that the schema forbids."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"the state store refused a row: {cause}. Nothing was written; "
            "this is a fault in Fieldwatch, please report it with this message."
        )


class Conflict(StoreError):
    """Somebody else wrote first: nothing was written; load again and decide again."""


class EpochConflict(Conflict):
    """The model's route moved on since it was read."""

    def __init__(self, model: str, expected: int, found: int) -> None:
        super().__init__(
            f"the route of {model} is at epoch {found}, not {expected}: somebody published in "
            "between. Read the current route and decide again."
        )


class StreamConflict(Conflict):
    """Another monitor advanced this detector since it was read."""

    def __init__(self, model: str, stream: str, expected: int) -> None:
        super().__init__(
            f"the {stream} stream of {model} is no longer at version {expected}: another monitor "
            "advanced it. Load it and the events after its cursors again."
        )


class CursorConflict(Conflict):
    """Another monitor read on since the cursor was loaded."""

    def __init__(self, model: str, writer: str, expected: int) -> None:
        super().__init__(
            f"the cursor of {model} in writer {writer} is no longer at {expected}: another monitor "
            "read on. Load the cursors and the events after them again."
        )


class AlarmConflict(Conflict):
    """The alarm is not in the state this change starts from."""

    def __init__(self, model: str, kind: str, cause: str) -> None:
        super().__init__(
            f"the {kind} alarm of {model} {cause}. Load the open alarms and decide again."
        )


class BudgetConflict(Conflict):
    """What the streams of a model hold of the budget changed since it was read."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"the false-alarm budget of {model} was divided anew in between. Load what its streams "
            "hold and decide again."
        )


class GateConflict(Conflict):
    """Another monitor counted on since the gate's state was read."""

    def __init__(self, rollout: str, epoch: int, expected: int) -> None:
        super().__init__(
            f"what the gates of rollout {rollout} have counted in epoch {epoch} is no longer at "
            f"version {expected}: another monitor counted on. Load it and the events after its "
            "cursors again."
        )


class RolloutConflict(Conflict):
    """Somebody else moved the rollout since it was read."""

    def __init__(self, rollout: str, expected: int) -> None:
        super().__init__(
            f"the rollout {rollout} has moved on since event {expected}: a monitor or a person was "
            "quicker. Look at it again (`fieldwatch rollout show`) and decide again."
        )


class ValueUnstorable(StoreError):
    """The database has no room for a value, such as text with the character U+0000."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"a value that was given cannot be stored: {cause}. Nothing was recorded; "
            "send it without what is named."
        )


class BodyTooLarge(FieldwatchError):
    """A request carries more than is taken in."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(
            f"the request's body is larger than {most_bytes // 1024:,} KiB, the most that is read. "
            "Send less at a time."
        )


class KeyReused(FieldwatchError):
    """An idempotency key came again with another order."""

    def __init__(self, key: str, rollout: str, before: str, by: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} belongs to another order for {rollout}: {before}, by "
            f"{by}. Nothing was done; choose a key of its own for each order."
        )


class LeaseLost(Conflict):
    """The work took longer than its lease and belongs to somebody else now."""

    def __init__(self, what: str, token: int) -> None:
        super().__init__(
            f"the lease on {what} (token {token}) was lost: it expired and another process took "
            "the work over. Everything done under it is rolled back; renew more often or lease "
            "for longer."
        )


class StaleLease(Conflict):
    """A review item is no longer in this reader's hands."""

    def __init__(self, item_id: str, token: int) -> None:
        super().__init__(
            f"the review item {item_id} is no longer in your hands (token {token}): the lease "
            "expired, was given back, or the item was claimed anew. Nothing was recorded; claim "
            "it again."
        )


class BundleUntrusted(StoreError):
    """A bundle that is not on the trust list."""

    def __init__(self, sha: str, cause: str) -> None:
        super().__init__(
            f"the bundle {sha[:12]}… {cause}; only registered bundles are served. "
            "Import the model again with `fieldwatch import`, which registers it."
        )


class KeyUnknown(StoreError):
    """No key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no active key {key_id}. `fieldwatch keys list` shows them.")


class LastAdminKey(StoreError):
    """Revoking it would lock everybody out."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"the key {key_id} is the last admin key and cannot be revoked. "
            "Create another admin key first."
        )


class KeyFileUnusable(FieldwatchError):
    """A key made elsewhere cannot be taken up from its file."""

    def __init__(self, file: Path, cause: str) -> None:
        super().__init__(
            f"no key can be taken up from {file}: {cause}. It must hold one word of at least 32 "
            "characters drawn at random, such as `openssl rand -hex 32` prints."
        )


class EventsError(FieldwatchError):
    """The events table refused or failed."""


class EventsUnreachable(EventsError):
    """The events table does not answer."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(
            f"the events table {url} does not answer: {cause}. Check that the place exists, that "
            "this process may reach and write it, and that its disk is not full."
        )


class BatchInvalid(EventsError):
    """A batch of events whose order within its writer is broken."""

    def __init__(self, writer: str, cause: str) -> None:
        super().__init__(
            f"a batch of writer {writer} cannot be appended: {cause}. Nothing was written; a batch "
            "holds one writer's events, each `seq` above the one before and none above `last_seq`."
        )


class AccessDenied(FieldwatchError):
    """A request without a valid key, or with one whose role may not do this."""

    def __init__(self, needed: str, role: str | None) -> None:
        super().__init__(
            "this needs a valid key: send it as `Authorization: Bearer`, as `X-API-Key`, or as the "
            "password of HTTP Basic. `fieldwatch keys create` makes one."
            if role is None
            else f"this needs the role {needed}; the key's role is {role}. "
            f"Use a key of the role {needed}, or ask an admin for one."
        )
        self.known = role is not None


class RolloutActive(FieldwatchError):
    """Another rollout of the model has not ended."""

    def __init__(self, model: str, active: str) -> None:
        super().__init__(
            f"the rollout {active} of {model} has not ended, and a model has one at a time. "
            "Wait for its end, end it with `fieldwatch rollout abort`, or start with --supersede."
        )


class RolloutRefused(FieldwatchError):
    """A rollout cannot do this in the state it is in."""

    def __init__(self, rollout: str, what: str, cause: str, way_out: str) -> None:
        super().__init__(f"{rollout} cannot {what}: {cause}. {way_out}")


class ApprovalRefused(RolloutRefused):
    """Nothing is asked, or something else than what was looked at."""

    def __init__(self, rollout: str, name: str, cause: str) -> None:
        super().__init__(
            rollout,
            "be approved",
            cause,
            f"`fieldwatch rollout show {name}` says what is asked, and on which evidence.",
        )


class PlanChanged(RolloutRefused):
    """A plan stays as it is while its rollout runs."""

    def __init__(self, rollout: str, name: str) -> None:
        super().__init__(
            rollout,
            "go on with another plan",
            "the plan is not the one it started with, and approvals and evidence were for that one",
            f"End it with `fieldwatch rollout abort {name}`, then start the new plan with "
            f"`fieldwatch rollout retry {name} --plan FILE`.",
        )


class PersonNeeded(FieldwatchError):
    """What takes a person, and a key of their own."""

    def __init__(self, what: str, who: str, cause: str) -> None:
        super().__init__(
            f"{what} takes a person, and {who} {cause}. Set FIELDWATCH_KEY to a key of your own: "
            "an admin makes one with `fieldwatch keys create NAME --role operator`."
        )


class SecondPersonNeeded(PersonNeeded):
    """It takes another person than whoever was first."""

    def __init__(self, what: str, who: str, deed: str) -> None:
        FieldwatchError.__init__(
            self,
            f"{what} takes somebody else: {who} {deed}. Ask another person to do it with a key of "
            "their own.",
        )


class AlarmResolved(FieldwatchError):
    """An alarm that is over cannot be acknowledged, nor its acknowledgement taken back."""

    def __init__(self, alarm_id: str, resolved_at: datetime | None) -> None:
        when = "" if resolved_at is None else f" at {resolved_at:%Y-%m-%d %H:%M:%S} UTC"
        super().__init__(
            f"the alarm {alarm_id} resolved by itself{when}: its streams began again when they "
            "last crossed, and there is nothing left to acknowledge. `fieldwatch alarms list` "
            "shows what stands open."
        )


class SignalResolved(FieldwatchError):
    """An alert of Alertmanager's that is over cannot be acknowledged."""

    def __init__(self, signal_id: str, name: str) -> None:
        super().__init__(
            f"the alert {name} ({signal_id}) resolved, and there is nothing left to acknowledge. "
            "`fieldwatch alarms list` shows what stands open."
        )


class EventSealed(FieldwatchError):
    """A prediction may not be seen before the human decision about it."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"what the model said of the event {event_id} is sealed: it was in shadow, and no "
            "human decision about the event or its case is in. Record one, with "
            "POST /v1/decisions or `fieldwatch decisions import`, and it is shown."
        )


class NotFound(FieldwatchError):
    """Nothing has this name."""

    def __init__(self, what: str, name: str, way_out: str) -> None:
        super().__init__(f"there is no {what} {name}. {way_out}")


class AmbiguousId(FieldwatchError):
    """The beginning of an id that several have."""

    def __init__(self, what: str, given: str, candidates: Sequence[str], *, more: bool) -> None:
        listed = "".join(f"\n  {each}" for each in candidates) + ("\n  …" if more else "")
        super().__init__(f"several {what} ids begin with {given}; give more of the one:{listed}")


class DecisionsUnreadable(FieldwatchError):
    """A file of decisions cannot be read as one."""

    def __init__(self, file: Path, cause: str) -> None:
        super().__init__(
            f"{file} cannot be read as decisions: {cause}. It is a CSV file with a header, a "
            "Parquet file or a .jsonl file with one object a line, and needs a column 'label' and "
            "'event_id' or 'case_id'."
        )


class PlanUnreadable(FieldwatchError):
    """The file of a rollout's plan cannot be opened as text."""

    def __init__(self, file: Path, cause: str) -> None:
        super().__init__(
            f"{file} cannot be read as a plan: {cause}. A plan is a .yaml, .yml or .toml file in "
            "UTF-8; `fieldwatch rollout example` prints one to begin from."
        )


class PlanInvalid(FieldwatchError):
    """A rollout's plan holds keys or values that are not understood."""

    def __init__(self, faults: "Sequence[Remark]", source: str = "the plan") -> None:
        listed = "".join(f"\n  - {fault}" for fault in faults)
        super().__init__(f"{source} cannot be used; correct these:{listed}")
        self.faults = tuple(faults)
        """Every fault, in the order of the file."""


class AnswerRefused(FieldwatchError):
    """A reader's answer that fits its review item in no way."""

    def __init__(self, item_id: str, cause: str) -> None:
        super().__init__(f"the answer to review item {item_id} is not taken: {cause}.")


class DrillRefused(FieldwatchError):
    """A bundle holds nothing that could be drilled."""

    def __init__(self, model: str, cause: str, way_out: str) -> None:
        super().__init__(
            f"{model} cannot be drilled: {cause}. Until it is, its alarms open as tickets; "
            f"{way_out}."
        )


class ReportFailed(FieldwatchError):
    """A report could not be made; nothing else depends on it."""

    def __init__(self, model: str, cause: str) -> None:
        super().__init__(
            f"the report of {model} was not made: {cause}. Alarms and windows go on without it."
        )


class ReportsUnavailable(FieldwatchError):
    """Reports need a library that is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "reports need Evidently, which is not installed: `pip install 'fieldwatch[reports]'` "
            "where the monitor runs."
        )


class NotDelivered(FieldwatchError):
    """A destination of notices did not take one."""

    def __init__(self, target: str, cause: str = "it did not accept the notice") -> None:
        super().__init__(
            f"the notification target {target} failed: {cause}. It is tried again; check the "
            "destination and monitor.notify_urls."
        )


class NotificationInvalid(FieldwatchError):
    """What came to the webhook is no notification of Alertmanager's, or beyond its limits."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"this is no notification that can be taken in: {cause[:300]}. Nothing was recorded; "
            "the webhook takes version 4 of Alertmanager's payload."
        )


class AlertmanagerUnreachable(FieldwatchError):
    """Alertmanager does not answer."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(
            f"Alertmanager at {address} does not answer: {cause}. Acknowledgements stand, and "
            "their silences are made once it does; check that it runs, and "
            "monitor.alertmanager_url."
        )


class AlertmanagerRefused(FieldwatchError):
    """Alertmanager answers, and does not do what it was asked."""

    def __init__(self, address: str, asked: str, cause: str) -> None:
        super().__init__(
            f"Alertmanager at {address} did not {asked}: {cause[:300]}. It is tried again; check "
            "that monitor.alertmanager_url names an Alertmanager of version 0.22 or later."
        )


class ClientError(FieldwatchError):
    """A command could not do its work with the running processes."""


class NothingToSend(ClientError):
    """There is no input to send."""

    def __init__(self, source: Path, cause: str) -> None:
        super().__init__(
            f"nothing can be sent from {source}: {cause}. "
            "Name a file, a folder of files, or a CSV or Parquet table with a column 'path'."
        )


class NoKey(ClientError):
    """There is no key on this machine to send with."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"there is no key to send with: FIELDWATCH_KEY is not set, and there is no {file}. "
            "`fieldwatch up` makes that file when it first starts; elsewhere, set FIELDWATCH_KEY "
            "to what `fieldwatch keys create NAME --role service` printed."
        )


class GatewayUnreachable(ClientError):
    """Nothing listens at the gateway's address."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"no gateway answers at {url}. Start one with `fieldwatch up`, or name another "
            "with --url."
        )


class GatewayRefused(ClientError):
    """The gateway does not take this key."""

    def __init__(self, url: str, answer: str) -> None:
        super().__init__(
            f"the gateway at {url} refused the key: {answer} Set FIELDWATCH_KEY to a key with the "
            "role service, or run on the machine that holds the installation's admin.key."
        )


class PortTaken(ClientError):
    """Somebody else listens where a process of ours should."""

    def __init__(self, name: str, url: str) -> None:
        super().__init__(
            f"something listens at {url} already, so the {name} cannot. If it is this "
            f"installation, `fieldwatch status` shows it; else set another port, {name}.port or "
            f"FIELDWATCH_{name.upper()}__PORT."
        )


class ProcessEnded(ClientError):
    """A process that should run on has stopped."""

    def __init__(self, name: str, status: int, log: Path, last_words: Sequence[str] = ()) -> None:
        said = "".join(f"\n  | {line}" for line in last_words)
        super().__init__(
            f"the {name} stopped by itself (exit status {status}); the other process was stopped "
            f"too. The end of {log} says why; `fieldwatch doctor` looks for the usual faults.{said}"
        )
        self.status = status


class DemoFailed(ClientError):
    """The demo could not be played to its end; the message says at what."""
