"""What a wheel's claims admit: which Pythons, which torch releases, in which environments."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from torch_abi_audit.abi.platform import parse_platform
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import FREE_THREADED_SINCE, Claims, Interpreter, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.requirements import Requirement
    from packaging.tags import Tag

# The stable ABI begins with 3.2; the last is far enough ahead to stand for "any later one".
_PYTHONS = tuple(PythonVersion(3, minor) for minor in range(2, 21))
ANY_LATER = _PYTHONS[-1]
_PATCHES = range(40)
_MAX_EVALUATIONS = 50_000  # of markers; 300 requirements on three systems take 17,000
_FUTURE = 100  # minor releases of torch to look ahead
# What NVIDIA's packages hold, by the name without `nvidia-` and `-cu12`.
_CUDA_PACKAGES = {
    "cuda-runtime": ("cudart",),
    "cuda-nvrtc": ("nvrtc",),
    "cuda-cupti": ("cupti",),
    "cublas": ("cublas", "cublasLt"),
    "cufft": ("cufft",),
    "curand": ("curand",),
    "cusolver": ("cusolver",),
    "cusparse": ("cusparse",),
    "cusparselt": ("cusparseLt",),
    "cufile": ("cufile",),
    "cudnn": ("cudnn",),
    "nccl": ("nccl",),
    "nvjitlink": ("nvJitLink",),
    "nvtx": ("nvToolsExt",),
    "nvshmem": ("nvshmem_host",),
}
# The extras of cuda-toolkit that are not named after the package.
_TOOLKIT = {"cudart": "cuda-runtime", "nvrtc": "cuda-nvrtc", "cupti": "cuda-cupti"}
# Libraries whose interface has another number than CUDA 12 and 13.
_INTERFACES = {
    "cufft": {12: 11, 13: 12},
    "curand": {12: 10, 13: 10},
    "cusolver": {12: 11, 13: 12},
    "cusparse": {12: 12, 13: 12},
    "cusparseLt": {12: 0, 13: 0},
    "cufile": {12: 0, 13: 0},
    "cudnn": {12: 9, 13: 9},
    "nccl": {12: 2, 13: 2},
    "nvToolsExt": {12: 1, 13: 1},
    "nvshmem_host": {12: 3, 13: 3},
}
# What `platform.machine()` calls some machines.
_MARKER_MACHINES = {
    ("windows", "x86_64"): "AMD64",
    ("windows", "arm64"): "ARM64",
    ("windows", "i686"): "x86",
    ("linux", "arm"): "armv7l",
}
_INTERPRETER = re.compile(r"([a-z]+)([0-9])([0-9]{0,3})")
# What follows the version in CPython's own ABI tags: free-threaded, debug, and what ended
# with 3.7 (pymalloc) and 3.2 (wide Unicode).
_ABI_FLAGS = re.compile(r"t?d?m?u?")
_LAST_PYMALLOC, _LAST_WIDE = PythonVersion(3, 7), PythonVersion(3, 2)
_IMPLEMENTATIONS = frozenset({"py", "cp", "pp", "ip", "jy", "graalpy"})
_FREE_THREADED_ABI = re.compile(r"abi3t|cp\d+td?")
STABLE_ABIS = frozenset({"abi3", "abi3t"})


def claims_abi3(claims: Claims) -> bool:
    """Whether any of the filename's tags promises the stable ABI of CPython."""
    return any(tag.abi in STABLE_ABIS for tag in claims.tags)


def claims_abi3t(claims: Claims) -> bool:
    """Whether any of the tags promises the stable ABI of free-threaded CPython."""
    return any(tag.abi == "abi3t" for tag in claims.tags)


def admitted_pythons(claims: Claims) -> tuple[PythonVersion, ...]:
    """Return the minor releases that tags and ``Requires-Python`` together admit, oldest first."""
    return _admitted(claims.tags, claims.requires_python)


