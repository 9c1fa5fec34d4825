"""The libraries of a target, classified together."""

from __future__ import annotations

import pytest

from tests.builders import CATALOG, library
from torch_abi_audit.abi.classify import Classified, classify
from torch_abi_audit.model import Library, TorchAbi


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("libfoo.so.1", True),
        # A system, torch, CUDA or Python may have one of that name, which is found instead.
        ("libstdc++.so.6", False),
        ("libc10.so", False),
        ("libcudart.so.12", False),
        ("libpython3.12.so.1.0", False),
    ],
)
def test_what_only_the_target_can_have_is_its_own(name: str, own: bool) -> None:  # noqa: FBT001
    def own_of(user: Library) -> frozenset[str]:
        libraries = [("a.so", user), (f"other/{name}", library())]
        found, _ = classify(libraries, (), CATALOG, is_torch=True)
        return found[0].own

    assert own_of(library(needed=(name,))) == ({name} if own else set())
    # Where the loader is told to look there, it is the target's in any case.
    assert own_of(library(needed=(name,), runpath=("$ORIGIN/other",))) == {name}


def test_copies_of_torch_provide_to_each_other_alone() -> None:
    name = "_ZN2at6TensorD1Ev"
    user = library(name, needed=("libtorch_cpu.so",), runpath=("$ORIGIN",))
    libraries = [
        ("x/_C.so", user),
        ("x/libtorch.so", user),
        ("x/libtorch_cpu.so", library(exports=(name,))),
    ]

    def using_torch(classified: Classified) -> list[str]:
        return [i.path for i in classified.items if i.torch.abi is TorchAbi.UNSTABLE]

    assert using_torch(classify(libraries, (), CATALOG)) == ["x/_C.so"]
    assert using_torch(classify(libraries, (), CATALOG, is_torch=True)) == []


def test_slices_are_sorted_by_path_and_machine() -> None:
    slices = [("b.so", library()), ("a.so", library(arch="x86_64")), ("a.so", library(arch="arm"))]
    found, graphs = classify(slices, (), CATALOG)
    assert [(item.path, item.library.arch) for item in found] == [
        ("a.so", "arm"),
        ("a.so", "x86_64"),
        ("b.so", "x86_64"),
    ]
    assert {arch: set(graph.libraries) for arch, graph in graphs.items()} == {
        "arm": {"a.so"},
        "x86_64": {"a.so", "b.so"},
    }
