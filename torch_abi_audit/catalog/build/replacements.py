"""What takes the place of unstable names in the stable ABI, from the headers in torch's wheels.

Names that are equal need no table: `at::empty_like` becomes `torch::stable::empty_like` because
the headers declare it. `CONCEPTS` has the others. Whatever it says is kept only where the newest
release declares it, and since when is measured.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torch_abi_audit.catalog.build.headers import SHIM_HEADER, declarations, is_deprecated
from torch_abi_audit.catalog.build.merge import HEADERS_PLATFORM, PROMISED_SINCE
from torch_abi_audit.catalog.build.packed import read_packed, write_packed
from torch_abi_audit.catalog.build.stable import STABLE_HEADER, Declared, stable_declarations
from torch_abi_audit.catalog.build.wheels import open_wheel
from torch_abi_audit.catalog.replacements import DISPATCHER
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch_abi_audit.catalog.build.wheels import TorchWheel

_OPERATORS = "torch/include/ATen/RegistrationDeclarations.h"
_SCHEMA = re.compile(r'// \{"schema": "aten::([^("]+)\((.*)\) -> (.*?)", "dispatch"')
_ALIASING = re.compile(r"\([a-z*!|]+(?: -> [a-z*|]+)?\)")
_LENGTH = re.compile(r"\[\d*\]")
_OWN = ("torch::stable::", "torch::headeronly::")
_INTERNAL = re.compile(r"::(?:detail|impl|guts)::|<")
_CONVERSION = "torch::stable::detail::FromImpl<{}>"
# The types of schemas, and what converts them for a call through the dispatcher; None for those
# that the template itself converts.
_CONVERTED: dict[str, str | None] = {
    "Tensor": "torch::stable::Tensor",
    "ScalarType": "ScalarType",
    "Layout": "Layout",
    "MemoryFormat": "MemoryFormat",
    "Device": "torch::stable::Device",
    "Generator": "torch::stable::Generator",
    "str": "std::string",
    "bool": None,
    "int": None,
    "SymInt": None,
    "float": None,
}
_LIST = "std::vector<T>"

# What has another name in the stable ABI. On the left a class, function or namespace: it stands
# for all that is in it, unless a longer entry says otherwise.
_OF_TENSOR = (
    "at::Tensor",
    "at::TensorBase",
    # What code that has an at::Tensor inlines.
    "c10::AutogradMetaInterface",
    "c10::StorageImpl",
    "c10::SymBool",
    "c10::SymFloat",
    "c10::SymInt",
    "c10::SymbolicShapeMeta",
    "c10::TensorImpl",
    "c10::UndefinedTensorImpl",
    "c10::detail::maybe_wrap_dim_slow",
    "c10::impl::PyObjectSlot",
    "c10::impl::SizesAndStrides",
    "c10::impl::cow",
    "c10::throwNullDataPtrError",
    "c10::warnDeprecatedDataPtr",
    "caffe2::TypeMeta",
    "torch::autograd::AutogradMeta",
)
# Registration with a schema that C++ types are compared with.
_OF_LIBRARY = (
    "c10::AnyType",
    "c10::BoolType",
    "c10::DeviceObjType",
    "c10::FloatType",
    "c10::FunctionSchema",
    "c10::GeneratorType",
    "c10::IntType",
    "c10::KernelFunction",
    "c10::ListType",
    "c10::NoneType",
    "c10::NumberType",
    "c10::OptionalType",
    "c10::RegisterOperators",
    "c10::ScalarTypeType",
    "c10::StringType",
    "c10::SymIntType",
    "c10::TensorType",
    "c10::TupleType",
    "c10::detail::infer_schema",
    "torch::CppFunction",
    "torch::Library",
    "torch::detail::TorchLibraryInit",
    "torch::jit::parseName",
    "torch::jit::parseSchema",
    "torch::jit::parseSchemaOrName",
)
CONCEPTS: dict[str, tuple[str, ...]] = {
    "torch::stable::Tensor": _OF_TENSOR,
    # Only the typed one is a symbol.
    "torch::stable::Tensor::mutable_data_ptr": ("at::TensorBase::data_ptr",),
    "STABLE_TORCH_LIBRARY": _OF_LIBRARY,
    "TORCH_BOX": (
        "c10::IValue",
        "c10::detail::ListImpl",
        "c10::ivalue::ConstantString",
        "c10::ivalue::Tuple",
    ),
    "torch_call_dispatcher": (
        "c10::Dispatcher",
        "c10::OperatorHandle",
        "c10::TypedOperatorHandle",
        "c10::impl::OperatorEntry",
        "c10::impl::raw_local_dispatch_key_set",
        "c10::initializeFunctionalityOffsetsAndMasks",
    ),
    "STD_TORCH_CHECK": (
        "c10::Error",
        "c10::IndexError",
        "c10::NotImplementedError",
        "c10::TypeError",
        "c10::ValueError",
        "c10::detail::torchCheckFail",
        "c10::detail::torchInternalAssertFail",
    ),
    "STD_CUDA_CHECK": ("c10::cuda::c10_cuda_check_implementation",),
    "aoti_torch_warn": ("c10::Warning", "c10::WarningUtils", "c10::warn"),
    "aoti_record_function_start": ("at::RecordFunction", "at::getStepCallbacksUnlessEmpty"),
    "aoti_torch_grad_mode_is_enabled": ("c10::GradMode::is_enabled",),
    "aoti_torch_grad_mode_set_enabled": ("c10::GradMode::set_enabled",),
    "torch::stable::accelerator::DeviceGuard": (
        "c10::DeviceGuard",
        "c10::cuda::CUDAGuard",
        "c10::cuda::ExchangeDevice",
        "c10::cuda::MaybeSetDevice",
        "c10::cuda::OptionalCUDAGuard",
        "c10::cuda::SetDevice",
        "c10::cuda::set_device",
        "c10::impl::GPUTrace",
        "c10::impl::device_guard_impl_registry",
    ),
    "torch::stable::accelerator::getCurrentDeviceIndex": (
        "c10::cuda::GetDevice",
        "c10::cuda::current_device",
    ),
    # It gives the stream that kernels are launched on; torch::stable::accelerator::Stream has none
    # before 2.13.
    "aoti_torch_get_current_cuda_stream": (
        "at::cuda::getCurrentCUDAStream",
        "c10::cuda::CUDAStream::stream",
        "c10::cuda::getCurrentCUDAStream",
    ),
    "torch_get_cuda_stream_from_pool": ("c10::cuda::getStreamFromPool",),
    "torch_set_current_cuda_stream": ("c10::cuda::setCurrentCUDAStream",),
    "torch_cuda_stream_synchronize": ("c10::cuda::CUDAStream::synchronize",),
    "torch_get_current_cuda_blas_handle": ("at::cuda::getCurrentCUDABlasHandle",),
    "aoti_torch_cuda_caching_allocator_raw_alloc": ("c10::cuda::CUDACachingAllocator",),
    "torch::stable::parallel_for": (
        "at::in_parallel_region",
        "at::init_num_threads",
        "at::internal::invoke_parallel",
        "at::internal::set_thread_num",
        "at::parallel_for",
        "c10::ParallelGuard",
    ),
    "torch_get_thread_idx": ("at::get_thread_num",),
    "torch::stable::from_blob": ("at::TensorMaker",),
    "torch::stable::empty": ("at::detail::empty_cpu",),
    # Another name of the same operator.
    "torch::stable::subtract": ("at::_ops::sub_Tensor",),
    "torch::stable::pad": ("at::_ops::_pad_enum", "torch::nn::functional::PadFuncOptions"),
    "aoti_torch_item_float32": ("at::Tensor::item", "at::_ops::item"),
    "aoti_torch_scalar_to_tensor_float32": (
        "at::_ops::scalar_tensor",
        "at::detail::scalar_tensor_static",
    ),
    "torch::stable::Device": ("c10::Device",),
    "torch::stable::Generator": ("at::Generator", "c10::GeneratorImpl"),
    "torch::headeronly::HeaderOnlyArrayRef": ("c10::ArrayRef",),
    "torch::stable::tensor_from_pyobject": ("pybind11::detail::type_caster",),
    "torch::stable::tensor_to_pyobject": ("THPVariable_Wrap",),
    "torch::stable::is_tensor_pyobject": ("THPVariableClass",),
    "torch::stable::device_from_pyobject": ("THPDeviceType",),
    "torch::stable::dtype_from_pyobject": ("THPDtypeType",),
    "torch::stable::dtype_to_pyobject": ("torch::getTHPDtype",),
}
# What comes with inlined code of another thing, and by itself would be something else. Where that
# is there, the same takes the place of both.
COMPANIONS: dict[str, tuple[str, ...]] = {
    # Guards have all that a device can do in a table of virtual functions.
    "c10::cuda::MaybeSetDevice": (
        "c10::cuda::CUDACachingAllocator",
        "c10::cuda::CUDAStream::query",
        "c10::cuda::GetDevice",
        "c10::cuda::device_count",
        "c10::cuda::getDefaultCUDAStream",
        "c10::cuda::warn_or_error_on_sync",
    ),
    # torch::empty and its like make a tensor below autograd.
    "torch::autograd::AutogradMeta": ("c10::impl::ExcludeDispatchKeyGuard",),
    "c10::Dispatcher::runRecordFunction": (
        "at::RecordFunction",
        "at::getStepCallbacksUnlessEmpty",
    ),
}
# What nothing takes the place of, though it does of the rest of the class.
_NOTHING = ("c10::Device::str",)
_NOTES = {
    "aoti_torch_item_float32": "one function for each dtype",
    "aoti_torch_scalar_to_tensor_float32": "one function for each dtype",
    # Of those that CUDAGuard inlines, these are in use by themselves too.
    "torch_cuda_stream_synchronize": "not for c10::cuda::CUDAGuard, which inlines it too",
    "torch_get_cuda_stream_from_pool": "not for c10::cuda::CUDAGuard, which inlines it too",
    "torch_set_current_cuda_stream": "not for c10::cuda::CUDAGuard, which inlines it too",
}
# With macros of their own for other cases.
_FAMILIES = frozenset({"STABLE_TORCH_LIBRARY"})


@dataclass(frozen=True)
class StableHeaders:
    """What the stable headers of one release declare, and the operators that it has.

    Attributes:
        version: The release.
        declared: All that the headers of the stable ABI and of the C shim declare.
        operators: The operators, each with the types of its schema that a call has to convert.
    """

    version: str
    declared: list[Declared] = field(default_factory=list)
    operators: dict[str, list[str]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        write_packed(path, self)

    @classmethod
    def load(cls, path: Path) -> StableHeaders:
        """Read it back."""
        values = read_packed(path)
        return cls(declared=list(map(_loaded, values.pop("declared"))), **values)


def _loaded(values: dict[str, Any]) -> Declared:
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Declared(**{**values, **lists})


def has_stable_headers(wheel: TorchWheel) -> bool:
    """Whether a wheel is one of those that are read for replacements."""
    return wheel.platform == HEADERS_PLATFORM and wheel.version >= PROMISED_SINCE


def read_stable_headers(wheel: TorchWheel, cache: Path) -> StableHeaders:
    """Read a wheel's stable headers, or what the cache has of them."""
    path = cache / f"{wheel.file.filename}.stable.json.xz"
    if path.exists():
        return StableHeaders.load(path)
    with open_wheel(wheel) as archive:
        texts = {
            name: archive.read(name).decode("utf-8") for name in archive.namelist() if is_read(name)
        }
    found = stable_headers(str(wheel.version), texts)
    found.save(path)
    return found


