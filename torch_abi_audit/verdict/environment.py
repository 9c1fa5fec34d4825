"""The result for an environment: which packages load, and what to do about those that do not.

The advice is for users who install packages, not for those who build them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.claims.torch_requirement import admitted_by_any, requirement
from torch_abi_audit.model import (
    Cause,
    Conclusion,
    LayoutStatus,
    ReleaseStatus,
    Remedy,
)
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE, EXIT_UNSAFE
from torch_abi_audit.wording import count, join, minor, ranges, short

_SEVERAL = 2  # packages that one release suits: a single one has its own fix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Cell, Environment, Reason, Subject


class PackageOutcome(NamedTuple):
    """The facts of a package using torch that are kept for the result of its environment.

    Attributes:
        cell: Whether it loads on the installed torch; None if there is none.
        good: The known releases that it allows and loads on, with layouts as it expects them.
        name: Its name.
    """

    cell: Cell | None
    good: frozenset[Version]
    name: str = ""


def good_releases(subject: Subject) -> frozenset[Version]:
    """Return the known torch releases that suit a package: it loads on them and allows them."""
    loading = {release for release, cell in subject.matrix.row.items() if cell.loads_unchanged}
    demands = subject.required or (None,)
    return frozenset(loading) & admitted_by_any(demands, tuple(loading))


def remedy(subject: Subject, cell: Cell, torch: Version, catalog: Catalog) -> Remedy | None:
    """Return what a user can do about a package; None if it loads, as far as is known.

    Args:
        subject: The package, checked against the releases in the catalog.
        cell: Whether the package loads on the installed torch.
        torch: The version of that torch, with its local part.
        catalog: The known releases of torch.
    """
    if cell.status is ReleaseStatus.BREAKS:
        what = f"does not load with torch {torch}: {_missing(subject, cell, torch)}"
    elif cell.layout is LayoutStatus.CHANGED:
        built = subject.built_with.releases if subject.built_with else ()
        release = f"torch {ranges(built, catalog.published)}" if built else "another torch"
        change = cell.changes[0]
        what = (
            f"loads with torch {torch}, but was built with {release}: {change.name} changed"
            f" ({change.told}); expect wrong results or crashes"
        )
    else:
        return None
    name = f"{subject.claims.name} {subject.claims.version}"
    unmet = [
        demand
        for demand in subject.required
        if demand is not None and not demand.contains(torch, prereleases=True)
    ]
    why = f"{name} requires torch{unmet[0]} and {what}" if unmet else f"{name} {what}"
    good = good_releases(subject)
    if not good:
        where = "torch release on PyPI" if subject.build is None else f"release of {subject.build}"
        return Remedy(f"{why}; no {where} suits it")
    if subject.build is not None:
        # The newest of its builds; if there is one for the release at hand, that one.
        best = max([r for r in good if r.release == torch.release] or good)
        command = f"pip install --force-reinstall torch=={best}+{subject.build.name}"
        return Remedy(f"{why}; it is for {subject.build}", command)
    same = [r for r in good if r.release == torch.release]
    for_cuda = any(reason.is_about_cuda for reason in cell.reasons)
    if for_cuda and not same:
        build = subject.matrix.row.get(Version(torch.base_version))
        if build is not None and build.reasons:
            why += f"; nor does it load with the build on PyPI: {_told(build.reasons[0])}"
    if for_cuda and same:
        # The index's build of this same release.
        return Remedy(
            f"{why}; install the build with CUDA from PyPI",
            # equivalent: there is at most one
            f"pip install --force-reinstall torch=={same[0]}",
        )
    return Remedy(why, _install(good, catalog))


def _install(good: frozenset[Version], catalog: Catalog) -> str:
    """Return the command that installs the newest suitable minor release."""
    newest = max(good).release[:2]
    line = requirement([r for r in good if r.release[:2] == newest], catalog.published)
    return f'pip install "{line}"'


def _missing(subject: Subject, cell: Cell, torch: Version) -> str:
    """Say what the installed torch lacks; if it is too old, which release a package needs."""
    floor = subject.torch_floor
    if floor is not None and floor.release > Version(torch.base_version):
        needs = f"torch {short(floor.release)} or newer is needed"
        return f"{needs} for {floor.symbols[0]}" if floor.symbols else needs
    return _told(cell.reasons[0])


def _told(reason: Reason) -> str:
    """Return why a package does not load, with symbols as declared in C++."""
    declared = demangle(reason.name) if reason.cause in (Cause.SYMBOL, Cause.CUDA) else None
    return f"{declared or reason.name} ({reason.detail})"


def conclude_environment(
    packages: Sequence[PackageOutcome],
    unread: int,
    environment: Environment,
    catalog: Catalog,
    *,
    strict: bool = False,
) -> Conclusion:
    """Return the result of the audit of an environment.

    Args:
        packages: The packages that use torch.
        unread: How many packages could not be audited.
        environment: The environment.
        catalog: The known releases of torch.
        strict: Whether changed layouts also fail the environment.
    """
    broken = [p for p in packages if p.cell is None or p.cell.status is ReleaseStatus.BREAKS]
    changed = [p for p in packages if p.cell and p.cell.layout is LayoutStatus.CHANGED]
    total = count(len(packages), "package")
    torch = environment.version
    if environment.error is not None:
        said = f"the installed torch can't be read: {environment.error}"
        return Conclusion("error", said, EXIT_ERROR)
    if not packages:
        said = "no package uses torch"
    elif torch is None:
        said = f"torch is not installed, but {total} {'needs' if len(packages) == 1 else 'need'} it"
    elif broken:
        verb = "does" if len(broken) == 1 else "do"
        said = f"{len(broken)} of {total} that use torch {verb} not load with torch {torch}"
        said = said.replace("package that use ", "package that uses ")
    else:
        all_of = f"all {total} that use" if len(packages) > 1 else f"{total} that uses"
        said = f"{all_of} torch {'load' if len(packages) > 1 else 'loads'} with torch {torch}"
    if changed:
        said += f"; {count(len(changed), 'package')} with changed class layouts"
    if broken or changed:
        said += _advice(packages, catalog)
    if unread:
        said += f"; {count(unread, 'package')} could not be audited"
        return Conclusion("error", said, EXIT_ERROR)
    failed = bool(broken) or (strict and bool(changed))
    word: Literal["failed", "passed"] = "failed" if failed else "passed"
    return Conclusion(word, said, EXIT_UNSAFE if failed else EXIT_SAFE)


def with_failure(conclusion: Conclusion, why: str) -> Conclusion:
    """Return the result for an environment if something else also fails the run."""
    if conclusion.exit_code == EXIT_ERROR:
        return conclusion._replace(why=f"{conclusion.why}; {why}")
    return Conclusion("failed", f"{conclusion.why}; {why}", EXIT_UNSAFE)


def _advice(packages: Sequence[PackageOutcome], catalog: Catalog) -> str:
    """Say which release of torch suits all packages, or else most of them."""
    if len(packages) == 1:
        return ""
    suited = Counter(release for package in packages for release in package.good)
    most = max(suited.values(), default=0)
    releases = frozenset(release for release, number in suited.items() if number == most)
    if most < len(packages):
        none = "; no torch release on PyPI suits all of them"
        if most < _SEVERAL:
            return none
        # Among releases that suit equally many, the newest, and those equal to it.
        best = max(releases)
        others = [package.name for package in packages if best not in package.good]
        same = frozenset(
            r for r in releases if all((r in p.good) == (best in p.good) for p in packages)
        )
        return (
            f"{none}; torch {minor(best)} suits {most}, but not {join(others)}:"
            f" {_install(same, catalog)}"
        )
    return f"; torch {minor(max(releases))} suits all of them: {_install(releases, catalog)}"
