"""The HTTP session of indexes, against a server that does everything wrong."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Fault, Server
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.connections import Limits
from torch_abi_audit.index.failures import StatusError, place_of
from torch_abi_audit.index.session import NoRanges, Part, Session, _check_address
from torch_abi_audit.index.sources import Sources

DATA = bytes(range(256)) * 16
QUICK = Limits(
    answer_within=0.6, slow_window=0.4, slowest=1000, longest=5.0, longest_wait=0.2, backoff=0.01
)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.serve("/f.whl", DATA)
        yield running


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("PATH", "")  # no keyring
    monkeypatch.setitem(sys.modules, "keyring", None)


def session(
    *indexes: str, retries: int = 2, timeout: float = 2.0, limits: Limits = QUICK, at_once: int = 6
) -> Session:
    sources = Sources(indexes, (), retries=retries, timeout=timeout)
    return Session(sources, at_once=at_once, limits=limits)


def said(call: Callable[[], object], server: Server) -> str:
    """Return the error that a call ends in, with the server's address left out."""
    begin = time.monotonic()
    with pytest.raises(AuditError) as caught:
        call()
    assert time.monotonic() - begin < 5
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) <= 160
    return text.replace(server.host, "HOST")


# What goes well


def test_a_page_comes_with_its_type_and_the_counts(server: Server) -> None:
    server.serve("/p", b"<html>", "text/html; charset=utf-8")
    with session() as http:
        answer = http.get(server.url("/p?x=1"), most=6)
        assert answer == (server.url("/p?x=1"), b"<html>", "text/html; charset=utf-8")
        assert (http.requests, http.fetched) == (1, 6)
    headers = server.requests[0].headers
    assert re.fullmatch(r"torch-abi-audit/\d.*", headers["User-Agent"])
    assert "Authorization" not in headers
    assert "Cookie" not in headers


def test_compressed_pages_are_decoded_and_bounded_as_they_are_decoded(server: Server) -> None:
    server.serve("/p", b"a" * 100_000, "text/html")
    server.misbehave("/p", Fault(gzip=True))
    with session() as http:
        assert http.get(server.url("/p"), most=100_000).body == b"a" * 100_000
        assert http.fetched < 1000
        assert said(lambda: http.get(server.url("/p"), most=99_999), server) == (
            "cannot read p from HOST: the server sent more than 99999 bytes"
        )


def test_compressed_pages_of_several_members(server: Server) -> None:
    """What follows them does not count, as urllib3 and browsers have it."""
    server.serve("/p", DATA)
    server.misbehave("/p", _of_gzip(gzip.compress(b"a") + gzip.compress(b"b") + b"no gzip"))
    with session() as http:
        assert http.get(server.url("/p"), most=100).body == b"ab"


def test_a_page_in_chunks(server: Server) -> None:
    server.misbehave("/f.whl", Fault(chunked=True))
    with session() as http:
        assert http.get(server.url("/f.whl"), most=len(DATA)).body == DATA


@pytest.mark.parametrize(
    ("first", "last", "got"),
    [(0, 0, DATA[:1]), (5, 9, DATA[5:10]), (4000, 9999, DATA[4000:]), (0, 4095, DATA)],
)
def test_a_range(server: Server, first: int, last: int, got: bytes) -> None:
    with session() as http:
        part = http.range(server.url("/f.whl"), first, last, total=len(DATA))
        assert part == Part(got, first, 4096)
        assert http.fetched == len(got)
    assert server.requests[0].headers["Range"] == f"bytes={first}-{last}"
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("size", "first"), [(1, 4095), (100, 3996), (4096, 0), (5000, 0)])
def test_the_tail(server: Server, size: int, first: int) -> None:
    with session() as http:
        assert http.tail(server.url("/f.whl"), size) == Part(DATA[first:], first, 4096)


def test_connections_are_used_again(server: Server) -> None:
    server.serve("/p", b"<html>", "text/html")
    server.misbehave("/q", Fault(status=302, headers={"Location": "/p"}))
    with session() as http:
        for offset in range(5):
            http.range(server.url("/f.whl"), offset, offset + 9)
            http.get(server.url("/p"), most=10)
            http.get(server.url("/q"), most=10)
            with pytest.raises(StatusError):
                http.get(server.url("/none"), most=10)
        assert http.requests == 25
    assert server.connections == 1


