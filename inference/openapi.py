"""What ``/docs`` says of bodies that are read by hand, to bound them as they arrive."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from inference.schemas import InferRequest, Refusal, SealedAnswer

UPLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "An encoded still image.",
                    },
                    "model": {
                        "type": "string",
                        "description": "May be left out while one model is served.",
                    },
                    "unit": {
                        "type": "string",
                        "maxLength": 200,
                        "description": "Camera, site or user: what a rollout assigns.",
                    },
                    "case_id": {
                        "type": "string",
                        "maxLength": 200,
                        "description": "What a human decides about.",
                    },
                    "segment": {
                        "type": "string",
                        "description": "Attributes to slice by, a JSON object of texts.",
                    },
                },
            }
        }
    },
}

INFER_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}}},
}

SEALED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": SealedAnswer,
        "description": "The model is in shadow: the prediction is recorded and sealed until the "
        "human decision about this event or its case is in.",
    }
}

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": description}
    for status, description in {
        400: "The request is malformed, or has an unknown field.",
        401: "No valid key.",
        403: "The key's role may not do this.",
        404: "No such model.",
        408: "The body did not arrive in time.",
        409: "Predictions of this model are sealed; POST /predict takes the input.",
        413: "Too many bytes, or too many pixels.",
        415: "Not an image, or not the content type taken here.",
        422: "The input cannot be served as training would have served it.",
        429: "Too much is waiting; Retry-After says when to come back.",
        500: "The model failed on this input.",
        503: "The model cannot be served now.",
    }.items()
}


def document(app: FastAPI) -> dict[str, Any]:
    """Build the OpenAPI document, once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        components = schema.setdefault("components", {})
        wanted = InferRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        components.setdefault("schemas", {}).update(wanted.pop("$defs", {}))
        components["schemas"]["InferRequest"] = wanted
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "browser": {"type": "http", "scheme": "basic"},
        }
        schema["security"] = [{"key": []}, {"header": []}, {"browser": []}]
        app.openapi_schema = schema
    return app.openapi_schema
