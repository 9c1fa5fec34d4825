"""The catalog's layouts: from headers to facts, from facts to the file, and back out of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import published_file
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.catalog.build.assertions import Assertion, assertions
from torch_abi_audit.catalog.build.compare import differences, layout_key, value_differences
from torch_abi_audit.catalog.build.history import layouts_file
from torch_abi_audit.catalog.build.layouts import Headers, headers_of, read_headers
from torch_abi_audit.catalog.build.parse import (
    Facts,
    Parsed,
    choose_headers,
    parse_headers,
    simplify,
)
from torch_abi_audit.catalog.build.toolchain import is_for
from torch_abi_audit.catalog.build.wheels import TorchWheel
from torch_abi_audit.catalog.layouts import (
    UNKNOWN,
    Change,
    Fact,
    Kind,
    Layouts,
    Literal,
    PlatformLayouts,
    load_layouts,
)

PLATFORM = "linux_x86_64"
RELEASES = ("2.9.0", "2.10.0", "2.11.0", "2.12.0")


def facts(size: int, *members: tuple[str, int, str], **more: object) -> Facts:
    return {"size": [size, 8], "members": [list(item) for item in members], **more}


def parsed(
    classes: dict[str, Facts] | None = None,
    enums: dict[str, dict[str, int]] | None = None,
    unread: tuple[str, ...] = (),
) -> Parsed:
    classes, enums = classes or {}, enums or {}
    return Parsed(classes, enums, dict.fromkeys([*classes, *enums], "c10/x.h"), unread=list(unread))


def layouts(*releases: Parsed, **of_headers: dict[str, list[tuple[int, int, str]]]) -> Layouts:
    """Return the layouts of releases, with assertions for those given as `v2_9_0`."""
    data = layouts_file(
        Headers(version, PLATFORM, item, of_headers.get(f"v{version.replace('.', '_')}", {}))
        for version, item in zip(RELEASES, releases, strict=False)
    )
    return Layouts(lambda: io.BytesIO(data))


def on_platform(*releases: Parsed) -> PlatformLayouts:
    found = layouts(*releases).of(PLATFORM)
    assert found is not None
    return found


def change(subject: PlatformLayouts, name: str, since: str, to: str) -> Change | None:
    return subject.changes(name, Version(since), Version(to))


OLD = facts(184, ("storage_", 128, "c10::Storage"), ("numel_", 1280, "long"))
NEW = facts(176, ("storage_", 128, "c10::Storage"), ("numel_", 1216, "long"))
NEWEST = facts(168, ("storage_", 128, "c10::Storage"), ("numel_", 1152, "long"))


def test_a_class_that_changes_twice() -> None:
    subject = on_platform(*(parsed({"c10::T": item}) for item in (OLD, NEW, NEW, NEWEST)))
    size = Fact(Kind.SIZE, "", 184, 176)
    first = Change("c10::T", Version("2.10.0"), (size, Fact(Kind.MEMBER, "numel_", 160, 152)), 2)
    assert change(subject, "c10::T", "2.9.0", "2.10.0") == first
    assert change(subject, "c10::T", "2.9.0", "2.12.0") == first
    assert change(subject, "c10::T", "2.10.0", "2.9.0") == first
    assert change(subject, "c10::T", "2.10.0", "2.11.0") is None
    second = change(subject, "c10::T", "2.12.0", "2.9.0")
    assert second is not None
    assert (second.since, second.facts[0]) == (
        Version("2.12.0"),
        Fact(Kind.SIZE, "", 176, 168),
    )
    assert second.kind is Kind.SIZE


def test_windows_has_no_sizes_to_the_byte() -> None:
    data = layouts_file(
        Headers(version, "windows_x86_64", parsed({"c10::T": item}))
        for version, item in zip(RELEASES, (OLD, facts(176, ("new_", 0, "long"))), strict=False)
    )
    subject = Layouts(lambda: io.BytesIO(data)).of("windows_x86_64")
    assert subject is not None
    found = change(subject, "c10::T", "2.9.0", "2.10.0")
    assert found is not None
    assert (found.facts, found.count) == (
        (
            Fact(Kind.SIZE, "", UNKNOWN, UNKNOWN),
            Fact(Kind.MEMBER, "storage_", UNKNOWN, None),
            Fact(Kind.MEMBER, "numel_", UNKNOWN, None),
        ),
        4,
    )


def test_a_class_that_changes_back_is_the_same() -> None:
    subject = on_platform(*(parsed({"c10::T": item}) for item in (OLD, NEW, OLD)))
    assert change(subject, "c10::T", "2.9.0", "2.11.0") is None
    assert change(subject, "c10::T", "2.10.0", "2.11.0") is not None


def test_a_class_that_is_gone() -> None:
    subject = on_platform(parsed({"c10::T": OLD}), parsed({"c10::U": OLD}))
    gone = change(subject, "c10::T", "2.9.0", "2.10.0")
    new = change(subject, "c10::U", "2.10.0", "2.9.0")
    assert gone is not None
    assert new is not None
    assert (gone.since, gone.kind) == (Version("2.10.0"), Kind.REMOVED)
    assert (new.since, new.kind) == (Version("2.10.0"), Kind.ADDED)
    assert change(subject, "c10::U", "2.9.0", "2.10.0") is None
    assert subject.knows("c10::U", Version("2.9.0"), Version("2.10.0"))


def test_what_could_not_be_read_is_unknown() -> None:
    subject = on_platform(
        parsed({"c10::T": OLD}), parsed(unread=("c10/x.h",)), parsed({"c10::T": NEW})
    )
    assert change(subject, "c10::T", "2.9.0", "2.10.0") is None
    assert not subject.knows("c10::T", Version("2.9.0"), Version("2.10.0"))
    assert subject.knows("c10::T", Version("2.9.0"), Version("2.11.0"))
    for since, to in (("2.9.0", "2.11.0"), ("2.11.0", "2.9.0")):
        found = change(subject, "c10::T", since, to)
        assert found is not None
        assert (found.since, found.kind) == (Version("2.11.0"), Kind.SIZE)


def test_what_no_release_has_is_unknown() -> None:
    subject = on_platform(parsed({"c10::T": OLD}))
    assert not subject.knows("c10::Other", Version("2.9.0"))
    assert not subject.knows("c10::T", Version("2.8.0"))
    assert change(subject, "c10::Other", "2.9.0", "2.10.0") is None
    assert change(subject, "c10::T", "2.9.0", "2.10.0") is None
    assert layouts(parsed({"c10::T": OLD})).of("windows_x86_64") is None


def test_a_template_that_nobody_holds_any_more_is_unknown() -> None:
    subject = on_platform(parsed({"c10::A<int>": OLD}), parsed())
    assert change(subject, "c10::A<int>", "2.9.0", "2.10.0") is None
    assert not subject.knows("c10::A<int>", Version("2.10.0"))


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({"A": 0, "B": 1}, {"A": 0, "B": 1, "C": 2}, None),
        ({"A": 0, "B": 1}, {"A": 0, "C": 1, "B": 2}, Fact(Kind.VALUE, "B", 1, 2)),
        ({"A": 0, "B": 1}, {"A": 0}, Fact(Kind.VALUE, "B", 1, None)),
    ],
)
def test_enums(was: dict[str, int], now: dict[str, int], expected: Fact | None) -> None:
    subject = on_platform(*(parsed(enums={"c10::E": {"": 1, **item}}) for item in (was, now)))
    found = change(subject, "c10::E", "2.9.0", "2.10.0")
    assert (found and found.facts) == (expected and (expected,))


def test_an_enum_with_more_members_is_as_it_was_until_one_moves() -> None:
    values = ({"": 1, "A": 0}, {"": 1, "A": 0, "B": 1}, {"": 1, "A": 1, "B": 2})
    subject = on_platform(*(parsed(enums={"c10::E": item}) for item in values))
    assert change(subject, "c10::E", "2.9.0", "2.10.0") is None
    found = change(subject, "c10::E", "2.9.0", "2.11.0")
    assert found is not None
    assert found.since == Version("2.11.0")


def test_enum_of_another_size() -> None:
    assert value_differences({"": 1, "A": 0}, {"": 2, "A": 0}) == [Fact(Kind.SIZE, "", 1, 2)]


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        (
            facts(8, ("a", 0, "int")),
            facts(8, ("a", 0, "float")),
            [Fact(Kind.TYPE, "a", "int", "float")],
        ),
        (
            facts(8, ("a", 0, "int")),
            facts(8, ("b", 32, "int")),
            [Fact(Kind.MEMBER, "a", 0, None), Fact(Kind.MEMBER, "b", None, 4)],
        ),
        (
            facts(8, ("a", 0, "int"), ("b", 32, "int")),
            facts(8, ("b", 0, "int"), ("a", 32, "int")),
            [Fact(Kind.MEMBER, "a", 0, 4), Fact(Kind.MEMBER, "b", 4, 0)],
        ),
        (
            facts(8, ("a", 1, "bool : 1")),
            facts(8, ("a", 2, "bool : 1")),
            [Fact(Kind.MEMBER, "a", "0.1", "0.2")],
        ),
        (facts(8, bases=[["A", 0]]), facts(8, bases=[["A", 8]]), [Fact(Kind.BASE, "A", 0, 8)]),
        (
            facts(8, virtuals=["f: void ()"]),
            facts(8, virtuals=["g: void ()", "f: void ()"]),
            [Fact(Kind.VIRTUAL, "f: void ()", 0, 1), Fact(Kind.VIRTUAL, "g: void ()", None, 0)],
        ),
        ({"size": [8, 8]}, {"size": [8, 16]}, [Fact(Kind.ALIGNMENT, "", 8, 16)]),
    ],
)
def test_differences(was: Facts, now: Facts, expected: list[Fact]) -> None:
    assert differences(was, now) == expected
    assert layout_key(was) != layout_key(now)
    assert differences(was, was) == []


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("at::cuda::Event", "c10::cuda::Event"),
        ("const long *", "long *"),
        ("std::vector<at::Tag>", "std::vector<torch::headeronly::Tag>"),
    ],
)
def test_types_that_a_library_cannot_tell_apart(was: str, now: str) -> None:
    assert layout_key(facts(8, ("a", 0, was))) == layout_key(facts(8, ("a", 0, now)))


def test_another_name_alone_is_no_change() -> None:
    old, new = facts(8, ("a", 0, "int")), facts(8, ("a_", 0, "int"))
    assert differences(old, new) == []
    subject = on_platform(*(parsed({"c10::T": item}) for item in (old, new, old)))
    assert change(subject, "c10::T", "2.9.0", "2.10.0") is None


def test_a_class_depends_on_what_it_contains_as_far_as_that_ever_changed() -> None:
    classes = {
        "c10::Outer": facts(192, holds=["c10::Inner", "c10::Constant"]),
        "c10::Inner": facts(184, holds=["c10::T"]),
        "c10::Constant": facts(8),
        "c10::Other": facts(8, holds=["c10::Constant"]),
    }
    subject = on_platform(parsed({**classes, "c10::T": OLD}), parsed({**classes, "c10::T": NEW}))
    assert subject.closure("c10::Outer") == {"c10::Outer", "c10::Inner", "c10::T"}
    assert subject.closure("c10::Other") == {"c10::Other"}
    assert subject.closure("c10::Unheard") == {"c10::Unheard"}


def test_the_same_headers_give_the_same_bytes() -> None:
    asserting = {"c10/x.h": [(1, 2, "a")]}
    read = [
        Headers(version, platform, parsed({"c10::B": item, "c10::A": OLD}), asserting)
        for version, item in zip(RELEASES, (OLD, NEW), strict=False)
        for platform in (PLATFORM, "macos_arm64")
    ]
    assert layouts_file(read) == layouts_file(reversed(read))


def test_headers_are_cached_whole(tmp_path: Path) -> None:
    headers = Headers("2.9.0", PLATFORM, parsed({"c10::T": OLD}), {"c10/x.h": [(1, 2, "a")]})
    headers.save(tmp_path / "x.json.xz")
    loaded = Headers.load(tmp_path / "x.json.xz")
    assert layouts_file([loaded]) == layouts_file([headers])
    without = Headers("2.9.0", "windows_x86_64", None)
    without.save(tmp_path / "y.json.xz")
    assert Headers.load(tmp_path / "y.json.xz") == without


def test_what_the_cache_has_is_not_read_again(tmp_path: Path) -> None:
    headers = Headers("2.9.0", PLATFORM, parsed({"c10::T": OLD}))
    headers.save(tmp_path / "torch.whl.layouts.json.xz")
    wheel = TorchWheel(Version("2.9.0"), PLATFORM, published_file("torch.whl"))
    assert read_headers(wheel, tmp_path).parsed == headers.parsed


def test_headers_of_a_platform_that_clang_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "c10").mkdir()
    (tmp_path / "c10" / "x.h").write_text("AT_ASSERT(a);\n", encoding="utf-8")
    found = headers_of("2.9.0", "other_riscv64", tmp_path, ["c10/x.h"])
    assert found.parsed is None
    assert found.assertions == {"c10/x.h": [(1, 1, "a")]}


@pytest.mark.parametrize(
    ("platform", "header", "expected"),
    [
        ("linux_aarch64", "c10/cuda/CUDAStream.h", True),
        ("macos_arm64", "c10/cuda/CUDAStream.h", False),
        ("windows_x86_64", "torch/csrc/distributed/c10d/NCCLUtils.hpp", False),
        ("macos_arm64", "c10/core/TensorImpl.h", True),
    ],
)
def test_headers_for_a_platform(platform: str, header: str, expected: bool) -> None:  # noqa: FBT001
    assert is_for(platform, header) is expected


def test_built_with() -> None:
    subject = layouts(
        parsed(),
        parsed(),
        v2_9_0={"c10/x.h": [(7, 9, "a > 0"), (20, 20, "b")]},
        v2_10_0={"c10/x.h": [(7, 9, "a > 0"), (21, 21, "b")]},
    ).assertions
    assert len(subject) == 2
    literals = [
        Literal("c10/x.h", 7, "\x01\x02a > 0"),
        Literal("c10/x.h", 9, "a > 0"),
        Literal("c10/x.h", 21, "b"),
        Literal("c10/x.h", 21, "c"),
        Literal("c10/y.h", 7, "a > 0"),
    ]
    assert subject.built_with([*literals, *literals]) == {Version("2.9.0"): 2, Version("2.10.0"): 3}
    assert subject.releases_of(Literal("c10/x.h", 6, "a > 0")) == frozenset()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("TORCH_INTERNAL_ASSERT(x > 0);", [Assertion(1, 1, "x > 0")]),
        ("\nAT_ASSERTM(\n    f(a, b) /* c */,\n    \"m\");\n", [Assertion(2, 4, "f(a, b)")]),
        ("AT_ASSERT(s == \"a, (b\" )", [Assertion(1, 1, "s == \"a, (b\"")]),
        ("x; // TORCH_INTERNAL_ASSERT(x)\n", []),
        ("/* TORCH_INTERNAL_ASSERT(x)\n */ AT_ASSERT(y)", [Assertion(2, 2, "y")]),
        ("#define TORCH_INTERNAL_ASSERT(cond, ...) if (cond)\n", []),
        ("TORCH_SYM_INTERNAL_ASSERT(a)", [Assertion(1, 1, "(a).expect_true(__FILE__, __LINE__)")]),
        ("TORCH_INTERNAL_ASSERT_DEBUG_ONLY(a\n  &&   b)", [Assertion(1, 2, "a && b")]),
        ("TORCH_INTERNAL_ASSERT(is<A, B>())", [Assertion(1, 1, "is<A")]),
        ("TORCH_INTERNAL_ASSERT(c == ')')", [Assertion(1, 1, "c == ')'")]),
        ("char q = '\"'; AT_ASSERT(a) // \"", [Assertion(1, 1, "a")]),
        ("TORCH_INTERNAL_ASSERT(a", []),
    ],
)  # fmt: skip
def test_assertions(source: str, expected: list[Assertion]) -> None:
    assert assertions(source) == expected


def test_headers_that_are_chosen() -> None:
    names = ["c10/core/T.h", "c10/xpu/X.h", "ATen/ops/add.h", "fmt/core.h", "torch/csrc/a.hpp"]
    assert choose_headers(names) == ["c10/core/T.h", "torch/csrc/a.hpp"]


def test_simplify_nested() -> None:
    spelling = "std::unordered_map<long, std::vector<a::B, std::allocator<a::B>>, std::hash<long>>"
    assert simplify(spelling) == "std::unordered_map<long, std::vector<a::B>>"
    assert simplify("void (std::function<void (int, char)>) const") == (
        "void (std::function<void (int, char)>) const"
    )


HEADER = """
namespace std { template <class T> struct vector { T* first; }; }
namespace c10 {
enum class Key : unsigned short { CPU, CUDA = 7 };
class target {
 public:
  virtual ~target();
  virtual void release();
 private:
  unsigned refcount_;
};
struct second { virtual void other(); };
template <class T> struct Box { T value; };
struct Element {};
struct Part { int a; int b : 3; union { long l; double d; }; };
struct Impl : target, second {
  void release() override;
  void other() override;
  virtual int size(Key) const;
  Part part_;
  Part* pointer_;
  Box<Part> box_;
  std::vector<Element> elements_;
  Key key_;
  int matrix_[2][3];
};
}  // namespace c10
namespace other { struct Ignored {}; }
"""


def test_headers_parse(tmp_path: Path) -> None:
    pytest.importorskip("clang.cindex")
    (tmp_path / "c10").mkdir()
    (tmp_path / "c10" / "x.h").write_text(HEADER, encoding="utf-8")
    (tmp_path / "c10" / "broken.h").write_text(
        "namespace c10 { struct Fine {}; Missing x; }", encoding="utf-8"
    )
    found = parse_headers(
        tmp_path, ["c10/broken.h", "c10/x.h"], ["--target=x86_64-linux-gnu", "-nostdinc"]
    )
    assert found.unread == ["c10/broken.h"]
    assert found.enums == {"c10::Key": {"": 2, "CPU": 0, "CUDA": 7}}
    assert found.headers["c10::Impl"] == "c10/x.h"
    assert set(found.classes) == {
        "c10::target",
        "c10::second",
        "c10::Part",
        "c10::Impl",
        "c10::Box<c10::Part>",
        "c10::Element",
    }
    assert found.classes["c10::target"] == {
        "size": [16, 8],
        "members": [["refcount_", 64, "unsigned int"]],
        "virtuals": ["~target: void () noexcept", "release: void ()"],
    }
    assert found.classes["c10::Part"]["members"] == [
        ["a", 0, "int"],
        ["b", 32, "int : 3"],
        ["l", 64, "long"],
        ["d", 64, "double"],
    ]
    impl = found.classes["c10::Impl"]
    assert impl["bases"] == [["c10::target", 0], ["c10::second", 16]]
    # `release` has its slot in the table of the primary base, and `other` in that of the second.
    assert impl["virtuals"] == ["other: void ()", "size: int (c10::Key) const"]
    assert impl["holds"] == [
        "c10::Box<c10::Part>",
        "c10::Element",
        "c10::Key",
        "c10::Part",
        "c10::second",
        "c10::target",
    ]
    assert ["matrix_", "int[2][3]"] in [[name, of] for name, _, of in impl["members"]]


@pytest.mark.parametrize(
    ("name", "since", "was", "now"),
    [
        ("c10::TensorImpl", "2.13.0", 184, 176),
        ("c10::KernelFunction", "2.9.0", 32, 40),
        ("torch::CppFunction", "2.9.0", 96, 104),
        ("c10::StorageImpl", "2.6.0", 88, 96),
        ("at::TensorIterator", "2.13.0", 816, 760),
        ("torch::autograd::AutogradMeta", "2.13.0", 200, 184),
        ("torch::jit::SourceRange", "2.8.0", 64, 72),
    ],
)
def test_the_packaged_layouts(name: str, since: str, was: int, now: int) -> None:
    subject = load_layouts().of(PLATFORM)
    assert subject is not None
    release = Version(since)
    before = max(item for item in subject.releases if item < release)
    found = subject.changes(name, before, release)
    assert found is not None
    assert found.since == release
    assert found.facts[0] == Fact(Kind.SIZE, "", was, now)


def test_the_packaged_layouts_of_what_never_changed() -> None:
    subject = load_layouts().of(PLATFORM)
    assert subject is not None
    for name in ("at::Tensor", "c10::Device", "c10::Storage", "c10::SymInt", "torch::Library"):
        assert subject.knows(name, *subject.releases)
        assert subject.changes(name, subject.releases[0], subject.releases[-1]) is None


def test_the_packaged_enums_and_virtual_functions() -> None:
    subject = load_layouts().of(PLATFORM)
    assert subject is not None
    keys = change(subject, "c10::DispatchKey", "2.12.1", "2.13.0")
    assert keys is not None
    assert Fact(Kind.VALUE, "CPU", 50, 49) in keys.facts
    target = change(subject, "c10::intrusive_ptr_target", "2.10.0", "2.9.1")
    assert target is not None
    assert target.since == Version("2.10.0")
    assert Kind.VIRTUAL in {fact.kind for fact in target.facts}
    assert {"c10::KernelFunction", "c10::DispatchKey"} <= subject.closure("torch::CppFunction")
    assert change(subject, "c10::TensorImpl", "2.10.0", "2.12.1") is None


def test_the_packaged_layouts_are_of_every_release() -> None:
    releases = load_catalog().releases
    subject = load_layouts()
    for platform in subject.platforms:
        of_platform = subject.of(platform)
        assert of_platform is not None
        assert of_platform.releases == releases
    assert subject.assertions.releases == releases
    assert len(subject.assertions) > 500


def test_assertions_tell_the_release() -> None:
    """Of the library of fbgemm_gpu_cpu 1.6.0, which does not say what it was built with."""
    found = [
        Literal("ATen/core/dispatch/OperatorEntry.h", 81, "schema_.has_value()"),
        Literal("ATen/core/ivalue_inl.h", 2012, "isSymIntList() || isIntList()"),
        Literal("c10/core/TensorImpl.h", 1768, "extra_meta_ && extra_meta_->symbolic_shape_meta_"),
        Literal("torch/csrc/autograd/function.h", 285, "!has_parent_"),
        Literal("torch/csrc/dynamo/compiled_autograd.h", 1045, "it != this->end()"),
    ]
    counts = load_layouts().assertions.built_with(found)
    best = [str(release) for release, count in counts.items() if count == len(found)]
    assert best == ["2.11.0", "2.12.0", "2.12.1"]
