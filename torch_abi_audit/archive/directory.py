"""The central directory of a zip archive: opening it."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO


def open_zip(path: Path | IO[bytes]) -> zipfile.ZipFile:
    """Open a zip archive.

    Args:
        path: Where it is, or its bytes.

    Raises:
        AuditError: It is not one, or not a file at all. A pipe is not waited for.
    """
    if isinstance(path, os.PathLike):
        require_file(path)
    try:
        return zipfile.ZipFile(path)
    except AuditError:
        raise
    except FileNotFoundError as error:
        raise AuditError("no such file") from error
    except OSError as error:
        raise AuditError(error.strerror or str(error)) from error
    except Exception as error:
        # Besides BadZipFile, a damaged directory raises struct.error, ValueError and more.
        raise AuditError(f"not a zip archive: {error or type(error).__name__}") from error


def require_file(path: Path) -> None:
    """Raise AuditError for what is there and is no file, such as a folder or a pipe."""
    # os.path accepts any string, but pathlib raises for some.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise AuditError("not a file")
