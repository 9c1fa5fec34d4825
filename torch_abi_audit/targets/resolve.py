"""What the user named: a wheel, a library, a folder of either, or an installed package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Opened, TargetKind
from torch_abi_audit.targets.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch_abi_audit.targets.installed import Site


@dataclass(frozen=True, slots=True)
class Found:
    """A target that was found.

    Attributes:
        name: What to call it.
        open: Opens it; raises `AuditError`.
        site: For an installed package, where it is installed.
        said: What the user should know about which one was taken.
    """

    name: str
    open: Callable[[], Opened]
    site: Site | None = None
    said: str | None = None


def resolve(text: str, site: Callable[[], Site], *, verify: bool = False) -> list[Found]:
    """Find what a text names.

    Args:
        text: A path, or the name of an installed package.
        site: Where packages are installed; only asked where a name is no path of a wheel.
        verify: Whether wheels are read to the end; see `read_wheel`.

    Raises:
        AuditError: There is nothing of that name.
    """
    # os.path answers for any string, where pathlib raises for some.
    exists = os.path.exists(text)  # noqa: PTH110
    path = Path(text)
    if path.suffix == ".whl":
        return [Found(text, partial(_open_wheel, path, verify=verify))]
    if text and os.path.basename(text) == text:  # noqa: PTH119 -- a bare name
        packages = site().find(text)
        said = f"{text}: the installed package was taken, not ./{text}" if exists else None
        if packages:
            return [Found(name, partial(site().open, name), site(), said) for name in packages]
    if not exists:
        where = "" if os.sep in text else ", and no installed package of that name"
        raise AuditError(f"no such file{where}")
    if path.is_dir():
        return _in_folder(text, path, verify=verify)
    if not path.is_file():
        raise AuditError("not a file")
    from torch_abi_audit.targets.files import open_library  # noqa: PLC0415

    return [Found(text, partial(open_library, path))]


def _open_wheel(path: Path, *, verify: bool) -> Opened:
    claims, members = read_wheel(path, verify=verify)
    return Opened(TargetKind.WHEEL, claims, members)


def _in_folder(text: str, folder: Path, *, verify: bool) -> list[Found]:
    from torch_abi_audit.targets.files import open_folder  # noqa: PLC0415 -- rarely needed
    from torch_abi_audit.targets.installed import Site  # noqa: PLC0415

    wheels = sorted(folder.glob("*.whl"))
    if wheels:
        return [Found(str(wheel), partial(_open_wheel, wheel, verify=verify)) for wheel in wheels]
    beside = Site([folder.resolve().parent])
    owner = beside.owner(folder)
    if owner is not None:
        return [Found(text, partial(beside.open, owner), beside)]
    return [Found(text, partial(open_folder, folder))]
