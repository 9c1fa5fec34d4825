from __future__ import annotations

import struct
import zlib

import pytest

from tests.builders import member_of
from tests.objects import (
    ARM64,
    BUNDLE,
    DYLIB,
    EXECUTE,
    I386,
    LOAD,
    OBJECT,
    REEXPORT,
    WEAK,
    X86_64,
    MachO,
    chained,
    trie,
    universal,
)
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.errors import LibraryError, LimitError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.formats.dyld import Bind, bound_symbols, exported_symbols
from torch_abi_audit.formats.macho import read_macho
from torch_abi_audit.model import MAIN_EXECUTABLE, DeploymentTarget, Format, Library, Symbol

CPU, C10, SYSTEM = "@rpath/libtorch_cpu.dylib", "@rpath/libc10.dylib", "/usr/lib/libSystem.B.dylib"
LIBRARIES = [(LOAD, SYSTEM), (LOAD, CPU), (LOAD, C10)]


def read(data: bytes, name: str = "x.so") -> tuple[Library, ...]:
    return read_libraries(BytesSource(data), name)


def command(number: int, *words: int, text: bytes = b"") -> bytes:
    body = struct.pack(f"<{len(words)}I", *words) + text + bytes(-len(text) % 8)
    return struct.pack("<2I", number, 8 + len(body)) + body


def only(item: MachO) -> Library:
    (library,) = read(item.build())
    return library


def test_facts_of_a_library_that_a_linker_made() -> None:
    (facts,) = read(member_of("macos-stable", "macos_stable/_C.so"))
    assert facts.format is Format.MACHO
    assert facts.arch == "arm64"
    assert facts.soname == "@rpath/_C.so"
    assert sorted(facts.needed) == [SYSTEM, C10, CPU]
    assert facts.minos == DeploymentTarget("macos", (11, 0))
    assert {symbol for symbol in facts.imports if symbol.library == CPU} == {
        Symbol("aoti_torch_library_init_fragment", library=CPU),
        Symbol("torch_call_dispatcher", library=CPU),
        Symbol("torch_library_impl", library=CPU),
    }
    assert Symbol("register_ops") in facts.exports


def test_slices_of_a_universal_library() -> None:
    slices = read(member_of("macos-universal2", "macos_universal2/_C.so"))
    assert [(item.arch, str(item.minos)) for item in slices] == [
        ("arm64", "macos 11.0"),
        ("x86_64", "macos 10.15"),
    ]
    assert slices[0].needed == slices[1].needed


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_imports_in_chained_fixups(kind: int) -> None:
    """Of a library without a symbol table: ordinals, weak imports and both kinds of lookup."""
    imports = [
        ("_torch_library_impl", 2, False),
        ("__ZN3c104warnEv", 3, True),
        ("_PyObject_Repr", -2, False),
        ("__ZTISt9exception", -3, False),
        ("_malloc", 1, False),
        ("_main", -1, False),
    ]
    facts = only(MachO(LIBRARIES, fixups=chained(imports, kind), trie=trie({})))
    assert facts.imports == (
        Symbol("torch_library_impl", library=CPU),
        Symbol("_ZN3c104warnEv", weak=True, library=C10),
        Symbol("PyObject_Repr"),
        Symbol("_ZTISt9exception"),
        Symbol("malloc", library=SYSTEM),
        Symbol("main", library=MAIN_EXECUTABLE),
    )


def test_names_of_chained_fixups_can_be_compressed() -> None:
    names = zlib.compress(b"\0_torch_library_impl\0")
    fixups = chained([("_torch_library_impl", 2, False)], names_zlib=names)
    assert only(MachO(LIBRARIES, fixups=fixups, trie=b"")).imports == (
        Symbol("torch_library_impl", library=CPU),
    )


