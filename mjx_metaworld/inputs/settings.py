"""Configurations from texts such as `max_contacts=64`, as the command line takes them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from mjx_metaworld.physics.config import PhysicsConfig

_KINDS = {bool: "true or false,", int: "an integer", float: "a number", str: "a text", tuple: "a list"}


def with_settings(config: Any, settings: Sequence[str]) -> Any:
    """A copy of a dataclass with fields set from `name=value`, the values in JSON.

    Raises:
        ValueError: for an unknown field, a value of another type, or one that the configuration refuses.
    """
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    changes = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in fields:
            raise ValueError(f"unknown setting {setting!r}; expected name=value with one of {', '.join(fields)}")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        value = tuple(value) if isinstance(value, list) else value
        value = float(value) if isinstance(fields[name], float) and type(value) is int else value
        if type(value) is not type(fields[name]):
            kind = _KINDS.get(type(fields[name]), type(fields[name]).__name__)
            such_as = json.dumps(fields[name], separators=(",", ":"))  # as it can be typed
            raise ValueError(f"{name} must be {kind} such as {such_as}, got {text!r}")
        changes[name] = value
    return dataclasses.replace(config, **changes)


def physics_of(settings: Sequence[str], base: PhysicsConfig | None = None) -> PhysicsConfig:
    """An accuracy, by default the default one, with fields set from `name=value`.

    Raises:
        ValueError: for an unknown field, or a bad value.
    """
    return with_settings(base or PhysicsConfig(), settings)