@lru_cache(maxsize=256)  # rules ask for it again and again, and wheels of a release alike
def _admitted(tags: frozenset[Tag], requires_python: SpecifierSet) -> tuple[PythonVersion, ...]:
    return tuple(
        python
        for python in _PYTHONS
        if any(_tag_admits(tag, python) for tag in tags)
        and _specifier_admits(requires_python, python)
    )


def admitted_interpreters(claims: Claims) -> tuple[Interpreter, ...]:
    """Return the builds of CPython that the tags with an ABI and ``Requires-Python`` admit.

    A tag without an ABI says nothing of what its libraries find in the interpreter.
    """
    return _interpreters(claims, [tag for tag in claims.tags if tag.abi != "none"])


def installing_interpreters(claims: Claims) -> tuple[Interpreter, ...]:
    """Return the builds of CPython that install the wheel."""
    return _interpreters(claims, claims.tags)


def _interpreters(claims: Claims, tags: Iterable[Tag]) -> tuple[Interpreter, ...]:
    admitted = admitted_pythons(claims)
    return tuple(
        sorted(
            {
                Interpreter(python, free_threaded)
                for tag in tags
                if tag.interpreter.startswith(("cp", "py"))
                for python in admitted
                if _tag_admits(tag, python)
                for free_threaded in _builds(tag)
                if not free_threaded or python >= FREE_THREADED_SINCE
            }
        )
    )


def _builds(tag: Tag) -> tuple[bool, ...]:
    """Return which builds of a release take a tag: with the GIL, free-threaded, or both."""
    if tag.abi == "none":
        return (False, True)
    return (_FREE_THREADED_ABI.fullmatch(tag.abi) is not None,)


def is_installable(tag: Tag) -> bool:
    """Whether any installer takes a tag: its Python and its ABI fit together (PEP 425).

    Of implementations other than CPython every tag is taken for one that fits.
    """
    match = _INTERPRETER.fullmatch(tag.interpreter)
    # `cp315t`: free-threaded Python is in the ABI tag alone.
    if match is None or match[1] not in _IMPLEMENTATIONS:
        return False
    if match[1] not in ("py", "cp"):
        return True
    if match[2] not in "23" or len(match[3]) > 2:
        return False
    if match[1] == "py":
        return tag.abi == "none"
    # `cp3`: installers know `py3`
    return bool(match[3]) and _is_cpythons(tag.abi, PythonVersion(int(match[2]), int(match[3])))


def _is_cpythons(abi: str, python: PythonVersion) -> bool:
    """Whether an ABI tag is one of a release of CPython."""
    if abi == "none" or abi in STABLE_ABIS:
        return True
    flags = abi.removeprefix(f"cp{python.major}{python.minor}")
    return (
        flags != abi
        and _ABI_FLAGS.fullmatch(flags) is not None
        and ("t" not in flags or python >= FREE_THREADED_SINCE)
        and ("m" not in flags or python <= _LAST_PYMALLOC)
        and ("u" not in flags or python <= _LAST_WIDE)
    )


def _tag_admits(tag: Tag, python: PythonVersion) -> bool:
    """Whether an interpreter of that release takes the tag (PEP 425, PEP 384, PEP 803)."""
    match = _INTERPRETER.fullmatch(tag.interpreter)
    if match is None:
        return False
    implementation, major, minor = match.groups()
    tagged = (int(major), int(minor or 0))
    # `py39` and `cp39-abi3` mean 3.9 and newer; `cp39-cp39` and `cp39-none` mean 3.9 alone.
    if implementation == "py" or tag.abi in STABLE_ABIS:
        return tagged <= python and tagged[0] == python.major
    return tagged == python


def _specifier_admits(specifier: SpecifierSet, python: PythonVersion) -> bool:
    return not specifier or any(
        specifier.contains(f"{python}.{patch}", prereleases=False) for patch in _PATCHES
    )


