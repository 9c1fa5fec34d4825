"""What the loader does with a library, and whether the reader's facts allow for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.oracle.loader import Loader
from tests.oracle.shared import R_GLOB_DAT, Rela, Shared, Sym, defined
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.model import Library

NEW, OLD, TORCH, HELPER = "torch_new", "torch_old", "libtorch_cpu.so", "libhelper.so"


@dataclass
class Oracle:
    """Two releases of a stand-in for torch, of which one has a symbol that the other lacks."""

    folder: Path
    loader: Loader

    def __post_init__(self) -> None:
        for release, names in {"new": [NEW, OLD], "old": [OLD]}.items():
            (self.folder / release).mkdir()
            torch = Shared([defined(name) for name in names], needed=(), soname=TORCH)
            (self.folder / release / TORCH).write_bytes(torch.build().data)
        consumer = Shared([Sym(NEW)], [Rela(R_GLOB_DAT, 1)], needed=(HELPER, TORCH))
        (self.folder / "consumer.so").write_bytes(consumer.build().data)

    def opens(self, data: bytes, *, provides: bool = False) -> tuple[bool, bool]:
        """Whether the loader takes a library with each of the releases, the newer one first.

        Args:
            data: The library.
            provides: It is opened as the helper of a library that needs the symbol, and
                looks for it in the helper first.
        """
        path = self.folder / HELPER
        path.write_bytes(data)
        paths = [path, self.folder / "consumer.so"] if provides else [path]
        new, old = (
            self.loader.opens([self.folder / release / TORCH, *paths]) for release in ("new", "old")
        )
        return new, old

    def misread(self, data: bytes, *, provides: bool = False) -> str | None:
        """Return what the reader says of a library that works with one release only.

        None where it refuses the library, or says that it needs the symbol (that it does not
        provide it), or where the library works with both or neither.
        """
        new, old = self.opens(data, provides=provides)
        facts = facts_of(data)
        if new == old or facts is None or needs(facts):
            return None
        if provides and not gives(facts):
            return None
        return f"opens with the newer release: {new}, with the older: {old}; {facts}"


def facts_of(data: bytes) -> Library | None:
    """Return the facts of a library; None where it is refused."""
    try:
        found = read_libraries(BytesSource(bytes(data)), HELPER)
    except LibraryError:
        return None
    return found[0] if found else None


def needs(facts: Library) -> bool:
    """Whether it imports the symbol, and does not load without.

    Or asks for a version of it in the very library of torch, which has no versions: glibc
    up to 2.36 at least gives up where it finds the symbol there.
    """
    return any(
        symbol.name == NEW and (not symbol.weak or symbol.library == TORCH)
        for symbol in facts.imports
    )


def gives(facts: Library) -> bool:
    """Whether it has the symbol for a library that asks for no version."""
    return any(symbol.name == NEW and not symbol.hidden for symbol in facts.exports)
