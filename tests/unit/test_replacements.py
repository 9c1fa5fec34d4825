from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import TEST_WHEELS
from torch_abi_audit import audit
from torch_abi_audit.abi.replacements import grouped, replacement
from torch_abi_audit.catalog import DATA_FOLDER, load_catalog, replacements
from torch_abi_audit.catalog.build.__main__ import CACHE
from torch_abi_audit.catalog.build.replacements import (
    COMPANIONS,
    CONCEPTS,
    StableHeaders,
    replacement_table,
    stable_headers,
    write_replacements,
)
from torch_abi_audit.catalog.build.stable import Declared, stable_declarations
from torch_abi_audit.catalog.replacements import REPLACEMENTS_FILE, StableApi, load_replacements
from torch_abi_audit.cli import main
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Replacement, ReplacementKind
from torch_abi_audit.report.document import target_document
from torch_abi_audit.report.replacements import by_replacement, replaceable
from torch_abi_audit.report.shape import EvidenceDocument, ReplacementsDocument

CATALOG = load_catalog()
API = load_replacements()
DATA = Path(replacements.__file__).parent / DATA_FOLDER / REPLACEMENTS_FILE

HEADER = r"""
#pragma once
#include <string>
/* not a { comment */
#if defined(_WIN32)
#define PUSH(x) one
#else
#define PUSH(x) \
  two
#endif
#define CHECKED(e) \
  if (torch_check_msg(e) != 0) throw "} // no comment";
PUSH("a { b")
HIDDEN_NAMESPACE_BEGIN(torch, stable)
using c10::ScalarType;
using Index = int32_t;
using namespace std;
constexpr Index kNone{-1};
enum class Kind : int8_t { DEF, IMPL };
namespace {
inline void quit(void* p) { aoti_torch_delete(p); }
}
class Tensor final : public Base<int> {
 private:
  Handle handle_;
  void validate() { aoti_torch_validate(handle_); }
 public:
  Tensor() : handle_{nullptr}, other_(0) { aoti_torch_new(&handle_); }
  ~Tensor() {}
  Tensor& operator=(const Tensor& other) = default;
  bool operator==(const Tensor& other) const { return true; }
  int64_t dim() const { int64_t d; aoti_torch_get_dim(handle_, &d); return d; }
#if TORCH_FEATURE_VERSION >= TORCH_VERSION_2_10_0
  template <typename T, std::enable_if_t<(sizeof(T) > 1), int> = 0>
  const T* const_data_ptr() const;
#endif
};
struct Plain { int size() const; };
inline Tensor empty_like(const Tensor& self) {
#if TORCH_FEATURE_VERSION >= TORCH_VERSION_2_10_0
  torch_call_dispatcher("aten::empty_like", "", stack.data(), TORCH_ABI_VERSION);
#else
  aoti_torch_call_dispatcher("aten::empty_like", "", stack.data());
#endif
}
#if TORCH_FEATURE_VERSION < TORCH_VERSION_2_10_0
inline Tensor sum(const Tensor& self);
#else
[[nodiscard]] inline std::tuple<Tensor, Tensor> sum(const Tensor& self) {
  torch_call_dispatcher("aten::sum", "dim_IntList", stack.data(), TORCH_ABI_VERSION);
}
#endif
inline Tensor::Tensor(Index i) { torch_from_index(i); }
inline int64_t Tensor::numel() const { return aoti_torch_get_numel(handle_); }
HIDDEN_NAMESPACE_END(torch, stable)
extern "C" {
int plain(int);
}
namespace c10::detail { inline float half(unsigned short h); }
"""