@lru_cache(maxsize=256)
def torch_specifiers(claims: Claims) -> tuple[SpecifierSet | None, ...]:
    """Return what the metadata asks of torch, over the environments that the wheel installs in.

    Markers are evaluated for each platform tag and each admitted Python, without extras.

    Returns:
        Each distinct demand, in a fixed order; None stands for an environment that
        nothing is asked in.

    Raises:
        AuditError: A marker compares what can't be compared.
    """
    demands: set[SpecifierSet | None] = set()
    environments = _environments(claims)
    asked = len(claims.torch_requirements) + len(claims.cuda_requirements)
    _check_work(asked * len(environments))
    for environment in environments:
        applying = [
            _specifier(requirement)
            for requirement in claims.torch_requirements
            if _applies(requirement, environment)
        ]
        combined = SpecifierSet()
        for specifier in applying:
            combined &= specifier
        demands.add(combined if applying else None)
    return tuple(sorted(demands, key=lambda demand: (demand is not None, str(demand or ""))))


def requires_torch(claims: Claims) -> str | None:
    """Return what the metadata asks of torch: None for nothing, "" for any release.

    Where environments are asked for different releases, the demands stand in turn.
    """
    demands = [str(demand) for demand in torch_specifiers(claims) if demand is not None]
    return " || ".join(demands) if demands else None


def extras_with_torch(claims: Claims) -> tuple[str, ...]:
    """Return the extras that ask for torch in some environment.

    Raises:
        AuditError: There are more markers than can be evaluated.
    """
    asking = [(item, str(item.marker)) for item in claims.torch_requirements if item.marker]
    pairs = [(extra, item) for item, text in asking for extra in claims.extras if extra in text]
    environments = _environments(claims)
    _check_work(len(pairs) * len(environments))
    return tuple(
        sorted(
            {
                extra
                for extra, requirement in pairs
                if any(_applies(requirement, {**e, "extra": extra}) for e in environments)
            }
        )
    )


def _check_work(evaluations: int) -> None:
    """Raise for hostile metadata, which would take minutes."""
    if evaluations > _MAX_EVALUATIONS:
        raise AuditError("METADATA has more markers, for more platforms, than can be evaluated")


def admitted_torch(
    specifier: SpecifierSet | None, releases: Iterable[Version]
) -> tuple[Version, ...]:
    """Return the releases that a demand admits; all of them when there is none.

    A pin to a local or a pre-release version, as `==2.9.0+cu128`, is one to its release.
    """
    if specifier is None:
        return tuple(releases)
    released = _of_releases(specifier)
    return tuple(release for release in releases if released.contains(release, prereleases=False))


def admitted_by_any(
    demands: Iterable[SpecifierSet | None], releases: Sequence[Version]
) -> frozenset[Version]:
    """Return the releases that one demand or another admits; see `admitted_torch`."""
    return frozenset(r for demand in demands for r in admitted_torch(demand, releases))


@lru_cache(maxsize=256)
def _of_releases(specifier: SpecifierSet) -> SpecifierSet:
    return SpecifierSet(",".join(map(_released, specifier)))


def _released(specifier: Specifier) -> str:
    if specifier.operator not in ("==", "===") or specifier.version.endswith(".*"):
        return str(specifier)
    try:
        return f"=={Version(specifier.version).base_version}"
    except InvalidVersion:
        return str(specifier)


def future_torch(specifier: SpecifierSet | None, newest: Version) -> tuple[Version, ...]:
    """Return releases that a demand will admit, newer than the newest that is known."""
    minors = range(newest.minor + 1, newest.minor + _FUTURE)
    future = [f"{newest.major}.{minor}.0" for minor in minors]
    future += [f"{major}.0.0" for major in (newest.major + 1, newest.major + 2)]
    return admitted_torch(specifier, map(Version, future))