def test_a_whole_file_in_pieces(server: Server) -> None:
    big = DATA * 100
    server.serve("/big.whl", big)
    with session() as http:
        pieces = list(http.stream(server.url("/big.whl"), most=len(big)))
        assert b"".join(pieces) == big
        assert len(pieces) > 1
        assert http.fetched == len(big)


def test_a_host_is_asked_so_many_times_at_once(server: Server) -> None:
    server.misbehave("/f.whl", Fault(delay=0.05))
    with session(at_once=3) as http, ThreadPoolExecutor(12) as pool:
        parts = pool.map(lambda n: http.range(server.url("/f.whl"), n, n), range(12))
        assert b"".join(part.data for part in parts) == DATA[:12]
    assert server.most_at_once == 3
    assert len(server.requests) == 12


# Failures that pass


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(status=429, headers={"Retry-After": "soon"}),
        Fault(status=429, headers={"Retry-After": "9" * 5000}),
        Fault(status=500),
        Fault(status=502),
        Fault(status=503, headers={"Retry-After": "3600"}),
        Fault(status=504),
        Fault(break_after=10),
        Fault(break_after=0),
        Fault(hang_up=True),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(server: Server, fault: Fault) -> None:
    server.misbehave("/f.whl", fault, times=2)
    with session() as http:
        assert http.range(server.url("/f.whl"), 0, 99).data == DATA[:100]
        assert http.requests == 3
    assert len(server.requests) == 3


def test_a_file_that_breaks_off_goes_on_where_it_did(server: Server) -> None:
    server.misbehave("/f.whl", Fault(break_after=1000), times=1)
    server.misbehave("/f.whl", Fault(break_after=500), times=1)
    with session() as http:
        assert b"".join(http.stream(server.url("/f.whl"), most=4096)) == DATA
        assert http.requests == 3


def test_a_file_that_changes_after_it_broke_off(server: Server) -> None:
    server.misbehave("/f.whl", Fault(break_after=1000), times=1)
    server.misbehave("/f.whl", Fault(headers={"ETag": '"other"'}))
    with session() as http:
        assert said(lambda: list(http.stream(server.url("/f.whl"), most=4096)), server) == (
            "cannot read f.whl from HOST: the file changed while it was read"
        )


# Failures that stay: how often it is asked, and what is said

ALWAYS = [
    (Fault(status=403), 1, "the server answered 403 Forbidden"),
    (Fault(status=404), 1, "the server answered 404 Not Found"),
    (Fault(status=429), 3, "the server answered 429 Too Many Requests (3 attempts)"),
    (Fault(status=500), 3, "the server answered 500 Internal Server Error (3 attempts)"),
    (Fault(status=503), 3, "the server answered 503 Service Unavailable (3 attempts)"),
    (Fault(status=599), 1, "the server answered 599"),
    (Fault(status=204, headers={"Content-Length": ""}), 1, "the server answered 204 No Content"),
    (Fault(status=401), 1, "the server answered 401 Unauthorized; no credentials were found"),
    (Fault(hang_up=True), 3, "the connection broke off (3 attempts)"),
    (Fault(break_after=10), 3, "the connection broke off after 10 bytes (3 attempts)"),
    (
        Fault(headers={"Content-Length": ""}, break_after=0),
        3,
        "the connection broke off after 0 bytes (3 attempts)",
    ),
    (Fault(drip_headers=0.05), 1, "the server did not answer within 0.6 s"),
    (Fault(drip_body=0.02), 1, r"only \d+ bytes came in 0.4 s"),
    (Fault(silent=True), 3, "the server sent nothing for 0.3 s (3 attempts)"),
    (Fault(delay=0.4), 3, "the server sent nothing for 0.3 s (3 attempts)"),
    (Fault(endless=True), 1, "the server sent more than 4096 bytes"),
]
_MALFORMED = "the address that the server redirects to is malformed"


def _of_gzip(body: bytes) -> Fault:
    return Fault(headers={"Content-Encoding": "gzip", "Content-Length": str(len(body))}, body=body)