def test_imports_in_bind_opcodes() -> None:
    bind = (
        b"\x12\x40_torch_library_impl\0\x51\x72\x88\x01\x90"  # ordinal 2, a pointer, bound
        b"\xa0\x10\xb3\xc0\x02\x08"  # bound again, in the three short forms
        b"\x20\x03\x41__ZN3c104warnEv\0\x90"  # a large ordinal, weak
        b"\x3e\x40_PyObject_Repr\0\x60\x7f\x80\x08\x90"  # flat lookup, an addend
        b"\x00\x12\x40_never\0\x90"  # what follows the end does not count
    )
    lazy = b"\x72\x00\x11\x40_malloc\0\x90\x00\x72\x08\x11\x40_free\0\x90\x00"
    facts = only(MachO(LIBRARIES, bind=bind, lazy=lazy, info_trie=trie({"_f": b"\0\x10"})))
    assert facts.imports == (
        Symbol("torch_library_impl", library=CPU),
        Symbol("_ZN3c104warnEv", weak=True, library=C10),
        Symbol("PyObject_Repr"),
        Symbol("malloc", library=SYSTEM),
        Symbol("free", library=SYSTEM),
    )
    assert facts.exports == (Symbol("f"),)


def test_a_symbol_can_be_named_before_its_library() -> None:
    (binding,) = bound_symbols(b"\x40_f\0\x51\x12\x90")
    assert (binding.name, binding.ordinal) == (b"_f", 2)


def test_threaded_binds() -> None:
    found = list(bound_symbols(b"\xd0\x02\x11\x40_f\0\x90\x12\x40_g\0\x90\x72\x00\xd1\x00"))
    assert [(item.name, item.ordinal) for item in found] == [(b"_f", 1), (b"_g", 2)]


def test_symbol_table_of_a_file_without_dylds_tables() -> None:
    symbols = [
        ("_torch_library_impl", 0x01, 2 << 8, 0),
        ("__ZN3c104warnEv", 0x01, 3 << 8 | 0x40, 0),
        ("_PyObject_Repr", 0x01, 0xFE << 8, 0),
        ("_of_the_program", 0x01, 0xFF << 8, 0),
        ("_f", 0x0F, 0, 0x100),
        ("_weak", 0x0F, 0x80, 0x100),
        ("_hidden", 0x1F, 0, 0x100),  # private external
        ("_local", 0x0E, 0, 0x100),
        ("_debug", 0x24, 0, 0x100),
    ]
    facts = only(MachO(LIBRARIES, symbols=symbols))
    assert facts.imports == (
        Symbol("torch_library_impl", library=CPU),
        Symbol("_ZN3c104warnEv", weak=True, library=C10),
        Symbol("PyObject_Repr"),
        Symbol("of_the_program", library=MAIN_EXECUTABLE),
    )
    assert facts.exports == (Symbol("f"), Symbol("weak", weak=True))


def test_without_two_levels_no_library_is_named() -> None:
    """In the symbol table, that is: dyld's own tables say of each name whose it is."""
    facts = only(MachO(LIBRARIES, symbols=[("_f", 1, 2 << 8, 0)], flags=0))
    assert facts.imports == (Symbol("f"),)
    facts = only(MachO(LIBRARIES, fixups=chained([("_f", 2, False)]), trie=b"", flags=0))
    assert facts.imports == (Symbol("f", library=CPU),)


def test_what_it_defines_itself_is_no_import() -> None:
    """A weak definition, for which dyld looks around, and one that it binds to itself."""
    fixups = chained([("_inline", -3, False), ("_own", 0, False), ("_else", -3, False)])
    exports = {"_inline": b"\x04\x10", "_own": b"\x00\x20"}
    facts = only(MachO(LIBRARIES, fixups=fixups, trie=trie(exports)))
    assert facts.imports == (Symbol("else"),)
    assert set(facts.exports) == {Symbol("inline", weak=True), Symbol("own")}


def test_what_it_asks_of_itself_can_be_anothers() -> None:
    """dyld looks in what it re-exports, too; in nothing else."""
    fixups = chained([("_f", 0, False)])
    facts = only(MachO([(LOAD, SYSTEM), (REEXPORT, CPU)], fixups=fixups, trie=b""))
    assert facts.imports == (Symbol("f", library=CPU),)
    facts = only(MachO([(REEXPORT, C10), (REEXPORT, CPU)], fixups=fixups, trie=b""))
    assert facts.imports == (Symbol("f"),)


def test_what_it_asks_of_the_program_it_can_not_have_itself() -> None:
    exports = trie({"_f": b"\x00\x10"})
    facts = only(MachO(LIBRARIES, fixups=chained([("_f", -1, False)]), trie=exports))
    assert facts.imports == (Symbol("f", library=MAIN_EXECUTABLE),)