def test_stable_declarations() -> None:
    tensor, at_2_10 = "torch::stable::Tensor", "2.10.0"
    assert stable_declarations(HEADER) == [
        Declared("PUSH", "macro"),
        Declared("PUSH", "macro"),
        Declared("CHECKED", "macro", calls=("torch_check_msg",), needs=("torch_check_msg",)),
        Declared("torch::stable::ScalarType", "type", alias="c10::ScalarType"),
        Declared("torch::stable::Index", "type"),
        Declared("torch::stable::Kind", "type"),
        Declared(
            "torch::stable::quit",
            "function",
            calls=("aoti_torch_delete",),
            needs=("aoti_torch_delete",),
        ),
        Declared(tensor, "class"),
        Declared(tensor, "class", calls=("aoti_torch_new",), needs=("aoti_torch_new",)),
        Declared(
            f"{tensor}::dim",
            "method",
            calls=("aoti_torch_get_dim",),
            needs=("aoti_torch_get_dim",),
        ),
        Declared(f"{tensor}::const_data_ptr", "method", at_2_10),
        Declared("torch::stable::Plain", "class"),
        Declared("torch::stable::Plain::size", "method"),
        Declared(
            "torch::stable::empty_like",
            "function",
            calls=("aoti_torch_call_dispatcher", "torch_call_dispatcher"),
            needs=("aoti_torch_call_dispatcher",),
            operators=("empty_like",),
        ),
        Declared("torch::stable::sum", "function", until=at_2_10),
        Declared(
            "torch::stable::sum",
            "function",
            at_2_10,
            calls=("torch_call_dispatcher",),
            needs=("torch_call_dispatcher",),
            operators=("sum.dim_IntList",),
        ),
        Declared(tensor, "class", calls=("torch_from_index",), needs=("torch_from_index",)),
        Declared(
            f"{tensor}::numel",
            "method",
            calls=("aoti_torch_get_numel",),
            needs=("aoti_torch_get_numel",),
        ),
        Declared("plain", "function"),
        Declared("c10::detail::half", "function"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "namespace a {",
        "}",
        "HIDDEN_NAMESPACE_BEGIN(a) }",
        "HIDDEN_NAMESPACE_BEGIN(a",
        "void f() {",
        "Aa() : a{1}, b",
        "#endif",
    ],
)
def test_headers_that_do_not_match(text: str) -> None:
    with pytest.raises(AuditError, match="a header with an"):
        stable_declarations(text)


INCLUDE = "torch/include/torch/"
OPS, SHIM = f"{INCLUDE}csrc/stable/ops.h", f"{INCLUDE}csrc/stable/c/shim.h"
SCHEMAS = "torch/include/ATen/RegistrationDeclarations.h"


def schema(text: str) -> str:
    return f'at::Tensor f(); // {{"schema": "aten::{text}", "dispatch": "True"}}\n'


def headers(version: str, ops: str, shims: str = "", schemas: str = "") -> StableHeaders:
    texts = {
        OPS: f"namespace torch::stable {{ {ops} }}\n",
        SHIM: shims,
        SCHEMAS: schemas,
        f"{INCLUDE}headeronly/cpu/vec/vec.h": "} not read {",
        "torch/include/ATen/Tensor.h": "} not read {",
    }
    read = {name: text for name, text in texts.items() if name in {OPS, SHIM, SCHEMAS}}
    return stable_headers(version, read)


def test_the_types_that_a_call_converts() -> None:
    found = headers(
        "2.9.0",
        "",
        schemas=schema("add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor")
        + schema("split(Tensor(a -> *) self, SymInt[2] sizes, int dim=0) -> Tensor(a)[]")
        + schema("index(Tensor self, Tensor?[] indices, Generator? g=None) -> (Tensor, bool)")
        + schema("set_(Tensor(a!) self) -> ()")
        + schema("clamp(Tensor self, Scalar? min=None, float[]? max=None) -> Tensor"),
    )
    assert found.operators == {
        "add.Tensor": ["Scalar", "Tensor"],
        "split": ["SymInt", "Tensor", "[]", "int"],
        "index": ["Tensor", "[]", "bool"],
        "set_": ["Tensor"],
        "clamp": ["Scalar", "Tensor"],
    }


