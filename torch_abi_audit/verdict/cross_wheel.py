"""The targets of a run taken together: the wheels of one release, and what they cover."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.claims.platform_tags import parse_platform
from torch_abi_audit.claims.python_tags import installing_interpreters
from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.claims.variants import narrowed
from torch_abi_audit.model import (
    LOADING,
    Coverage,
    IgnoreUse,
    ProjectRelease,
    ReleaseStatus,
    RunReport,
    TargetKind,
    Verdict,
    WheelSummary,
    WholeRun,
)
from torch_abi_audit.rules import TORCH_UNUSED, run_run_rules
from torch_abi_audit.verdict.environment import (
    PackageOutcome,
    conclude_environment,
    good_releases,
    with_failure,
)
from torch_abi_audit.verdict.ignores import is_expired, matched, names_library, split
from torch_abi_audit.verdict.plan import advice, cause
from torch_abi_audit.verdict.policy import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import (
        Claims,
        Conclusion,
        Environment,
        Finding,
        Ignore,
        Interpreter,
        Subject,
        TargetReport,
    )
    from torch_abi_audit.verdict.policy import Policy


class RunCollector:
    """Collects the reports of a run one by one, keeping of each only what the whole run needs.

    Args:
        catalog: The full catalog, whichever releases the targets were checked against.
        ignores: What the user ignores.
        policy: What passes.
        environment: The environment, if its packages are audited as a whole.
    """

    def __init__(
        self,
        catalog: Catalog,
        ignores: Iterable[Ignore],
        policy: Policy,
        environment: Environment | None = None,
    ) -> None:
        self._catalog = catalog
        self._ignores = tuple(ignores)
        self._policy = policy
        self._environment = environment
        self._outcomes: list[Outcome] = []
        self._packages: list[PackageOutcome] = []
        self._wheels: dict[tuple[str, Version], list[WheelSummary]] = defaultdict(list)
        self._matched: Counter[Ignore] = Counter()
        self._named: dict[Ignore, set[str]] = defaultdict(set)
        self._needed: dict[Ignore, set[str]] = defaultdict(set)
        self._present: set[Ignore] = set()

    def add(self, report: TargetReport) -> None:
        """Add the report of the next target."""
        self._outcomes.append(_outcome(report))
        if (package := self._package(report)) is not None:
            self._packages.append(package)
        self._count_ignores(report)
        if report.kind is TargetKind.WHEEL and report.subject is not None:
            claims = report.subject.claims
            self._wheels[claims.name, claims.version].append(_summary(report, report.subject))

    def finish(self) -> RunReport:
        """Return the conclusions about all targets together."""
        releases = tuple(
            ProjectRelease(name, version, tuple(wheels), coverage(wheels))
            for (name, version), wheels in sorted(self._wheels.items())
            if len(wheels) > 1
        )
        found = self._policy.weigh(run_run_rules(WholeRun(releases), self._catalog))
        findings, ignored = split(found, self._ignores, self._catalog)
        for item in ignored:
            self._count(item.finding, ())
        # Only now is it known which ignores match nothing.
        uses = tuple(map(self._use, self._ignores))
        stale = WholeRun(ignores=uses, strict_ignores=self._policy.strict_ignores)
        findings += self._policy.weigh(run_run_rules(stale, self._catalog))
        fails = self._policy.fails_together(findings)
        conclusion = self._conclude(findings)
        return RunReport(releases, findings, ignored, fails, conclusion)

    def _package(self, report: TargetReport) -> PackageOutcome | None:
        """Return the outcome to keep for a package that uses torch."""
        subject = report.subject
        # equivalent: without an environment nothing uses them
        if self._environment is None or subject is None or not subject.matrix.row:
            return None
        if subject.claims.name == "torch" or report.verdict is Verdict.ERROR:
            return None
        cell = report.here.cell if report.here else None
        return PackageOutcome(cell, good_releases(subject), subject.claims.name)

    def _conclude(self, findings: Sequence[Finding]) -> Conclusion:
        """Return the result of the run; for an environment, whether its packages load."""
        if self._environment is None or self._policy.checks:
            return self._policy.conclude(self._outcomes, findings)
        unread = sum(item.verdict is Verdict.ERROR for item in self._outcomes)
        concluded = conclude_environment(
            self._packages,
            unread,
            self._environment,
            self._catalog,
            strict=self._policy.strict,
        )
        if self._policy.strict_ignores and self._policy.fails_together(findings):
            return with_failure(concluded, "ignores are stale")
        return concluded

    def _count_ignores(self, report: TargetReport) -> None:
        """Count what each ignore names in a target, and how much of that is a finding."""
        folder = report.subject.folder if report.subject else ()
        read = {item.path for item in report.libraries}
        unread = {item.path for item in report.unreadable}
        for ignore in self._ignores:
            pattern = ignore.library
            if pattern is None:
                self._present.add(ignore)
                continue
            self._named[ignore] |= {p for p in read if names_library(pattern, p, folder)}
            if self._named[ignore] or any(names_library(pattern, p, folder) for p in unread):
                self._present.add(ignore)
        for item in report.ignored:
            self._count(item.finding, folder)

    def _count(self, finding: Finding, folder: Sequence[str]) -> None:
        """Count a finding for each ignore, whether or not another matches it as well."""
        for ignore in self._ignores:
            taken = matched(ignore, finding, folder)
            if taken is not None:
                self._matched[ignore] += 1
                self._needed[ignore] |= set(taken.libraries)

    def _use(self, ignore: Ignore) -> IgnoreUse:
        return IgnoreUse(
            ignore,
            matched=self._matched[ignore],
            present=ignore in self._present or bool(self._matched[ignore]),
            expired=is_expired(ignore, self._catalog),
            unneeded=tuple(sorted(self._named[ignore] - self._needed[ignore])),
        )


def _outcome(report: TargetReport) -> Outcome:
    unsafe = report.verdict is Verdict.UNSAFE and report.findings
    why = cause(report.findings).message if unsafe else None
    fix = advice(report.plan)
    unused = any(finding.rule == TORCH_UNUSED for finding in report.findings)
    broken = report.here is not None and report.here.remedy is not None
    return Outcome(
        report.target, report.kind, report.verdict, report.fails, why, fix, unused, broken
    )


def _summary(report: TargetReport, subject: Subject) -> WheelSummary:
    row = subject.matrix.row
    loading = [release for release, cell in row.items() if cell.status in LOADING]
    known = any(cell.status is not ReleaseStatus.UNKNOWN for cell in row.values())
    required = narrowed(subject.required, subject.claims.variant_properties)
    admitted = admitted_by_any(required, loading)
    return WheelSummary(
        target=report.target,
        claims=subject.claims,
        verdict=report.verdict,
        python_abi=subject.python_abi,
        python_floor=subject.python_floor,
        compiled=bool(subject.libraries),
        torch=tuple(release for release in loading if release in admitted) if known else None,
    )


def platforms_of(claims: Claims) -> tuple[str, ...]:
    """Return the systems and machines of the platform tags: ``linux x86_64``, ``any``.

    Musl is a system of its own, ``linux-musl``. Unknown tags are returned as they are.
    """
    found = set()
    for tag in claims.tags:
        platform = parse_platform(tag.platform)
        if platform is None:
            found.add(tag.platform)
            continue
        musl = "-musl" if tag.platform.startswith("musllinux") else ""
        archs = platform.archs
        if platform.system == "macos":  # nothing runs i386, which `intel` also names, any more
            archs = tuple(arch for arch in archs if arch != "i686") or archs
        found |= {f"{platform.system}{musl} {arch}" for arch in archs}
    return tuple(sorted(found))


class _Row(NamedTuple):
    """What the wheels of a row of the coverage have in common."""

    platform: str
    variant: str | None
    torch: tuple[Version, ...] | None

    @property
    def order(self) -> tuple[bool, str]:
        """Where it comes among the rows of a platform: wheels that are no variants come first."""
        return self.variant is not None, self.variant or ""


def coverage(wheels: Iterable[WheelSummary]) -> tuple[Coverage, ...]:
    """Return what wheels of one release cover: a row for each platform, variant and releases.

    Python versions with the same torch releases share a row.
    """
    pythons: dict[_Row, set[Interpreter]] = defaultdict(set)
    targets: dict[_Row, list[str]] = defaultdict(list)
    for wheel in wheels:
        for platform in platforms_of(wheel.claims):
            key = _Row(platform, wheel.claims.variant, wheel.torch)
            pythons[key] |= set(installing_interpreters(wheel.claims))
            targets[key].append(wheel.target)
    return tuple(
        Coverage(row.platform, row.variant, tuple(sorted(found)), row.torch, tuple(targets[row]))
        for row, found in sorted(
            pythons.items(), key=lambda item: (item[0].platform, item[0].order, sorted(item[1]))
        )
    )