def test_the_weak_table_binds_what_nothing_else_does() -> None:
    """Where no library has it, nothing happens: as with other weak imports."""
    weak = b"\x40_f\0\x51\x72\x88\x01\x90\x40_g\0\x90\x40_own\0\x90\x48_strong\0\x00"
    item = MachO(LIBRARIES, bind=b"\x12\x40_f\0\x90", weak=weak)
    item.info_trie = trie({"_own": b"\x04\x10"})
    assert only(item).imports == (Symbol("f", library=CPU), Symbol("g", weak=True))


def test_names_without_an_underscore_are_other_names() -> None:
    imports = [("torch_library_impl", 2, False), ("dyld_stub_binder", 1, False)]
    facts = only(MachO(LIBRARIES, fixups=chained(imports), trie=trie({"PyInit_x": b"\0\x10"})))
    assert facts.imports == (
        Symbol("\1torch_library_impl", library=CPU),
        Symbol("dyld_stub_binder", library=SYSTEM),
    )
    assert facts.exports == (Symbol("\1PyInit_x"),)


def test_a_name_can_be_the_first_of_the_symbol_table() -> None:
    data = MachO(LIBRARIES, symbols=[("_f", 1, 2 << 8, 0)]).build()
    table, strings = struct.pack("<I", 1) + b"\x01\0\0\x02", b"\0_f\0"
    assert data.count(table) == data.count(strings) == 1
    moved = data.replace(table, bytes(4) + table[4:]).replace(strings, b"_f\0\0")
    (facts,) = read(moved)
    assert facts.imports == (Symbol("f", library=CPU),)


def test_what_is_undefined_is_imported_whoever_else_sees_it() -> None:
    """A relocation can name it all the same."""
    symbols = [("_f", 0x00, 2 << 8, 0), ("_g", 0x11, 2 << 8, 0), ("_h", 0x01, 2 << 8, 4)]
    assert only(MachO(LIBRARIES, symbols=symbols)).imports == tuple(
        Symbol(name, library=CPU) for name in "fgh"
    )


def test_libraries_that_are_used_by_flags() -> None:
    """`dyld_use_command` says it in other words; a dyld that is older goes by the command."""

    def use(number: int, name: bytes, flags: int) -> bytes:
        return command(number, 28, 0x1A741800, 0, 0, flags, text=name + b"\0")

    facts = only(
        MachO(
            extra=[use(LOAD, b"a", 2), use(WEAK, b"b", 0), use(WEAK, b"c", 1), use(LOAD, b"d", 1)]
        )
    )
    assert facts.needed == ("a", "b", "c", "d")
    assert facts.reexported == ("a",)
    assert facts.optional == ("c",)


def test_segments() -> None:
    fixups = chained([("_f", 2, False)])
    text = (b"__TEXT", 0, 0x4000, 0, 0x100)
    item = MachO(LIBRARIES, fixups=fixups, trie=b"")
    item.segments = [text, (b"__LINKEDIT", 0x4000, 0x4000, 0x100, 0)]
    size = len(item.build())
    item.segments[1] = (b"__LINKEDIT", 0x4000, 0x4000, 0x100, size - 0x100)
    assert only(item).imports == (Symbol("f", library=CPU),)
    for segments, reason in (
        ([text], "0 segments for the tables"),
        ([*item.segments, (b"__LINKEDIT", 0x8000, 1, 0, 0)], "2 segments for the tables"),
        ([text, (b"__LINKEDIT", 0x4000, 0x4000, 0x100, 0x10)], "outside of its segment"),
        ([text, (b"__LINKEDIT", 0x4000, 0x4000, 0x100, size)], "truncated"),
        ([text, (b"__LINKEDIT", 0x4000, 0x10, 0x100, size - 0x100)], "overlap"),
        ([text, (b"__LINKEDIT", 0x3FFF, 0x4000, 0x100, size - 0x100)], "overlap"),
        ([text, (b"__LINKEDIT", 0x4000, 0x4000, 0xFF, size - 0xFF)], "overlap"),
        (
            [(b"__LINKEDIT", 0x4000, 0x4000, 0x100, size - 0x100)],
            "header is outside of all segments",
        ),
    ):
        item.segments = segments
        with pytest.raises(LibraryError, match=reason):
            only(item)


