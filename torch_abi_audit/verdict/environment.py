"""What an environment comes to: which packages load, and what to do about those that do not.

Advice is for who installs packages, not for who builds them.
"""

from __future__ import annotations

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
from torch_abi_audit.wording import count, ranges, short

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Cell, Environment, Reason, Subject


class PackageOutcome(NamedTuple):
    """What is kept of a package that uses torch, to conclude its environment.

    Attributes:
        cell: How it stands with the torch that is installed; None where there is none.
        good: The known releases that it loads on, with layouts as it knows them, and allows.
    """

    cell: Cell | None
    good: frozenset[Version]


def good_releases(subject: Subject) -> frozenset[Version]:
    """Return the known releases of torch that suit a package: it loads there, and allows them."""
    loading = {release for release, cell in subject.matrix.row.items() if cell.loads_unchanged}
    demands = subject.required or (None,)
    return frozenset(loading) & admitted_by_any(demands, tuple(loading))


def remedy(subject: Subject, cell: Cell, torch: Version, catalog: Catalog) -> Remedy | None:
    """Return what a user can do about a package; None where it loads, as far as is known.

    Args:
        subject: The package, against the releases of the catalog.
        cell: The package against the torch that is installed.
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
        return Remedy(f"{why}; no known torch release suits it")
    same = [r for r in good if r.release == torch.release]
    if same and any(reason.is_about_cuda for reason in cell.reasons):
        # The build that the index has of this very release.
        return Remedy(
            f"{why}; install a CUDA build of it",
            # equivalent: there is no more than one
            f"pip install --force-reinstall torch=={same[0]}",
        )
    return Remedy(why, _install(good, catalog))


def _install(good: frozenset[Version], catalog: Catalog) -> str:
    """Return the command that installs the newest minor release of those that suit."""
    newest = max(good).release[:2]
    line = requirement([r for r in good if r.release[:2] == newest], catalog.published)
    return f'pip install "{line}"'


def _missing(subject: Subject, cell: Cell, torch: Version) -> str:
    """Say what the installed torch lacks; where it is too old, which release a package needs."""
    floor = subject.torch_floor
    if floor is not None and floor.release > Version(torch.base_version):
        needs = f"torch {short(floor.release)} or newer is needed"
        return f"{needs} for {floor.symbols[0]}" if floor.symbols else needs
    return _told(cell.reasons[0])


def _told(reason: Reason) -> str:
    """Return why a package does not load, a symbol as it is declared."""
    declared = demangle(reason.name) if reason.cause is Cause.SYMBOL else None
    return f"{declared or reason.name} ({reason.detail})"


def conclude_environment(
    packages: Sequence[PackageOutcome],
    unread: int,
    environment: Environment,
    catalog: Catalog,
    *,
    strict: bool = False,
) -> Conclusion:
    """Return what the audit of an environment comes to.

    Args:
        packages: Those that use torch.
        unread: How many packages could not be audited.
        environment: The environment.
        catalog: The known releases of torch.
        strict: Whether changed layouts fail it too.
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


def _advice(packages: Sequence[PackageOutcome], catalog: Catalog) -> str:
    """Say which release of torch suits all packages."""
    if len(packages) == 1:
        return ""
    common = frozenset.intersection(*(package.good for package in packages))
    if not common:
        return "; no known torch release suits all of them"
    minor = ".".join(map(str, max(common).release[:2]))
    return f"; torch {minor} suits all of them: {_install(common, catalog)}"
