"""Runs a target in libFuzzer, by way of atheris, in this very process, which does not return."""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
from collections.abc import Sequence

_STRUCTURED = 0.85  # of the changes; libFuzzer's own know what the code compares with


def fuzz(name: str, arguments: Sequence[str]) -> None:
    """Fuzz a target.

    Args:
        name: The target.
        arguments: Those of libFuzzer.
    """
    import atheris  # noqa: PLC0415 -- there are wheels of it for Linux alone

    # What is imported before is not followed.
    with atheris.instrument_imports(include=["torch_abi_audit"], enable_loader_override=False):
        package = importlib.import_module("torch_abi_audit")
        for module in pkgutil.walk_packages(package.__path__, "torch_abi_audit."):
            if not module.name.startswith(
                ("torch_abi_audit.__main__", "torch_abi_audit.catalog.b")
            ):
                importlib.import_module(module.name)
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() > _STRUCTURED:
            return bytes(atheris.Mutate(data, longest))
        changed: bytes = target.mutate(rng, data)
        return changed[:longest]

    def one(data: bytes) -> None:
        targets.execute(target, data)

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1], sys.argv[2:])