def is_read(name: str) -> bool:
    """Whether a member of a torch wheel is one of the headers that say what is stable."""
    return bool(name == _OPERATORS or STABLE_HEADER.fullmatch(name) or SHIM_HEADER.fullmatch(name))


def stable_headers(version: str, texts: Mapping[str, str]) -> StableHeaders:
    """Return what headers say.

    Args:
        version: The release.
        texts: The headers, by their paths in the wheel.

    Raises:
        AuditError: One can't be read.
    """
    declared = []
    for name, text in sorted(texts.items()):
        try:
            if header := SHIM_HEADER.fullmatch(name):
                if not is_deprecated(header[1]):
                    declared += [
                        Declared(item.name, "shim", item.gate) for item in declarations(text)
                    ]
            elif STABLE_HEADER.fullmatch(name):
                declared += stable_declarations(text)
        except AuditError as error:
            raise AuditError(f"{name}: {error}") from error
    operators = {
        name: sorted(set(_needs(arguments, returned)))
        for name, arguments, returned in _SCHEMA.findall(texts.get(_OPERATORS, ""))
    }
    return StableHeaders(version, declared, operators)


def _needs(arguments: str, returned: str) -> Iterator[str]:
    """Yield the types of a schema that a call has to convert.

    An argument that is optional can be left empty. That is no help where nothing else can be
    passed: `clamp` is of no use without its bounds.
    """
    outputs = _ALIASING.sub("", returned).strip("()").split(", ")
    inputs = _ALIASING.sub("", arguments).split(", ")
    for item in [*inputs, *outputs]:
        type_ = _LENGTH.sub("[]", item.partition(" ")[0])
        element = type_.removesuffix("?").removesuffix("[]").removesuffix("?")
        if element in {"", "*"} or (type_.endswith("?") and element in _CONVERTED):
            continue
        if type_.endswith("[]"):
            yield "[]"
        yield element


