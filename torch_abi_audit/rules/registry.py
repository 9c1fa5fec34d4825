"""The registry of rules: each has a name, a severity, what it means, and one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model import Finding, Severity, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch_abi_audit.catalog import Catalog


class Hit(NamedTuple):
    """One place where a rule holds; see `model.Finding` for the fields.

    `severity` is only given where it differs from the rule's own.
    """

    message: str
    library: str | None = None
    evidence: tuple[str, ...] = ()
    help: str = ""
    severity: Severity | None = None


if TYPE_CHECKING:
    Check = Callable[[Subject, Catalog], Iterator[Hit]]


class Rule(NamedTuple):
    """A rule: `title` completes the sentence "holds when …"."""

    name: str
    severity: Severity
    title: str
    check: Check


RULES: dict[str, Rule] = {}


def rule(name: str, severity: Severity, title: str) -> Callable[[Check], Check]:
    """Register the decorated function as the check of a new rule."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"two rules named {name}")
        RULES[name] = Rule(name, severity, title, check)
        return check

    return register


def run_rules(subject: Subject, catalog: Catalog) -> tuple[Finding, ...]:
    """Run every rule; findings come by severity, then in the order of rules and libraries."""
    findings = [
        Finding(
            rule=rule.name,
            severity=hit.severity or rule.severity,
            message=hit.message,
            library=hit.library,
            evidence=hit.evidence,
            help=hit.help,
        )
        for rule in RULES.values()
        for hit in rule.check(subject, catalog)
    ]
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))
