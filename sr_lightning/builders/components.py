"""Instantiation of single config sections; the only place where `hydra.utils.instantiate` is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from sr_lightning.config.signatures import parameters
from sr_lightning.errors import UserError, one_line, user_place

# Exceptions raised by constructors for wrong arguments.
_OF_ARGUMENTS = (TypeError, ValueError, ImportError, AttributeError, InstantiationException)
_OF_SIZES = (RuntimeError, ArithmeticError, IndexError, MemoryError)


def build(section: dict[str, Any], path: str, **given: Any) -> Any:
    """Builds the object named by a section's `_target_`.

    Args:
        section: The section, as plain containers.
        path: Key of the section, for messages.
        given: Arguments that do not come from the config.

    Raises:
        UserError: The class cannot be found, does not accept the arguments, or is the user's own and fails.
    """
    try:
        if not given:
            return instantiate(section, _convert_="all")
        # Not passed through Hydra, which would interpret `${…}` in a text such as a command line as an interpolation.
        return instantiate(section | {"_partial_": True}, _convert_="all")(**given)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from None
            cause = cause.__cause__
        if (found := _from_users_code(error)) is not None:
            raise UserError(f"{path}: cannot build {section.get('_target_')}: {found}") from None
        reason = error.__cause__ or error
        if isinstance(reason, _OF_ARGUMENTS):
            raise UserError(f"{path}: cannot build {section.get('_target_')}: {reason}") from None
        if isinstance(reason, _OF_SIZES):
            said = str(reason).splitlines()[0]
            raise UserError(f"{path}: cannot build {section.get('_target_')} of these sizes: {said}") from None
        raise


def _from_users_code(error: BaseException) -> str | None:
    """Describes an error from the user's own code in one line with its location; None if it is from elsewhere."""
    cause: BaseException | None = error
    found = None
    while cause is not None:  # the innermost cause is the most informative
        if (place := user_place(cause)) is not None:
            found = f"{one_line(cause)} ({place})"
        cause = cause.__cause__
    return found


def build_offering(section: dict[str, Any], path: str, **offered: Any) -> Any:
    """Like `build`, adding those offered arguments that the constructor accepts and the section does not set."""
    accepted = parameters(section["_target_"]) or {}
    given = {key: value for key, value in offered.items() if key in accepted and section.get(key) is None}
    return build(section, path, **given)


def build_parts(sections: dict[str, dict[str, Any]], path: str, kind: type[Any], **offered: Any) -> list[Any]:
    """Builds callbacks or loggers, passing each the offered arguments that its constructor accepts.

    Raises:
        UserError: A part cannot be built, or is not a `kind`.
    """
    parts = []
    for name, section in sections.items():
        part = build_offering(section, f"{path}.{name}", **offered)
        check_kind(part, kind, section, f"{path}.{name}")
        parts.append(part)
    return parts


def factory(section: dict[str, Any], path: str) -> Callable[..., Any]:
    """Returns a partial target that turns constructor errors into messages about the config."""
    partial = build(section | {"_partial_": True}, path)

    def make(*args: Any, **given: Any) -> Any:
        try:
            return partial(*args, **given)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: {section['_target_']} refuses its arguments: {error}") from None
        except Exception as error:
            if (found := _from_users_code(error)) is None:
                raise
            raise UserError(f"{path}: cannot build {section['_target_']}: {found}") from None

    return make


def check_kind(part: Any, kind: type[Any], section: dict[str, Any], path: str) -> None:
    """Raises UserError unless the object is an instance of the required class."""
    if not isinstance(part, kind):
        raise UserError(f"{path}: {section['_target_']} is a {type(part).__name__}, allowed: a {kind.__name__}")
