"""Projects of extensions, as their authors write them, and the wheels that they give."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template

from packaging.version import Version

from tests.environments import CACHE, environment, site_packages

_HERE = Path(__file__).parent
_SOURCES = _HERE / "sources"
_TEMPLATES = _HERE / "projects"

OPERATORS = """from pathlib import Path

import torch

for _path in sorted(Path(__file__).parent.glob("_*.so")):
    torch.ops.load_library(_path)
"""
MODULE = "import torch\n\nfrom scaled import _C\n"
_NOTHING = Template("")


class BuildError(Exception):
    """The compiler, the build backend or the repair tool failed; says how."""


class Backend(StrEnum):
    """A build backend, by the module that builds a wheel."""

    SETUPTOOLS = "setuptools.build_meta"
    CMAKE = "scikit_build_core.build"
    MESON = "mesonpy"

    @property
    def requires(self) -> tuple[str, ...]:
        """The packages that build with it."""
        return _REQUIRES[self]


_REQUIRES = {
    Backend.SETUPTOOLS: ("setuptools", "torch"),
    Backend.CMAKE: ("scikit-build-core", "torch"),
    Backend.MESON: ("meson-python", "torch"),
}


@dataclass(frozen=True)
class Extension:
    """A library of the package `scaled`.

    Attributes:
        sources: The names of files in `sources/`.
        name: That of the library.
        target: The minor release of `TORCH_TARGET_VERSION`; None where it is not defined.
        flags: More options of the compiler.
        libraries: `libraries=` of `CppExtension`.
        py_limited_api: That of `CppExtension`, which links libtorch_python without it.
    """

    sources: tuple[str, ...]
    name: str = "_C"
    target: str | None = None
    flags: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    py_limited_api: bool = True

    @property
    def options(self) -> list[str]:
        """The options of the compiler."""
        return [*self.flags, *([f"-D{target_macro(self.target)}"] if self.target else [])]


def target_macro(target: str) -> str:
    """Return the definition of the macro that targets a minor release."""
    release = Version(target)
    return f"TORCH_TARGET_VERSION=0x{release.major:02x}{release.minor:02x}000000000000"


@dataclass(frozen=True)
class Project:
    """What an author writes to build a wheel of the package `scaled`.

    Attributes:
        extensions: The libraries.
        backend: What builds the wheel.
        dependencies: The line of pyproject.toml that declares them.
        is_module: Whether the library is imported from Python, and not by `torch.ops`.
        abi3: Whether the wheel is tagged for all Pythons, as far as the backend can.
        settings: Lines of CMake or Meson.
        auditwheel: The options of `auditwheel repair`; None where it is not run.
        ldflags: The environment variable LDFLAGS, which comes before the libraries.
    """

    extensions: tuple[Extension, ...]
    backend: Backend = Backend.SETUPTOOLS
    dependencies: str = 'dependencies = ["torch"]'
    is_module: bool = False
    abi3: bool = True
    settings: str = ""
    auditwheel: tuple[str, ...] | None = None
    ldflags: str = ""

    def files(self) -> dict[str, str]:
        """Return the files of the project."""
        sources = {name for item in self.extensions for name in item.sources}
        files = {f"csrc/{name}": (_SOURCES / name).read_text("utf-8") for name in sorted(sources)}
        files["scaled/__init__.py"] = MODULE if self.is_module else OPERATORS
        pyproject = _filled(
            "pyproject.toml",
            backend=self.backend,
            backend_requires=json.dumps(self.backend.requires),
            dependencies=self.dependencies,
        )
        match self.backend:
            case Backend.SETUPTOOLS:
                files["setup.py"] = self._setup()
            case Backend.CMAKE:
                files["CMakeLists.txt"] = self._cmake()
                pyproject += '\n[tool.scikit-build]\nwheel.py-api = "py3"\n'
            case Backend.MESON:
                files["meson.build"] = self._meson()
        return {**files, "pyproject.toml": pyproject}

    def _setup(self) -> str:
        extensions = [
            f'CppExtension(\n            "scaled.{item.name}",\n'
            f"            {[f'csrc/{name}' for name in item.sources]},\n"
            f"            extra_compile_args={item.options},\n"
            f"            libraries={list(item.libraries)},\n"
            f"            py_limited_api={item.py_limited_api},\n        )"
            for item in self.extensions
        ]
        suffix = "" if self.is_module else ".with_options(no_python_abi_suffix=True)"
        return _filled(
            "setup.py",
            extensions=",\n        ".join(extensions),
            command=f"BuildExtension{suffix}",
            options={"bdist_wheel": {"py_limited_api": "cp310"}} if self.abi3 else {},
        )

    def _cmake(self) -> str:
        lines = [self.settings]
        for item in self.extensions:
            name = item.name
            sources = " ".join(f"csrc/{source}" for source in item.sources)
            lines += [
                f"add_library({name} MODULE {sources})",
                f'set_target_properties({name} PROPERTIES PREFIX "")',
                f"target_compile_options({name} PRIVATE {' '.join(item.options)})",
                f"target_link_libraries({name} PRIVATE ${{TORCH_LIBRARIES}})",
                f"install(TARGETS {name} DESTINATION scaled)",
            ]
        return _filled("CMakeLists.txt", settings="\n".join(lines))

    def _meson(self) -> str:
        return _filled(
            "meson.build",
            settings=self.settings,
            extensions="".join(
                f"shared_module(\n  '{item.name}', {[f'csrc/{name}' for name in item.sources]},\n"
                f"  name_prefix: '',\n  cpp_args: {item.options} + include,\n"
                "  dependencies: libraries,\n"
                "  install: true,\n  install_rpath: '$ORIGIN',\n"
                "  install_dir: py.get_install_dir() / 'scaled',\n)\n"
                for item in self.extensions
            ),
        )


def _filled(name: str, **values: object) -> str:
    template = (_TEMPLATES / f"{name}.in").read_text(encoding="utf-8")
    return Template(template).substitute(values)


def build(project: Project, release: str) -> Path:
    """Build the wheel of a project with a release of torch, once.

    Raises:
        BuildError: A command failed.
    """
    files = project.files()
    compiled = {name: text for name, text in files.items() if name != "pyproject.toml"}
    if project.ldflags:
        compiled["LDFLAGS"] = project.ldflags
    folder = CACHE / "projects" / f"{release}-{digest(compiled)}"
    wheels = folder / "wheels" / digest([files, project.auditwheel])
    if not wheels.exists():
        for name, text in files.items():
            path = folder / name
            # What is written again is compiled again.
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        part = wheels.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        _run(release, "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
             "--wheel-dir", str(part), str(folder), ldflags=project.ldflags)  # fmt: skip
        if project.auditwheel is not None:
            (built,) = part.glob("*.whl")
            repaired = part.with_suffix(".repaired")
            shutil.rmtree(repaired, ignore_errors=True)
            _run(release, "auditwheel", "repair", *project.auditwheel, "--wheel-dir",
                 str(repaired), str(built))  # fmt: skip
            shutil.rmtree(part)
            part = repaired
        part.rename(wheels)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def digest(value: object) -> str:
    """Return a name for what makes a wheel, or for what was asked of it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _run(release: str, *command: str, ldflags: str = "") -> None:
    """Run a module of an environment, with its tools and with torch's libraries."""
    python = environment(release)
    variables = {
        **os.environ,
        "PATH": os.pathsep.join((str(python.parent), os.environ["PATH"])),
        "LD_LIBRARY_PATH": str(site_packages(release) / "torch" / "lib"),
        "LDFLAGS": ldflags,
        "MAX_JOBS": "2",
    }
    # The tree's own modules are not those of the environment.
    variables.pop("PYTHONPATH", None)
    result = subprocess.run(
        [str(python), "-m", *command], capture_output=True, text=True, check=False, env=variables
    )
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise BuildError("\n".join(errors[:20]))
