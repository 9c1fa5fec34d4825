"""The shapes of the documents about published wheels: as closed as that of the report."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

# The schema reads the types at run time.
from torch_abi_audit.model import TorchAbi, Verdict  # noqa: TC001
from torch_abi_audit.report.shape import (  # noqa: TC001
    CatalogDocument,
    CellDocument,
    ToolDocument,
)


class RowDocument(TypedDict):
    """Wheels of one release that agree in all that is told of them."""

    version: str
    verdict: Verdict
    abi: TorchAbi
    pythons: Annotated[list[str], "builds of CPython that install one; `3.13t` is free-threaded"]
    platforms: Annotated[list[str], "systems and machines, as `linux x86_64`; `any`"]
    requires_torch: Annotated[
        str | None, "null: torch is not declared; an empty string: any release of torch"
    ]
    allowed: Annotated[list[str], "the known torch releases that the metadata allows"]
    releases: Annotated[
        dict[str, CellDocument],
        "keyed by torch release, oldest first, with the first reasons; empty without torch",
    ]
    cuda: Annotated[list[int], "major releases of the CUDA runtimes that the libraries need"]
    cuda_build: Annotated[bool, "whether only CUDA builds of torch have all that they need"]
    built_with: Annotated[list[str], "the torch releases they may have been built with"]
    differences: Annotated[list[str], "where what is declared is not what the wheels load on"]
    error: Annotated[str | None, "why they could not be read"]
    wheels: list[str]


class PackageDocument(TypedDict):
    """The releases of a package, the newest first."""

    project: str
    rows: list[RowDocument]


class AnswerDocument(TypedDict):
    """Which release of a package to install next to a torch."""

    project: str
    torch: str
    kind: Annotated[
        Literal["guaranteed", "loads", "not-allowed", "none", "unknown"],
        "`not-allowed`: it loads, but its metadata does not allow that torch; `none`: no release"
        " is known to work; `unknown`: nothing is known of that torch",
    ]
    version: str | None
    command: Annotated[str | None, "what installs it"]
    why: Annotated[str, "what is known, in one sentence"]


class _PublishedDocument(TypedDict):
    schema_version: Literal[1]
    tool: ToolDocument
    catalog: CatalogDocument
    day: Annotated[str | None, "the day on which the index was read"]


class CompatibilityDocument(_PublishedDocument):
    """What torch-abi-audit compat --format json prints."""

    platform: Annotated[str | None, "the platform whose wheels were read; null for all"]
    packages: list[PackageDocument]
    answers: list[AnswerDocument]


class StateDocument(TypedDict):
    """The state of a package, by the wheels of its newest release."""

    project: str
    version: Annotated[str | None, "null without wheels"]
    uploaded: str | None
    wheels: Annotated[int, "how many were audited"]
    progress: Annotated[
        Literal["complete", "in-progress", "not-started", "no-torch", "unread", "no-wheels"],
        "how far its libraries have moved to torch's stable ABI",
    ]
    abi: Annotated[str, "the same in words"]
    since: Annotated[str | None, "the oldest known release from which on all are complete"]
    requires_torch: Annotated[
        list[str | None], "what its wheels require; null: torch is not declared"
    ]
    loads: Annotated[list[str], "the torch releases that they load on, in words"]
    pythons: list[str]
    cuda: Annotated[list[str], "the CUDA that they need, in words"]
    errors: Annotated[list[str], "what is wrong with their claims, a sentence each"]


class SurveyDocument(_PublishedDocument):
    """What torch-abi-audit survey --format json prints."""

    packages: list[StateDocument]
