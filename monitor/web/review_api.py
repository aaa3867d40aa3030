"""The review queue over HTTP: each handler parses, calls one service and returns its result."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from monitor.review.item import Action, ItemState, Lease, Origin, Purpose
from monitor.services.review import hand_out, history
from monitor.services.review import submit as answers
from monitor.store.review_items import Backlog, Wanted
from monitor.web.api import By, InContext, Limit
from monitor.web.manual import describe

router = APIRouter(prefix="/v1/review", tags=["review"])

Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Chosen once per answer; the same delivery again changes nothing.",
    ),
]
Token = Annotated[int, Field(ge=1, le=2**31 - 1, description="Of the lease, as `claim` gave it.")]


class Claim(BaseModel):
    """Items asked for."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, max_length=200, description="Any model's when absent.")
    origin: Origin | None = None
    purposes: list[Purpose] = Field(default_factory=list, max_length=10)
    split: str | None = Field(default=None, max_length=16)
    label: str | None = Field(default=None, max_length=200)
    count: int = Field(default=1, ge=1, le=hand_out.MOST_AT_ONCE)


class Held(BaseModel):
    """A lease to renew or to give back."""

    model_config = ConfigDict(extra="forbid")

    token: Token


class GivenAnswer(BaseModel):
    """What a reader says."""

    model_config = ConfigDict(extra="forbid")

    token: Token | None = Field(default=None, description="Absent to correct an answer of yours.")
    action: Action
    label: str | None = Field(default=None, min_length=1, max_length=200)
    idempotency_key: Key
    seconds: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    note: str = Field(default="", max_length=2_000)


class Undo(BaseModel):
    """An answer to take back."""

    model_config = ConfigDict(extra="forbid")

    idempotency_key: Key


@router.get("/backlog")
def get_backlog(context: InContext) -> list[Backlog]:
    """What waits for readers, by model and reason."""
    return history.backlog(context)


@router.get("/items")
def get_items(
    context: InContext,
    model: str | None = None,
    state: Annotated[list[ItemState] | None, Query()] = None,
    origin: Origin | None = None,
    limit: Limit = 50,
) -> list[history.ListedItem]:
    """Items of the queue, the most urgent first."""
    wanted = Wanted(model=model, origin=origin, states=tuple(state or ()))
    return history.items(context, wanted, limit=limit)


@router.post("/claim")
def post_claim(context: InContext, by: By, claim: Claim) -> list[hand_out.HandedItem]:
    """Take items in hand; those in hand already come again, with their lease renewed."""
    wanted = Wanted(
        model=claim.model,
        origin=claim.origin,
        purposes=tuple(claim.purposes),
        split=claim.split,
        label=claim.label,
    )
    return hand_out.claim(context, by, wanted, most=claim.count)


@router.post("/items/{item_id}/renew")
def post_renew(context: InContext, by: By, item_id: str, held: Held) -> Lease:
    """Keep an item in hand for longer; 409 when it is no longer yours."""
    return hand_out.renew(context, by, item_id, held.token)


@router.post("/items/{item_id}/release", status_code=204)
def post_release(context: InContext, by: By, item_id: str, held: Held) -> Response:
    """Give an item back unread; 409 when it is no longer yours."""
    hand_out.release(context, by, item_id, held.token)
    return Response(status_code=204)


@router.post("/items/{item_id}/answer")
def post_answer(context: InContext, by: By, item_id: str, given: GivenAnswer) -> answers.Taken:
    """Answer an item; 409 when it is no longer yours."""
    answer = answers.Answer(
        item_id=item_id,
        token=given.token,
        action=given.action,
        label=given.label,
        key=given.idempotency_key,
        seconds=given.seconds,
        note=given.note,
    )
    return answers.submit(context, by, answer)


@router.post("/items/{item_id}/undo")
def post_undo(context: InContext, by: By, item_id: str, undo: Undo) -> answers.Taken:
    """Take your answer back; it stays on record."""
    return answers.undo(context, by, item_id, undo.idempotency_key)


@router.get("/items/{item_id}/picture", response_class=Response)
def get_picture(context: InContext, item_id: str) -> Response:
    """The small picture of an item, a JPEG."""
    return Response(
        history.picture(context, item_id),
        media_type="image/jpeg",
        headers={"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"},
    )


@router.get("/readers/{reviewer}")
def get_reader(context: InContext, reviewer: str, limit: Limit = 50) -> history.ReaderHistory:
    """What one person said, the latest first, and how reliably."""
    return history.history(context, reviewer, limit=limit)


describe(router)
