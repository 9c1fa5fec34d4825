"""Rules: facts and claims in, findings out. Importing this package fills the registry."""

from importlib import import_module

from torch_abi_audit.rules.registry import (
    PROJECT_URL,
    RULES,
    STALE_IGNORE,
    TORCH_UNUSED,
    Rule,
    run_rules,
    run_run_rules,
)
from torch_abi_audit.rules.torch_abi import UNSTABLE_ABI

__all__ = [
    "PROJECT_URL",
    "RULES",
    "STALE_IGNORE",
    "TORCH_UNUSED",
    "UNSTABLE_ABI",
    "Rule",
    "run_rules",
    "run_run_rules",
]

# Findings of one severity are reported in the order of registration: torch comes first.
_FAMILIES = (
    "torch_abi",
    "variants",
    "torch_claims",
    "layouts",
    "cuda",
    "python",
    "tags",
    "platform",
    "linking",
    "archive",
    "cross_wheel",
)
for _family in _FAMILIES:
    import_module(f"{__name__}.{_family}")
