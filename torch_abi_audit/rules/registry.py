"""The registry of rules: each has a name, a severity, an explanation, and a check function."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict, Unpack

from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.budget import Budget
from torch_abi_audit.model import (
    Evidence,
    EvidenceKind,
    Finding,
    Fix,
    MetadataChange,
    Severity,
    Subject,
    gravest_first,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import WholeRun


class Hit(NamedTuple):
    """One place where a rule applies; see `model.Finding` for the fields.

    `message` is the message template, and `fix` may be just its text.

    `severity` is only given if it differs from the rule's own.
    """

    message: str
    libraries: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    fix: Fix | str | None = None
    severity: Severity | None = None


def require(requirement: str, more: str = "") -> Fix:
    """Return the fix that requires torch, such as ``torch>=2.11``, followed by `more`."""
    change = MetadataChange(torch=requirement)
    return Fix(f"{change.lines[0]}{more}", change)  # equivalent: there is just one


# The repository, as in `[project.urls]`. Its README has an anchor for each rule.
PROJECT_URL = "https://github.com/Quansight/torch-abi-audit"


class Rule(NamedTuple):
    """A rule, as `explain` describes it.

    Attributes:
        name: The slug that identifies it everywhere.
        severity: The default; a hit can have a higher or lower one.
        title: Completes the sentence "reported when …".
        why: What goes wrong when it applies, and for whom.
        fix: What to change, with the exact lines. Indented lines are code.
        ignorable: Whether a finding can be ignored; unreadable files cannot.
    """

    name: str
    severity: Severity
    title: str
    why: str
    fix: str
    ignorable: bool = True

    @property
    def url(self) -> str:
        """The address of its documentation."""
        return f"{PROJECT_URL}#{self.name}"


_MAX_DECLARED = 4 << 20  # characters of the declarations of one finding

RULES: dict[str, Rule] = {}
STALE_IGNORE = "stale-ignore"
TORCH_UNUSED = "torch-unused"


class _More(TypedDict):
    """The other fields of a rule; see `Rule`."""

    why: str
    fix: str
    ignorable: NotRequired[bool]


if TYPE_CHECKING:
    RuleFunction = Callable[[Subject, Catalog], Iterator[Hit]]
    RunRuleFunction = Callable[[WholeRun, Catalog], Iterator[Hit]]

_TARGET_RULES: dict[str, RuleFunction] = {}
_RUN_RULES: dict[str, RunRuleFunction] = {}


def rule(
    name: str, severity: Severity, title: str, **more: Unpack[_More]
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a new rule, and the decorated function as its check of a target."""
    _register(Rule(name, severity, title, **more))

    def register(check: RuleFunction) -> RuleFunction:
        _TARGET_RULES[name] = check
        return check

    return register


def run_rule(
    name: str, severity: Severity, title: str, **more: Unpack[_More]
) -> Callable[[RunRuleFunction], RunRuleFunction]:
    """Register a new rule about all targets of a run together."""
    _register(Rule(name, severity, title, **more))
    return also_of_run(name)


def also_of_run(name: str) -> Callable[[RunRuleFunction], RunRuleFunction]:
    """Register another check of a rule, for all targets of a run together."""

    def register(check: RunRuleFunction) -> RunRuleFunction:
        _RUN_RULES[RULES[name].name] = check
        return check

    return register


def _register(new: Rule) -> None:
    if new.name in RULES:
        raise ValueError(f"two rules named {new.name}")
    RULES[new.name] = new


def run_rules(
    subject: Subject, catalog: Catalog, budget: Budget | None = None
) -> tuple[Finding, ...]:
    """Run every rule; findings are ordered by severity, then by rule and library.

    Raises:
        LimitError: The rules take more than the budget allows.
    """
    return _findings(
        ((name, check(subject, catalog)) for name, check in _TARGET_RULES.items()),
        budget or Budget(),
    )


def run_run_rules(run: WholeRun, catalog: Catalog) -> tuple[Finding, ...]:
    """Run every rule about the targets together; see `run_rules`."""
    found = ((name, check(run, catalog)) for name, check in _RUN_RULES.items())
    return _findings(found, Budget())


def _declared(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Add the declarations of symbols, up to a limit that guards against hostile files."""
    room, found = _MAX_DECLARED, []
    for item in evidence:
        if item.kind is EvidenceKind.SYMBOL and room > 0:
            declaration = demangle(item.name)
            room -= len(declaration or "")
            item = item._replace(declaration=declaration)  # noqa: PLW2901
        found.append(item)
    return tuple(found)


def _in_time(hits: Iterator[Hit], budget: Budget) -> Iterator[Hit]:
    for hit in hits:
        budget.check_time()
        yield hit
    budget.check_time()


def _findings(found: Iterable[tuple[str, Iterator[Hit]]], budget: Budget) -> tuple[Finding, ...]:
    return gravest_first(
        Finding(
            rule=name,
            severity=hit.severity or RULES[name].severity,
            template=hit.message,
            libraries=hit.libraries,
            evidence=_declared(hit.evidence),
            fix=Fix(hit.fix) if isinstance(hit.fix, str) else hit.fix,
        )
        for name, hits in found
        for hit in _in_time(hits, budget)
    )