def test_a_table_of_two_releases() -> None:
    """Since when the headers have a name is one thing, and where it runs is another."""
    conversions = """
        namespace detail {
        template <> struct FromImpl<torch::stable::Tensor> {};
        }"""
    gate = "#if TORCH_FEATURE_VERSION >= TORCH_VERSION_2_10_0\n"
    dispatcher = "AOTI_TORCH_EXPORT int torch_call_dispatcher(int x);\n"
    old = headers(
        "2.9.0",
        "inline int neg(int x); inline int gone(int x);",
        "AOTI_TORCH_EXPORT int aoti_torch_neg(int x);\n",
    )
    new = headers(
        "2.10.0",
        "inline int neg(int x) { aoti_torch_neg(x); }"
        " inline int abs(int x) { aoti_torch_neg(x); }"
        " inline int sort(int x) { torch_sort(x); }\n" + gate + "class Device {};\n#endif\n"
        "#define STABLE_TORCH_LIBRARY(a)\n#define STABLE_TORCH_LIBRARY_IMPL(a)\n" + conversions,
        "AOTI_TORCH_EXPORT int aoti_torch_neg(int x);\nAOTI_TORCH_EXPORT int torch_sort(int x);\n"
        + gate
        + dispatcher
        + "#endif\n",
        schema("t(Tensor self) -> Tensor") + schema("add.Tensor(Tensor self, Scalar x) -> Tensor"),
    )
    table, missing = replacement_table([new, old])
    assert table["releases"] == ["2.9.0", "2.10.0"]
    assert table["names"] == {
        "STABLE_TORCH_LIBRARY": {
            "kind": "macro",
            "since": "2.10.0",
            "floor": "2.9.0",
            "note": "or STABLE_TORCH_LIBRARY_IMPL",
        },
        "torch::stable::Device": {"kind": "class", "since": "2.10.0"},
        "torch::stable::abs": {
            "kind": "function",
            "since": "2.10.0",
            "floor": "2.9.0",
            "calls": ["aoti_torch_neg"],
        },
        "torch::stable::neg": {"kind": "function", "since": "2.9.0", "calls": ["aoti_torch_neg"]},
        "torch::stable::sort": {"kind": "function", "since": "2.10.0", "calls": ["torch_sort"]},
        "torch_call_dispatcher": {"kind": "shim", "since": "2.10.0"},
    }
    assert table["concepts"]["torch::Library"] == "STABLE_TORCH_LIBRARY"
    assert table["concepts"]["c10::Dispatcher"] == "torch_call_dispatcher"
    assert table["operators"] == {"": {"add": "Tensor"}, "2.10.0": {"t": ""}}
    assert set(missing) == {
        *CONCEPTS,
    } - {"STABLE_TORCH_LIBRARY", "torch::stable::Device", "torch_call_dispatcher"}
    assert "at::Tensor" not in table["concepts"]
    assert json.loads(write_replacements(table)) == table


def test_no_release_with_stable_headers() -> None:
    with pytest.raises(AuditError, match="no release with stable headers"):
        replacement_table([])


def test_a_header_that_can_t_be_read_is_named() -> None:
    with pytest.raises(AuditError, match=r"csrc/stable/ops\.h: a header with an unbalanced }"):
        stable_headers("2.9.0", {OPS: "}"})


# The data of the package.


def test_the_packaged_names() -> None:
    """What the table says is declared, and the shims it calls were there when it says."""
    assert set(CONCEPTS) <= set(API.names)
    assert set(API.releases) <= set(CATALOG.releases)
    for name in API.names:
        entry = API[name]
        assert CATALOG.promised_since <= entry.floor <= entry.since in API.releases
        assert entry.kind in set(ReplacementKind) - {ReplacementKind.OPERATOR}
        shims = [name] if entry.kind == ReplacementKind.SHIM else entry.calls
        since = [CATALOG.shims[shim].since for shim in shims]
        # One constructor of several may call none.
        assert not since or min(since) <= entry.floor or entry.kind == ReplacementKind.CLASS
        assert all(release <= API.releases[-1] for release in since)
        if entry.kind == ReplacementKind.SHIM:
            assert CATALOG.shims[name].promised
            assert CATALOG.shims[name].removed is None
        for operator in entry.operators:
            assert operator.replace(".", "_") in API.operators


