"""Detection of secrets in a config or on a command line, before they are written to a run's files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# API keys of W&B, Hugging Face, GitHub, OpenAI, Amazon, Google, GitLab and Slack, private keys, JSON Web Tokens, and
# passwords in URLs; alone or inside a longer text.
_SECRET = re.compile(
    r"wandb_v\d_\w{20,}|(?<!\w)(hf_\w{30,}|gh[pousr]_\w{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|local-[0-9a-f]{40}|(AKIA|ASIA)[0-9A-Z]{16}(?!\w)|AIza[\w-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\."
    r"|sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,})|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s@]+@"
)
# W&B keys from before 2025 look like git commits: they count if alone, or in a text that mentions a key.
_HEXADECIMAL = re.compile(r"(?<![0-9a-fA-F])[0-9a-f]{40}(?![0-9a-fA-F])")
_SPOKEN_OF = re.compile(r"key|token|secret|passw|login|credential", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(^|_)(API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY)(_|$)", re.IGNORECASE)


def is_secret(value: Any, known: Sequence[str] | None = None) -> bool:
    """Whether a text is or contains a secret, by its form or as the value of an environment variable named like one.

    Args:
        value: Any value; only strings can be secrets.
        known: The result of `known_secrets`, to be reused when many values are checked.
    """
    if not isinstance(value, str):
        return False
    known = known_secrets() if known is None else known
    if _SECRET.search(value) or any(secret in value for secret in known):
        return True
    alone = _HEXADECIMAL.fullmatch(value.strip("'\" ")) is not None
    return alone or (_HEXADECIMAL.search(value) is not None and _SPOKEN_OF.search(value) is not None)


def known_secrets() -> list[str]:
    """Returns the values of environment variables that are named like secrets."""
    return [secret for name, secret in os.environ.items() if _SECRET_NAME.search(name) and len(secret) >= 8]


def secret_findings(plain: Any, key: str = "", known: Sequence[str] | None = None) -> Iterator[str]:
    """Yields one message per value or key that a run must not write to its files, without repeating the secret."""
    known = known_secrets() if known is None else known
    if isinstance(plain, dict | list):
        for name, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            if is_secret(name, known):
                yield _finding(f"a key in {key or 'the config'}")
            else:
                yield from secret_findings(value, f"{key}.{name}" if key else str(name), known)
    elif is_secret(plain, known):
        yield _finding(key)


def composed_secrets(config: DictConfig) -> Iterator[str]:
    """Like `secret_findings`, for a composed config with its `hydra` section, whose values name folders and logs.

    Values are resolved one by one, because many in the `hydra` section can be resolved only while a job runs.
    """
    yield from secret_findings(_resolve_leaves(config))


def typed_secrets(arguments: list[str]) -> Iterator[str]:
    """Like `secret_findings`, for a command line, which a run's files quote in full."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        name = key.lstrip("+~").rpartition(".")[2]
        is_named_so = _SECRET_NAME.search(name) is not None and re.fullmatch(r"\S{16,}", value) is not None
        if is_secret(key):
            yield _finding("the command line")
        elif is_named_so or is_secret(value):
            yield _finding(key)


def _finding(key: str) -> str:
    """Returns the message about a key that contains a secret, with the remedy."""
    return (
        f"{key}: looks like a secret, which would be written into the run's files; allowed: an environment variable "
        "such as WANDB_API_KEY, or `wandb login`"
    )


def _resolve_leaves(node: Any) -> Any:
    if OmegaConf.is_dict(node):
        return {str(key): _resolve_child(node, key) for key in node}
    if OmegaConf.is_list(node):
        return [_resolve_child(node, index) for index in range(len(node))]
    return node


def _resolve_child(node: Any, key: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return None
    try:
        return _resolve_leaves(node[key])
    except OmegaConfBaseException:
        return None
