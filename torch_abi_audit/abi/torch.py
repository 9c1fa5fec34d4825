"""Which ABI of torch a library uses: its stable C shims, or anything else of libtorch."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import owner
from torch_abi_audit.catalog.libraries import is_torch_library
from torch_abi_audit.claims.manylinux import is_linux_library
from torch_abi_audit.model import MAIN_EXECUTABLE, Floor, TorchAbi, TorchUse, basename, library_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch_abi_audit.catalog import Catalog, Platform
    from torch_abi_audit.loader.scope import Scope
    from torch_abi_audit.model import Library, Symbol

_NAMESPACES = frozenset({"at", "c10", "c10d", "caffe2", "torch"})
_STABLE_SCOPES = frozenset({("torch", "stable"), ("torch", "headeronly")})
_THREAD_INIT = ("_ZTH", "__ZTH")
_STABLE_HEADERS = ("torch/csrc/stable/", "torch/headeronly/", "torch/csrc/inductor/aoti_torch/")
_C_NAME = re.compile(r"THP[A-Z_]|FLAGS_(?:caffe2|torch)_")
_RESERVED_SHIM = re.compile(r"aoti_torch_|aoti_record_function_")
_POSSIBLE_SHIM = re.compile(r"torch_")
_PYTHON = re.compile(r"_?Py[A-Z_]")
# Projects that libtorch bundles. Everything else that its libraries export is torch's own.
_THIRD_PARTIES = frozenset(
    {"fbgemm", "gloo", "google", "onnx", "onnx_torch", "tensorpipe", "tensorpipe_uv", "kineto"}
    | {"libkineto", "dnnl", "ideep", "asmjit", "fmt", "nlohmann", "httplib", "cudnn_frontend"}
    | {"dynolog", "sleef", "xnnpack", "mkldnn", "opentelemetry", "protobuf"}
)
# Classes and namespaces that only torch's unstable headers define. What the headers under
# torch/headeronly define in c10 (Half, toString, HeaderOnlyArrayRef, detail, …) is fine.
_UNSTABLE_C10 = frozenset(
    {"AutogradMetaInterface", "CPUTensorId", "Device", "DeviceGuard", "Dict", "Dispatcher"}
    | {"DispatchKeySet", "Error", "FunctionSchema", "IValue", "KernelFunction", "List"}
    | {"MaybeOwned", "NotImplementedError", "OperatorHandle", "OperatorKernel", "OperatorName"}
    | {"Stream", "Storage", "StorageImpl", "SymBool", "SymFloat", "SymInt", "SymNodeImpl"}
    | {"TensorImpl", "TensorOptions", "TensorType", "Type", "TypedOperatorHandle"}
    | {"UndefinedTensorImpl", "ValueError", "IndexError", "VariableVersion", "Warning"}
    | {"cuda", "getCustomClassType", "getTypePtrCopy", "intrusive_ptr", "intrusive_ptr_target"}
    | {"ivalue"}
)
_UNSTABLE_TORCH = frozenset(
    {"CppFunction", "Library", "autograd", "class_", "data", "dynamo", "jit", "nn", "optim"}
    | {"serialize", "Tensor", "TensorDef"}
)


def is_torchs(path: str, library: Library) -> bool:
    """Whether a library is one of torch's own, or a copy of it."""
    return any(map(is_torch_library, library.names(path)))


class _Kind(Enum):
    SHIM = auto()
    UNKNOWN_SHIM = auto()
    UNSTABLE = auto()
    FOREIGN = auto()
    LEAKED = auto()
    WEAK = auto()


def classify_torch(
    library: Library, scope: Scope, catalog: Catalog, platform: Platform | None
) -> TorchUse:
    """Tell how a library uses torch.

    Args:
        library: The facts.
        scope: What the library finds in its own target.
        catalog: What torch's releases provide.
        platform: The builds for the library's platform; None if there are none: then only
            names decide.
    """
    needed = tuple(
        library_name(path)
        for path in library.needed
        if is_torch_library(library_name(path))
        and library_name(path) not in scope.libraries
        and path not in library.optional
    )
    found: dict[_Kind, list[str]] = {kind: [] for kind in _Kind}
    perhaps: set[str] = set()
    providers: dict[str, frozenset[str]] = {}
    names = _Names(library, scope, catalog, platform)
    for symbol, kind in names.kinds():
        if symbol.weak:
            found[_Kind.WEAK].append(symbol.name)
        # Without a weak symbol the library loads, but crashes on the first call to it. Compilers
        # themselves emit a check before they call the initialiser of a thread-local variable.
        if not symbol.weak or (kind is _Kind.UNSTABLE and not symbol.name.startswith(_THREAD_INIT)):
            found[kind].append(symbol.name)
        if symbol.name in scope.perhaps:
            perhaps.add(symbol.name)
        if scope.binds and symbol.library is not None:
            providers[symbol.name] = scope.outside(symbol) or frozenset()

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
        foreign=tuple(sorted(found[_Kind.FOREIGN])),
        leaked=tuple(sorted(found[_Kind.LEAKED])),
        inlined=_inlined(library) if abi is TorchAbi.STABLE else (),
        headers=_headers(library) if abi is TorchAbi.STABLE else (),
        perhaps=frozenset(perhaps),
        floor=floor_of(found[_Kind.SHIM], catalog) if abi is TorchAbi.STABLE else None,
        providers=providers,
    )


