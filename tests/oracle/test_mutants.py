"""Whatever a field of a library holds: what decides whether it loads is seen, or refused.

The seed and the number of libraries can be set: `TORCH_ABI_AUDIT_SEED`,
`TORCH_ABI_AUDIT_MUTANTS`. A failure says the seed of the very library.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.oracle.loader import Loader, is_glibc
from tests.oracle.mutants import a_library, mutate
from tests.oracle.oracle import Oracle, facts_of

pytestmark = pytest.mark.skipif(not is_glibc(), reason="asks the loader of glibc on x86_64")
SEED = int(os.environ.get("TORCH_ABI_AUDIT_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
MUTANTS = int(os.environ.get("TORCH_ABI_AUDIT_MUTANTS", "400"))


@pytest.mark.parametrize("provides", [False, True], ids=["imports", "exports"])
def test_mutants(tmp_path: Path, provides: bool) -> None:  # noqa: FBT001
    counts: Counter[str] = Counter()
    failures = []
    with Loader() as loader:
        oracle = Oracle(tmp_path, loader)
        for seed in range(SEED, SEED + MUTANTS):
            rng = random.Random(seed)
            file = a_library(rng, provides=provides)
            changes = mutate(rng, file)
            data = bytes(file.data)
            new, old = oracle.opens(data, provides=provides)
            counts[f"opens with {'both' if new and old else 'one' if new or old else 'none'}"] += 1
            counts["refused" if facts_of(data) is None else "read"] += 1
            said = oracle.misread(data, provides=provides) if new != old else None
            if said is not None:
                failures.append(f"TORCH_ABI_AUDIT_SEED={seed}: {changes}: {said}")
    print(dict(counts))  # noqa: T201 -- with -s
    assert not failures, f"{len(failures)} of {MUTANTS}\n" + "\n".join(failures[:20])