ONLY_PAGES = [
    (
        Fault(headers={"Content-Encoding": "br"}),
        1,
        "the body is encoded as br",
    ),
    (Fault(headers={"Content-Encoding": "gzip"}), 1, "the body cannot be decoded"),
    (_of_gzip(gzip.compress(DATA)[:-9]), 1, "the body breaks off"),
    (_of_gzip(gzip.compress(b"a") + gzip.compress(b"b")[:-9]), 1, "the body breaks off"),
    (_of_gzip(b""), 1, "the body breaks off"),
    (_of_gzip(gzip.compress(b"") * 11), 1, "the body cannot be decoded"),
    (_of_gzip(gzip.compress(DATA) * 2), 1, "the server sent more than 4096 bytes"),
    (Fault(status=302, headers={"Location": "/\xff"}), 1, _MALFORMED),
]


@pytest.mark.parametrize(("fault", "times", "why"), ALWAYS + ONLY_PAGES, ids=str)
def test_what_is_said_of_a_page(server: Server, fault: Fault, times: int, why: str) -> None:
    server.misbehave("/f.whl", fault)
    with session(timeout=0.3) as http:
        text = said(lambda: http.get(server.url("/f.whl?token=secret"), most=4096), server)
        pattern = why if "\\d" in why else re.escape(why)
        assert re.fullmatch(f"cannot read f.whl from HOST: {pattern}", text), text
        assert http.requests == times
    assert "secret" not in text


@pytest.mark.parametrize(("fault", "times", "why"), ALWAYS[:-1], ids=str)
def test_what_is_said_of_a_range(server: Server, fault: Fault, times: int, why: str) -> None:
    server.misbehave("/f.whl", fault)
    with session(timeout=0.3) as http:
        text = said(lambda: http.range(server.url("/f.whl"), 0, 2000), server)
        if fault.headers.get("Content-Length") == "" and fault.status is None:
            assert "broke off" in text
        else:
            pattern = why if "\\d" in why else re.escape(why)
            assert re.fullmatch(f"cannot read f.whl from HOST: {pattern}", text), text
        assert http.requests == times


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (
            Fault(headers={"Content-Range": "bytes 5-9/20"}),
            "the server sent bytes 5-9 of 20 instead of bytes 10-19",
        ),
        (
            Fault(headers={"Content-Range": "bytes 10-18/4096"}),
            "the server sent bytes 10-18 of 4096 instead of bytes 10-19",
        ),
        (
            Fault(headers={"Content-Range": "bytes 10-20/4096"}),
            "the server sent bytes 10-20 of 4096 instead of bytes 10-19",
        ),
        (
            Fault(headers={"Content-Range": "bytes 10-19/9"}),
            "the server sent bytes 10-19 of 9",
        ),
        (
            Fault(headers={"Content-Range": "bytes 10-9/4096"}),
            "the server sent bytes 10-9 of 4096",
        ),
        (
            Fault(headers={"Content-Range": "lines 10-19/4096"}),
            "the server sent a range with Content-Range 'lines 10-19/4096'",
        ),
        (
            Fault(headers={"Content-Range": "bytes 10-19/" + "9" * 500}),
            "the server sent a range with Content-Range 'bytes 10-19/" + "9" * 25 + "...'",
        ),
        (Fault(headers={"Content-Range": ""}), "the server sent a range with no Content-Range"),
        (
            Fault(headers={"Content-Type": "multipart/byteranges; boundary=x"}),
            "the server sent several parts instead of one range",
        ),
        (
            Fault(headers={"Content-Length": "3"}, body=b"abc"),
            "the server sent 3 bytes of 10",
        ),
        (
            Fault(headers={"Content-Length": "11"}, body=b"abcdefghijk"),
            "the server sent more than 10 bytes",
        ),
        (Fault(chunked=True, body=b"a" * 11), "the server sent more than 10 bytes"),
        (Fault(chunked=True, body=b"a" * 9), "the server sent 9 bytes of 10"),
        (Fault(endless=True), "the server sent more than 10 bytes"),
        (Fault(gzip=True), "the server sent the file encoded as gzip"),
    ],
    ids=str,
)
def test_ranges_that_lie(server: Server, fault: Fault, why: str) -> None:
    server.misbehave("/f.whl", fault)
    with session() as http:
        text = said(lambda: http.range(server.url("/f.whl"), 10, 19), server)
        assert text == f"cannot read f.whl from HOST: {why}"
        assert http.requests == 1


def test_a_total_that_is_not_the_known_one(server: Server) -> None:
    with session() as http:
        assert said(lambda: http.range(server.url("/f.whl"), 0, 9, total=4097), server) == (
            "cannot read f.whl from HOST: the server sent bytes 0-9 of 4096 instead of 4097"
        )


