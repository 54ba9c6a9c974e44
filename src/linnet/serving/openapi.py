"""What the server answers, in OpenAPI's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linnet.serving.limits import Limits

ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}

PREDICTION = {
    "type": "object",
    "required": ["label", "index", "score"],
    "properties": {
        "label": {"type": "string"},
        "index": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "box": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 4,
            "maxItems": 4,
            "description": "x0, y0, x1, y1 in pixels of the picture as it is seen upright; of detectors",
        },
    },
}

REGION = {
    "type": "object",
    "required": ["label", "index", "share"],
    "properties": {
        "label": {"type": "string"},
        "index": {"type": "integer", "minimum": 0},
        "share": {"type": "number", "minimum": 0, "maximum": 1, "description": "of the picture's pixels"},
    },
}

RESULTS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["file"],
        "description": "one picture, in the order of the request, as `linnet predict --json` says it",
        "properties": {
            "file": {"type": "string"},
            "predictions": {"type": "array", "items": PREDICTION},
            "classes": {"type": "array", "items": REGION, "description": "in place of the predictions: of segmenters"},
            "error": {"type": "string", "description": "in place of the predictions: why it could not be read"},
            "note": {"type": "string", "description": "what was left out, such as the further pages of a TIFF file"},
        },
    },
}

PICTURES = {
    "type": "object",
    "required": ["pictures"],
    "properties": {
        "model": {"type": "string"},
        "top": {"type": "integer", "minimum": 1},
        "pictures": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["base64"],
                "properties": {"file": {"type": "string"}, "base64": {"type": "string", "format": "byte"}},
            },
        },
    },
}


def describe(models: list[str], limits: Limits, *, token: bool) -> dict[str, Any]:
    """The document of `/openapi.json`."""
    from importlib.metadata import version

    secured: dict[str, Any] = {"security": [{"token": []}]} if token else {}
    schemes = {"token": {"type": "http", "scheme": "bearer"}} if token else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "linnet", "version": version("linnet"), "summary": "What is on pictures"},
        "paths": {
            "/v1/predict": {"post": {**_predict(models, limits), **secured}},
            "/v1/models": {"get": {**_get("The models, the default first", "application/json"), **secured}},
            "/metrics": {"get": {**_get("Counters in Prometheus' text format", "text/plain"), **secured}},
            "/healthz": {"get": _get("200 while the process lives", "application/json")},
            "/readyz": {"get": _get("200 while requests are taken, 503 once it stops", "application/json")},
        },
        "components": {"securitySchemes": schemes},
    }


def _predict(models: list[str], limits: Limits) -> dict[str, Any]:
    picture = {"schema": {"type": "string", "format": "binary"}}
    files = {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
    return {
        "summary": "What a model says of pictures",
        "description": f"At most {limits.body_bytes:,} bytes, {limits.pixels:,} pixels a picture and {limits.queue} "
        "pictures. With `Accept: image/png` one picture comes back with its result drawn on it.",
        "parameters": [
            {"name": "model", "in": "query", "schema": {"type": "string", "enum": models, "default": models[0]}},
            {"name": "top", "in": "query", "schema": {"type": "integer", "minimum": 1}},
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": picture,
                "application/octet-stream": picture,
                "multipart/form-data": {"schema": files},
                "application/json": {"schema": PICTURES},
            },
        },
        "responses": {
            "200": {
                "description": "The results",
                "content": {"application/json": {"schema": RESULTS}, "image/png": picture},
            },
            "422": {
                "description": "No picture could be read",
                "content": {"application/json": {"schema": RESULTS}},
            },
            "503": {
                **_error("There is no room, or no answer in time"),
                "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}},
            },
            **{str(status): _error(text) for status, text in ERRORS.items()},
        },
    }


ERRORS = {
    400: "The body is no request of one of these forms",
    401: "The token is missing or wrong",
    404: "There is no such model",
    406: "More than one picture was to be drawn",
    408: "The body did not arrive in time",
    413: "The body is too large, or has too many pictures",
    415: "The body is of another type",
}


def _get(text: str, kind: str) -> dict[str, Any]:
    return {"summary": text, "responses": {"200": {"description": text, "content": {kind: {}}}}}


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": ERROR}}}
