"""The pipeline: a target becomes members, facts, classifications, findings, a verdict, a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from torch_abi_audit.abi.classify import classify
from torch_abi_audit.abi.cpython import highest_python_floor, worst_python_abi
from torch_abi_audit.abi.torch import highest_floor, worst_abi
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.claims.cuda_packages import brought_cuda
from torch_abi_audit.claims.torch_requirement import (
    admitted_by_any,
    admitted_torch,
    torch_specifiers,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.loader.matrix import Surroundings, make_matrix
from torch_abi_audit.model import (
    BY_METADATA,
    Check,
    Environment,
    Here,
    LibraryAudit,
    Matrix,
    Member,
    ReleaseStatus,
    Report,
    Subject,
    TargetContents,
    TargetKind,
    TargetReport,
    Verdict,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.targets.resolve import Found, resolve
from torch_abi_audit.verdict.cross_wheel import RunCollector
from torch_abi_audit.verdict.ignores import split
from torch_abi_audit.verdict.verdict import fails, judge, summarize, weigh
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Ignore
    from torch_abi_audit.targets.installed import Site


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        strict: Whether warnings make a target unsafe.
        torch: The releases of torch to judge against, instead of what the metadata asks for.
        against: One torch to judge against: a wheel, or the folder where it is installed.
        verify: Whether to read every member to its end, and check its checksum.
        check: What alone to judge, instead of all that is wrong with a wheel.
        min_torch: The oldest torch that the user promises to load with.
        ignore: The findings that are accepted.
    """

    strict: bool = False
    torch: SpecifierSet | None = None
    against: Path | None = None
    verify: bool = False
    check: Check | None = None
    min_torch: Version | None = None
    ignore: tuple[Ignore, ...] = ()

    @property
    def judge(self) -> str:
        """Who says which releases of torch to judge against."""
        if self.against is not None:
            return "--against"
        return BY_METADATA if self.torch is None else "--torch"


def audit(*targets: str | Path, options: Options | None = None) -> Report:
    """Audit targets and report what they are.

    Bad input never raises: a target that can't be opened, or a member that can't be
    read, gives the verdict `error` with the reason, and the others are audited.

    Args:
        targets: Paths of wheels, of libraries, of folders with either, or the names of
            installed packages, by import or by distribution. None of them is imported.
        options: How to judge; by default as the command line does.

    Raises:
        AuditError: There is no torch at `options.against`, or none that is `options.torch`.
    """
    auditor = Auditor(options or Options())
    run = auditor.collector()
    reports = []
    for target in targets:
        for report in auditor.audit(target):
            run.add(report)
            reports.append(report)
    return Report(tuple(reports), auditor.catalog.releases, run.finish())