@pytest.mark.parametrize("sent", ["bytes 0-9/4096", "bytes 4085-4094/4096", "bytes 4087-4095/4096"])
def test_a_tail_that_is_none(server: Server, sent: str) -> None:
    server.misbehave("/f.whl", Fault(headers={"Content-Range": sent}))
    numbers = sent.removeprefix("bytes ").replace("/", " of ")
    with session() as http:
        assert said(lambda: http.tail(server.url("/f.whl"), 10), server) == (
            f"cannot read f.whl from HOST: the server sent bytes {numbers}"
            " instead of the last 10 bytes"
        )


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(ignore_range=True), "the server does not serve parts of the file"),
        (Fault(status=416), "the server does not serve parts of the file"),
        (Fault(status=501), "the server does not serve parts of the file"),
        (
            Fault(headers={"Content-Range": "bytes 4086-4095/*"}),
            "the server does not say how large the file is",
        ),
    ],
    ids=str,
)
def test_no_ranges(server: Server, fault: Fault, why: str) -> None:
    server.misbehave("/f.whl", fault)
    with session() as http:
        with pytest.raises(NoRanges) as caught:
            http.tail(server.url("/f.whl"), 10)
        assert str(caught.value) == f"cannot read f.whl from {server.host}: {why}"
        assert http.fetched <= 11  # of the error's own page
        assert http.requests == 1


def test_a_file_that_is_larger_than_it_may_be(server: Server) -> None:
    server.misbehave("/f.whl", Fault(endless=True))
    with session() as http:
        assert said(lambda: list(http.stream(server.url("/f.whl"), most=9000)), server) == (
            "cannot read f.whl from HOST: the server sent more than 9000 bytes"
        )


def test_a_slow_reader_is_not_a_slow_server(server: Server) -> None:
    big = DATA * 1000
    server.serve("/big.whl", big)
    limits = Limits(answer_within=0.5, slow_window=0.1, slowest=100_000, longest=0.3)
    with session(limits=limits) as http:
        size = 0
        for number, piece in enumerate(http.stream(server.url("/big.whl"), most=len(big))):
            size += len(piece)
            if number in {0, 5}:
                time.sleep(0.5)
        assert size == len(big)


def test_all_attempts_together_are_bounded(server: Server) -> None:
    server.misbehave("/f.whl", Fault(status=503, headers={"Retry-After": "1"}))
    limits = Limits(longest=2.5, longest_wait=1)
    with session(limits=limits, retries=100) as http:
        assert said(lambda: http.get(server.url("/f.whl"), most=1), server) == (
            "cannot read f.whl from HOST: the server answered 503 Service Unavailable (3 attempts)"
        )


def test_a_body_that_never_ends_in_time(server: Server) -> None:
    server.misbehave("/f.whl", Fault(endless=True))
    limits = Limits(slow_window=60, slowest=1, longest=0.5)
    with session(limits=limits) as http:
        assert said(lambda: http.get(server.url("/f.whl"), most=1 << 40), server) == (
            "cannot read f.whl from HOST: not complete after 0.5 s"
        )


# Connections


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with session() as http, pytest.raises(AuditError) as caught:
        http.get(f"http://127.0.0.1:{port}/simple/torch/", most=1)
    begin, end = f"cannot read torch from 127.0.0.1:{port}: ", " (3 attempts)"
    text = str(caught.value)
    assert text.startswith(begin)
    assert text.endswith(end)
    assert "refused" in text  # as the system says it


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with session() as http:
        with pytest.raises(AuditError) as caught:
            http.get("https://index.invalid/simple/torch/", most=1)
        assert http.requests == 1
    assert str(caught.value) == (
        "cannot read torch from index.invalid: the host name cannot be resolved"
    )


@pytest.mark.parametrize("url", ["http://[::1/x", "http:///x", "http://a:b/x", "http://.../x"])
def test_a_malformed_address(url: str) -> None:
    with session() as http, pytest.raises(AuditError, match="the address is malformed"):
        http.get(url, most=1)


def test_no_answer_to_a_tls_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        begin = time.monotonic()
        with session(timeout=0.3, retries=0) as http, pytest.raises(AuditError) as caught:
            http.get(f"https://127.0.0.1:{port}/x", most=1)
    assert time.monotonic() - begin < 2
    # Of two deadlines the first, unless the machine is busy.
    assert str(caught.value) in {
        f"cannot read x from 127.0.0.1:{port}: the server {why}"
        for why in ("sent nothing for 0.3 s", "did not answer within 0.6 s")
    }


