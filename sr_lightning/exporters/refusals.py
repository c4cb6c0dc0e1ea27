"""Readable reasons why torch's exporters reject a network; unknown errors keep torch's message."""

from __future__ import annotations

import re

from sr_lightning.errors import FailedError, UserError, one_line

_SIZES = ("Constraints violated", "Cannot create Dim with inconsistent", "Expected op to be", "specialized it to be")
_SIDES = re.compile(r"Constraints violated \((height|width|height, width|width, height)\)")
_CONTENT = ("GuardOnDataDependentSymNode", "DataDependentOutputException", "data-dependent")
_OPERATION = re.compile(r"Error when translating node.*?torch\.ops\.([\w.]+)", re.DOTALL)


def holds_for_some_sizes_only(error: Exception) -> bool:
    """Returns whether torch found that its program would be valid only for some batch sizes, heights and widths."""
    return any(sign in str(error) for sign in _SIZES)


def binds_sides_alone(error: Exception) -> bool:
    """Returns whether, of batch, height and width, torch found only the latter two constrained."""
    return _SIDES.search(str(error)) is not None


def refusal(name: str, network: str, error: Exception) -> UserError | FailedError:
    """Returns the error to raise instead.

    Args:
        name: Name of the format.
        network: Class name of the network.
        error: Torch's error, or anything that the network raised during tracing.
    """
    if isinstance(error, UserError):  # raised by the network itself
        return error
    reason = f"{type(error).__name__}: {error}"
    if any(sign in reason for sign in _CONTENT):
        why = "the image's content decides which of its operations run"
    elif holds_for_some_sizes_only(error):
        why = "it is not the same for images of all sizes, because it fills or pools them to multiples"
    elif (cause := error.__cause__ or error) and (found := _OPERATION.search(str(cause))):
        why = f"there is no conversion of its operation {found[1]}"
    else:
        return FailedError(f"{network} cannot be exported as {name}: {one_line(error.__cause__ or error)}")
    return UserError(f"format: {name} cannot describe {network}: {why}; allowed: another format")