class Auditor:
    """Audits one target after the other, and keeps nothing of them.

    Args:
        options: How to judge.
        site: Where packages are found; by default in the active interpreter.

    Raises:
        AuditError: There is no torch at `options.against`, or none that is `options.torch`.
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
        self.catalog = catalog
        self._options = options
        self._site = site
        self._installed: dict[tuple[Path, ...], Catalog | None] = {}
        self._torch_errors: dict[tuple[Path, ...], str] = {}

    @property
    def site(self) -> Site:
        """Where packages are found."""
        if self._site is None:
            # Only where a target is the name of a package.
            from torch_abi_audit.targets.installed import active_site  # noqa: PLC0415

            self._site = active_site()
        return self._site

    @property
    def environment(self) -> Environment:
        """The environment that packages are found in.

        Raises:
            AuditError: No package is installed in it.
        """
        if not self.site.packages:
            raise AuditError(
                f"{', '.join(map(str, self.site.folders))}: no package is installed in it"
            )
        torch = self._torch_of(self.site)
        return Environment(
            folders=tuple(map(str, self.site.folders)),
            torch=None if torch is None else torch.newest,
            releases=self.catalog.releases,
            error=self._torch_errors.get(self.site.folders),
        )

    def collector(self) -> RunCollector:
        """Return what takes the reports, for what is true of all of them together."""
        options = self._options
        together = options.check in (None, Check.CLAIMS)  # others ask for one thing alone
        return RunCollector(
            load_catalog(), options.ignore, strict=options.strict, can_fail=together
        )

    def audit(self, target: str | Path) -> Iterator[TargetReport]:
        """Audit what a target names: one thing, or each wheel of a folder; see `audit`."""
        try:
            found = resolve(str(target), lambda: self.site, verify=self._options.verify)
        except AuditError as error:
            yield _failed(str(target), str(error))
            return
        except Exception as error:  # noqa: BLE001 -- a bug: as in `_audit`
            yield _failed(str(target), _bug(error))
            return
        for item in found:
            report, said = self._audit(item), item.said
            if item.site is not None and (unread := self._torch_errors.get(item.site.folders)):
                said = f"{target}: the torch that is installed beside it can't be read: {unread}"
            yield replace(report, said=said)

    def package_names(self) -> list[str]:
        """Return the packages of the environment, in the order of their names."""
        return sorted(self.site.packages)

    def package(self, name: str) -> Iterator[TargetReport]:
        """Audit one of the packages of the environment."""
        package = self.site.packages[name]
        yield self._audit(Found(name, package.open, TargetKind.PACKAGE, self.site))

    def _audit(self, found: Found) -> TargetReport:
        try:
            opened = found.open()
            subject = self._classify(opened)
            report = self._conclude(found.name, opened.kind, subject)
            here = None if found.site is None else self._here(opened, found.site)
        except AuditError as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 -- a bug: say so, and audit the other targets
            reason = _bug(error)
        else:
            return replace(report, here=here)
        return _failed(found.name, reason, found.kind)

    def _classify(self, opened: TargetContents) -> Subject:
        options, claims = self._options, opened.claims
        items, matrix = _against(opened, self.catalog)
        unknown = [cell.status is ReleaseStatus.UNKNOWN for cell in matrix.row.values()]
        if options.against is not None and any(unknown):
            keys = ", ".join(sorted({item.platform or "another platform" for item in items}))
            raise AuditError(f"{options.against} is not for its platform, {keys}")
        # Markers that can't be evaluated are an error, whatever is judged.
        asked = torch_specifiers(claims) if claims.stated else ()
        demands = asked if options.torch is None else (options.torch,)
        return Subject(
            claims=claims,
            libraries=items,
            unreadable=tuple(member for member in opened.members if member.error is not None),
            unverified=frozenset(m.path for m in opened.members if m.slices and not m.verified),
            matrix=matrix,
            demands=demands,
            judge=options.judge,
            defects=opened.defects,
            min_torch=options.min_torch,
        )

    def _here(self, opened: TargetContents, site: Site) -> Here | None:
        """Judge a package against the torch that is installed beside it."""
        catalog = self._torch_of(site)
        if catalog is None or opened.claims.name == "torch":
            return None
        _, matrix = _against(opened, catalog, site.library_names)
        cell = matrix.row.get(catalog.newest)
        return None if cell is None else Here(catalog.newest, cell)

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

    def _conclude(self, target: str, kind: TargetKind, subject: Subject) -> TargetReport:
        options = self._options
        found = weigh(run_rules(subject, self.catalog), options.check)
        findings, ignored = split(found, options.ignore, load_catalog())
        torch = [item.torch for item in subject.libraries]
        python = [item.python for item in subject.libraries]
        abi, floor = worst_abi(torch), highest_floor(torch)
        asked = admitted_by_any(subject.demands or (None,), self.catalog.releases)
        verdict = judge(subject, findings, abi, strict=options.strict)
        accepted = f"; {count(len(ignored), 'finding')} accepted" if ignored else ""
        report = TargetReport(
            target=target,
            verdict=verdict,
            summary=summarize(subject, findings, verdict, floor, kind) + accepted,
            kind=kind,
            claims=subject.claims,
            libraries=subject.libraries,
            unreadable=subject.unreadable,
            unverified=subject.unverified,
            findings=findings,
            ignored=ignored,
            matrix=subject.matrix,
            asked=tuple(release for release in self.catalog.releases if release in asked),
            torch_abi=abi,
            torch_floor=floor,
            python_abi=worst_python_abi(python),
            python_floor=highest_python_floor(python),
            error=_error(subject.unreadable),
        )
        return replace(report, fails=fails(report, options.check))


def _catalog_of(torch: Path) -> Catalog:
    # The builder's code: needed in this case only.
    from torch_abi_audit.catalog.against import catalog_of  # noqa: PLC0415

    return catalog_of(torch, load_catalog())


def _against(
    opened: TargetContents, catalog: Catalog, present: frozenset[str] = frozenset()
) -> tuple[tuple[LibraryAudit, ...], Matrix]:
    """Classify the libraries of a target, and fill its matrix."""
    claims = opened.claims
    libraries = [(item.path, library) for item in opened.members for library in item.slices]
    tags = frozenset(tag.platform for tag in claims.tags)
    items, graphs = classify(libraries, tags, catalog, is_torch=claims.name == "torch")
    around = Surroundings(tags, brought_cuda(claims), present)
    return items, make_matrix(items, graphs, catalog, around)


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