def test_a_plain_server_where_tls_is_expected(server: Server) -> None:
    with session() as http:
        url = server.url("/f.whl").replace("http:", "https:")
        text = said(lambda: http.get(url, most=1), server)
    # Versions of OpenSSL differ in what they say.
    assert re.fullmatch(r"cannot read f.whl from HOST: TLS failed: [A-Z_]+ \(3 attempts\)", text)


def test_a_certificate_that_cannot_be_read() -> None:
    with pytest.raises(AuditError) as caught:
        Session(Sources((), (), certificate="/no/such.pem"))
    assert str(caught.value) == "/no/such.pem: the configured certificate cannot be read"


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "no.pem"
    path.write_text("root:x:0:0", encoding="utf-8")
    with pytest.raises(AuditError) as caught:
        Session(Sources((), (), certificate=str(path)))
    assert str(caught.value) == f"{path}: not a certificate"
    Session(Sources((), (), certificate=str(tmp_path))).close()  # a folder of certificates


def test_a_proxy_that_is_none() -> None:
    sources = Sources((), (), proxy="http:///", retries=0)
    with Session(sources, limits=QUICK) as http, pytest.raises(AuditError) as caught:
        http.get("http://index.invalid/x", most=99)
    assert str(caught.value) == (
        "cannot read x from index.invalid: the address of the proxy is malformed"
    )


def test_a_proxy_that_drips_headers() -> None:
    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while True:
                connection.sendall(b"H")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        proxy = f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}"
        sources = Sources((), (), proxy=proxy, retries=0)
        with Session(sources, limits=QUICK) as http, pytest.raises(AuditError) as caught:
            http.get("https://index.invalid/x", most=1)
    assert str(caught.value) == (
        "cannot read x from index.invalid: the server did not answer within 0.6 s"
    )


def test_a_proxy_is_used(server: Server) -> None:
    server.serve("http://index.invalid/x", b"from the proxy", "text/html")
    server.serve("/x", b"from the proxy", "text/html")
    sources = Sources((), (), proxy=server.url(""))
    with Session(sources, limits=QUICK) as http:
        assert http.get("http://index.invalid/x", most=99).body == b"from the proxy"


# Redirects and credentials


def test_redirects_are_followed(server: Server) -> None:
    server.misbehave("/a", Fault(status=301, headers={"Location": "/b?token=1"}))
    server.misbehave("/b", Fault(status=307, headers={"Location": server.url("/f.whl")}))
    with session() as http:
        assert http.get(server.url("/a"), most=4096).url == server.url("/f.whl")
        assert http.requests == 3


def test_a_redirect_does_not_leave_encryption() -> None:
    with pytest.raises(AuditError) as caught:
        _check_address("http://index.invalid/x", "https://index.invalid/x")
    said = "the address that the server redirects to is not encrypted"
    assert str(caught.value) == f"cannot read x from index.invalid: {said}"
    _check_address("https://index.invalid/x", "http://index.invalid/x")


@pytest.mark.parametrize(
    ("to", "why", "times"),
    [
        ("/a", "more than 5 redirects", 6),
        ("file:///etc/passwd", "the address that the server redirects to is not HTTP", 1),
        ("ftp://127.0.0.1/x", "the address that the server redirects to is not HTTP", 1),
        ("http://[::1", "the address that the server redirects to is malformed", 1),
    ],
)
def test_redirects_that_lead_nowhere(server: Server, to: str, why: str, times: int) -> None:
    server.misbehave("/a", Fault(status=302, headers={"Location": to}))
    with session() as http:
        assert said(lambda: http.get(server.url("/a"), most=1), server) == (
            f"cannot read a from HOST: {why}"
        )
        assert http.requests == times


def test_the_body_of_a_redirect_is_not_read(server: Server) -> None:
    server.serve("/a", DATA)
    server.misbehave("/a", Fault(endless=True, headers={"Location": "/f.whl"}, code=302))
    with session() as http:
        assert http.tail(server.url("/a"), 1).total == 4096
        assert http.fetched == 1


