"""Detects secrets in a config or on a command line before they are written into a run's files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

# What keys of W&B, Hugging Face, GitHub, OpenAI and Amazon look like, and hexadecimal ones of W&B before 2025.
_SECRET = re.compile(r"([0-9a-f]{40}|wandb_v\d_\w{20,}|hf_\w{30,}|gh[pousr]_\w{30,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16})")
_SECRET_NAME = re.compile(r"(^|_)(API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY)(_|$)", re.IGNORECASE)


def is_secret(value: Any) -> bool:
    """Whether a text has the form of a key, or holds the value of an environment variable named as one."""
    if not isinstance(value, str):
        return False
    known = [secret for name, secret in os.environ.items() if _SECRET_NAME.search(name) and len(secret) >= 8]
    return _SECRET.fullmatch(value.strip("'\" ")) is not None or any(secret in value for secret in known)


def secret_findings(plain: Any, key: str = "") -> Iterator[str]:
    """One message for each value that a run must not write into its files; the value is not repeated."""
    if isinstance(plain, dict | list):
        for name, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            yield from secret_findings(value, f"{key}.{name}" if key else str(name))
    elif is_secret(plain):
        yield secret_finding(key)


def secret_finding(key: str) -> str:
    """The message about one key that holds a secret, with the way out."""
    return (
        f"{key}: looks like a secret, which would be written into the run's files; allowed: an environment variable "
        "such as WANDB_API_KEY, or `wandb login`"
    )


def typed_secrets(arguments: list[str]) -> Iterator[str]:
    """`secret_findings` of a command line, which a run's files quote whatever its keys are."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        name = key.lstrip("+~").rpartition(".")[2]
        is_named_so = _SECRET_NAME.search(name) is not None and re.fullmatch(r"\S{16,}", value) is not None
        if is_named_so or is_secret(value or key):
            yield secret_finding(key if value else "the command line")
