"""A catalog of one torch: installed or a wheel, including nightly and private builds."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.archive.directory import open_zip
from torch_abi_audit.catalog import Catalog, Platform, Shim, ShimExport
from torch_abi_audit.catalog.build.collect import FolderTree, WheelTree, collect
from torch_abi_audit.catalog.build.headers import is_deprecated, is_promised
from torch_abi_audit.catalog.build.merge import platform_file
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

    from torch_abi_audit.catalog.build.collect import Provided


def catalog_of(target: Path, base: Catalog) -> Catalog:
    """Return the catalog of one torch, which is never imported.

    Args:
        target: A torch wheel, a site-packages folder with torch in it, or the `torch`
            folder in such a folder.
        base: The packaged catalog, which says when torch added each shim.

    Raises:
        AuditError: There is no torch there, or it can't be read.
    """
    provided = read_torch(target)
    version = Version(provided.version)
    known = base.platforms.get(provided.platform)
    versions = {name: leak.version for name, leak in known.leaks.items()} if known else {}
    data = platform_file([provided], versions, {}, compressed=False)
    exporters = {
        name: library
        for library, contents in provided.libraries.items()
        for name in contents["exports"]
    }
    shims = {}
    for name in {*base.shims, *provided.shims}:
        shim = base.shims.get(name)
        if shim is None:
            header, _, gate, condition = provided.shims[name]
            shim = Shim(
                since=version,
                header=str(header),
                gate=Version(gate) if gate else None,
                condition=condition,
                promised=is_promised(str(header)),
                deprecated=is_deprecated(str(header)),
            )
        exported = {}
        if name in exporters:
            exported[provided.platform] = ShimExport(exporters[name], version, version)
        shims[name] = shim._replace(exported=exported)
    return Catalog(
        releases=(version,),
        published=(version,),
        released=base.released,
        promised_since=base.promised_since,
        shims=shims,
        platforms={provided.platform: Platform(provided.platform, lambda: io.BytesIO(data))},
    )


def read_torch(target: Path) -> Provided:
    """Return what one torch provides.

    Args:
        target: See `catalog_of`.

    Raises:
        AuditError: There is no torch there, or it can't be read.
    """
    if not target.exists():
        hint = "; use --torch to select a release" if target.name[:1].isdigit() else ""
        raise AuditError(f"{target}: no such file or directory{hint}")
    try:
        if target.suffix == ".whl":
            with open_zip(target) as archive:
                return collect("", target.name, WheelTree(archive))
        folder = target.parent if target.name == "torch" else target
        return collect("", str(target), FolderTree(folder))
    except AuditError as error:
        raise AuditError(f"{target}: {error}") from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AuditError(f"{target}: no torch that can be read: {error}") from error
