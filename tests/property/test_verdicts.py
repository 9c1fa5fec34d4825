"""Whatever libraries a wheel has: nothing that breaks is safe, and nothing depends on order."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import CATALOG, claims, library, subject
from tests.consistency import contradictions
from torch_abi_audit.audit import Options, conclude
from torch_abi_audit.claims.amend import amended
from torch_abi_audit.claims.torch_requirement import admitted_torch
from torch_abi_audit.model import (
    Claims,
    Ignore,
    Library,
    ReleaseStatus,
    Subject,
    TargetKind,
    TargetReport,
    Verdict,
)
from torch_abi_audit.report.document import target_document
from torch_abi_audit.rules import RULES

NAMES = ["libx.so", "liby.so", "libz.so"]
IMPORTS = st.sampled_from(
    [
        *("torch_ten", "torch_eleven", "aoti_torch_old", "aoti_torch_gone", "torch_from_nowhere"),
        *("_ZN2at6TensorD1Ev", "_ZN2at3newEv", "_ZN2at6changeEi", "_ZN2at4cuda4callEv"),
        *("cpuinfo_initialize", "_ZSt9leaked_upv", "aoti_torch_mps_only", "f", "malloc"),
    ]
)
NEEDED = st.sampled_from(
    [
        *("libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so", "libtorch_hip.so"),
        *("libcudart.so.12", "libcudart.so.13", "libcurand.so.10", "libnvjpeg.so.12"),
        *("libavcodec.so.60", *NAMES),
    ]
)
FOLDERS = st.sampled_from(["x", "x/torch-2.9", "x/torch-2.10", "x/torch29-cu126"])
DEMANDS = st.sampled_from(
    ["torch", "torch>=2.10", "torch==2.10.*", "torch>=2.9,<2.11", "torch==2.9.0", "torch>=2.11"]
)
TAGS = st.sampled_from(["manylinux_2_28_x86_64", "manylinux_2_39_x86_64", "musllinux_1_2_x86_64"])


@st.composite
def libraries(draw: st.DrawFn) -> dict[str, Library]:
    paths = st.tuples(FOLDERS, st.sampled_from(NAMES)).map("/".join)
    return {
        path: library(
            *draw(st.lists(IMPORTS, max_size=3, unique=True)),
            needed=tuple(draw(st.lists(NEEDED, max_size=4, unique=True))),
            exports=draw(st.sampled_from([(), ("f",), ("PyInit_x",)])),
        )
        for path in draw(st.lists(paths, min_size=1, max_size=4, unique=True))
    }


def report_of(item: Subject, options: Options | None = None) -> TargetReport:
    return conclude("x.whl", TargetKind.WHEEL, item, CATALOG, options or Options())


def verdict_of(item: Subject) -> Verdict:
    return report_of(item).verdict


@settings(max_examples=500)
@given(libraries(), DEMANDS, TAGS)
def test_nothing_that_breaks_is_safe(items: dict[str, Library], torch: str, tag: str) -> None:
    item = subject(items, claims(f"py39-none-{tag}", torch=(torch,)))
    if verdict_of(item) is Verdict.UNSAFE:
        return
    for demand in item.demands:
        for release in admitted_torch(demand, CATALOG.releases):
            cell = item.matrix.row.get(release)
            assert cell is None or cell.status is not ReleaseStatus.BREAKS, cell


@settings(max_examples=150)
@given(libraries(), DEMANDS, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(
    items: dict[str, Library], torch: str, random: object
) -> None:
    """But for siblings of one name, of which the loader takes the first that it finds."""
    shuffled = list(items.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    promised = claims(torch=(torch,))
    first, second = subject(items, promised), subject(dict(shuffled), promised)
    assert verdict_of(first) is verdict_of(second)
    assert {r: c.status for r, c in first.matrix.row.items()} == {
        r: c.status for r, c in second.matrix.row.items()
    }


CLAIMS = st.builds(
    lambda tag, torch: claims(tag, torch=torch),
    st.sampled_from(
        [
            *("py39-none-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_39_x86_64"),
            *("cp39-abi3-musllinux_1_2_x86_64", "cp39-abi3-manylinux_2_28_x86_64"),
        ]
    ),
    st.one_of(st.just(()), st.tuples(DEMANDS)),
)
IGNORED = st.lists(
    st.sampled_from([rule for rule in RULES if RULES[rule].ignorable and "torch" in rule])
    | st.just("cuda-major-mismatch"),
    max_size=3,
).map(lambda rules: tuple(Ignore(rule, "a test") for rule in rules))
OPTIONS = st.builds(
    Options, strict=st.just(value=False), require_stable=st.booleans(), ignore=IGNORED
)


# Several libraries for each release, which lack the same ones.
SIDE_BY_SIDE = {
    f"x/torch-{release}/{name}": library(needed=("libtorch.so",))
    for release in ("2.9", "2.10")
    for name in ("libx.so", "libz.so")
}


@settings(max_examples=500)
@given(libraries(), CLAIMS, OPTIONS)
@example(SIDE_BY_SIDE, claims("py39-none-manylinux_2_28_x86_64"), Options())
def test_nothing_in_a_report_contradicts_the_rest(
    items: dict[str, Library], promised: Claims, options: Options
) -> None:
    report = report_of(subject(items, promised), options)
    assert contradictions(target_document(report)) == []


@settings(max_examples=300)
@given(libraries(), CLAIMS)
def test_a_fix_makes_the_wheel_pass(items: dict[str, Library], promised: Claims) -> None:
    plan = report_of(subject(items, promised)).plan
    if plan is None:
        return
    for change in (plan.change, *plan.choices):
        if change is not None:
            again = report_of(subject(items, amended(promised, change)))
            assert again.verdict is plan.verdict
            assert again.safe