def test_the_packaged_concepts() -> None:
    found = {name: stable for stable, group in CONCEPTS.items() for name in group}
    assert found.items() <= API.concepts.items()
    assert {stable for stable in API.concepts.values() if stable} <= set(API.names)
    assert set(API.companions.values()) == set(COMPANIONS)
    for marker in COMPANIONS:
        assert replacement(marker, CATALOG) is not None


def test_the_packaged_operators() -> None:
    since = {operator.since for operator in API.operators.values()}
    assert min(release for release in since if release) == Version("2.10.0")
    assert {release for release in since if release} <= set(API.releases)
    assert API.operators["add_Tensor"].since is None
    assert API.operators["sum_dim_IntList"].schema_name == "sum.dim_IntList"
    assert len(DATA.read_bytes()) < 100_000


CACHED = sorted(CACHE.glob("*.stable.json.xz"))


@pytest.mark.skipif(not CACHED, reason="the headers of torch's wheels are not in the cache")
def test_the_packaged_data_is_that_of_the_headers() -> None:
    found = [StableHeaders.load(path) for path in CACHED]
    newest = str(API.releases[-1])
    read = [item for item in found if Version(item.version) <= Version(newest)]
    table, missing = replacement_table(read)
    assert missing == []
    assert write_replacements(table) == DATA.read_text(encoding="utf-8")


# What takes the place of what.


