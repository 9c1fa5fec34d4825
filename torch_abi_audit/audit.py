"""The pipeline: a target becomes members, facts, classifications, findings, a verdict, a report.

`classify_contents` and `conclude` are the core, to be read from top to bottom; the `Auditor`
opens the targets that the user names and handles errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from torch_abi_audit.abi import demangler
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.budget import Limits, RunBudget
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.claims.amend import amended
from torch_abi_audit.claims.cuda_packages import brought_cuda
from torch_abi_audit.claims.torch_build import (
    BuildChoice,
    TorchBuild,
    build_of_requirement,
    chosen_build,
    parse_torch_build,
)
from torch_abi_audit.claims.torch_requirement import (
    admitted_by_any,
    admitted_torch,
    pinned_torch,
    torch_specifiers,
)
from torch_abi_audit.claims.variants import narrowed
from torch_abi_audit.config import (
    parse_checks,
    parse_ignore,
    parse_release,
    parse_strict_ignores,
    parse_torch,
)
from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.loader.host import find_host
from torch_abi_audit.loader.matrix import Surroundings, make_matrix
from torch_abi_audit.model import (
    Baseline,
    BuildSource,
    BuildUse,
    Check,
    DemandSource,
    Environment,
    Here,
    Member,
    ReleaseStatus,
    Severity,
    Subject,
    TargetContents,
    TargetKind,
    TargetReport,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.targets.resolve import ResolvedTarget, resolve
from torch_abi_audit.verdict.baseline import (
    baseline_of,
    compare,
    counterpart,
    read_baseline,
    split_known,
)
from torch_abi_audit.verdict.cross_wheel import RunCollector
from torch_abi_audit.verdict.environment import remedy
from torch_abi_audit.verdict.ignores import split
from torch_abi_audit.verdict.plan import candidates, failing, offered, plan, with_proven_fixes
from torch_abi_audit.verdict.policy import Policy
from torch_abi_audit.verdict.sentence import summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import (
        Claims,
        Finding,
        Ignore,
        Library,
        LibraryAudit,
        MetadataChange,
        StrictIgnores,
    )
    from torch_abi_audit.targets.installed import Site


@dataclass(frozen=True, slots=True, init=False)
class Options:
    """How to check: the options of the command, as strings or as the values they stand for.

    Attributes:
        strict: Whether warnings make a target unsafe.
        torch: The torch releases to check against, instead of those the metadata allows.
        torch_build: The builds of torch to check against, instead of those on PyPI, or those that
            a wheel's requirement on torch or its version names.
        against: One torch to check against: a wheel, or the folder where it is installed.
        verify: Whether to read every member in full and verify its checksum.
        check: The checks that alone decide, instead of all that is wrong with a wheel.
        require_torch: Whether a target that uses no torch symbol fails.
        require_stable: Whether a wheel on the unstable ABI fails even if it is pinned.
        min_torch: The oldest torch that the wheels have to support.
        ignore: The findings that are ignored.
        strict_ignores: Which stale ignores fail the run; by default none.
        baseline: An earlier state to compare with: a JSON report, or a wheel.
        fail_on_new: Whether a target fails only for findings that are not in the baseline.
        limits: What the audit of a target, and of all of them, may cost.
    """

    strict: bool
    torch: SpecifierSet | None
    torch_build: TorchBuild | None
    against: Path | None
    verify: bool
    check: tuple[Check, ...]
    require_stable: bool
    min_torch: Version | None
    ignore: tuple[Ignore, ...]
    strict_ignores: StrictIgnores | None
    require_torch: bool
    baseline: Baseline | Path | None
    fail_on_new: bool
    limits: Limits

    def __init__(  # noqa: PLR0913 -- the options of the command
        self,
        *,
        strict: bool = False,
        torch: SpecifierSet | str | None = None,
        torch_build: TorchBuild | str | None = None,
        against: Path | str | None = None,
        verify: bool = False,
        check: str | Iterable[Check | str] = (),
        require_stable: bool = False,
        min_torch: Version | str | None = None,
        ignore: str | Iterable[Ignore | str] = (),
        strict_ignores: StrictIgnores | str | bool | None = None,
        require_torch: bool = False,
        baseline: Baseline | Path | str | None = None,
        fail_on_new: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Check the options.

        Args:
            strict: See the attributes, as for all others.
            torch: For example ``">=2.10"``; a bare release stands for itself. A local version,
                as in ``"2.13.0+cpu"``, says which build of torch.
            torch_build: For example ``"cpu"`` or ``"cu128"``; ``"pypi"`` for the builds on PyPI.
            against: A path.
            verify: See the attributes.
            check: For example ``"torch"``, ``"torch,abi3"`` or a list.
            require_stable: See the attributes.
            min_torch: For example ``"2.10"``.
            ignore: ``"RULE[:GLOB][:symbol=PATTERN]"``, or several of them.
            strict_ignores: ``"stale"`` or ``"all"``; true means ``"stale"``.
            require_torch: See the attributes.
            baseline: A path.
            fail_on_new: See the attributes.
            limits: See the attributes.

        Raises:
            AuditError: One of them is invalid, or two exclude each other.
        """
        given = [check] if isinstance(check, str) else check
        found = parse_checks(",".join(map(str, given))) if given else ()
        ignores = [ignore] if isinstance(ignore, str) else ignore
        values = {
            "strict": strict,
            "torch": parse_torch(torch) if isinstance(torch, str) else torch,
            "torch_build": (
                parse_torch_build(torch_build) if isinstance(torch_build, str) else torch_build
            ),
            "against": None if against is None else Path(against),
            "verify": verify,
            "check": found,
            "require_stable": require_stable,
            "min_torch": parse_release(min_torch) if isinstance(min_torch, str) else min_torch,
            "ignore": tuple(parse_ignore(i) if isinstance(i, str) else i for i in ignores),
            "strict_ignores": parse_strict_ignores(strict_ignores),
            "require_torch": require_torch,
            "baseline": Path(baseline) if isinstance(baseline, str) else baseline,
            "fail_on_new": fail_on_new,
            "limits": limits or Limits(),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.torch_build is not None and self.against is not None:
            raise AuditError("--against is about one build of torch; leave out --torch-build")
        named = build_of_requirement([self.torch])
        if named is not None and self.torch_build not in (None, named):
            raise AuditError(f"--torch names the build {named.name}, --torch-build another one")

    @property
    def build(self) -> BuildChoice | None:
        """The builds of torch that the user chose; None to go by each target's metadata."""
        if self.torch_build is not None:
            return BuildChoice(self.torch_build, BuildSource.OPTION)
        named = build_of_requirement([self.torch])
        return None if named is None else BuildChoice(named, BuildSource.TORCH)

    @property
    def source(self) -> DemandSource:
        """What decides which torch releases to check against."""
        if self.against is not None:
            return DemandSource.AGAINST
        return DemandSource.METADATA if self.torch is None else DemandSource.TORCH

    @property
    def policy(self) -> Policy:
        """What passes and what fails."""
        return Policy(self.check, self.strict, self.require_stable, self.strict_ignores)


def classify_contents(
    contents: TargetContents,
    catalog: Catalog,
    options: Options,
    *,
    present: frozenset[str] = frozenset(),
    budget: Budget | None = None,
) -> Subject:
    """Return the input of the rules: what the facts and the claims of a target mean.

    Args:
        contents: The target, opened.
        catalog: What the torch releases that it is checked against provide.
        options: How to check.
        present: Names of the libraries in other packages of its environment.
        budget: The budget of the audit; by default a new one with the default limits.

    Raises:
        AuditError: A marker in its metadata compares incomparable values, or it uses the
            unstable ABI and there is no demangler.
        LimitError: It takes more than the budget allows.
    """
    claims = contents.claims
    libraries = [(item.path, library) for item in contents.members for library in item.slices]
    platform_tags = frozenset(tag.platform for tag in claims.tags)
    items, graphs = classify(
        libraries, platform_tags, catalog, is_torch=claims.name == "torch", budget=budget
    )
    around = Surroundings(platform_tags, brought_cuda(claims), present)
    subject = Subject(
        host=find_host(items, graphs, catalog, claims, around),
        claims=claims,
        libraries=items,
        unreadable=tuple(member for member in contents.members if member.error is not None),
        unverified=frozenset(m.path for m in contents.members if m.slices and not m.verified),
        matrix=make_matrix(items, graphs, catalog, around),
        source=options.source,
        build=_build_use(items, catalog),
        defects=contents.defects,
        day=contents.day,
        folder=contents.folder,
        min_torch=options.min_torch,
        require_torch=options.require_torch,
    )
    return _with_demands(subject, catalog, options)


def _build_use(items: Sequence[LibraryAudit], catalog: Catalog) -> BuildUse | None:
    """Say for which releases the builds of torch that a target is checked against are known."""
    choice = catalog.build
    if choice is None:
        return None
    keys = {item.platform or "" for item in items if item.torch.needs_torch}
    platforms = [catalog.platforms.get(key) for key in sorted(keys)]
    measured: list[Version] = []
    derived: list[Version] = []
    for release in catalog.releases:
        builds = [None if item is None else item.build(release) for item in platforms]
        known = [build for build in builds if build is not None]
        if known and len(known) == len(builds):
            (derived if any(build.derived for build in known) else measured).append(release)
    return BuildUse(choice.build.name, choice.source, tuple(measured), tuple(derived))


def _with_demands(subject: Subject, catalog: Catalog, options: Options) -> Subject:
    """Add the metadata's requirement on torch, and what that tells about the build."""
    required = torch_specifiers(subject.claims) if subject.claims.stated else ()
    allowed = narrowed(required, subject.claims.variant_properties)
    demands = allowed if options.torch is None else (options.torch,)
    subject = replace(subject, required=required, demands=demands)
    if not any(item.torch.abi is TorchAbi.UNSTABLE for item in subject.libraries):
        return subject  # for a stable library none of this matters
    if not demangler.AVAILABLE:
        raise AuditError(demangler.NEEDED)
    from torch_abi_audit.abi.built_with import built_with, with_date  # noqa: PLC0415
    from torch_abi_audit.abi.layouts import with_layouts  # noqa: PLC0415

    pinned = pinned_torch(allowed, catalog.published)
    built = built_with(subject.libraries, subject.matrix, pinned)
    dated = with_date(built, subject.matrix, subject.day, catalog.released)
    matrix = with_layouts(subject.matrix, subject.libraries, built, dated)
    return replace(subject, built=dated, matrix=matrix)


def _with_replacements(subject: Subject, catalog: Catalog) -> Subject:
    """Add the replacements of unstable symbols, which no change of metadata changes."""
    unstable = [name for item in subject.libraries for name in item.torch.unstable]
    if not unstable:
        return subject
    from torch_abi_audit.abi.replacements import grouped  # noqa: PLC0415

    return replace(subject, replacements=grouped(unstable, catalog))


def conclude(  # noqa: PLR0913 -- everything that a report is made of
    target: str,
    kind: TargetKind,
    subject: Subject,
    catalog: Catalog,
    options: Options,
    *,
    budget: Budget | None = None,
) -> TargetReport:
    """Return the report of a target: its findings, those that are ignored, and the verdict.

    If a metadata change would fix a finding, the target is checked again with it: the report
    contains only such fixes that are proven to help.

    Raises:
        LimitError: It takes more than the budget allows.
    """
    subject = _with_replacements(subject, catalog)
    report = _checked(target, kind, subject, catalog, options, budget=budget)
    if report.safe and not any(item.fix and offered(item.fix) for item in report.findings):
        return report
    severities = options.policy.failing
    bad = failing(report.findings, severities)

    def again(change: MetadataChange) -> TargetReport:
        return recheck(report, change, catalog, options, budget=budget)

    tried = [(change, again(change)) for change in candidates(bad, subject.claims.tags)]
    if not any(item.safe for _, item in tried):
        # A requirement can choose the builds of torch: with the change it is another wheel.
        further = [
            change
            for before, item in tried
            if item.subject is not None and item.subject.build != subject.build
            for change in candidates(
                failing(item.findings, severities), subject.claims.tags, before
            )
        ]
        tried += [(change, again(change)) for change in dict.fromkeys(further)]
    proven = set(_helping(bad, tried))
    for item in report.findings:
        for change in offered(item.fix) if item.fix and item not in bad else ():
            alone = again(change)
            if alone.safe or not report.safe:
                proven |= set(_helping([item], [(change, alone)]))
    made = None
    if report.verdict is Verdict.UNSAFE and kind is TargetKind.WHEEL:
        made = plan(subject, bad, tried, severities)
    findings = with_proven_fixes(report.findings, proven)
    summary = summarize(
        subject, catalog, findings, report.ignored, verdict=report.verdict, kind=kind, plan=made
    )
    return replace(report, findings=findings, plan=made, summary=summary)


def _helping(
    findings: Sequence[Finding], tried: Sequence[tuple[MetadataChange, TargetReport]]
) -> Iterator[MetadataChange]:
    """Yield the changes from findings that no longer apply after one of the changes tried."""
    for tried_change, report in tried:
        for item in findings:
            if any(_is_left(item, other) for other in report.findings):
                continue
            for change in offered(item.fix) if item.fix else ():
                if change.torch in (None, tried_change.torch):
                    yield change


def _is_left(finding: Finding, other: Finding) -> bool:
    """Whether a finding after a change is the one that the change should have removed.

    Another finding of the rule may be about other libraries, and a note is harmless.
    """
    return (
        other.rule == finding.rule
        and (other.severity is not Severity.NOTE or finding.severity is Severity.NOTE)
        and (
            not (finding.libraries and other.libraries)
            or not set(finding.libraries).isdisjoint(other.libraries)
        )
    )


def recheck(
    report: TargetReport,
    change: MetadataChange,
    catalog: Catalog,
    options: Options,
    *,
    budget: Budget | None = None,
) -> TargetReport:
    """Check a target again, as it would be with a change of its metadata.

    Raises:
        LimitError: It takes more than the budget allows.
    """
    if report.subject is None:
        return report
    claims = amended(report.subject.claims, change)
    of_builds = _catalog_with(claims, catalog)
    is_other = of_builds is not catalog or change.tags is not None
    changed = (
        _classified_again(report.subject, claims, of_builds, options, budget)
        if is_other
        else _with_demands(replace(report.subject, claims=claims), catalog, options)
    )
    if is_other and changed.build is not None and not changed.build.is_known:
        return report  # it could not be checked any more
    return _checked(report.target, report.kind, changed, of_builds, options, budget=budget)


def _catalog_with(claims: Claims, catalog: Catalog) -> Catalog:
    """Return the catalog of the builds that a target is for with changed requirements.

    Args:
        claims: What its metadata says then.
        catalog: That of the builds that it is for without the change.
    """
    if catalog.build is None or catalog.build.source is not BuildSource.REQUIREMENT:
        return catalog
    from torch_abi_audit.catalog.builds import without_choice  # noqa: PLC0415

    found = _catalog_for(claims, without_choice(catalog))
    return catalog if found.build == catalog.build else found


def _catalog_for(claims: Claims, base: Catalog, given: BuildChoice | None = None) -> Catalog:
    """Return the catalog of the builds that a target is for.

    Args:
        claims: What its metadata says.
        base: The catalog of those on PyPI.
        given: The user's choice.

    Raises:
        AuditError: A marker in its metadata compares incomparable values.
    """
    demands = torch_specifiers(claims) if claims.stated else ()
    choice = chosen_build(claims, demands, given)
    if choice is None:
        return base
    # Few wheels are for another build than PyPI's.
    from torch_abi_audit.catalog.builds import catalog_of_build  # noqa: PLC0415

    return catalog_of_build(choice, base)


def _classified_again(
    subject: Subject, claims: Claims, catalog: Catalog, options: Options, budget: Budget | None
) -> Subject:
    """Return a target as it is with other claims, from all that was read of it."""
    members: dict[str, list[Library]] = {}
    for item in subject.libraries:
        members.setdefault(item.path, []).append(item.library)
    contents = TargetContents(
        TargetKind.WHEEL,
        claims,
        tuple(
            Member(path, tuple(slices), verified=path not in subject.unverified)
            for path, slices in members.items()
        )
        + subject.unreadable,
        subject.defects,
        subject.day,
        subject.folder,
    )
    return classify_contents(contents, catalog, options, budget=budget)


def _checked(  # noqa: PLR0913 -- everything that a report is made of
    target: str,
    kind: TargetKind,
    subject: Subject,
    catalog: Catalog,
    options: Options,
    *,
    budget: Budget | None,
) -> TargetReport:
    """Return the report of a target, with fixes that are not proven yet."""
    policy = options.policy
    found = policy.weigh(run_rules(subject, catalog, budget))
    # Ignores expire by the known releases, whichever of them the target is checked against.
    findings, ignored = split(found, options.ignore, load_catalog(), subject.folder)
    compared = None
    if isinstance(options.baseline, Baseline):
        before = counterpart(options.baseline, subject)
        compared = compare(subject, before) if before is not None else None
        if before is not None and options.fail_on_new:
            findings, old = split_known(findings, before, options.baseline.source)
            ignored += old
    verdict = policy.verdict(subject, findings)
    asked = admitted_by_any(subject.demands or (None,), catalog.releases)
    return TargetReport(
        target=target,
        verdict=verdict,
        summary=summarize(subject, catalog, findings, ignored, verdict=verdict, kind=kind),
        kind=kind,
        subject=subject,
        findings=findings,
        ignored=ignored,
        asked=tuple(release for release in catalog.releases if release in asked),
        fails=policy.fails(kind, verdict, subject, findings),
        checks=policy.results(subject, findings),
        baseline=compared,
        error=_error(subject.unreadable),
    )


class Auditor:
    """Audits one target after the other, without keeping anything about them.

    Args:
        options: How to check.
        site: Where packages are found; by default in the active interpreter.

    Raises:
        AuditError: There is no torch at `options.against`, or none that matches `options.torch`;
            nothing is known of `options.torch_build`; or the baseline can't be read.
    """

    def __init__(self, options: Options, site: Site | None = None) -> None:
        catalog = load_catalog()
        if options.against is not None:
            catalog = _catalog_of(options.against)
            options = replace(options, torch=SpecifierSet(f"=={catalog.newest}"))
        if options.torch is not None and not admitted_torch(options.torch, catalog.releases):
            raise AuditError(f"no torch that the catalog knows is {options.torch}")
        newest = catalog.newest
        if options.min_torch is not None and options.min_torch > newest and not options.against:
            raise AuditError(f"no torch that the catalog knows is {options.min_torch} or newer")
        if options.build is not None:
            _require_known(options.build.build)
        if isinstance(options.baseline, Path):
            options = replace(options, baseline=_baseline(options.baseline, options))
        self.catalog = catalog
        self.options = options
        self._site = site
        self.hint: str | None = None
        self._budget = RunBudget(options.limits)
        self._installed: dict[tuple[Path, ...], Catalog | None] = {}
        self._torch_errors: dict[tuple[Path, ...], str] = {}

    def catalog_of(self, claims: Claims) -> Catalog:
        """Return what the releases of torch provide, in the builds that a target is for.

        Raises:
            AuditError: A marker in its metadata compares incomparable values.
        """
        if self.options.against is not None:
            return self.catalog
        return _catalog_for(claims, self.catalog, self.options.build)

    @property
    def site(self) -> Site:
        """Where packages are found."""
        if self._site is None:
            # Only if a target is the name of a package.
            from torch_abi_audit.targets.environments import current_site  # noqa: PLC0415

            self._site, self.hint = current_site()
        return self._site

    @property
    def environment(self) -> Environment:
        """The environment where packages are found.

        Raises:
            AuditError: No package is installed in it.
        """
        if not self.site.packages:
            raise AuditError(
                f"{', '.join(map(str, self.site.folders))}: no packages are installed in it"
            )
        torch = self._torch_of(self.site)
        return Environment(
            folders=tuple(map(str, self.site.folders)),
            torch=None if torch is None else torch.newest,
            releases=self.catalog.releases,
            error=self._torch_errors.get(self.site.folders),
            version=None if torch is None else self._version_of(self.site, torch),
        )

    def collector(self, environment: Environment | None = None) -> RunCollector:
        """Return a collector of reports, for the conclusions about all of them together.

        Args:
            environment: The environment, if its packages are audited as a whole.
        """
        options = self.options
        return RunCollector(load_catalog(), options.ignore, options.policy, environment)

    def audit(self, target: str | Path) -> Iterator[TargetReport]:
        """Audit whatever a target names: one thing, or each wheel in a folder; see `audit`."""
        try:
            found = resolve(str(target), lambda: self.site, verify=self.options.verify)
        except AuditError as error:
            yield _failed(str(target), str(error))
            return
        except OSError as error:
            yield _failed(str(target), reason_of(error, target))
            return
        except Exception as error:  # noqa: BLE001 -- a bug: as in `_audit`
            yield _failed(str(target), _bug(error))
            return
        for item in found:
            report, notice = self._audit(item), item.notice
            if item.site is not None and (unread := self._torch_errors.get(item.site.folders)):
                notice = f"{target}: the torch installed alongside it can't be read: {unread}"
            yield replace(report, notice=notice)

    def audit_contents(
        self, name: str, opening: Callable[[Budget], TargetContents]
    ) -> TargetReport:
        """Audit a wheel that is opened by other means; see `ResolvedTarget.open`."""
        return self._audit(ResolvedTarget(name, opening, TargetKind.WHEEL))

    def refuse(self, name: str, reason: str) -> TargetReport:
        """Return the report of a target that can't be audited."""
        return _failed(name, reason)

    def package_names(self) -> list[str]:
        """Return the packages of the environment, in the order of their names."""
        return sorted(self.site.packages)

    def package(self, name: str) -> Iterator[TargetReport]:
        """Audit one of the packages of the environment."""
        package = self.site.packages[name]
        opening = partial(package.open, None)
        yield self._audit(ResolvedTarget(name, opening, TargetKind.PACKAGE, self.site))

    def _audit(self, found: ResolvedTarget) -> TargetReport:
        budget = self._budget.of_target()
        try:
            contents = found.open(budget)
            catalog = self.catalog_of(contents.claims)
            subject = classify_contents(contents, catalog, self.options, budget=budget)
            if found.site is None:  # else the installed torch decides
                _refuse_unknown_build(subject)
            self._refuse_unknown(subject)
            report = conclude(
                found.name, contents.kind, subject, catalog, self.options, budget=budget
            )
            here = None
            if found.site is not None:
                here = self._here(contents, subject, found.site, budget)
        except AuditError as error:
            reason = str(error)
        except OSError as error:
            reason = reason_of(error, found.name)
        except Exception as error:  # noqa: BLE001 -- a bug: say so, and audit the other targets
            reason = _bug(error)
        else:
            if here is None or here.remedy is None:
                return replace(report, here=here)
            summary = f"{here.remedy.why}; {report.summary}"
            return replace(report, here=here, summary=summary)
        finally:
            self._budget.take(budget)
        return _failed(found.name, reason, found.kind)

    def _refuse_unknown(self, subject: Subject) -> None:
        """Raise an error if the torch to check against is for another platform."""
        against = self.options.against
        row = subject.matrix.row.values()
        if against is not None and any(cell.status is ReleaseStatus.UNKNOWN for cell in row):
            keys = ", ".join(
                sorted({item.platform or "another platform" for item in subject.libraries})
            )
            raise AuditError(f"{against} is not for its platform, {keys}")

    def _here(
        self, contents: TargetContents, against_known: Subject, site: Site, budget: Budget
    ) -> Here | None:
        """Check a package against the torch that is installed alongside it."""
        catalog = self._torch_of(site)
        if catalog is None or contents.claims.name == "torch":
            return None
        subject = classify_contents(
            contents, catalog, self.options, present=site.library_names, budget=budget
        )
        cell = subject.matrix.row.get(catalog.newest)
        if cell is None:
            return None
        torch = self._version_of(site, catalog)
        return Here(catalog.newest, cell, remedy(against_known, cell, torch, load_catalog()))

    @staticmethod
    def _version_of(site: Site, torch: Catalog) -> Version:
        """Return the version of the installed torch, as given in its metadata."""
        return site.version_of("torch") or torch.newest

    def _torch_of(self, site: Site) -> Catalog | None:
        if site.folders not in self._installed:
            self._installed[site.folders] = None
            try:
                folder = site.folder_of("torch")
                if folder is not None:
                    self._installed[site.folders] = _catalog_of(folder)
            except AuditError as error:
                self._torch_errors[site.folders] = str(error)
        return self._installed[site.folders]


def _baseline(path: Path, options: Options) -> Baseline:
    """Read the baseline: the JSON report of an earlier run, or an earlier wheel, audited now."""
    if path.suffix != ".whl":
        return read_baseline(path)
    auditor = Auditor(replace(options, baseline=None, fail_on_new=False, ignore=()))
    reports = list(auditor.audit(path))
    for report in reports:
        if report.error is not None:
            raise AuditError(f"{path}: {report.error}")
    return baseline_of(str(path), reports)


def _refuse_unknown_build(subject: Subject) -> None:
    """Raise an error if a target names builds of torch of which nothing is known."""
    build = subject.build
    if build is not None and subject.matrix.row and not build.is_known:
        raise AuditError(
            f"nothing is known of {build}, which {build.source} names; use --against with one of"
            " them, or --torch-build pypi"
        )


def _require_known(build: TorchBuild) -> None:
    """Raise an error if nothing is known of a build of torch."""
    from torch_abi_audit.catalog.builds import is_known  # noqa: PLC0415 -- few ask for one

    if not is_known(build, load_catalog()):
        raise AuditError(
            f"nothing is known of torch's {build.name} builds; use --against with one of them"
        )


def _catalog_of(torch: Path) -> Catalog:
    # The catalog builder's code, needed only in this case.
    from torch_abi_audit.catalog.against import catalog_of  # noqa: PLC0415

    return catalog_of(torch, load_catalog())


def _bug(error: Exception) -> str:
    return f"internal error, please report it: {type(error).__name__}: {error}"


def _failed(target: str, reason: str, kind: TargetKind | None = None) -> TargetReport:
    if kind is None:
        kind = TargetKind.WHEEL if target.endswith(".whl") else TargetKind.PACKAGE
    return TargetReport(
        kind=kind,
        target=target,
        verdict=Verdict.ERROR,
        summary=f"not audited: {reason}",
        fails=True,
        error=reason,
    )


def _error(unreadable: Sequence[Member]) -> str | None:
    return "; ".join(f"{item.path}: {item.error}" for item in unreadable) or None
