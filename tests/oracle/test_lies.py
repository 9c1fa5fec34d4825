"""Libraries with one lie each, that open with a release of torch that has a symbol only.

Each hides what it needs from a reader who reads otherwise than the loader, or seems to have
it itself. All of them open with the one stand-in for torch and not with the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from tests.oracle.loader import Loader, is_glibc
from tests.oracle.oracle import HELPER, NEW, OLD, TORCH, Oracle, facts_of, needs
from tests.oracle.shared import (
    ABS,
    AUXILIARY,
    FILTER,
    FUNC,
    GLOBAL,
    LOAD,
    LOCAL,
    PAGE,
    R_64,
    R_COPY,
    R_GLOB_DAT,
    R_JUMP_SLOT,
    R_SIZE64,
    RELA,
    RELACOUNT,
    RELASZ,
    SECTION,
    STRSZ,
    STRTAB,
    SYMTAB,
    TLS,
    UNIQUE,
    WEAK,
    File,
    Rela,
    Shared,
    Sym,
    defined,
)  # fmt: skip

pytestmark = pytest.mark.skipif(not is_glibc(), reason="asks the loader of glibc on x86_64")

NAME = NEW.encode() + b"\0"
OTHER = b"torch_neo\0"


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with Loader() as loader:
        yield Oracle(tmp_path_factory.mktemp("oracle"), loader)


def needing(symbol: Sym | None = None, *, kind: int = R_GLOB_DAT, **options: object) -> Shared:
    """A library with a relocation against a symbol, by default the one that it needs."""
    library = Shared([symbol or Sym(NEW)], [Rela(kind, 1)], soname=HELPER)
    for name, value in options.items():
        setattr(library, name, value)
    return library


# --- segments ------------------------------------------------------------------


def dynamic_by_offset() -> File:
    """A copy of the dynamic section leads to the symbols behind the needed one."""
    file = Shared([Sym(NEW), Sym(OLD), Sym(OLD)], [Rela(R_GLOB_DAT, 1)]).build()
    start, size = file.get("phdr2.vaddr"), file.get("phdr2.filesz")
    copy = len(file.data)
    file.data += file.data[start : start + size]
    place = file.places[f"tag{SYMTAB:x}"].offset - start + copy
    struct.pack_into("<Q", file.data, place, file.get(f"tag{SYMTAB:x}") + 24)
    return file.put(phdr2__offset=copy)


def two_dynamic_sections() -> File:
    """The last one is the loader's; the first one, as complete, knows of no relocation."""
    file = needing(dynamics=2).build()
    start, size = file.get("phdr3.vaddr"), file.get("phdr3.filesz")
    copy = len(file.data)
    file.data += file.data[start : start + size]
    for tag in (RELA, RELASZ):
        place = file.places[f"tag{tag:x}"].offset - 8 - start + copy
        struct.pack_into("<Q", file.data, place, 0x6FFFFEF0)
    file.data += bytes(-len(file.data) % PAGE)
    second = len(file.data) - file.get("phdr1.offset")
    return file.put(
        phdr1__filesz=second, phdr1__memsz=second, phdr2__vaddr=copy, phdr2__offset=copy
    )


def ends_in_zeros() -> File:
    """In memory the segment ends in the middle of a name, and zeros follow."""
    strings = f"\0{TORCH}\0{HELPER}\0".encode()
    file = needing(Sym(NEW + "_of_ours"), strings=strings).build()
    end = bytes(file.data).index(b"_of_ours\0")
    return file.put(phdr0__flags=6, phdr0__filesz=end, phdr0__memsz=end + 16)