def replacement_table(headers: Iterable[StableHeaders]) -> tuple[dict[str, Any], list[str]]:
    """Merge what releases declare into the table; return what of `CONCEPTS` is missing, too.

    Args:
        headers: Those of each release.
    """
    ordered = sorted(headers, key=lambda item: Version(item.version))
    if not ordered:
        raise AuditError("no release with stable headers")
    everything = _names(ordered)
    names = {
        name: entry
        for name, entry in everything.items()
        if name in CONCEPTS or (name.startswith(_OWN[0]) and not _INTERNAL.search(name))
    }
    for name in _FAMILIES.intersection(names):
        family = sorted(other for other in everything if other.startswith(f"{name}_"))
        names[name]["note"] = f"or {', '.join(family)}"
    concepts = {
        unstable: stable
        for stable, group in CONCEPTS.items()
        if stable in names
        for unstable in group
    } | dict.fromkeys(_NOTHING, "")
    for item in ordered[-1].declared:
        own = item.name.startswith(_OWN[1]) and not _INTERNAL.search(item.name)
        # Not the constants that it takes over, which no symbol names.
        if own and item.alias in everything:
            names[item.name] = everything[item.name]
            concepts.setdefault(item.alias, item.name)
    return {
        "releases": [item.version for item in ordered],
        "names": dict(sorted(names.items())),
        "concepts": dict(sorted(concepts.items())),
        "companions": {
            name: marker for marker, group in sorted(COMPANIONS.items()) for name in group
        },
        "operators": _operators(ordered, everything),
    }, sorted(set(CONCEPTS) - set(names))


