"""The paths that installers write, read as on the system that they were written on.

Each function takes a path of that system: one of this host or, in a test, a `PureWindowsPath`,
which reads such text the same everywhere.
"""

from __future__ import annotations

import locale
import re
from pathlib import PurePath, PureWindowsPath
from typing import TypeVar
from urllib.parse import unquote, urlsplit

_P = TypeVar("_P", bound=PurePath)
# `/C:/src`, and the old spelling `/C|/src`.
_DRIVE = re.compile(r"/+(?P<letter>[A-Za-z])[:|](?=/|$)")
_CODE = ("import ", "import\t")
_LONGEST = 4096  # characters of anything taken for a path


def path_of_url(url: str, like: _P) -> _P | None:
    r"""Return the path that a `file:` URL names (PEP 610, RFC 8089); None if it names none.

    Args:
        url: The URL.
        like: A path of the system that the URL was written on.

    Raises:
        ValueError: It is not a URL.

    >>> str(path_of_url("file:///C:/my%20src/x", PureWindowsPath()))
    'C:\\my src\\x'
    >>> str(path_of_url("file://server/share/x", PureWindowsPath()))
    '\\\\server\\share\\x'
    """
    parts = urlsplit(url)
    host, path = parts.netloc, unquote(parts.path)
    if parts.scheme.lower() != "file" or not path.startswith("/") or len(path) > _LONGEST:
        return None
    if host.lower() == "localhost":
        host = ""
    if not isinstance(like, PureWindowsPath):
        return type(like)(path) if not host else None
    drive = _DRIVE.match(path)
    if drive is not None:
        return type(like)(f"{drive['letter']}:{path[drive.end() :] or '/'}")
    return type(like)(f"//{host}{path}" if host else path)


def added_folders(text: str, site: _P) -> list[_P]:
    r"""Return the folders that a `.pth` file adds to `sys.path`, as `site` reads it.

    Args:
        text: The contents of the file. Lines of code are not run.
        site: The folder that contains it, which relative paths start from.

    >>> site = PureWindowsPath(r"C:\venv\Lib\site-packages")
    >>> text = "import x\nD:\\src\n..\\y\n"
    >>> [str(folder) for folder in added_folders(text, site)]
    ['D:\\src', 'C:\\venv\\Lib\\site-packages\\..\\y']
    """
    lines = [line.rstrip() for line in text.splitlines()]
    return [
        site / line
        for line in lines
        if line and not line.startswith(("#", *_CODE)) and len(line) <= _LONGEST
    ]


def decode_pth(data: bytes, encoding: str | None = None) -> str:
    """Return the text of a `.pth` file: UTF-8, or else in the locale's encoding.

    Args:
        data: The contents of the file.
        encoding: The locale's encoding; by default that of this host.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode(encoding or locale.getencoding(), "backslashreplace")


def recorded_name(name: str, like: PurePath) -> str:
    r"""Return a file's name in RECORD, with forward slashes where the system accepts either.

    >>> recorded_name(r"x\_C.pyd", PureWindowsPath())
    'x/_C.pyd'
    """
    return name.replace("\\", "/") if isinstance(like, PureWindowsPath) else name


def is_root(path: PurePath) -> bool:
    """Whether a path is the root of a file system: a drive, a share, or `/`."""
    return path.parent == path
