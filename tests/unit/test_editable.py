"""What installers write about paths, of Windows and of other systems, on any host."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest

from torch_abi_audit.targets.editable import (
    added_folders,
    decode_pth,
    is_root,
    path_of_url,
    recorded_name,
)

WINDOWS = PureWindowsPath(r"C:\venv\Lib\site-packages")
POSIX = PurePosixPath("/venv/lib/python3.12/site-packages")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///C:/src/x", r"C:\src\x"),
        ("file:///c%3A/src/x", r"c:\src\x"),
        ("FILE:///C:/src/my%20x%23y", r"C:\src\my x#y"),
        ("file:///C|/src/x", r"C:\src\x"),
        ("file://localhost/D:/x", r"D:\x"),
        ("file:////D:/x", r"D:\x"),
        ("file:///C:", "C:\\"),
        ("file:///C:/", "C:\\"),
        ("file:///C:/caf%C3%A9", r"C:\café"),
        ("file://server/share/x", r"\\server\share\x"),
        ("file:////server/share/x", r"\\server\share\x"),
        ("file:///src/x", r"\src\x"),
        ("https://server/C:/src/x", None),
        ("file:C:/src", None),
        (r"C:\src\x", None),
        ("", None),
        ("file:///C:/" + "x" * 5000, None),
    ],
)
def test_a_url_of_windows(url: str, path: str | None) -> None:
    found = path_of_url(url, WINDOWS)
    assert found == (None if path is None else PureWindowsPath(path))
    assert str(found) == str(path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///src/my%20x", "/src/my x"),
        ("file://localhost/src/x", "/src/x"),
        ("file:///C:/src/x", "/C:/src/x"),
        ("file://server/share/x", None),
        ("ssh://localhost/src/x", None),
    ],
)
def test_a_url_of_another_system(url: str, path: str | None) -> None:
    assert path_of_url(url, POSIX) == (None if path is None else PurePosixPath(path))


def test_what_is_no_url() -> None:
    with pytest.raises(ValueError, match="Invalid IPv6 URL"):
        path_of_url("file://[/x", POSIX)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (r"D:\src", r"D:\src"),
        ("D:/src/x\r", r"D:\src\x"),
        (r"\\server\share\src  ", r"\\server\share\src"),
        ("//server/share/src", r"\\server\share\src"),
        (r"\\?\D:\src", r"\\?\D:\src"),
        (r"\src", r"C:\src"),
        (r"..\..\src", r"C:\venv\Lib\site-packages\..\..\src"),
        ("x.egg", r"C:\venv\Lib\site-packages\x.egg"),
    ],
)
def test_a_line_of_windows(line: str, path: str) -> None:
    text = f"# D:\\no\n\nimport sys; D\nimport\tx\n{line}\n"
    assert list(map(str, added_folders(text, WINDOWS))) == [path]


def test_lines_of_another_system() -> None:
    text = "/src/x\nC:\\src\nimportant\n../y\n"
    assert list(map(str, added_folders(text, POSIX))) == [
        "/src/x",
        f"{POSIX}/C:\\src",
        f"{POSIX}/important",
        f"{POSIX}/../y",
    ]


def test_a_line_that_is_too_long() -> None:
    assert added_folders("/" + "x" * 5000, POSIX) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"C:\\caf\xc3\xa9", "C:\\café"),
        (b"\xef\xbb\xbfC:\\caf\xc3\xa9", "C:\\café"),
        (b"C:\\caf\xe9", "C:\\café"),
        (b"C:\\\x81\xe9", "C:\\\\x81é"),  # cp1252 has no such letter
    ],
)
def test_the_encoding_of_a_pth(data: bytes, text: str) -> None:
    assert decode_pth(data, "cp1252") == text


def test_the_encoding_of_this_host() -> None:
    assert decode_pth(b"/src\xff").startswith("/src")


@pytest.mark.parametrize(
    ("like", "name"), [(WINDOWS, "../x/_C.pyd"), (POSIX, r"..\x\_C.pyd")], ids=["nt", "posix"]
)
def test_a_record_with_backslashes(like: PurePath, name: str) -> None:
    assert recorded_name(r"..\x\_C.pyd", like) == name


@pytest.mark.parametrize("path", [r"C:\src", r"\\server\share\src", "src", r"C:..\x"])
def test_what_is_not_a_root(path: str) -> None:
    assert not is_root(PureWindowsPath(path))


@pytest.mark.parametrize("path", ["C:\\", "\\\\server\\share\\", "C:", "\\"])
def test_roots(path: str) -> None:
    assert is_root(PureWindowsPath(path))
    assert is_root(PurePosixPath("/"))
    assert not is_root(PurePosixPath("/app"))
