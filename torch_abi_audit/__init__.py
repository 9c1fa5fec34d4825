"""Audit wheels for PyTorch's stable ABI before you upload them.

>>> from torch_abi_audit import audit
>>> report = audit("dist/x-1.0-py39-none-manylinux_2_28_x86_64.whl")  # doctest: +SKIP
>>> report.safe  # doctest: +SKIP
True
"""

from torch_abi_audit.audit import Options, audit
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    Check,
    Finding,
    Report,
    Severity,
    TargetKind,
    TargetReport,
    TorchAbi,
    Verdict,
)

__version__ = "0.1.0"

__all__ = [
    "AuditError",
    "Check",
    "Finding",
    "Options",
    "Report",
    "Severity",
    "TargetKind",
    "TargetReport",
    "TorchAbi",
    "Verdict",
    "__version__",
    "audit",
]