class _Names:
    """Classifies the imports of one library with respect to torch."""

    def __init__(
        self, library: Library, scope: Scope, catalog: Catalog, platform: Platform | None
    ) -> None:
        self._library = library
        self._scope = scope
        self._catalog = catalog
        self._platform = platform
        # Whether the loader searches torch's libraries at all for this one.
        self._reaches_torch = any(map(is_torch_library, scope.needed))
        # `torch_` is not a reserved prefix: an unknown name counts as a shim only if
        # the library demonstrably uses torch.
        self._uses_torch = self._reaches_torch or any(
            symbol.name in catalog.shims for symbol in library.imports
        )

    def kinds(self) -> Iterator[tuple[Symbol, _Kind]]:
        """Yield each import that is torch's, with its kind."""
        for symbol in self._library.imports:
            outside = self._scope.outside(symbol)
            if outside is None:
                kind = self._by_name(symbol.name)
                # If the name does not decide, the export table has to be read.
                if kind is None and not symbol.weak:
                    kind = self._by_exports(symbol)
            elif any(map(is_torch_library, outside)):
                kind = self._by_name(symbol.name) or _of_unknown_name(symbol.name)
            elif MAIN_EXECUTABLE in outside:
                kind = self._by_name(symbol.name)  # which Python does not provide
            else:
                continue
            if kind is not None:
                yield symbol, kind

    def _by_name(self, name: str) -> _Kind | None:
        shim = self._catalog.shims.get(name)
        if shim is not None:
            return _Kind.SHIM if shim.removed is None else _Kind.UNSTABLE
        if _RESERVED_SHIM.match(name) or (self._uses_torch and _POSSIBLE_SHIM.match(name)):
            # libtorch exports a few functions with this prefix that no header declares.
            private = self._reaches_torch and self._is_exported(name)
            return _Kind.UNSTABLE if private else _Kind.UNKNOWN_SHIM
        if _C_NAME.match(name):
            return _Kind.UNSTABLE
        scopes = owner(name)
        if scopes[:2] in _STABLE_SCOPES:
            return None  # inline in torch's headers: not looked up in torch
        return _Kind.UNSTABLE if scopes and scopes[0] in _NAMESPACES else None

    def _by_exports(self, symbol: Symbol) -> _Kind | None:
        """Classify an import by torch's exports if its name does not decide.

        Only for a symbol whose provider the binary does not decide. A symbol version of a system
        library does not: if that library lacks the name, ld.so binds to torch's, which has no
        version. The exports of other libraries are not known here.
        """
        if symbol.library is not None and not is_linux_library(basename(symbol.library)):
            return None
        if not self._reaches_torch or self._platform is None or _PYTHON.match(symbol.name):
            return None
        leak = self._platform.leaks.get(symbol.name)
        if leak is not None:
            # With libstdc++'s own version, the symbol comes from libstdc++; a template may come
            # from another library of the target.
            own = symbol.version == leak.version or symbol.name in self._scope.perhaps
            return None if own else _Kind.LEAKED
        scopes = owner(symbol.name)
        # Of libstdc++'s names torch exports only the leaked ones, so no lookup is needed.
        # equivalent: a lookup would find none
        of_libstdcxx = symbol.library is not None and not scopes and symbol.name.startswith("_Z")
        if of_libstdcxx or scopes[:2] in _STABLE_SCOPES or not self._is_exported(symbol.name):
            return None
        exporters = self._platform.table.exporters(symbol.name)
        if not scopes and all("torch_python" in name for name in exporters):
            return _Kind.UNSTABLE  # libtorch_python bundles no third-party C functions
        return _of_unknown_name(symbol.name)

    def _is_exported(self, name: str) -> bool:
        return self._platform is not None and bool(self._platform.table.exporters(name))


def _of_unknown_name(name: str) -> _Kind:
    """Classify an export of torch's libraries whose name matches nothing known."""
    scopes = owner(name)
    third_party = scopes[0] in _THIRD_PARTIES if scopes else not name.startswith(("_Z", "?"))
    return _Kind.FOREIGN if third_party else _Kind.UNSTABLE


def _inlined(library: Library) -> tuple[str, ...]:
    """Return the weak definitions that come from torch's unstable headers."""
    return tuple(
        sorted(
            symbol.name
            for symbol in library.exports
            if symbol.weak and _is_unstable_class(owner(symbol.name))
        )
    )


def _headers(library: Library) -> tuple[str, ...]:
    """Return torch's unstable headers whose assertions are inlined."""
    if not library.assertions:  # equivalent: most have none, so the reader is not imported
        return ()
    from torch_abi_audit.abi.built_with import literals  # noqa: PLC0415

    found = {literal.header for literal in literals(library)}
    return tuple(sorted(path for path in found if not path.startswith(_STABLE_HEADERS)))


def _is_unstable_class(scopes: tuple[str, ...]) -> bool:
    match scopes[:2]:
        case ("at", name):
            return name != "vec"
        case ("c10", name):
            return name in _UNSTABLE_C10
        case ("torch", name):
            return name in _UNSTABLE_TORCH
        case _:
            return False


def floor_of(shims: Iterable[str], catalog: Catalog) -> Floor:
    """Return the newest release that introduced one of the shims, or the first guaranteed one."""
    since = {name: catalog.shims[name].since for name in shims}
    release = max([catalog.promised_since, *since.values()])
    return Floor(release, tuple(sorted(name for name in since if since[name] == release)))
