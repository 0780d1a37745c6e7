"""The smallest value that a JSON schema accepts, for answers that nobody scripted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEPTH_MOST: Final = 12

_FORMATS: Final = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "email": "someone@example.com",
    "time": "00:00:00Z",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """
    Return a small value that *schema* accepts.

    Types, properties, items, enumerations, constants, unions, references, formats and the least lengths and
    values are kept; a pattern is not.
    """
    return _value(schema, schema, 0)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401
    if "$ref" in schema:
        return _value(_resolve(str(schema["$ref"]), root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(union):
            # Deep inside a recursive type the way out is the option that holds nothing.
            nothing = [option for option in options if option.get("type") == "null"]
            return _value(nothing[0] if nothing and depth > _DEPTH_MOST else options[0], root, depth + 1)
    kind: Any = schema.get("type", "object" if "properties" in schema else "string")
    return _of_type(kind if isinstance(kind, str) else kind[0], schema, root, depth)


def _of_type(kind: object, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401
    if kind == "object":
        properties: dict[str, Any] = schema.get("properties") or {}
        if depth > _DEPTH_MOST:
            properties = {name: properties[name] for name in schema.get("required", []) if name in properties}
        return {name: _value(part, root, depth + 1) for name, part in properties.items()}
    if kind == "array":
        count = schema.get("minItems", 0 if depth > _DEPTH_MOST else 1)
        return [_value(schema.get("items") or {}, root, depth + 1) for _ in range(count)]
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), "text")
        return text.ljust(schema.get("minLength", 0), "x")
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return _number(schema, whole=kind == "integer")


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    least: int | float = schema.get("minimum", 1)
    if "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + (1 if whole else 0.5)
    most: int | float = schema.get("maximum", least)
    return min(least, most)


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        if name:
            found = found[name]
    schema: Mapping[str, Any] = found
    return schema
