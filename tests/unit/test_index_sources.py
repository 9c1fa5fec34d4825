"""Where packages are looked for: options, the variables of pip and uv, pip's files."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pypi_simple
import pytest

from torch_abi_audit import index
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index import sources as module
from torch_abi_audit.index.sources import Sources, find_sources

NO_FILES = {"PIP_CONFIG_FILE": os.devnull}
GLOBAL_FOLDERS = module._global_folders  # noqa: SLF001
DEFAULT = pypi_simple.PYPI_SIMPLE_ENDPOINT


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Put pip's configuration files below a folder; return where each is."""
    if sys.platform != "linux":
        pytest.skip("the folders of Linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/xdg1:{tmp_path}/xdg2")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(
        module, "_global_folders", lambda: [f for f in GLOBAL_FOLDERS() if f != Path("/etc")]
    )
    assert GLOBAL_FOLDERS()[-1] == Path("/etc")
    return {
        "xdg1": tmp_path / "xdg1/pip/pip.conf",
        "xdg2": tmp_path / "xdg2/pip/pip.conf",
        "legacy": tmp_path / "home/.pip/pip.conf",
        "user": tmp_path / "config/pip/pip.conf",
        "site": tmp_path / "venv/pip.conf",
        "named": tmp_path / "named.conf",
    }


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_nothing_is_configured(folders: dict[str, Path]) -> None:
    assert find_sources(environ={}) == Sources(indexes=(DEFAULT,), find_links=())
    assert find_sources(environ=NO_FILES) == Sources((DEFAULT,), ())


def test_options_come_first_and_add_to_what_is_configured() -> None:
    environ = NO_FILES | {
        "PIP_INDEX_URL": "https://a/simple",
        "PIP_EXTRA_INDEX_URL": "https://b/simple  https://c/simple",
        "PIP_FIND_LINKS": "https://links ~/wheels",
    }
    assert find_sources("https://x/", ["https://y/"], ["z"], environ=environ) == Sources(
        indexes=("https://x/", "https://b/simple", "https://c/simple", "https://y/"),
        find_links=("https://links", str(Path("~/wheels").expanduser()), "z"),
    )


def test_all_of_pips_variables() -> None:
    environ = NO_FILES | {
        "PIP_INDEX_URL": "https://u:p@a/simple",
        "PIP_CERT": "/ca.pem",
        "PIP_CLIENT_CERT": "/me.pem",
        "PIP_PROXY": "http://proxy:1",
        "PIP_TRUSTED_HOST": "a b:8443",
        "PIP_DEFAULT_TIMEOUT": "7.5",
        "PIP_RETRIES": "2",
        "UV_DEFAULT_INDEX": "https://uv/simple",
        "SSL_CERT_FILE": "/other.pem",
    }
    assert find_sources(environ=environ) == Sources(
        indexes=("https://u:p@a/simple",),
        find_links=(),
        certificate="/ca.pem",
        client_certificate="/me.pem",
        proxy="http://proxy:1",
        trusted_hosts=("a", "b:8443"),
        timeout=7.5,
        retries=2,
    )
    assert find_sources(environ=environ | {"PIP_TIMEOUT": "3"}).timeout == 3


def test_all_of_uvs_variables() -> None:
    environ = NO_FILES | {
        "UV_DEFAULT_INDEX": "main=https://a/simple",
        "UV_INDEX_URL": "https://old/simple",
        "UV_INDEX": "my-one=https://b/simple https://c/simple?a=b",
        "UV_EXTRA_INDEX_URL": "https://d/simple",
        "UV_INDEX_MY_ONE_USERNAME": "me",
        "UV_INDEX_MY_ONE_PASSWORD": "p@ss",
        "UV_FIND_LINKS": "one two,https://three",
        "UV_INSECURE_HOST": "h",
        "UV_HTTP_TIMEOUT": "20",
        "UV_HTTP_RETRIES": "1",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CLIENT_CERT": "/me.pem",
    }
    assert find_sources(environ=environ) == Sources(
        indexes=(
            "https://me:p%40ss@b/simple",
            "https://c/simple?a=b",
            "https://d/simple",
            "https://a/simple",
        ),
        find_links=("one two", "https://three"),
        certificate="/ca.pem",
        client_certificate="/me.pem",
        trusted_hosts=("h",),
        timeout=20.0,
        retries=1,
    )
    assert find_sources(environ=NO_FILES | {"UV_INDEX_URL": "https://x"}).indexes == ("https://x",)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_others(name: str) -> None:
    assert find_sources(environ=NO_FILES | {name: "/ca.pem"}).certificate == "/ca.pem"


@pytest.mark.parametrize(
    ("environ", "none"),
    [
        ({"PIP_NO_INDEX": "1"}, True),
        ({"PIP_NO_INDEX": "True"}, True),
        ({"PIP_NO_INDEX": "off", "UV_NO_INDEX": "1"}, False),
        ({"PIP_NO_INDEX": "", "UV_NO_INDEX": "true"}, True),
        ({}, False),
    ],
)
def test_no_index(environ: dict[str, str], *, none: bool) -> None:
    found = find_sources("https://x", find_links=["l"], environ=NO_FILES | environ)
    assert found == Sources(() if none else ("https://x",), ("l",))
    assert find_sources("https://x", no_index=True, environ=NO_FILES).indexes == ()


