"""The matrix against real dynamic loaders, and layouts against calls."""

import os
from pathlib import Path

CACHE = Path(
    os.environ.get("TORCH_ABI_AUDIT_LOADER") or Path(__file__).parents[2] / ".cache" / "loader"
)