def overlapping(*, shared_page: bool) -> File:
    """A third segment is mapped over the page of the string table."""
    file = needing(loads=3).build()
    strings = file.get(f"tag{STRTAB:x}")
    page = bytearray(file.data[:PAGE].replace(NAME, NAME))
    file.data[strings : strings + 64] = bytes(file.data[strings : strings + 64]).replace(
        NAME, OTHER
    )
    second = len(file.data)
    # The headers of the third segment come between the first and the second.
    rows = [file.data[64 + 56 * n : 64 + 56 * (n + 1)] for n in range(3)]
    file.data[64 + 56 : 64 + 56 * 3] = rows[2] + rows[1]
    if shared_page:
        end = PAGE - 64
        struct.pack_into("<2Q", file.data, 64 + 32, end, end)
    struct.pack_into(
        "<2I6Q", file.data, 64 + 56, LOAD, 5,
        *((second + PAGE - 64, PAGE - 64, 0, 64, 64) if shared_page
          else (second, 0, 0, PAGE, PAGE)), PAGE,
    )  # fmt: skip
    page[:232] = file.data[:232]
    file.data += page
    return file


SEGMENTS: dict[str, Callable[[], File]] = {
    "the dynamic section by offset": dynamic_by_offset,
    "two dynamic sections": two_dynamic_sections,
    "a name that ends in zeros": ends_in_zeros,
    "overlapping segments": lambda: overlapping(shared_page=False),
    "segments that share a page": lambda: overlapping(shared_page=True),
    "a hash table elsewhere": lambda: needing(gnu=False, sysv=True, writable=True).build(),
    "tables in the writable segment": lambda: needing(writable=True).build(),
    "a segment longer in the file than in memory": lambda: (
        needing().build().put(phdr0__memsz=0x200)
    ),
}

# --- the dynamic section and the number of symbols --------------------------------


def twice(tag: int, value: int) -> File:
    return needing(tags=[(tag, value)]).build()


SIZES: dict[str, Callable[[], File]] = {
    "two tables of symbols": lambda: twice(SYMTAB, 0x40),
    "two tables of strings": lambda: twice(STRTAB, 0x40),
    "two sizes of relocations": lambda: twice(RELASZ, 0),
    "two tables of relocations": lambda: twice(RELA, 0),
    "a short string table": lambda: needing().build().put(**{f"tag{STRSZ:x}": 1}),
    "half a relocation": lambda: needing().build().put(**{f"tag{RELASZ:x}": 1}),
    "relocations said to be relative": lambda: needing(tags=[(RELACOUNT, 0)]).build(),
    "no hash table": lambda: needing(gnu=False).build(),
    "a hash table with a low number of symbols": lambda: (
        needing(gnu=False, sysv=True).build().put(sysv__chains=0)
    ),
    "a GNU hash table that begins at the first symbol": lambda: needing().build().put(gnu__first=1),
    "two hash tables that disagree": lambda: needing(sysv=True).build().put(sysv__chains=1),
    "no buckets": lambda: needing().build().put(gnu__buckets=0),
    "a plt": lambda: Shared([Sym(NEW)], plt=[Rela(R_JUMP_SLOT, 1)]).build(),
}

# --- symbols ------------------------------------------------------------------------


def first_symbol() -> File:
    file = Shared([Sym(NEW)], [Rela(R_GLOB_DAT, 0)]).build()
    return file.put(sym0__name=file.get("sym1.name"), sym0__info=GLOBAL, sym1__name=0)


def no_offset() -> File:
    return needing(Sym(NEW, name_offset=0), strings=NAME).build()


SYMBOLS: dict[str, Callable[[], File]] = {
    "the reserved symbol": first_symbol,
    "a name at offset 0": no_offset,
    "a symbol that is defined as nothing": lambda: needing(defined(NEW, value=0)).build(),
    "a defined section": lambda: needing(defined(NEW, GLOBAL | SECTION)).build(),
    "a binding of no meaning": lambda: needing(defined(NEW, 0x50 | FUNC)).build(),
    "an undefined symbol of another binding": lambda: needing(Sym(NEW, 0x50)).build(),
    "an undefined unique symbol": lambda: needing(Sym(NEW, UNIQUE)).build(),
    "the size of a weak symbol": lambda: needing(Sym(NEW, WEAK), kind=R_SIZE64).build(),
    "an undefined section": lambda: needing(Sym(NEW, GLOBAL | SECTION)).build(),
    "an undefined thread-local symbol": lambda: needing(Sym(NEW, GLOBAL | TLS)).build(),
    "an undefined protected symbol": lambda: needing(Sym(NEW, other=3)).build(),
    "an undefined symbol with a value": lambda: needing(Sym(NEW, value=0x40)).build(),
    "a defined symbol that is not hashed": lambda: needing(defined(NEW)).build().put(
        gnu__bucket=0
    ),
    "a defined symbol whose hash is another's": lambda: needing(defined(NEW)).build().put(
        chain1__hash=1
    ),
    "a defined symbol that the filter leaves out": lambda: needing(defined(NEW)).build().put(
        gnu__filter=0
    ),
    "a defined symbol in no old bucket": lambda: needing(
        defined(NEW), gnu=False, sysv=True
    ).build().put(sysv__bucket=0),
    "a defined symbol without a hash table": lambda: needing(defined(NEW), gnu=False).build(),
    "a defined symbol that is before the hashed ones": lambda: Shared(
        [Sym("x"), defined(NEW), defined("own")], [Rela(R_GLOB_DAT, 2)]
    ).build().put(gnu__first=3, gnu__bucket=3, chain2__hash=1),
}  # fmt: skip

