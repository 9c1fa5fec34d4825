"""Variant wheels on an index: what it says of their properties, and what they say themselves."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.builders import METADATA, published_file, write_wheel
from tests.servers import Server
from torch_abi_audit.budget import Budget
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.connections import Limits
from torch_abi_audit.index.pages import MetadataFile
from torch_abi_audit.index.session import Session
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.model import Defect, DefectKind, TargetContents, VariantProperty
from torch_abi_audit.published.collect import _key
from torch_abi_audit.published.select import Wanted, claims_of, parse_requirement, select
from torch_abi_audit.published.task import Task
from torch_abi_audit.targets.published import read_published

LABEL = "x-1.0-py39-none-any-cu128.whl"
VARIANTS = "x-1.0-variants.json"
DRIVER = VariantProperty("nvidia", "cuda_version_lower_bound", "12.8")


def document(label: str = "cu128", value: str = "12.8") -> bytes:
    whole: dict[str, Any] = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json",
        "default-priorities": {"namespace": ["nvidia"]},
        "variants": {label: {"nvidia": {"cuda_version_lower_bound": [value]}}},
    }
    return json.dumps(whole).encode()


def read(folder: Path, own: bytes | None, said: bytes, digest: str | None = None) -> TargetContents:
    files = {} if own is None else {"x-1.0.dist-info/variant.json": own}
    path = write_wheel(folder, files, name=LABEL, metadata=METADATA)
    (folder / VARIANTS).write_bytes(said)
    described = MetadataFile((folder / VARIANTS).as_uri(), digest)
    file = published_file(LABEL, url=path.as_uri(), variants=described)
    with Session(Sources((), ())) as session:
        return read_published(file, session, Budget()).contents


def test_both_say_the_same(tmp_path: Path) -> None:
    contents = read(tmp_path, document(), document(), sha256(document()).hexdigest())
    assert contents.claims.variant_properties == (DRIVER,)
    assert contents.defects == ()


def test_the_index_says_it_where_the_wheel_does_not(tmp_path: Path) -> None:
    contents = read(tmp_path, None, document())
    assert contents.claims.variant_properties == (DRIVER,)
    own = "x-1.0.dist-info/variant.json"
    assert contents.defects == (Defect(DefectKind.VARIANT, own, "not in the archive"),)


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (
            document(value="12.6"),
            f"has {DRIVER._replace(value='12.6')} for cu128, but the wheel {DRIVER}",
        ),
        (document("cu12"), "does not have the variant cu128"),
        (b"[]", "the document is not an object"),
    ],
)
def test_the_index_says_something_else(tmp_path: Path, said: bytes, detail: str) -> None:
    contents = read(tmp_path, document(), said)
    assert contents.claims.variant_properties == (DRIVER,)
    assert contents.defects == (Defect(DefectKind.VARIANT_ON_INDEX, VARIANTS, detail),)


def test_another_file_than_the_index_means(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=f"{VARIANTS}: another hash than the index says"):
        read(tmp_path, document(), document(), "0" * 64)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=f"{VARIANTS}: more than 4194304 bytes"):
        read(tmp_path, document(), b" " * ((4 << 20) + 1))


def test_over_http(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, name=LABEL, metadata=METADATA)
    with (
        Server() as server,
        Session(Sources((), (), retries=0, timeout=2), limits=Limits(backoff=0)) as session,
    ):
        server.add("x", LABEL, path.read_bytes())
        server.add("x", VARIANTS, document())
        described = MetadataFile(server.url(f"/files/{VARIANTS}"), None)
        file = published_file(LABEL, url=server.url(f"/files/{LABEL}"), variants=described)
        contents = read_published(file, session, Budget()).contents
        assert contents.claims.variant_properties == (DRIVER,)
        gone = described._replace(url=server.url("/files/gone-variants.json"))
        file = published_file(LABEL, url=server.url(f"/files/{LABEL}"), variants=gone)
        with pytest.raises(AuditError, match=r"gone-variants\.json: .*404"):
            read_published(file, session, Budget())


def test_what_is_kept_depends_on_what_the_index_says() -> None:
    hashed = {"sha256": "1" * 64}

    def key(variants: MetadataFile | None) -> str | None:
        file = published_file(LABEL, variants=variants, **hashed)
        return _key(Task(file, Sources((), ())), hashed=True)

    one = MetadataFile("https://index.invalid/v.json", "2" * 64)
    assert len({key(None), key(one), key(one._replace(sha256="3" * 64))}) == 3
    assert key(one._replace(sha256=None)) is None


def test_the_name_of_a_variant_is_read() -> None:
    file = published_file("x-1.0-cp312-cp312-win_amd64-cu128.whl")
    claims = claims_of(file)
    assert claims is not None
    assert claims.variant == "cu128"
    chosen = select([file], parse_requirement("x"), Wanted(platforms=("linux_x86_64",)))
    assert chosen.wheels == ()
