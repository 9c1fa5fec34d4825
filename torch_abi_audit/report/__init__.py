"""Renderers: a finished report in, text out. Nothing is judged here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_abi_audit.compat import CPythonABIVerdict as CPythonABIVerdict
    from torch_abi_audit.compat import EnvironmentReport as EnvironmentReport
    from torch_abi_audit.compat import ExtensionReport as ExtensionReport
    from torch_abi_audit.compat import PackageReport as PackageReport
    from torch_abi_audit.compat import TorchABIVerdict as TorchABIVerdict
    from torch_abi_audit.compat import format_json as format_json
else:
    _OF_0_3 = frozenset(
        {"CPythonABIVerdict", "EnvironmentReport", "ExtensionReport", "PackageReport"}
        | {"TorchABIVerdict", "format_json"}
    )

    def __getattr__(name: str) -> object:
        """Return what 0.3.0 had under a name; only then is it loaded."""
        if name not in _OF_0_3:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from torch_abi_audit import compat  # noqa: PLC0415

        return getattr(compat, name)