@pytest.mark.parametrize(
    ("symbol", "name", "since", "floor"),
    [
        # By name.
        ("_ZN2at4_ops10empty_like4callERKNS_6TensorE", "torch::stable::empty_like", "2.9", "2.9"),
        ("?call@empty_like@_ops@at@@SAXXZ", "torch::stable::empty_like", "2.9", "2.9"),
        ("_ZN2at4_ops5clone4callERKNS_6TensorE", "torch::stable::clone", "2.10", "2.9"),
        ("at::_ops::sum_dim_IntList::call", "torch::stable::sum", "2.10", "2.10"),
        ("at::_ops::fill__Scalar::call", "torch::stable::fill_", "2.9", "2.9"),
        ("at::_ops::sort_stable::call", "torch::stable::sort", "2.15", "2.10"),
        ("at::_ops::size_int::call", "torch::stable::Tensor::size", "2.9", "2.9"),
        ("_ZN2at15get_num_threadsEv", "torch::stable::get_num_threads", "2.10", "2.10"),
        ("at::Tensor::numel() const", "torch::stable::Tensor::numel", "2.9", "2.9"),
        ("at::TensorBase::__dispatch_contiguous", "torch::stable::contiguous", "2.10", "2.10"),
        ("at::native::empty_like(at::Tensor const&)", "torch::stable::empty_like", "2.9", "2.9"),
        # By concept.
        (
            "float* at::TensorBase::data_ptr<float>() const",
            "torch::stable::Tensor::mutable_data_ptr",
            "2.10",
            "2.10",
        ),
        ("_ZN3c106detail14torchCheckFailEPKcS2_jS2_", "STD_TORCH_CHECK", "2.9", "2.9"),
        ("_ZTIN3c105ErrorE", "STD_TORCH_CHECK", "2.9", "2.9"),
        ("_ZN5torch7LibraryC1Ev", "STABLE_TORCH_LIBRARY", "2.9", "2.9"),
        ("c10::cuda::c10_cuda_check_implementation", "STD_CUDA_CHECK", "2.10", "2.10"),
        (
            "c10::cuda::ExchangeDevice(signed char)",
            "torch::stable::accelerator::DeviceGuard",
            "2.9",
            "2.9",
        ),
        (
            "at::cuda::getCurrentCUDAStream(signed char)",
            "aoti_torch_get_current_cuda_stream",
            "2.9",
            "2.9",
        ),
        (
            "c10::cuda::getStreamFromPool(bool)",
            "torch_get_cuda_stream_from_pool",
            "2.10",
            "2.10",
        ),
        ("_ZNK3c106SymInt9guard_intEPKcl", "torch::stable::Tensor", "2.9", "2.9"),
        ("_ZN3c10eqERKNS_6SymIntEi", "torch::stable::Tensor", "2.9", "2.9"),
        ("c10::TensorImpl::f<std::vector<at::Tensor>>(int)", "torch::stable::Tensor", "2.9", "2.9"),
        ("c10::ScalarType", "torch::headeronly::ScalarType", "2.9", "2.9"),
        (
            "_Z16THPVariable_WrapRKN2at10TensorBaseE",
            "torch::stable::tensor_to_pyobject",
            "2.14",
            "2.14",
        ),
        ("THPVariableClass", "torch::stable::is_tensor_pyobject", "2.15", "2.15"),
        ("at::_ops::sub_Tensor::call", "torch::stable::subtract", "2.10", "2.10"),
        # Through the dispatcher.
        ("at::_ops::cat::call", 'torch_call_dispatcher("aten::cat", "")', "2.10", "2.10"),
        ("at::Tensor::index", 'torch_call_dispatcher("aten::index", "Tensor")', "2.10", "2.10"),
        # A schema with a Scalar has no conversion.
        ("at::_ops::mul_Scalar::call", "aoti_torch_cpu_mul_Scalar", "2.9", "2.9"),
        ("at::_ops::item::call", "aoti_torch_item_float32", "2.9", "2.9"),
    ],
)
def test_what_takes_its_place(symbol: str, name: str, since: str, floor: str) -> None:
    found = replacement(symbol, CATALOG)
    assert found is not None
    assert (found.name, found.since, found.floor) == (name, Version(since), Version(floor))


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "_ZN3c1013MessageLoggerC1EPKcii",
        "_ZN3c1013MessageLogger6streamB5cxx11Ev",
        "at::_ops::add__Tensor::call",
        "at::_ops::empty_like::redispatch",
        "at::_ops::no_such_operator::call",
        "at::tensor",
        "at::Tensor::no_such_method",
        "torch::autograd::Node::metadata()",
        "torch::jit::load",
        "c10::Device::str() const",
        "std::vector<at::Tensor>",
        "cudaMalloc",
        "at::_ops",
        "_ZN2at4_opsE",
        "_ZN2at4_opsC1Ev",
        "THPA" + "<" * 100_000,
        "THPA" + "<" * 100_000 + ">" * 100_000,
        "_Z",
        "?",
        "()",
        "::",
        # Only where a guard is made as well.
        "c10::cuda::device_count()",
    ],
)
def test_what_nothing_takes_the_place_of(symbol: str) -> None:
    assert replacement(symbol, CATALOG) is None


@pytest.mark.parametrize(
    ("symbol", "kind", "note"),
    [
        ("at::_ops::sum::call", ReplacementKind.FUNCTION, "calls aten::sum.dim_IntList"),
        ("at::_ops::sum_dim_IntList::call", ReplacementKind.FUNCTION, None),
        ("at::_ops::fill__Tensor::call", ReplacementKind.FUNCTION, "calls aten::fill_.Scalar"),
        ("at::_ops::sum_out::call", ReplacementKind.OPERATOR, None),
        ("at::_ops::cat::call", ReplacementKind.OPERATOR, None),
        ("at::_ops::mul_Scalar::call", ReplacementKind.SHIM, "for CPU tensors only"),
        ("at::_ops::item::call", ReplacementKind.SHIM, "one function for each dtype"),
        ("at::Tensor::numel() const", ReplacementKind.METHOD, None),
        ("c10::TensorImpl::decref", ReplacementKind.CLASS, None),
        (
            "torch::Library",
            ReplacementKind.MACRO,
            "or STABLE_TORCH_LIBRARY_FRAGMENT, STABLE_TORCH_LIBRARY_IMPL",
        ),
    ],
)
def test_kinds_and_notes(symbol: str, kind: ReplacementKind, note: str | None) -> None:
    found = replacement(symbol, CATALOG)
    assert found is not None
    assert (found.kind, found.note) == (kind, note)