@pytest.mark.parametrize("name", ["x:abc", "[::1", "x:99999"])
def test_trusted_hosts_that_are_none(name: str) -> None:
    with pytest.raises(AuditError) as caught:
        find_sources(environ={**NO_FILES, "PIP_TRUSTED_HOST": f"a.b {name}"})
    assert str(caught.value) == f"trusted-host: {name!r} is not a host, with or without a port"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PIP_TIMEOUT", "soon", "must be a number of seconds up to 600, but is 'soon'"),
        ("PIP_TIMEOUT", "inf", "must be a number of seconds up to 600, but is 'inf'"),
        ("PIP_TIMEOUT", "nan", "must be a number of seconds up to 600, but is 'nan'"),
        ("PIP_DEFAULT_TIMEOUT", "0", "must be a number of seconds up to 600, but is '0'"),
        ("UV_HTTP_RETRIES", "-1", "must be a whole number, but is '-1'"),
        ("PIP_NO_INDEX", "maybe", "must be true or false, but is 'maybe'"),
    ],
)
def test_values_that_are_none(name: str, value: str, why: str) -> None:
    with pytest.raises(AuditError) as caught:
        find_sources(environ=NO_FILES | {name: value})
    assert str(caught.value) == f"{name}: {why}"


def test_files_override_each_other_in_pips_order(folders: dict[str, Path]) -> None:
    environ = {"PIP_CONFIG_FILE": str(folders["named"])}
    for number, name in enumerate(["xdg1", "xdg2", "legacy", "user", "site"]):
        write(folders[name], f"[global]\nindex-url = https://{name}\ntimeout = {number + 1}\n")
        assert find_sources(environ={}).indexes == (f"https://{name}",)
        # The file that is named takes the place of the user's ones only if it exists.
        assert find_sources(environ=environ).indexes == (f"https://{name}",)
    write(folders["named"], "[global]\nindex-url = https://named\n")
    assert find_sources(environ=environ).indexes == ("https://named",)
    folders["site"].unlink()
    write(folders["named"], "[global]\nretries = 1\n")
    assert find_sources(environ=environ).indexes == ("https://xdg2",)
    assert find_sources(environ=environ).retries == 1
    assert find_sources(environ=NO_FILES).indexes == (DEFAULT,)


def test_sections_and_spellings(folders: dict[str, Path]) -> None:
    write(
        folders["site"],
        "[global]\nindex_url = https://a\nextra-index-url =\n  https://b\n  https://c\n"
        "cert = /ca.pem\n[download]\nINDEX-URL = https://d\n--find-links = w\n"
        "[install]\nindex-url = https://no\n",
    )
    # A section comes before a file: what is for the command wins.
    write(folders["named"], "[global]\nindex-url = https://e\ncert =\n")
    assert find_sources(environ={"PIP_CONFIG_FILE": str(folders["named"])}) == Sources(
        ("https://d", "https://b", "https://c"), ("w",)
    )
    environ = {"UV_FIND_LINKS": "uv", "PIP_FIND_LINKS": ""}
    assert find_sources(environ=environ).find_links == ("uv",)


def test_pip_reads_the_same(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_global_folders", GLOBAL_FOLDERS)
    write(folders["xdg1"], "[global]\nindex-url = https://a\ntimeout = 3\n")
    write(folders["legacy"], "[download]\nindex_url = https://b\n")
    write(folders["user"], "[global]\nindex-url = https://c\nfind-links = x y\n")
    script = (
        "from pip._internal.commands import create_command as c\n"
        "o = c('download').parser.get_default_values()\n"
        "print(repr((o.index_url, o.find_links, o.timeout)))"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("no pip")
    found = find_sources(environ={})
    assert done.stdout.strip() == repr((found.indexes[0], list(found.find_links), found.timeout))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("index-url = x\n", "line 1: not a configuration file of pip"),
        ("[global]\n\nnonsense\n", "line 3: not a configuration file of pip"),
        ("[global]\nindex-url = a\nindex_url = b\n", "line 3: not a configuration file of pip"),
    ],
)
def test_a_file_that_is_broken(folders: dict[str, Path], text: str, why: str) -> None:
    write(folders["site"], text)
    with pytest.raises(AuditError) as caught:
        find_sources(environ={})
    assert str(caught.value) == f"{folders['site']}: {why}"


def test_a_file_that_is_no_text(folders: dict[str, Path]) -> None:
    folders["site"].parent.mkdir()
    folders["site"].write_bytes(b"[global]\nindex-url = \xff\xfe\n")
    with pytest.raises(AuditError, match=r"not a text file in the encoding utf-8$"):
        find_sources(environ={})


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "find_spec", lambda name: None if name[0] in "pr" else name)
    message = (
        "reading an index requires the index extra: pip install 'torch-abi-audit[index]'"
        " (missing: platformdirs, pypi_simple, requests)"
    )
    with pytest.raises(AuditError) as caught:
        find_sources(environ=NO_FILES)
    assert str(caught.value) == message
    monkeypatch.delitem(sys.modules, "torch_abi_audit.index.session", raising=False)
    with pytest.raises(AuditError) as caught:
        import_module("torch_abi_audit.index.session")
    assert str(caught.value) == message


def test_credentials_are_in_no_representation() -> None:
    """Dask writes the arguments of what fails into its logs."""
    place = "https://user:secret@x/"
    assert "secret" not in repr(Sources((place,), (place,), proxy=place))
