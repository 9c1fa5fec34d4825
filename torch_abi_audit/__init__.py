"""Audit wheels for PyTorch's stable ABI before you upload them.

from torch_abi_audit import audit

report = audit("dist/x-1.0-py39-none-manylinux_2_28_x86_64.whl")
assert report.safe
"""

from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.api import Report, audit
from torch_abi_audit.audit import Options
from torch_abi_audit.budget import Limits
from torch_abi_audit.claims.torch_build import TorchBuild
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    Alternative,
    Assertion,
    Baseline,
    BaselineTarget,
    BuildSource,
    BuildUse,
    BuiltWith,
    Cause,
    Cell,
    Check,
    CheckResult,
    Claims,
    Comparison,
    Conclusion,
    Coverage,
    Defect,
    DefectKind,
    DemandSource,
    DeploymentTarget,
    Evidence,
    EvidenceKind,
    Finding,
    Fix,
    Floor,
    Format,
    Here,
    Host,
    HostLibrary,
    HostNeed,
    Ignore,
    Ignored,
    Interpreter,
    KnownFinding,
    LayoutChange,
    LayoutStatus,
    Library,
    LibraryAudit,
    LibraryKind,
    LibraryState,
    Matrix,
    Member,
    MetadataChange,
    Plan,
    ProjectRelease,
    PythonAbi,
    PythonUse,
    PythonVersion,
    Reason,
    ReleaseStatus,
    Remedy,
    Replaced,
    Replacement,
    ReplacementKind,
    Replacements,
    RunReport,
    Severity,
    Sign,
    StrictIgnores,
    Subject,
    Symbol,
    TargetKind,
    TargetReport,
    TorchAbi,
    TorchUse,
    VariantProperty,
    Verdict,
    WheelSummary,
)

__version__ = "1.0.0.dev0"

__all__ = [
    "Alternative",
    "Assertion",
    "AuditError",
    "Baseline",
    "BaselineTarget",
    "BuildSource",
    "BuildUse",
    "BuiltWith",
    "Cause",
    "Cell",
    "Check",
    "CheckResult",
    "Claims",
    "Comparison",
    "Conclusion",
    "Coverage",
    "Defect",
    "DefectKind",
    "DemandSource",
    "DeploymentTarget",
    "Evidence",
    "EvidenceKind",
    "Finding",
    "Fix",
    "Floor",
    "Format",
    "Here",
    "Host",
    "HostLibrary",
    "HostNeed",
    "Ignore",
    "Ignored",
    "Interpreter",
    "KnownFinding",
    "LayoutChange",
    "LayoutStatus",
    "Library",
    "LibraryAudit",
    "LibraryKind",
    "LibraryState",
    "Limits",
    "Matrix",
    "Member",
    "MetadataChange",
    "Options",
    "Plan",
    "ProjectRelease",
    "PythonAbi",
    "PythonUse",
    "PythonVersion",
    "Reason",
    "ReleaseStatus",
    "Remedy",
    "Replaced",
    "Replacement",
    "ReplacementKind",
    "Replacements",
    "Report",
    "RunReport",
    "Severity",
    "Sign",
    "StrictIgnores",
    "Subject",
    "Symbol",
    "TargetKind",
    "TargetReport",
    "TorchAbi",
    "TorchBuild",
    "TorchUse",
    "VariantProperty",
    "Verdict",
    "WheelSummary",
    "__version__",
    "audit",
    "demangle",
]

if TYPE_CHECKING:
    from torch_abi_audit.compat import BASELINE_VERSION as BASELINE_VERSION
    from torch_abi_audit.compat import CPythonABIVerdict as CPythonABIVerdict
    from torch_abi_audit.compat import EnvironmentReport as EnvironmentReport
    from torch_abi_audit.compat import ExtensionReport as ExtensionReport
    from torch_abi_audit.compat import PackageReport as PackageReport
    from torch_abi_audit.compat import TorchABIVerdict as TorchABIVerdict
    from torch_abi_audit.compat import inspect_extension as inspect_extension
    from torch_abi_audit.compat import inspect_package as inspect_package
    from torch_abi_audit.compat import inspect_site_packages as inspect_site_packages
    from torch_abi_audit.compat import minimum_version as minimum_version
    from torch_abi_audit.compat import symbol_version as symbol_version
else:
    _OF_0_3 = frozenset(
        {"BASELINE_VERSION", "CPythonABIVerdict", "EnvironmentReport", "ExtensionReport"}
        | {"PackageReport", "TorchABIVerdict", "inspect_extension", "inspect_package"}
        | {"inspect_site_packages", "minimum_version", "report", "symbol_version"}
    )

    def __getattr__(name: str) -> object:
        """Return what 0.3.0 had under a name; only then is it loaded."""
        if name not in _OF_0_3:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        if name == "report":
            return import_module("torch_abi_audit.report")
        return getattr(import_module("torch_abi_audit.compat"), name)
