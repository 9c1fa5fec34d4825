"""The files of a project: from pages in JSON and HTML, from folders, and from hostile pages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.version import Version

from tests.servers import JSON, Fault, Server, html_page, json_page
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index import pages
from torch_abi_audit.index.connections import Limits
from torch_abi_audit.index.pages import FileKind, ProjectFiles, _label, project_files
from torch_abi_audit.index.session import Session
from torch_abi_audit.index.sources import Sources

WHEEL = "demo_pkg-1.0-py3-none-any.whl"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.add(
            "demo-pkg",
            WHEEL,
            b"wheel",
            metadata=b"Name: demo-pkg",
            yanked=True,
            requires_python=">=3.9, <4",
        )
        running.add("demo-pkg", "demo_pkg-1.0.tar.gz", b"sdist")
        yield running


def found(*indexes: str, links: tuple[str, ...] = (), project: str = "Demo.Pkg") -> ProjectFiles:
    sources = Sources(indexes, links, retries=0, timeout=2)
    with Session(sources, limits=Limits(backoff=0)) as session:
        return project_files(session, sources, project)


def names(files: ProjectFiles) -> list[str]:
    return [file.filename for file in files.files]


@pytest.mark.parametrize("form", ["json", "html"])
def test_all_that_a_page_says(server: Server, form: str) -> None:
    if form == "html":
        server.serve("/simple/demo-pkg/", html_page(server.projects["demo-pkg"]), "text/html")
    result = found(server.index)
    assert result.errors == ()
    wheel, sdist = result.files
    page = server.projects["demo-pkg"][0]
    assert (wheel.filename, wheel.project, wheel.version) == (WHEEL, "demo-pkg", Version("1.0"))
    assert wheel.kind is FileKind.WHEEL
    assert wheel.url == server.url(f"/files/{WHEEL}")
    assert wheel.sha256 == page.sha256
    assert wheel.yanked
    assert not sdist.yanked
    assert wheel.requires_python == ">=3.9, <4"
    assert wheel.metadata == (server.url(f"/files/{WHEEL}.metadata"), page.metadata)
    assert sdist.metadata is None
    assert (sdist.kind, sdist.version) == (FileKind.SDIST, Version("1.0"))
    stamp = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert (wheel.size, wheel.uploaded) == ((5, stamp) if form == "json" else (None, None))
    accept = server.asked("/simple/demo-pkg/")[0].headers["Accept"]
    assert accept.startswith(f"{JSON}, ")


def test_of_the_same_file_the_first_source_wins(server: Server, tmp_path: Path) -> None:
    server.projects["demo-pkg"][0].yanked = False
    with Server() as other:
        other.add("demo-pkg", WHEEL, server.files[f"/files/{WHEEL}"][0])
        other.add("demo-pkg", "demo_pkg-2.0-py3-none-any.whl", b"new")
        (tmp_path / "demo_pkg-3.0-py3-none-any.whl").write_bytes(b"newest")
        (tmp_path / WHEEL).write_bytes(b"last")
        result = found(server.index, other.index, links=(str(tmp_path),))
        assert result.errors == ()
        assert names(result) == [
            WHEEL,
            "demo_pkg-1.0.tar.gz",
            "demo_pkg-2.0-py3-none-any.whl",
            "demo_pkg-3.0-py3-none-any.whl",
        ]
        assert result.files[0].url == server.url(f"/files/{WHEEL}")


def test_files_with_the_same_name(server: Server, tmp_path: Path) -> None:
    """pip may install any of them, unless they are the same: then the one that is not yanked."""
    data = server.files[f"/files/{WHEEL}"][0]
    server.projects["demo-pkg"][0].yanked = False
    with Server() as other, Server() as third:
        other.add("demo-pkg", WHEEL, b"another", yanked=True)
        third.add("demo-pkg", WHEEL, b"another")
        third.add("demo-pkg", WHEEL, data, yanked=True)
        (tmp_path / WHEEL).write_bytes(b"without a hash")
        result = found(server.index, other.index, third.index, links=(str(tmp_path),))
        files = [file for file in result.files if file.filename == WHEEL]
        assert [(file.url, file.yanked) for file in files] == [
            (server.url(f"/files/{WHEEL}"), False),
            (third.url(f"/files/{WHEEL}"), False),
        ]


def test_files_with_the_same_name_and_other_hashes(tmp_path: Path) -> None:
    page = tmp_path / "links.html"
    links = [WHEEL, f"{WHEEL}#md5=a", f"{WHEEL}#md5=b", f"{WHEEL}#md5=a", WHEEL]
    page.write_text("".join(f'<a href="{link}">x</a>' for link in links))
    files = found(links=(str(page),)).files
    assert [file.other_hash for file in files] == [None, ("md5", "a"), ("md5", "b")]


@pytest.mark.parametrize(
    ("fragment", "sha256", "other"),
    [
        ("sha256=" + "A" * 64, "a" * 64, None),
        ("sha256=ab", None, ("sha256", "ab")),
        ("sha512=" + "B" * 128, None, ("sha512", "b" * 128)),
        ("md5=c", None, ("md5", "c")),
        ("blake2b=c", None, None),
        ("egg=x", None, None),
    ],
)
def test_hashes(
    tmp_path: Path, fragment: str, sha256: str | None, other: tuple[str, str] | None
) -> None:
    page = tmp_path / "links.html"
    page.write_text(f'<a href="{WHEEL}#{fragment}">x</a>')
    (file,) = found(links=(str(page),)).files
    assert (file.sha256, file.other_hash) == (sha256, other)


def test_an_index_without_the_project_is_none_of_the_errors(server: Server) -> None:
    with Server() as other:
        assert found(other.index, server.index) == found(server.index)


def test_no_source_has_the_project(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AuditError) as caught:
        found(server.index, links=(str(tmp_path),), project="other")
    assert str(caught.value) == f"no project other on {server.host}, {tmp_path}"


def test_a_source_that_fails_is_an_error(server: Server) -> None:
    with Server() as other:
        other.misbehave("/simple/demo-pkg/", Fault(status=403))
        url = other.index.replace("//", "//user:secret@")
        result = found(url, server.index, links=(other.url("/links"),))
        assert result.errors == (
            f"cannot read demo-pkg from {other.host}: the server answered 403 Forbidden",
            f"cannot read links from {other.host}: the server answered 404 Not Found",
        )
        assert len(result.files) == 2
        assert found(other.index).files == ()


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "a/b", "\x1b[31m"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(AuditError, match=r"^'.*' is not the name of a project$"):
        found("http://index.invalid", project=name)


def test_no_sources_at_all() -> None:
    with pytest.raises(AuditError, match=r"^no index to look at, and no find-links$"):
        found()


# Links and local sources


def test_links(server: Server, tmp_path: Path) -> None:
    server.serve(
        "/links.html",
        b'<a href="files/demo_pkg-4.0-py3-none-any.whl">Download</a>'
        b'<a href="docs/">Docs</a><a href="files/other-1.0-py3-none-any.whl">Other</a>',
        "text/html",
    )
    single = tmp_path / "demo_pkg-5.0-py3-none-any.whl"
    single.write_bytes(b"five!")
    page = tmp_path / "my page.html"
    page.write_text('<a href="sub/demo_pkg-6.0-py3-none-any.whl#sha256=' + "a" * 64 + '">x</a>')
    result = found(
        links=(
            server.url("/links.html"),
            single.as_uri(),
            str(page),
            server.url("/files/demo_pkg-7.0-py3-none-any.whl#sha256=" + "B" * 64),
        )
    )
    assert result.errors == ()
    assert [str(file.version) for file in result.files] == ["4.0", "5.0", "6.0", "7.0"]
    assert [file.url for file in result.files] == [
        server.url("/files/demo_pkg-4.0-py3-none-any.whl"),
        single.as_uri(),
        (tmp_path / "sub" / "demo_pkg-6.0-py3-none-any.whl").as_uri(),
        server.url("/files/demo_pkg-7.0-py3-none-any.whl"),
    ]
    assert [file.size for file in result.files] == [None, 5, None, None]
    assert [file.sha256 for file in result.files] == [None, None, "a" * 64, "b" * 64]


@pytest.mark.parametrize("as_url", [True, False])
def test_a_local_index(tmp_path: Path, *, as_url: bool) -> None:
    with_page = tmp_path / "one" / "demo-pkg"
    with_page.mkdir(parents=True)
    (with_page / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    plain = tmp_path / "two" / "demo-pkg"
    plain.mkdir(parents=True)
    (plain / "demo_pkg-2.0-py3-none-any.whl").write_bytes(b"two")
    (plain / "demo_pkg-2.0-py3-none-any.whl.metadata").write_bytes(b"x")
    roots = [tmp_path / "one", tmp_path / "two", tmp_path]
    result = found(*(root.as_uri() if as_url else str(root) for root in roots))
    assert result.errors == ()
    assert [file.url for file in result.files] == [
        (with_page / WHEEL).as_uri(),
        (plain / "demo_pkg-2.0-py3-none-any.whl").as_uri(),
    ]


def test_local_sources_that_are_not_there(tmp_path: Path) -> None:
    result = found(f"{tmp_path}/index", "ftp://u:p@h/simple", links=(f"{tmp_path}/x.whl",))
    assert result.errors == (
        f"{tmp_path}/index: no such folder",
        "h: not an HTTP address, a file or a folder",
        f"{tmp_path}/x.whl: no such file or folder",
    )


# Hostile pages


def files_of(server: Server, body: bytes, kind: str = JSON) -> ProjectFiles:
    server.serve("/simple/demo-pkg/", body, kind)
    begin = time.monotonic()
    result = found(server.index)
    assert time.monotonic() - begin < 3
    assert all(error.isprintable() and len(error) <= 160 for error in result.errors)
    return result


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b'{"files": {}}',
        b'{"files": [], "name": 1, "meta": {"api-version": "1.0"}}',
        b'{"files": [], "name": "demo-pkg"}',
        b'{"files": [], "name": "demo-pkg", "meta": {"api-version": "x"}}',
        b'{"files": [' + b"9" * 5000 + b"]}",
        b"\xff\xfe",
    ],
    ids=lambda body: str(body[:60]),
)
def test_what_is_no_page(server: Server, body: bytes) -> None:
    result = files_of(server, body)
    assert result.files == ()
    assert result.errors == (
        f"cannot read demo-pkg from {server.host}: not a page of a package index",
    )


def test_an_api_version_that_is_not_known(server: Server) -> None:
    body = json.dumps({"files": [], "name": "demo-pkg", "meta": {"api-version": "2.0"}})
    assert files_of(server, body.encode()).errors == (
        f"cannot read demo-pkg from {server.host}: unknown API version 2.0",
    )
    newer = body.replace("2.0", "1.99").encode()
    assert files_of(server, newer) == ProjectFiles((), ())


def entry(**changed: object) -> dict[str, object]:
    return {"filename": WHEEL, "url": f"/files/{WHEEL}", "hashes": {}} | changed


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (entry(filename="../demo_pkg-1.0-py3-none-any.whl"), "not a valid filename"),
        (entry(filename="a/demo_pkg-1.0-py3-none-any.whl"), "not a valid filename"),
        (entry(filename="a\\demo_pkg-1.0-py3-none-any.whl"), "not a valid filename"),
        (entry(filename="demo_pkg-1.0-py3-none-\x1b[31m.whl"), "not a valid filename"),
        (entry(filename="demo_pkg-1.0-" + "a-" * 200 + ".whl"), "not a valid filename"),
        (entry(filename="demo_pkg-1.0-" + "a" * 300 + ".whl"), "not a valid filename"),
        (entry(filename="demo_pkg.whl"), "not a valid filename"),
        (entry(url="javascript:alert(1)"), "its address is not HTTP"),
        (entry(url="ftp://host/x.whl"), "its address is not HTTP"),
        (entry(url="data:,x"), "its address is not HTTP"),
        (entry(url="file:///etc/passwd"), "its address is not HTTP"),
        (entry(url="http://host:port/x.whl"), "its address is not HTTP"),
        (entry(url=1), "its entry is not well-formed"),
        (entry(url="http://["), "its entry is not well-formed"),
        (entry(hashes="sha256"), "its entry is not well-formed"),
        (entry(size="big"), "its entry is not well-formed"),
        (entry(**{"upload-time": "yesterday"}), "its entry is not well-formed"),
        (entry(filename=None), "a file without a name"),
        ([], "a file without a name"),
    ],
    ids=str,
)
def test_files_that_are_left_out(server: Server, file: object, why: str) -> None:
    body = json.loads(json_page("demo-pkg", []))
    body["files"] = [file, entry(filename="demo_pkg-2.0-py3-none-any.whl")]
    result = files_of(server, json.dumps(body).encode())
    assert names(result) == ["demo_pkg-2.0-py3-none-any.whl"]
    (error,) = result.errors
    assert error.startswith(f"{server.host}: left out ")
    assert error.endswith(why)


def test_values_that_are_not_believed(server: Server) -> None:
    body = json.loads(json_page("demo-pkg", []))
    body["files"] = [
        entry(
            size=-1,
            hashes={"sha256": "x"},
            yanked="because",
            **{
                "requires-python": ">=3\x1b[31m",
                "upload-time": "2026-01-02T03:04:05",
                "core-metadata": True,
            },
        )
    ]
    (file,) = files_of(server, json.dumps(body).encode()).files
    assert (file.size, file.sha256, file.requires_python) == (None, None, None)
    assert file.yanked
    assert file.uploaded == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert file.metadata == (server.url(f"/files/{WHEEL}.metadata"), None)


def test_many_files_that_are_left_out(server: Server) -> None:
    body = json.loads(json_page("demo-pkg", []))
    body["files"] = [entry(url=f"ftp://{number}") for number in range(100)]
    errors = files_of(server, json.dumps(body).encode()).errors
    assert len(errors) == 6
    assert errors[-1] == f"{server.host}: 95 more files left out"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a" * 8_000,
        b"<a href=x>" * 3_000,
        b"<p>" * 3_000 + b"</x>" * 3_000,
        b"<!--" * 10_000,
        b"<meta charset=zlib><a href=demo_pkg-1.0.whl>",
        b"\xff\xfe<\x00a\x00",
        b'<a href="mailto:me">',
        b'<a href="demo_pkg-1.0-py3-none-any.exe">',
    ],
    ids=lambda body: str(body[:40]),
)
@pytest.mark.parametrize("charset", ["", "; charset=zlib", "; charset=\x01", "; charset=utf-16"])
def test_broken_html_has_no_files(server: Server, body: bytes, charset: str) -> None:
    if not body:
        body = b"<html>"
    assert files_of(server, body, f"text/html{charset}").files == ()


def test_a_tag_that_does_not_end(server: Server) -> None:
    assert files_of(server, b"<a" * 100_000, "text/html").errors == (
        f"cannot read demo-pkg from {server.host}: not a page of a package index",
    )


def test_html_that_takes_too_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_LONGEST_PARSE", 0.2)
    assert files_of(server, b"<a href=x>x" * 200_000, "text/html").errors == (
        f"cannot read demo-pkg from {server.host}: parsing takes longer than 0.2 s",
    )


def test_an_address_in_html_that_is_malformed(server: Server) -> None:
    assert files_of(server, b'<a href="http://[">x</a>', "text/html").errors == (
        f"cannot read demo-pkg from {server.host}: not a page of a package index",
    )


def test_a_page_that_is_too_large(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_MOST_PAGE", 1000)
    assert files_of(server, b" " * 1001).errors == (
        f"cannot read demo-pkg from {server.host}: the server sent more than 1000 bytes",
    )


def test_links_may_have_files_of_anything(tmp_path: Path) -> None:
    for name in (WHEEL, "README.zip", "other_thing.whl", "demo_pkg.whl", "Demo-Pkg 2.zip"):
        (tmp_path / name).write_bytes(b"")
    result = found(links=(str(tmp_path),))
    assert names(result) == [WHEEL]
    assert result.errors == (
        f"{tmp_path}: left out 'Demo-Pkg 2.zip': not a valid filename",
        f"{tmp_path}: left out 'demo_pkg.whl': not a valid filename",
    )


def test_a_local_page_that_is_none(tmp_path: Path) -> None:
    page = tmp_path / "links.html"
    page.write_text("<" + "a" * (1 << 16))
    assert found(links=(str(page),)).errors == (f"{page}: not a page of a package index",)


def test_json_with_the_type_of_any_json(server: Server) -> None:
    page = {"meta": {"api-version": "1.0"}, "name": "demo-pkg", "files": []}
    server.serve("/simple/demo-pkg/", json.dumps(page).encode(), "application/json; charset=utf-8")
    assert found(server.index) == ProjectFiles((), ())
    server.serve("/simple/demo-pkg/", b'{"message": "log in"}', "application/json")
    assert found(server.index).errors == (
        f"cannot read demo-pkg from {server.host}: not a page of a package index",
    )


@pytest.mark.parametrize(
    "place",
    [
        *("https:/user:secret@x.invalid:9/", "https:///user:secret@x.invalid:9/"),
        *("user:se/cret@x.invalid/simple", "http://user:se/cret@x.invalid:1/simple"),
        *("http://user:se#cret@x.invalid:1/simple", "user:secret://cret@x.invalid/simple"),
    ],
)
def test_credentials_of_an_address_that_is_none_are_not_shown(place: str) -> None:
    for result in (found(place), found(links=(place,))):
        (line,) = result.errors
        assert not any(word in line for word in ("user", "secret", "cret"))


def test_credentials_of_an_address_without_a_scheme_are_not_shown(tmp_path: Path) -> None:
    errors = found("user:secret@x/simple", links=("me:secret@x/links",)).errors
    assert errors == ("x/simple: no such folder", "x/links: no such file or folder")
    for name in ("a@b", "a:b/c@d"):
        folder = tmp_path / name
        assert found(str(folder)).errors == (f"{folder}: no such folder",)
    assert _label("C:\\a@b\\c") == "C:\\a@b\\c"


VARIANT = "demo_pkg-1.0-py3-none-any-cu128.whl"
VARIANTS = "demo_pkg-1.0-variants.json"


@pytest.mark.parametrize("form", ["json", "html"])
def test_the_file_for_the_variants_of_a_release(server: Server, form: str) -> None:
    for filename in (VARIANT, VARIANT.replace("1.0", "2.0"), VARIANTS, "other-1.0-variants.json"):
        server.add("demo-pkg", filename, b"{}")
    if form == "html":
        server.serve("/simple/demo-pkg/", html_page(server.projects["demo-pkg"]), "text/html")
    result = found(server.index)
    assert result.errors == ()
    by_name = {file.filename: file for file in result.files}
    assert list(by_name) == [
        *(WHEEL, "demo_pkg-1.0.tar.gz", VARIANT, VARIANT.replace("1.0", "2.0"))
    ]
    described = by_name[VARIANT].variants
    assert described == (server.url(f"/files/{VARIANTS}"), sha256(b"{}").hexdigest())
    assert [file.variants for file in result.files if file.filename != VARIANT] == [None] * 3


def test_the_file_for_variants_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "demo-pkg"
    folder.mkdir()
    for filename in (VARIANT, VARIANTS):
        (folder / filename).write_bytes(b"{}")
    (file,) = found(str(tmp_path)).files
    assert file.variants == ((folder / VARIANTS).as_uri(), None)


def test_a_page_may_not_name_local_files_for_variants(server: Server) -> None:
    server.add("demo-pkg", VARIANT, b"x")
    server.add("demo-pkg", VARIANTS, b"{}", url="file:///etc/passwd")
    assert [file.variants for file in found(server.index).files] == [None] * 3
