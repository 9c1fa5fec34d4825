"""What the user named: a wheel, a library, a folder of either, or an installed package."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.model import TargetKind
from torch_abi_audit.targets.wheel import read_wheel
from torch_abi_audit.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.model import TargetContents
    from torch_abi_audit.targets.installed import Site


_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A target that was found.

    Attributes:
        name: The name to show for it.
        open: Opens it, within a budget; raises `AuditError`.
        kind: What it is.
        site: For an installed package, where it is installed.
        notice: What the user should know about which target was chosen.
    """

    name: str
    open: Callable[[Budget], TargetContents]
    kind: TargetKind
    site: Site | None = None
    notice: str | None = None


def resolve(text: str, site: Callable[[], Site], *, verify: bool = False) -> list[ResolvedTarget]:
    """Find the targets that an argument names.

    Args:
        text: A path, or the name of an installed package.
        site: Where packages are installed; called only if the name is not a wheel's path.
        verify: Whether wheels are read to the end; see `read_wheel`.

    Raises:
        AuditError: There is nothing of that name.
    """
    # os.path accepts any string, but pathlib raises for some.
    exists = os.path.exists(text)  # noqa: PTH110
    path = Path(text)
    is_bare = os.path.basename(text) == text  # noqa: PTH119 -- a name without a folder
    if not exists and not _WILDCARDS.isdisjoint(text):
        raise AuditError("the pattern matches nothing")
    if not exists and not is_bare:
        _require_readable(text)
    if path.suffix == ".whl":
        if not exists:
            raise AuditError("no such file")
        return [ResolvedTarget(text, partial(read_wheel, path, verify=verify), TargetKind.WHEEL)]
    # `dist` means a folder of wheels, even if a module of that name is installed.
    wheels = exists and path.is_dir() and any(path.glob("*.whl"))
    if text and is_bare and not wheels:
        packages = site().find(text)
        notice = f"{text}: the installed package was taken, not ./{text}" if exists else None
        if packages:
            return [_package(site(), name, name, notice=notice) for name in packages]
    if not exists:
        raise AuditError(_not_found(text, site()) if is_bare else "no such file")
    if path.is_dir():
        return _in_folder(text, path, verify=verify)
    if not path.is_file():
        raise AuditError("not a file")
    from torch_abi_audit.targets.files import open_library  # noqa: PLC0415

    return [ResolvedTarget(text, partial(open_library, path), TargetKind.LIBRARY)]


def _require_readable(text: str) -> None:
    """Raise if the system does not allow checking whether a file exists."""
    try:
        os.stat(text)  # noqa: PTH116 -- for any string, as above
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return
    except OSError as error:
        if error.errno != errno.EINVAL:  # not a valid filename on Windows
            raise AuditError(reason_of(error, text)) from error


def _not_found(name: str, site: Site) -> str:
    """Say that there is no such file or package, where it was looked for, and what is similar."""
    hint = did_you_mean(name, site.packages)
    where = ", ".join(map(str, site.folders)) or "any site-packages"
    return f"no such file, and no package of that name in {where}{f'; {hint}' if hint else ''}"


def _in_folder(text: str, folder: Path, *, verify: bool) -> list[ResolvedTarget]:
    from torch_abi_audit.targets.files import open_folder  # noqa: PLC0415 -- rarely needed
    from torch_abi_audit.targets.installed import Site  # noqa: PLC0415

    wheels = sorted(folder.glob("*.whl"))
    if wheels:
        return [
            ResolvedTarget(str(wheel), partial(read_wheel, wheel, verify=verify), TargetKind.WHEEL)
            for wheel in wheels
        ]
    here = folder.absolute()
    for parent in (*here.parents, *folder.resolve().parents):
        if any(parent.glob("*.dist-info")):
            beside = Site([parent])
            owners = beside.owners(here) or beside.owners(folder.resolve())
            if owners:
                return [_package(beside, name, text, folder=folder) for name in owners]
    return [ResolvedTarget(text, partial(open_folder, folder), TargetKind.DIRECTORY)]


def _package(
    site: Site, package: str, name: str, *, folder: Path | None = None, notice: str | None = None
) -> ResolvedTarget:
    opening = partial(site.packages[package].open, folder)
    return ResolvedTarget(name, opening, TargetKind.PACKAGE, site, notice)