def test_credentials_go_to_their_host_only(server: Server) -> None:
    with Server() as other:
        other.serve("/f.whl", DATA)
        server.misbehave("/a", Fault(status=302, headers={"Location": other.url("/f.whl")}))
        server.misbehave("/f.whl", Fault(user="me:p@ss word"))
        with session(server.url("/simple", "me:p%40ss%20word")) as http:
            assert http.tail(server.url("/f.whl"), 3).data == DATA[-3:]
            assert http.get(server.url("/a"), most=4096).body == DATA
        assert "Authorization" in server.asked("/a")[0].headers
        assert [request.headers.get("Authorization") for request in other.requests] == [None]


def test_the_credentials_of_the_nearest_index(server: Server) -> None:
    server.misbehave("/b/f.whl", Fault(user="two:2"))
    server.serve("/b/f.whl", DATA)
    indexes = server.url("/a/simple", "one:1"), server.url("/b/simple", "two:2")
    with session(*indexes) as http:
        assert http.tail(server.url("/b/f.whl"), 1).total == 4096


def test_credentials_are_not_in_errors_and_answers(server: Server) -> None:
    server.serve("/p", b"page", "text/html")
    with session() as http:
        url = server.url("/p", "me:secret")
        assert http.get(url, most=4).url == server.url("/p")
        server.misbehave("/p", Fault(status=401))
        assert said(lambda: http.get(url, most=4), server) == (
            "cannot read p from HOST: the server answered 401 Unauthorized;"
            " the credentials were refused"
        )


def test_netrc(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.misbehave("/f.whl", Fault(user="me:secret"))
    with session() as http:
        assert http.tail(server.url("/f.whl"), 1).total == 4096


def test_a_netrc_that_is_no_text(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_bytes(b"machine \xff\xfe")
    monkeypatch.setenv("NETRC", str(netrc))
    server.misbehave("/f.whl", Fault(user="me:secret"))
    with session() as http:
        assert said(lambda: http.tail(server.url("/f.whl"), 1), server) == (
            "cannot read f.whl from HOST: the server answered 401 Unauthorized;"
            " no credentials were found"
        )


class _Keyring(types.ModuleType):
    """A keyring as the module is seen: one password for each service."""

    def __init__(self, known: dict[str, str]) -> None:
        super().__init__("keyring")
        self.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
        self.known = known
        self.asked: list[tuple[str, str | None]] = []

    def get_credential(self, service: str, user: str | None) -> object:
        self.asked.append((service, user))
        if service not in self.known:
            return None
        return types.SimpleNamespace(username=user or "found", password=self.known[service])


def test_keyring_is_asked_once_and_only_after_a_401(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = _Keyring({server.host: "secret"})
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    server.misbehave("/p.whl", Fault(user="found:secret"))
    server.serve("/p.whl", DATA)
    with session() as http:
        http.tail(server.url("/f.whl"), 1)
        assert keyring.asked == []
        for _ in range(3):
            assert http.tail(server.url("/p.whl"), 1).total == 4096
        assert keyring.asked == [(server.url("/"), None), (server.host, None)]
        assert http.requests == 5


def test_a_keyring_that_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = _Keyring({})
    monkeypatch.setattr(keyring, "get_credential", lambda *_: 1 / 0)
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    server.misbehave("/f.whl", Fault(user="me:secret"))
    with session() as http:
        assert said(lambda: http.tail(server.url("/f.whl"), 1), server) == (
            "cannot read f.whl from HOST: the server answered 401 Unauthorized;"
            " no credentials were found"
        )


@pytest.mark.skipif(sys.platform == "win32", reason="the command is a shell script")
def test_the_keyring_command(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "keyring"
    command.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "get {server.host} me" ] && echo secret\n')
    command.chmod(0o755)
    monkeypatch.delitem(sys.modules, "keyring")
    monkeypatch.setattr("torch_abi_audit.index.credentials.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    server.misbehave("/f.whl", Fault(user="me:secret"))
    with session(server.url("/simple", "me")) as http:
        assert http.tail(server.url("/f.whl"), 1).total == 4096


def test_what_is_shown_of_a_url() -> None:
    assert place_of("https://a:b@host:1/x/\x1b[31m%0a.whl?sig=1#x") == ("host:1", "?[31m%0a.whl")
    assert place_of("http://host") == ("host", "/")
    assert place_of("http://[") == ("?", "?")
    assert place_of("http://host/" + "a" * 99) == ("host", "a" * 77 + "...")
