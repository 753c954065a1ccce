"""JSON Schemas of the public nouns and of what is said to systems over a wire, and the OpenAPI document of the latter.

All are generated from the pydantic models.

python -m chatgenbench.schemas      # writes them again after a model changed
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from chatgenbench.schema import (
    Costs,
    Demonstration,
    FreestyleInput,
    Item,
    ModelRecord,
    Noun,
    Plan,
    PlannedRow,
    TrainInput,
)
from chatgenbench.systems.wire.messages import (
    CommandLine,
    PlanRequest,
    PlanResponse,
    PrepareRequest,
    SystemAnswer,
    SystemInfo,
)

PUBLIC: dict[str, type[Noun]] = {
    "freestyle_input": FreestyleInput,
    "plan": Plan,
    "costs": Costs,
    "planned_row": PlannedRow,
    "model_record": ModelRecord,
    "demonstration": Demonstration,
    "item": Item,
    "train_input": TrainInput,
    "plan_request": PlanRequest,
    "plan_response": PlanResponse,
    "prepare_request": PrepareRequest,
    "system_answer": SystemAnswer,
    "system_info": SystemInfo,
    "command_line": CommandLine,
}
OPENAPI = Path(__file__).parent / "http_system.openapi.json"
#: Version of the contract with HTTP systems: the first number changes when an old server would no longer do.
CONTRACT = "1.0.0"


def text_of(name: str) -> str:
    """The schema of one noun as it stands in its file."""
    return _text(PUBLIC[name].model_json_schema())


def file_of(name: str) -> Path:
    return Path(__file__).parent / f"{name}.json"


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of a system behind an HTTP address."""
    models = (SystemInfo, PrepareRequest, PlanRequest, PlanResponse)
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    described = "A server that answers chats with plans, as `chatgenbench eval --system http://host/path` asks it."
    return {
        "openapi": "3.1.0",
        "info": {"title": "chatgenbench system", "version": CONTRACT, "description": described},
        "paths": {
            "/": {
                "get": _operation("What the system is; optional.", None, SystemInfo),
                "post": _operation("Answer a batch of chats.", PlanRequest, PlanResponse),
            },
            "/prepare": {
                "post": _operation("Once before the first chat, if GET says `prepare`.", PrepareRequest, None),
            },
        },
        "security": [{}, {"authorization": []}],
        "components": {
            "schemas": found["$defs"],
            "securitySchemes": {"authorization": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def openapi_text() -> str:
    """The OpenAPI document as it stands in its file."""
    return _text(openapi())


def write() -> None:
    """Write all schema files beside this one."""
    for name in PUBLIC:
        file_of(name).write_text(text_of(name), "utf-8")
    OPENAPI.write_text(openapi_text(), "utf-8")


def _operation(summary: str, asked: type[Noun] | None, answered: type[Noun] | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done."}
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": done}}
    if answered is not None:
        done["content"] = _json(answered)
    if asked is not None:
        operation["requestBody"] = {"required": True, "content": _json(asked)}
    return operation


def _json(model: type[Noun]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