def test_symbols_are_grouped() -> None:
    check, fail = "_ZN3c106detail14torchCheckFailEPKcS2_jS2_", "_ZNK3c105Error4whatEv"
    neg, logger = "_ZN2at4_ops3neg4callERKNS_6TensorE", "_ZN3c1013MessageLoggerD1Ev"
    found = grouped([neg, logger, fail, check, neg], CATALOG)
    assert found.release == API.releases[-1]
    assert [(item.name, symbols) for item, symbols in found.replaced] == [
        ("STD_TORCH_CHECK", (check, fail)),
        ('torch_call_dispatcher("aten::neg", "")', (neg,)),
    ]
    assert found.without == (logger,)
    assert found.total == 4


def test_what_comes_with_inlined_code_of_another_thing() -> None:
    """A guard takes along all of CUDA's device functions; by themselves they are another thing."""
    count, allocator = "c10::cuda::device_count()", "c10::cuda::CUDACachingAllocator::allocator"
    alone = grouped([count, allocator], CATALOG)
    assert alone.without == (count,)
    assert [item.name for item, _ in alone.replaced] == [
        "aoti_torch_cuda_caching_allocator_raw_alloc"
    ]
    guard = "c10::cuda::MaybeSetDevice(signed char)"
    together = grouped([count, allocator, guard], CATALOG)
    assert together.without == ()
    assert [(item.name, symbols) for item, symbols in together.replaced] == [
        ("torch::stable::accelerator::DeviceGuard", (allocator, guard, count))
    ]


def test_of_another_api() -> None:
    api = StableApi(
        {
            "releases": ["2.9.0", "2.20.0"],
            "names": {"torch::stable::neg": {"kind": "function", "since": "2.20.0"}},
            "concepts": {},
            "companions": {},
            "operators": {"2.20.0": {"neg": " out"}, "": {"add": "Tensor"}},
        }
    )
    newest = Version("2.20.0")
    function = Replacement("torch::stable::neg", ReplacementKind.FUNCTION, newest, newest)
    assert replacement("at::_ops::neg::call", CATALOG, api) == function
    assert grouped(["at::empty_like"], CATALOG, api).without == ("at::empty_like",)
    assert [item.struct for item in api.overloads["neg"]] == ["neg", "neg_out"]


# In reports.


def wheel(scenario: str) -> Path:
    return next((TEST_WHEELS / scenario).glob("*.whl"))


def test_the_document_has_them() -> None:
    (target,) = audit(wheel("unstable-pinned")).targets
    assert target_document(target)["torch"]["replacements"] == {
        "release": "2.15.0",
        "replaced": [
            {
                "replacement": "aoti_torch_warn",
                "kind": "shim",
                "since": "2.9.0",
                "floor": "2.9.0",
                "note": None,
                "symbols": ["_ZN3c104warnERKNS_7WarningE"],
            },
            {
                "replacement": "torch::stable::Tensor",
                "kind": "class",
                "since": "2.9.0",
                "floor": "2.9.0",
                "note": None,
                "symbols": ["_ZNK3c106SymInt22maybe_as_int_slow_pathEv"],
            },
            {
                "replacement": "torch::stable::get_num_threads",
                "kind": "function",
                "since": "2.10.0",
                "floor": "2.10.0",
                "note": None,
                "symbols": ["_ZN2at15get_num_threadsEv"],
            },
        ],
        "without": [],
    }


def test_a_stable_wheel_costs_nothing() -> None:
    load_replacements.cache_clear()
    (target,) = audit(wheel("stable-2.13")).targets
    assert target_document(target)["torch"]["replacements"] is None
    assert load_replacements.cache_info().currsize == 0


def evidence(name: str) -> EvidenceDocument:
    return {
        "kind": "symbol",  # type: ignore[typeddict-item]
        "name": name,
        "library": None,
        "declaration": None,
        "detail": "",
    }


