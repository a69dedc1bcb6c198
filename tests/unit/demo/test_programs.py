"""The programs and the load clients against each other, without a mesh between them."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from examples.bookstore.apps.service import caller
from examples.bookstore.demo.processes import Child, Processes, lines
from examples.bookstore.http1 import Address, BadReply, Connection, Pool, Reply, parse_address
from examples.bookstore.load import cost, http
from examples.bookstore.load.report import Batch, Unexpected
from examples.bookstore.load.tcp import LedgerConnection

ROOT = Path(__file__).parents[3]


def free() -> Address:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Address(*sock.getsockname())


async def listening(address: Address) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    started = Processes(tmp_path, {"PYTHONPATH": str(ROOT)}, ROOT)
    yield started
    await asyncio.to_thread(started.close)


Start = Callable[..., Address]


@pytest.fixture
def program(processes: Processes) -> Start:
    def start(app: str, version: str = "v1", proxy: Address | None = None) -> Address:
        listen = free()
        words = ["--listen", str(listen), "--version", version]
        words += ["--proxy", str(proxy)] if proxy else []
        processes.start(app, [sys.executable, "-m", f"examples.bookstore.apps.{app}", *words])
        return listen

    return start


async def batches(child: Child, calls: int) -> list[Batch]:
    """Reports until they hold that many calls or failures."""
    reader, found = await lines(child), []
    async with asyncio.timeout(20):
        while sum(len(batch.calls) + len(batch.failures) for batch in found) < calls:
            found.append(Batch.from_json(await reader.readline()))
    return found


async def test_the_page_goes_through_all_three(processes: Processes, program: Start) -> None:
    ratings = program("ratings")
    reviews = program("reviews", "v2", ratings)
    web = program("web", "v1", reviews)
    for address in (ratings, reviews, web):
        await listening(address)
    common = [sys.executable, "-m", "examples.bookstore.load.http", "--target", str(web)]
    kept = processes.start("kept", [*common, "--name", "kept", "--rate", "100"], read=True)
    fresh = processes.start(
        "fresh", [*common, "--name", "fresh", "--rate", "50", "--fresh"], read=True
    )
    for child, opened in ((kept, 4), (fresh, 0)):
        found = await batches(child, 40)
        assert [failure for batch in found for failure in batch.failures] == []
        assert {call.version for batch in found for call in batch.calls} == {"v2"}
        assert found[-1].opened == opened
        assert found[-1].client == child.name


async def test_the_cost_client_goes_both_ways(processes: Processes, program: Start) -> None:
    ratings = program("ratings")
    await listening(ratings)
    words = ["--name", "cost", "--proxy", str(ratings), "--direct", str(ratings)]
    child = processes.start(
        "cost", [sys.executable, "-m", "examples.bookstore.load.cost", *words], read=True
    )
    found = await batches(child, 20)
    assert {call.version for batch in found for call in batch.calls} == {"mesh", "direct"}


async def test_a_failed_call_is_one_failure_and_no_retry(processes: Processes) -> None:
    asked = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    target = Address(*server.sockets[0].getsockname())
    words = ["--name", "n", "--target", str(target), "--rate", "50", "--connections", "1"]
    child = processes.start(
        "load", [sys.executable, "-m", "examples.bookstore.load.http", *words], read=True
    )
    found = await batches(child, 5)
    child.process.terminate()
    reader_end = await asyncio.to_thread(child.process.wait)
    assert reader_end == 0
    failures = [failure for batch in found for failure in batch.failures]
    assert "status 503: busy" in failures[0].reason
    assert asked <= len(failures) + 50 * 0.25 + 1  # those of the report that was not read
    server.close()


async def test_the_ledger_speaks_first_and_echoes(program: Start) -> None:
    listen = program("ledger", "v3")
    await listening(listen)
    connection = await LedgerConnection.open(listen, "v3")
    await connection.echo(b"one\n")
    await connection.echo(b"two\n")
    connection.close()
    with pytest.raises(Unexpected, match="ledger v3"):
        await LedgerConnection.open(listen, "v4")


async def test_the_ledger_client_keeps_its_connections(
    processes: Processes, program: Start
) -> None:
    listen = program("ledger")
    await listening(listen)
    words = ["--name", "long", "--target", str(listen), "--rate", "100", "--connections", "3"]
    child = processes.start(
        "long", [sys.executable, "-m", "examples.bookstore.load.tcp", *words], read=True
    )
    found = await batches(child, 60)
    assert found[-1].opened == 3
    assert not any(batch.failures for batch in found)


async def test_a_failing_callee_is_named_by_the_page(program: Start) -> None:
    web = program("web", "v1", free())
    await listening(web)
    reply = await Pool(web).get("web", "/page", fresh=True)
    assert reply.status == 502
    assert reply.body.startswith(b"reviews: ConnectionRefusedError")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ""),
        ("By=spiffe://d/a;Hash=aa;URI=spiffe://d/b", "spiffe://d/b"),
        ('URI=spiffe://forged,By=x;Hash=y;Subject="";URI=spiffe://d/c', "spiffe://d/c"),
        ("Hash=aa", ""),
    ],
)
def test_the_caller_is_the_nearest_hop(header: str, expected: str) -> None:
    assert caller(header) == expected


def page(**changes: Any) -> dict[str, Any]:
    ratings = {"service": "ratings", "caller": "spiffe://d/ns/shop/sa/reviews-v1", "stars": 5}
    reviews = {"service": "reviews", "version": "v1", "caller": "spiffe://d/ns/shop/sa/web"}
    return {"service": "web", "reviews": {**reviews, "ratings": ratings, **changes}}


def reply(status: int, body: Any) -> Reply:
    return Reply(status, {}, json.dumps(body).encode())


def test_a_good_page_tells_version_and_callers() -> None:
    answer = http.judge(reply(200, page()), "d")
    assert answer.version == "v1"
    assert answer.seen["ratings"] == "spiffe://d/ns/shop/sa/reviews-v1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (reply(503, "no healthy upstream"), "status 503"),
        (reply(200, {"service": "web"}), "another body"),
        (reply(200, page(version="v9")), "another body"),
        (reply(200, page(caller="")), "callers were"),
        (Reply(200, {}, b"<html>"), "another body"),
    ],
)
def test_anything_else_is_a_failure(given: Reply, said: str) -> None:
    with pytest.raises(Unexpected, match=said):
        http.judge(given, "d")


def test_cost_checks_the_caller_through_the_mesh_alone() -> None:
    body = {"service": "ratings", "stars": 5, "caller": ""}
    assert cost.judge(reply(200, body), cost.DIRECT, "spiffe://d/x").version == "direct"
    with pytest.raises(Unexpected):
        cost.judge(reply(200, body), cost.MESH, "spiffe://d/x")


@contextlib.asynccontextmanager
async def answering(data: bytes, *, close: bool = False) -> AsyncIterator[Address]:
    """A server that answers every request with ``data``; waits for its connections to end."""
    connections = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = asyncio.Event()
        connections.append(done)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(data)
                if close:
                    break
        writer.close()
        done.set()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield Address(*server.sockets[0].getsockname())
    server.close()
    for done in connections:
        await done.wait()
    await asyncio.sleep(0)


async def test_chunks_and_lengths_are_read_on_one_connection() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    async with answering(chunked) as address:
        connection = await Connection.open(address)
        for _ in range(2):
            assert (await connection.get("x", "/")).body == b"abcde"
        assert connection.usable
        connection.close()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    ],
)
async def test_an_unreadable_reply_is_refused(data: bytes) -> None:
    async with answering(data) as address:
        connection = await Connection.open(address)
        with pytest.raises(BadReply):
            await connection.get("x", "/")
        assert not connection.usable
        connection.close()


async def test_a_connection_closed_by_the_server_is_not_used_again() -> None:
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    async with answering(ok, close=True) as address:
        pool = Pool(address)
        for _ in range(3):
            assert (await pool.get("x", "/")).status == 200
            await asyncio.sleep(0.01)
        pool.close()


def test_addresses() -> None:
    assert parse_address("127.0.0.1:80") == Address("127.0.0.1", 80)
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address("80")


def test_a_program_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.bookstore.apps.web", "--listen", "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--listen HOST:PORT" in done.stderr