def test_an_export_from_elsewhere_is_an_import_too() -> None:
    passed_on = trie({"_f": b"\x08\x02_g\0", "_h": b"\x08\x03\0", "_r": b"\x10\x10\x20"})
    facts = only(MachO(LIBRARIES, fixups=chained([]), trie=passed_on))
    assert set(facts.exports) == {Symbol("f"), Symbol("h"), Symbol("r")}
    assert set(facts.imports) == {Symbol("g", library=CPU), Symbol("h", library=C10)}


def test_optional_and_reexported_libraries() -> None:
    libraries = [(LOAD, SYSTEM), (WEAK, CPU), (REEXPORT, C10)]
    facts = only(MachO(libraries, fixups=chained([]), trie=b"", rpath="@loader_path/../lib"))
    assert facts.needed == (SYSTEM, CPU, C10)
    assert facts.optional == (CPU,)
    assert facts.reexported == (C10,)
    assert facts.rpath == ("@loader_path/../lib",)


@pytest.mark.parametrize(
    ("item", "minos"),
    [
        (MachO(minos=[(1, 14 << 16)]), DeploymentTarget("macos", (14, 0))),
        (MachO(minos=[(1, 11 << 16 | 3 << 8 | 1)]), DeploymentTarget("macos", (11, 3))),
        (MachO(minos=[(6, 13 << 16), (1, 10 << 16 | 9 << 8)]), DeploymentTarget("macos", (10, 9))),
        (MachO(minos=[(7, 13 << 16)]), DeploymentTarget("iossimulator", (13, 0))),
        (MachO(version_min=10 << 16 | 13 << 8), DeploymentTarget("macos", (10, 13))),
        (MachO(), None),
    ],
)
def test_minos(item: MachO, minos: DeploymentTarget | None) -> None:
    assert only(item).minos == minos


@pytest.mark.parametrize(
    ("cpu", "subtype", "arch"),
    [
        (ARM64, 0, "arm64"),
        (ARM64, 2, "arm64e"),
        (ARM64, 0x80000002, "arm64e"),
        (X86_64, 3, "x86_64"),
        (X86_64, 8, "x86_64h"),
        (I386, 3, "i686"),
        (0x12345, 0, "cpu 0x12345"),
    ],
)
def test_machines(cpu: int, subtype: int, arch: str) -> None:
    assert only(MachO(cpu=cpu, subtype=subtype)).arch == arch


def test_debug_symbols_are_no_library() -> None:
    dsym = MachO(filetype=10).build()
    assert read(dsym, "x.so.dSYM/Contents/Resources/DWARF/x.so") == ()


def overlapping(count: int) -> MachO:
    """Imports that share one long name, so that a small file would stand for a large one."""
    pool = chained([("_" + "f" * 200, 1, False)])
    entry = struct.pack("<I", 1 | 1 << 9)
    fixups = struct.pack("<7I", 0, 0, 28, 28 + 4 * count, count, 1, 0) + entry * count + pool[32:]
    return MachO(LIBRARIES, fixups=fixups, trie=b"")


def test_names_that_overlap_are_counted() -> None:
    data = overlapping(10).build()
    with pytest.raises(LimitError, match="bytes of symbol names"):
        read_macho(BytesSource(data), Budget(Limits(names=1000)))
    with pytest.raises(LimitError, match="dynamic symbols"):
        read_macho(BytesSource(data), Budget(Limits(symbols=9)))


def test_what_all_slices_have_is_counted() -> None:
    arm, intel = overlapping(10), overlapping(10)
    intel.cpu = X86_64
    data = universal((ARM64, arm.build()), (X86_64, intel.build()))
    with pytest.raises(LimitError, match="bytes of symbol names"):
        read_macho(BytesSource(data), Budget(Limits(names=3000)))
    assert len(read_macho(BytesSource(data), Budget(Limits(names=5000)))) == 2


def test_a_bind_table_has_an_end() -> None:
    with pytest.raises(LimitError, match="more than 10 steps"):
        list(bound_symbols(b"\x11\x12" * 10, budget=Budget(Limits(steps=10))))


def test_what_is_no_opcode_ends_the_search_for_one() -> None:
    """An unfinished name would otherwise be looked for from each byte anew."""
    with pytest.raises(LibraryError, match="byte 0 of a bind table is not an opcode"):
        list(bound_symbols(b"\x40" * 300_000))


def test_kinds_of_file() -> None:
    assert not only(MachO(filetype=BUNDLE)).executable
    assert only(MachO(filetype=EXECUTE)).executable
    assert read(MachO(filetype=OBJECT).build(), "x.o") == ()
    with pytest.raises(LibraryError, match="an object file that no loader loads"):
        read(MachO(filetype=OBJECT).build(), "x.dylib")


