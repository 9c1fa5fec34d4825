"""Libraries in which a few fields hold something else, by chance."""

from __future__ import annotations

import random
import re

from tests.oracle.oracle import HELPER, NEW, OLD, TORCH
from tests.oracle.shared import (
    GLOBAL,
    OBJECT,
    R_64,
    R_GLOB_DAT,
    R_JUMP_SLOT,
    R_RELATIVE,
    R_SIZE64,
    RELACOUNT,
    UNIQUE,
    WEAK,
    File,
    Rela,
    Shared,
    Sym,
    defined,
)

_KINDS = (R_64, R_GLOB_DAT, R_JUMP_SLOT)


def a_library(rng: random.Random, *, provides: bool) -> File:
    """An honest library of some shape, that needs the symbol or not, or that has it."""
    symbols = [Sym(OLD)]
    relocations = [Rela(rng.choice(_KINDS), 1)]
    for name in rng.sample([NEW, "torch_new", OLD], rng.randint(0, 2)):
        symbols.append(Sym(name, rng.choice([GLOBAL, WEAK, GLOBAL | OBJECT])))
        if rng.random() < 0.8:
            relocations.append(Rela(rng.choice(_KINDS), len(symbols)))
    names = ["own", "torch_neu", *([NEW] if provides or rng.random() < 0.5 else [])]
    for name in rng.sample(names, len(names)):
        info = rng.choice([GLOBAL, WEAK, UNIQUE]) | rng.choice([0, OBJECT])
        symbols.append(defined(name, info))
        if rng.random() < 0.5:
            relocations.append(Rela(rng.choice(_KINDS), len(symbols)))
    relocations.append(Rela(R_RELATIVE, 0, 0x40))
    if rng.random() < 0.3:
        relocations.append(Rela(R_SIZE64, len(symbols), rng.randrange(64)))
    versioned = rng.random() < 0.4
    if versioned:
        for symbol in symbols:
            choice = [1, 2, 3 | rng.choice([0, 0x8000])] if symbol.section else [0, 1, 4]
            symbol.version = rng.choice(choice)
    split = rng.randrange(len(relocations) + 1) if rng.random() < 0.4 else len(relocations)
    style = rng.randrange(4)
    tags: list[tuple[int, int | str]] = [(RELACOUNT, rng.randrange(2))]
    file = Shared(
        symbols,
        relocations[:split],
        relocations[split:],
        soname=HELPER,
        needs={TORCH: [("V4", 4)]} if versioned else {},
        defines=[("V2", 2), ("V3", 3)] if versioned else [],
        gnu=style != 3,
        sysv=style >= 2,
        strings=rng.choice([b"\0", b"\0", f"{NEW}\0".encode(), f"{OLD}\0{NEW}\0".encode()]),
        writable=rng.random() < 0.5,
        loads=rng.choice([2, 2, 3]),
        dynamics=rng.choice([1, 1, 1, 2]),
        tags=tags * rng.randrange(2),
    ).build()
    if rng.random() < 0.3:
        # Behind it, the same again with another name: for offsets that lead there.
        file.data += bytes(file.data).replace(NEW.encode() + b"\0", b"torch_neo\0")
    return file


def mutate(rng: random.Random, file: File) -> str:
    """Change one to three fields; return which, and to what."""
    changes = []
    group = ""
    kinds: dict[str, list[str]] = {}
    for name in sorted(file.places):
        kinds.setdefault(re.split(r"[0-9.]", name, maxsplit=1)[0], []).append(name)
    for _ in range(rng.choice([1, 1, 2, 3])):
        # As often a kind of table as another, however many entries it has; and often a
        # second field of an entry that was changed before.
        near = [name for name in file.places if group and name.startswith(group)]
        names = near if near and rng.random() < 0.5 else kinds[rng.choice(list(kinds))]
        name = rng.choice(names)
        group = name.partition(".")[0] + "."
        place = file.places[name]
        old = place.get(file.data)
        other = file.places[rng.choice(sorted(file.places))].get(file.data)
        half = len(file.data) // 2
        value = rng.choice(
            [
                0, 1, 2, 3, rng.randrange(16), rng.randrange(256), rng.randrange(1 << 16), -1, -8,
                old + 1, old - 1, old + 8, old - 8, old + 24, old - 24, old + 0x1000,
                old - 0x1000, old + half, old - half, old + rng.randrange(64),
                old ^ 1 << rng.randrange(8), old ^ 1 << rng.randrange(16),
                old ^ 1 << rng.randrange(64), other, other, other + rng.randrange(32),
                len(file.data), half,
            ]
        )  # fmt: skip
        place.set(file.data, value)
        changes.append(f"{name} {old:#x} -> {place.get(file.data):#x}")
    return ", ".join(changes)
