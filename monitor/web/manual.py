"""What the manual at ``/docs`` says of each address."""

from fastapi import APIRouter
from fastapi.routing import APIRoute


def describe(router: APIRouter) -> None:
    """Show beside each address what its function says, not what it is called."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            route.summary, _, route.description = route.description.partition("\n")