@pytest.mark.parametrize("wide", [False, True])
def test_universal_files(wide: bool) -> None:  # noqa: FBT001
    arm, intel = MachO(cpu=ARM64).build(), MachO(cpu=X86_64).build()
    slices = read(universal((ARM64, arm), (X86_64, intel), wide=wide))
    assert [item.arch for item in slices] == ["arm64", "x86_64"]


def slices_of(*items: bytes) -> bytes:
    return universal(*zip((ARM64, X86_64, I386), items, strict=False))


def test_slices_are_of_one_kind() -> None:
    """Which is the first one says nothing of the others."""
    library = MachO(cpu=X86_64).build()
    archive = b"!<arch>\n" + bytes(60)
    others = (archive, MachO(filetype=OBJECT).build(), MachO(filetype=EXECUTE).build())
    for other in (*others, MachO(filetype=10).build()):
        for data in (slices_of(other, library), universal((X86_64, library), (ARM64, other))):
            with pytest.raises(LibraryError, match="slices of different kinds"):
                read(data, "x")
    assert read(slices_of(archive, archive), "libx.a") == ()
    assert read(slices_of(MachO(filetype=10).build()), "x.dylib") == ()


def test_a_slice_is_for_the_machine_that_the_file_says() -> None:
    with pytest.raises(LibraryError, match="a slice for arm64 whose header says x86_64"):
        read(universal((ARM64, MachO(cpu=X86_64).build())))
    twice = universal((ARM64, MachO().build()), (ARM64, b"!<arch>\n" + bytes(60)))
    with pytest.raises(LibraryError, match="two slices for arm64"):
        read(twice)


def test_a_universal_archive_of_object_files_is_no_library() -> None:
    assert read(universal((ARM64, b"!<arch>\n" + bytes(60))), "libx.a") == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (MachO(LIBRARIES, fixups=chained([("_f", 9, False)]), trie=b"").build(), "of library 9"),
        (
            MachO(fixups=chained([("_f", 0, False)], kind=4), trie=b"").build(),
            "chained imports: kind 4",
        ),
        (MachO(fixups=b"short", trie=b"").build(), "not a readable Mach-O file"),
        (MachO(fixups=chained([]), trie=b"\0\1_f\0\0").build(), "not a tree"),
        (MachO(fixups=chained([]), trie=b"\0\1_f").build(), "truncated: the export trie"),
        (MachO(fixups=chained([]), trie=b"\xff" * 20).build(), "more than 64 bits"),
        (MachO(fixups=struct.pack("<7I", 1, 0, 28, 28, 0, 1, 0)).build(), "version 1"),
        (MachO(fixups=chained([("_f", 0, False)]), trie=b"").build(), "should define itself"),
        (MachO(fixups=chained([("_f", -4, False)]), trie=b"").build(), "of library -4"),
        (MachO(fixups=chained([("", -2, False)]), trie=b"").build(), "without a name"),
        (MachO(fixups=chained([("_", -2, False)]), trie=b"").build(), "without a name"),
        (MachO(LIBRARIES, bind=b"\x40_f\0\x90").build(), "without a library"),
        (MachO(LIBRARIES, bind=b"\x11\x90").build(), "without a library"),
        (
            MachO(LIBRARIES, bind=b"", lazy=b"\x11\x40_f\0\x90\x00\x40_g\0\x90").build(),
            "without a library",
        ),
        (MachO(bind=b"", fixups=chained([])).build(), "two kinds"),
        (MachO(bind=b"", trie=b"").build(), "two kinds"),
        (MachO(extra=[command(0x80000034, 0, 0)] * 2).build(), "dyld uses only one"),
        (MachO(extra=[command(2, 0, 0, 0, 0)] * 2).build(), "dyld uses only one"),
        (
            MachO(extra=[command(0x22 | 1 << 31, *[0] * 10), command(0x22, *[0] * 10)]).build(),
            "one",
        ),
        (MachO(minos=[(1, 11 << 16), (1, 12 << 16)]).build(), "versions of one system"),
        (MachO(minos=[(1, 11 << 16)], version_min=12 << 16).build(), "versions of one system"),
        (MachO([(0x20, "x.dylib")]).build(), "lazily loaded"),
        (MachO(extra=[command(0x3A, 0, 0)]).build(), "lazily loaded"),
        (MachO(extra=[command(0x800000FF)]).build(), "dyld requires"),
        (MachO(extra=[command(LOAD, 24, 0, 0, 0, text=b"x" * 8)]).build(), "of its load command"),
        (MachO(extra=[command(LOAD, 99, 0, 0, 0, text=b"x\0")]).build(), "of its load command"),
        (MachO(extra=[command(LOAD, 8, 0, 0, 0, text=b"x\0")]).build(), "of its load command"),
        (MachO([(LOAD, "")]).build(), "a library without a name"),
        (MachO([(REEXPORT, CPU)], flags=0x100080).build(), "no library is re-exported"),
        (MachO(cpu=X86_64, filetype=DYLIB).build().replace(b"\xcf\xfa", b"\xce\xfa", 1), "header"),
        (MachO(symbols=[("_f", 0x0B, 0, 1)]).build(), "indirect symbols"),
        (MachO(symbols=[("", 0x01, 0xFE << 8, 0)]).build(), "without a name"),
        (MachO(trie=trie({"_f": b"\x08\0_g\0"})).build(), "from library 0"),
        (MachO(LIBRARIES, trie=trie({"_f": b"\x08\1"}) + b"g\0").build(), "nodes overlap"),
        (MachO(bind=b"\xe0").build(), "not an opcode"),
        (MachO(bind=b"\x12\x40_f").build(), "not an opcode"),
        (universal((ARM64, b"\xcf\xfa\xed\xfe")), "truncated"),
        (universal((ARM64, b"nothing at all")), "the magic"),
        (universal(), "0 slices"),
        (universal((ARM64, MachO().build()), (ARM64, MachO().build())), "two slices for arm64"),
        (
            universal((ARM64, MachO().build()))[:24].replace(b"\0\0\x10\0", b"\0\0\0\4")
            + bytes(4096),
            "overlap",
        ),
        (MachO().build()[:40], "truncated"),
    ],
)
def test_contradictions(data: bytes, reason: str) -> None:
    with pytest.raises(LibraryError, match=reason):
        read(data)


