"""Why torch's exporters do not take a network, in words; what is not known keeps torch's."""

from __future__ import annotations

import re

from sr_lightning.errors import FailedError, UserError, one_line

_SIZES = ("Constraints violated", "Cannot create Dim with inconsistent", "Expected op to be", "specialized it to be")
_SIDES = re.compile(r"Constraints violated \((height|width|height, width|width, height)\)")
_CONTENT = ("GuardOnDataDependentSymNode", "DataDependentOutputException", "data-dependent")
_OPERATION = re.compile(r"Error when translating node.*?torch\.ops\.([\w.]+)", re.DOTALL)


def holds_for_some_sizes_only(error: Exception) -> bool:
    """Whether torch has found out that its program would be right for some batches, heights and widths only."""
    return any(sign in str(error) for sign in _SIZES)


def binds_sides_alone(error: Exception) -> bool:
    """Whether, of batch, height and width, torch has found only the last two bound."""
    return _SIDES.search(str(error)) is not None


def refusal(name: str, network: str, error: Exception) -> UserError | FailedError:
    """The error to raise instead.

    Args:
        name: Of the format.
        network: Its class.
        error: Torch's, or whatever the network raised while it was traced.
    """
    if isinstance(error, UserError):  # the network's own
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