def _names(ordered: Sequence[StableHeaders]) -> dict[str, dict[str, Any]]:
    """Return what the newest release declares, with the first release that does."""
    since: dict[str, str] = {}
    for item in ordered:
        for declared in item.declared:
            since.setdefault(declared.name, item.version)
    found: dict[str, list[Declared]] = {}
    for declared in ordered[-1].declared:
        found.setdefault(declared.name, []).append(declared)
    return {name: _entry(name, since, group) for name, group in found.items()}


def _entry(name: str, since: Mapping[str, str], group: Sequence[Declared]) -> dict[str, Any]:
    entry = {
        "kind": group[0].kind,
        "since": since[name],
        "floor": min((_floor(item, since) for item in group), key=Version),
        "note": _NOTES.get(name),
        "operators": sorted({operator for item in group for operator in item.operators}),
        "calls": sorted({call for item in group for call in item.calls}),
    }
    if entry["floor"] == since[name]:
        del entry["floor"]
    return {key: value for key, value in entry.items() if value not in (None, [])}


def _floor(item: Declared, since: Mapping[str, str]) -> str:
    """Return the oldest release that an extension which uses it can load on.

    A guard does not tell alone: some shims were declared without one.
    """
    shims = [item.name] if item.kind == "shim" else item.needs
    releases = [since[name] for name in shims if name in since]
    return max([item.target or str(PROMISED_SINCE), *releases], key=Version)


def _operators(
    ordered: Sequence[StableHeaders], everything: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, str]]:
    """Return the newest release's operators by the release since when one can call them.

    Those under the empty string nobody can: a type of their schema has no conversion. Each name
    has its overloads, with spaces between them; the default one is empty.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for operator, needs in sorted(ordered[-1].operators.items()):
        since = _callable_since(needs, everything)
        if since is not None:
            first = next(item.version for item in ordered if operator in item.operators)
            since = max(since, first, key=Version)
        name, _, overload = operator.partition(".")
        found.setdefault(since or "", {}).setdefault(name, []).append(overload)
    return {
        since: {name: " ".join(overloads) for name, overloads in found[since].items()}
        for since in sorted(found, key=lambda key: Version(key or "0"))
    }


def _callable_since(needs: Iterable[str], declared: Mapping[str, dict[str, Any]]) -> str | None:
    """Return since when the dispatcher's shim converts all of these types; None where it can't."""
    converters = [DISPATCHER]
    for type_ in needs:
        if type_ == "[]":
            converters.append(_CONVERSION.format(_LIST))
        elif type_ not in _CONVERTED:
            return None
        elif (converted := _CONVERTED[type_]) is not None:
            converters.append(_CONVERSION.format(converted))
    if any(name not in declared for name in converters):
        return None
    floors: list[str] = [
        declared[name].get("floor", declared[name]["since"]) for name in converters
    ]
    return max(floors, key=Version)


def write_replacements(table: dict[str, Any]) -> str:
    """Return the table as text, a name a line, so that a diff shows what a release added."""
    operators = {since: _lines(group) for since, group in table["operators"].items()}
    parts = [
        f'"releases": {json.dumps(table["releases"])}',
        *(
            f"{json.dumps(key)}: {_lines(table[key])}"
            for key in ("names", "concepts", "companions")
        ),
        '"operators": {\n'
        + ",\n".join(f"{json.dumps(since)}: {text}" for since, text in operators.items())
        + "\n}",
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(values: Mapping[str, Any]) -> str:
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}"
