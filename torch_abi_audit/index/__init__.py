"""Package indexes: where to look, the requests, and the pages of the simple repository API.

All of it needs the extra `index`. The modules raise `AuditError` on import without it.
"""

from __future__ import annotations

from importlib.util import find_spec

from torch_abi_audit.errors import AuditError

_PACKAGES = ("platformdirs", "pypi_simple", "requests", "truststore", "urllib3")


def require() -> None:
    """Check that the packages of the extra `index` are installed.

    Raises:
        AuditError: One is missing; the message has the command that installs it.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise AuditError(
            f"reading an index requires the index extra: pip install 'torch-abi-audit[index]'"
            f" (missing: {', '.join(missing)})"
        )
