"""Rules: facts and claims in, findings out. Importing this package fills the registry."""

from importlib import import_module

from torch_abi_audit.rules.registry import RULES, Rule, run_rules, run_run_rules

__all__ = ["RULES", "Rule", "run_rules", "run_run_rules"]

# Findings of one severity are reported in the order of registration: torch comes first.
_MODULES = (
    "torch_abi",
    "torch_claims",
    "cuda",
    "python",
    "tags",
    "platform",
    "archive",
    "cross_wheel",
)
for _module in _MODULES:
    import_module(f"{__name__}.{_module}")