# --- relocations that write what is read next -----------------------------------------


def rewriting(kind: int, target: str, value: int | None = None, *, shift: int = 0) -> File:
    """The first relocation changes a field, which the second then depends on."""
    names = [Sym(OLD), Sym(NEW, WEAK), defined("own", section=ABS, value=1)]
    library = Shared(names, [Rela(kind, 3), Rela(R_GLOB_DAT, 1)], writable=True)
    file = library.build()
    place = file.places[target]
    new = file.get("sym2.name") if value is None else value
    word = struct.unpack_from("<Q", file.data, place.offset + shift)[0]
    size = struct.calcsize(place.layout)
    bits = 8 * (size - shift) if shift < 0 else 8 * size
    word = word & ~((1 << bits) - 1) | new
    return file.put(rela0__offset=place.offset + shift, rela0__addend=word)


def renaming() -> File:
    """The relocation writes the name, and not the symbol."""
    file = Shared(
        [Sym("torch_ne_"), defined("own")], [Rela(R_SIZE64, 2), Rela(R_GLOB_DAT, 1)], writable=True
    ).build()
    place = bytes(file.data).index(b"torch_ne_\0")
    word = int.from_bytes(b"rch_new\0", "little")
    return file.put(rela0__offset=place + 2, rela0__addend=word)


def copying() -> File:
    """A copy of data of the library over the name."""
    file = Shared(
        [Sym("torch_ne_"), defined("own", size=10)],
        [Rela(R_COPY, 2), Rela(R_GLOB_DAT, 1)],
        writable=True,
    ).build()
    place = bytes(file.data).index(b"torch_ne_\0")
    file.data[-16:] = NAME.ljust(16, b"\0")
    return file.put(rela0__offset=place, sym2__value=len(file.data) - 16)


def relative_bits() -> File:
    """DT_RELR adds the library's address to a name: no use, but to have it out of the tables."""
    file = Shared([Sym(NEW)], [Rela(R_GLOB_DAT, 1)], relr=[0x1000], writable=True).build()
    return file.put(relr0__entry=len(file.data) - 8)


WRITES: dict[str, Callable[[], File]] = {
    "a relocation that renames a symbol": lambda: rewriting(R_SIZE64, "sym1.name"),
    "a relocation that writes a name": renaming,
    "a copy over a name": copying,
    "relative relocations": relative_bits,
}

# --- versions ----------------------------------------------------------------------------


def versioned(file: str = "libc.so.6", version: str = "GLIBC_2.2.5") -> Shared:
    return needing(Sym(NEW, version=2), needs={file: [(version, 2)]}, needed=(TORCH, file))


VERSIONS: dict[str, Callable[[], File]] = {
    "a version that another library has": lambda: versioned().build(),
    "a version of the library's own": lambda: needing(
        Sym(NEW, version=2), defines=[("V", 2)]
    ).build(),
    "a hidden version": lambda: needing(Sym(NEW, version=0x8002), defines=[("V", 2)]).build(),
    "the index of all": lambda: needing(Sym(NEW, version=1), defines=[("V", 2)]).build(),
}

# --- what seems to have the symbol ---------------------------------------------------------