def a_document(*without: str) -> ReplacementsDocument:
    return {
        "release": "2.15.0",
        "replaced": [
            {
                "replacement": "torch::stable::sort",
                "kind": ReplacementKind.FUNCTION,
                "since": "2.15.0",
                "floor": "2.10.0",
                "note": "calls aten::sort",
                "symbols": ["a", "b"],
            },
            {
                "replacement": "STD_TORCH_CHECK",
                "kind": ReplacementKind.MACRO,
                "since": "2.9.1",
                "floor": "2.9.1",
                "note": None,
                "symbols": ["c"],
            },
        ],
        "without": list(without),
    }


def test_evidence_by_replacement() -> None:
    """Of a finding that is about some of the symbols only those are there."""
    a, b, d = evidence("a"), evidence("b"), evidence("d")
    assert by_replacement([d, b, a], a_document("d", "e")) == [
        ("use torch::stable::sort (2.15; loads on 2.10; calls aten::sort) for", [a, b]),
        ("no stable replacement for", [d]),
    ]
    assert by_replacement([evidence("c")], a_document()) == [
        ("use STD_TORCH_CHECK (2.9.1) for", [evidence("c")])
    ]


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ((), "all 3 symbols have a stable replacement in torch 2.15"),
        (("d",), "1 of 4 symbols has no stable replacement in torch 2.15"),
        (("d", "e"), "2 of 5 symbols have no stable replacement in torch 2.15"),
    ],
)
def test_how_many_have_none(without: tuple[str, ...], said: str) -> None:
    assert replaceable(a_document(*without)) == said


def test_of_one_symbol() -> None:
    document: ReplacementsDocument = {**a_document(), "replaced": a_document()["replaced"][1:]}
    assert replaceable(document) == "the one symbol has a stable replacement in torch 2.15"
    alone: ReplacementsDocument = {**a_document("d"), "replaced": []}
    assert replaceable(alone) == "1 of 1 symbol has no stable replacement in torch 2.15"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "at::_ops::empty_like::call",
            "at::_ops::empty_like::call: use torch::stable::empty_like (since torch 2.9)\n",
        ),
        (
            "_ZN3c106detail14torchCheckFailEPKcS2_jS2_",
            (
                "c10::detail::torchCheckFail(char const*, char const*, unsigned int, char const*):"
                " use STD_TORCH_CHECK (since torch 2.9)\n"
            ),
        ),
        (
            "at::_ops::empty_like",
            "at::_ops::empty_like: use torch::stable::empty_like (since torch 2.9)\n",
        ),
        ("at::_ops", "at::_ops: no stable replacement is known in torch 2.15\n"),
        (
            "c10::MessageLogger::MessageLogger",
            "c10::MessageLogger::MessageLogger: no stable replacement is known in torch 2.15\n",
        ),
        ("x::\x1b[31m", "x::\\x1b[31m: no stable replacement is known in torch 2.15\n"),
    ],
)
def test_a_symbol_is_explained(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", name]) == 0
    assert capsys.readouterr().out == f"{said}\n"


def test_rules_and_symbols_are_explained_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "at::empty_like", "abi3-suffix", "nothing"]) == 2
    output = capsys.readouterr()
    assert output.out.startswith(
        "at::empty_like: use torch::stable::empty_like (since torch 2.9)\n"
    )
    assert "error[abi3-suffix]" in output.out
    assert output.err.startswith("torch-abi-audit: unknown rule 'nothing' (")


def test_names_of_hostile_files_are_bounded() -> None:
    """Thousands of scopes in a name, and what is longer than any name of torch."""
    deep = "_ZN" + "1a" * 30_000 + "1fEv"
    long = "_ZN2at" + "9000" + "x" * 9000 + "Ev"
    catalog = load_catalog()
    started = [deep[: 3 + 2 * n] + "1fEv" for n in range(1, 200)]
    found = grouped([deep, long, *started], catalog)
    assert found.replaced == ()
    assert set(found.without) == {deep, long, *started}
    assert replacement("::".join(["a"] * 3000), catalog) is None