def brought_cuda(claims: Claims) -> frozenset[tuple[str, int]]:
    """Return the stems and numbers of the CUDA libraries that the requirements bring everywhere.

    The packages of CUDA 12 and older end in its major number. Those of 13 do not, and the
    `cuda-toolkit` of any release brings what its extras name.
    """
    found: set[tuple[str, int]] = set()
    environments = _environments(claims)
    for requirement in claims.cuda_requirements:
        if not all(_applies(requirement, environment) for environment in environments):
            continue
        name = canonicalize_name(requirement.name)
        package, _, suffix = name.rpartition("-cu")
        if not suffix.isdigit():
            package, suffix = name, _major(requirement)
        stems = _CUDA_PACKAGES.get(package.removeprefix("nvidia-"), ())
        if name == "cuda-toolkit":
            named = {_TOOLKIT.get(extra, extra) for extra in requirement.extras}
            packages = _CUDA_PACKAGES if "all" in requirement.extras else named
            stems = tuple(stem for item in packages for stem in _CUDA_PACKAGES.get(item, ()))
        for stem in stems:
            found.add((stem, _INTERFACES.get(stem, {}).get(int(suffix), int(suffix))))
    return frozenset(found)


def _major(requirement: Requirement) -> str:
    """Return the major release that a requirement asks for; 13 when it does not say."""
    versions = [
        item.version for item in requirement.specifier if item.operator in ("==", ">=", "~=")
    ]
    major = versions[0].partition(".")[0] if versions else ""
    return major if major.isdigit() else "13"


def names_other_build(specifier: SpecifierSet | None) -> bool:
    """Whether a demand pins a local version: a build of torch that the index does not have."""
    return specifier is not None and any("+" in item.version for item in specifier)


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    """Whether a requirement's marker holds.

    Raises:
        AuditError: It compares what can't be compared.
    """
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate(environment)
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError) as error:
        raise AuditError(f"METADATA has Requires-Dist '{requirement}': {error}") from error


def _specifier(requirement: Requirement) -> SpecifierSet:
    """Return a requirement's specifier; for a direct reference, the version that it names."""
    if not requirement.url:
        return requirement.specifier
    filename = unquote(urlsplit(requirement.url).path).rpartition("/")[2]
    try:
        return SpecifierSet(f"=={parse_wheel_filename(filename)[1]}")
    except InvalidWheelFilename:
        return SpecifierSet()


def _environments(claims: Claims) -> list[dict[str, str]]:
    """Return the marker environments that the tags stand for.

    Every marker variable is set, so that nothing of the host's own environment shows.
    """
    systems = set()
    for tag in claims.tags:
        platform = parse_platform(tag.platform)
        if platform is None:  # `any`, or one that is not known
            systems |= {("linux", "x86_64"), ("macos", "arm64"), ("windows", "x86_64")}
        else:
            systems |= {(platform.system, arch) for arch in platform.archs}
    implementations = {
        "pypy" if tag.interpreter.startswith("pp") else "cpython" for tag in claims.tags
    }
    names = {
        "linux": ("posix", "linux", "Linux"),
        "macos": ("posix", "darwin", "Darwin"),
        "windows": ("nt", "win32", "Windows"),
        "android": ("posix", "android", "Android"),
        "ios": ("posix", "ios", "iOS"),
        "iossimulator": ("posix", "ios", "iOS"),
    }
    return [
        {
            "implementation_name": implementation,
            "implementation_version": f"{python}.0",
            "os_name": names[system][0],
            "platform_machine": _MARKER_MACHINES.get((system, arch), arch),
            "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}[
                implementation
            ],
            "platform_release": "",
            "platform_system": names[system][2],
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": str(python),
            "sys_platform": names[system][1],
            "extra": "",
        }
        for (system, arch), implementation, python in product(
            sorted(systems), sorted(implementations), admitted_pythons(claims) or _PYTHONS[-1:]
        )
    ]