def test_dyld_never_turns_back_in_a_trie() -> None:
    """So an edge that begins as another one does hides it, or what is below it."""
    leaf = b"\2\0\x10\0"
    for edges in ([b"_a", b"_ab"], [b"_ab", b"_a"], [b"", b"_a"], [b"_a", b"_a"]):
        start = 2 + sum(len(edge) + 2 for edge in edges)
        node = b"".join(edge + bytes([0, start + 4 * n]) for n, edge in enumerate(edges))
        with pytest.raises(LibraryError, match="one name hides another"):
            list(exported_symbols(b"\0\2" + node + leaf * 2))


@pytest.mark.parametrize(
    "opcode", [b"\x60\0", b"\x85\x90\0", b"\xa1\0", b"\xb1", b"\xc0\1\0", b"\xd1"]
)
def test_a_lazy_table_has_only_what_dyld_takes_there(opcode: bytes) -> None:
    """Over the others it gives up when a name is called; other readers go on."""
    table = b"\x72\x08\x11\x40_f\0" + opcode + b"\x90\x00"
    list(bound_symbols(table, Bind.EAGER))
    with pytest.raises(LibraryError, match="not an opcode"):
        list(bound_symbols(table, Bind.LAZY))


def test_an_empty_edge_can_lead_to_more_edges() -> None:
    """As a linker of a published wheel writes them."""
    data = b"\0\1_f\0\6" + b"\0\2" + b"a\0\x17" + b"\0\x0d" + b"\2\0\x10\1b\0\x1b"
    data = data.ljust(0x17, b"\0") + b"\2\0\x10\0" * 2
    assert {item.name for item in exported_symbols(data)} == {b"_f", b"_fa", b"_fb"}
    hidden = data.replace(b"b\0\x1b", b"a\0\x1b")
    with pytest.raises(LibraryError, match="one name hides another"):
        list(exported_symbols(hidden))


def test_a_trie_that_grows_without_end_is_refused() -> None:
    """Nodes that share children would spell out exponentially many names."""
    node = b"\0\2a\0\x0a_b\0\x0a"
    with pytest.raises(LibraryError, match="not a tree"):
        list(exported_symbols(node + b"\0" * 20))
