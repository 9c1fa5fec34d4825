"""Which ABI of torch a library uses: its stable C shims, or anything else of libtorch."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

from torch_abi_audit.abi.names import owner
from torch_abi_audit.model import Floor, TorchAbi, TorchUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch_abi_audit.abi.scope import Scope
    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Library

# What torch's own wheels carry, on all three systems; `lib` and the suffix are matched apart.
TORCH_LIBRARY = re.compile(
    r"(?:lib)?(?:torch(?:_cpu|_cuda|_cuda_linalg|_python|_global_deps|_hip|_xpu|_nvshmem)?"
    r"|c10(?:_cuda|_hip|_xpu)?|shm|caffe2_nvrtc)(?:\.so|\.dylib|\.dll)",
)

_NAMESPACES = frozenset({"at", "c10", "c10d", "caffe2", "torch"})
_STABLE_SCOPES = frozenset({("torch", "stable"), ("torch", "headeronly")})
_PYTHON_C_NAME = re.compile(r"THP[A-Z]")  # libtorch_python's own C API
_RESERVED_SHIM = re.compile(r"aoti_torch_|aoti_record_function_")
_POSSIBLE_SHIM = re.compile(r"torch_")


def is_torch_library(name: str) -> bool:
    """Whether a needed name, soname or filename is one of torch's own libraries."""
    return TORCH_LIBRARY.fullmatch(name) is not None


def classify_torch(library: Library, scope: Scope, catalog: Catalog) -> TorchUse:
    """Tell how a library uses torch.

    Args:
        library: The facts.
        scope: What the library finds in its own target.
        catalog: What torch's releases provide.
    """
    needed = tuple(
        name for name in library.needed if is_torch_library(name) and name not in scope.libraries
    )
    imports = [symbol for symbol in library.imports if symbol.name not in scope.symbols]
    # `torch_` is no reserved prefix: an unknown name is taken for a shim only where
    # the library shows that it uses torch at all.
    uses_torch = bool(needed) or any(symbol.name in catalog.shims for symbol in imports)

    found: dict[_Kind, list[str]] = {kind: [] for kind in _Kind}
    for symbol in imports:
        kind = _kind(symbol.name, catalog, uses_torch=uses_torch)
        if kind is not None:
            found[_Kind.WEAK if symbol.weak else kind].append(symbol.name)

    if found[_Kind.UNSTABLE]:
        abi = TorchAbi.UNSTABLE
    elif found[_Kind.SHIM] or found[_Kind.UNKNOWN_SHIM]:
        abi = TorchAbi.STABLE
    else:
        abi = TorchAbi.NONE
    return TorchUse(
        abi=abi,
        needed=needed,
        shims=tuple(sorted(found[_Kind.SHIM])),
        unknown_shims=tuple(sorted(found[_Kind.UNKNOWN_SHIM])),
        unstable=tuple(sorted(found[_Kind.UNSTABLE])),
        weak=tuple(sorted(found[_Kind.WEAK])),
        floor=_floor(found[_Kind.SHIM], catalog) if abi is TorchAbi.STABLE else None,
    )


class _Kind(Enum):
    SHIM = auto()
    UNKNOWN_SHIM = auto()
    UNSTABLE = auto()
    WEAK = auto()


def _kind(name: str, catalog: Catalog, *, uses_torch: bool) -> _Kind | None:
    """Tell what an imported name is to torch, or None when it is not torch's."""
    shim = catalog.shims.get(name)
    if shim is not None:
        return _Kind.SHIM if shim.removed is None else _Kind.UNSTABLE
    if _RESERVED_SHIM.match(name) or (uses_torch and _POSSIBLE_SHIM.match(name)):
        return _Kind.UNKNOWN_SHIM
    if _PYTHON_C_NAME.match(name):
        return _Kind.UNSTABLE
    scopes = owner(name)
    if scopes[:2] in _STABLE_SCOPES:
        return None  # inline in torch's headers: no release of torch is asked for it
    return _Kind.UNSTABLE if scopes[:1] and scopes[0] in _NAMESPACES else None


def _floor(shims: Iterable[str], catalog: Catalog) -> Floor:
    """Return the newest release that introduced one of the shims, or the promise's first."""
    since = {name: catalog.shims[name].since for name in shims}
    release = max([catalog.promised_since, *since.values()])
    return Floor(release, tuple(sorted(name for name in since if since[name] == release)))


def worst_abi(uses: Iterable[TorchUse]) -> TorchAbi:
    """Roll the uses of several libraries up to their target: the worst of them."""
    abis = {use.abi for use in uses}
    for abi in (TorchAbi.UNSTABLE, TorchAbi.STABLE):
        if abi in abis:
            return abi
    return TorchAbi.NONE


def highest_floor(uses: Iterable[TorchUse]) -> Floor | None:
    """Roll floors up to their target, None without a stable library or with an unstable one."""
    uses = list(uses)
    floors = [use.floor for use in uses if use.floor is not None]
    if not floors or worst_abi(uses) is TorchAbi.UNSTABLE:
        return None
    release = max(floor.release for floor in floors)
    symbols = {name for floor in floors if floor.release == release for name in floor.symbols}
    return Floor(release, tuple(sorted(symbols)))