def providing(symbol: Sym | None = None, **options: object) -> Shared:
    library = Shared([symbol or defined(NEW)], needed=(TORCH,), soname=HELPER)
    for name, value in options.items():
        setattr(library, name, value)
    return library


PROVIDERS: dict[str, Callable[[], File]] = {
    "nothing at address 0": lambda: providing(defined(NEW, value=0)).build(),
    "a section": lambda: providing(defined(NEW, GLOBAL | SECTION)).build(),
    "hidden": lambda: providing(defined(NEW, other=2)).build(),
    "internal": lambda: providing(defined(NEW, other=1)).build(),
    "local": lambda: providing(defined(NEW, LOCAL | FUNC)).build(),
    "a binding of no meaning": lambda: providing(defined(NEW, 0x50)).build(),
    "no bucket": lambda: providing().build().put(gnu__bucket=0),
    "another hash": lambda: providing().build().put(chain1__hash=1),
    "the filter": lambda: providing().build().put(gnu__filter=0),
    "no old bucket": lambda: providing(gnu=False, sysv=True).build().put(sysv__bucket=0),
    "no hash table": lambda: providing(gnu=False).build(),
    "no buckets": lambda: providing().build().put(gnu__buckets=0),
    "an old hash table beside a new one": lambda: providing(sysv=True).build().put(gnu__filter=0),
    "a hidden one that comes first": lambda: Shared(
        [defined(NEW, other=2), defined(NEW)], needed=(TORCH,), soname=HELPER
    ).build(),
    "one of no meaning that comes first": lambda: Shared(
        [defined(NEW, 0x50), defined(NEW)], needed=(TORCH,), soname=HELPER
    ).build(),
    "two default versions": lambda: Shared(
        [defined(NEW, version=3), defined(NEW, version=4)],
        needed=(TORCH,), soname=HELPER, defines=[("V3", 3), ("V4", 4)],
    ).build(),
    "a version that is not the default": lambda: providing(
        defined(NEW, version=0x8003), defines=[("V2", 2), ("V3", 3)]
    ).build(),
}  # fmt: skip


def cases(*tables: dict[str, Callable[[], File]]) -> list[object]:
    return [pytest.param(make, id=name) for table in tables for name, make in table.items()]


@pytest.mark.parametrize("make", cases(SEGMENTS, SIZES, SYMBOLS, WRITES, VERSIONS))
def test_what_it_needs_is_seen_or_refused(oracle: Oracle, make: Callable[[], File]) -> None:
    data = bytes(make().data)
    assert oracle.opens(data) == (True, False)
    assert oracle.misread(data) is None


@pytest.mark.parametrize("make", cases(PROVIDERS))
def test_what_it_seems_to_have_is_not_believed(oracle: Oracle, make: Callable[[], File]) -> None:
    data = bytes(make().data)
    assert oracle.opens(data, provides=True) == (True, False)
    assert oracle.misread(data, provides=True) is None


HONEST: dict[str, Shared] = {
    "gnu": Shared([Sym(NEW), defined("own")], [Rela(R_GLOB_DAT, 1), Rela(R_GLOB_DAT, 2)]),
    "sysv": Shared([Sym(NEW), defined("own")], [Rela(R_64, 1)], gnu=False, sysv=True),
    "both": Shared([Sym(NEW), defined("own"), defined("a")], [Rela(R_64, 1)], sysv=True),
    "moved": Shared([Sym(NEW), defined("own")], [Rela(R_64, 1)], writable=True),
    "versions": versioned(),
}


@pytest.mark.parametrize("library", HONEST.values(), ids=HONEST)
def test_honest_ones_are_read(oracle: Oracle, library: Shared) -> None:
    data = bytes(library.build().data)
    facts = facts_of(data)
    assert oracle.opens(data) == (True, False)
    assert facts is not None
    assert needs(facts)
    assert [s.name for s in facts.exports] == [s.name for s in library.symbols if s.section]


@pytest.mark.parametrize("tag", [AUXILIARY, FILTER])
def test_a_filter_is_refused(tag: int) -> None:
    assert facts_of(bytes(needing(tags=[(tag, TORCH)]).build().data)) is None
