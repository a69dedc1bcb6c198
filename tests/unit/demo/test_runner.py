"""The parts of the demo's runner that need no mesh: processes, lock, page, figures, claims."""

import asyncio
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from controlplane.app.codec import to_json
from controlplane.sources.validate import validate, validate_texts
from examples.bookstore.demo import layout, lock
from examples.bookstore.demo.claims import Claims
from examples.bookstore.demo.context import TooSlow, until
from examples.bookstore.demo.meter import Meter
from examples.bookstore.demo.observe import AccessLog, parse_metrics
from examples.bookstore.demo.page import ClientRow, Lines, View, plain, render, split_bar
from examples.bookstore.demo.processes import Died, Processes, descendants, memory
from examples.bookstore.demo.stages import broken, restart, rotate, strangers
from examples.bookstore.demo.stages.shift import Measured
from examples.bookstore.http1 import Address
from examples.bookstore.load.report import Batch, Call, Failure

ROOT = Path(__file__).parents[3]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path, {"PYTHONPATH": str(ROOT)}, ROOT)
    yield started
    started.close(grace=1.0)


def wait_for(path: Path) -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


def gone(pid: int) -> bool:
    """Not running; a zombie that its new parent has not reaped yet counts as gone."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


GRANDCHILD = """
import signal, subprocess, sys
if sys.argv[2] == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
apart = sys.argv[2] == "apart"
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=apart
)
open(sys.argv[1], "w").write(f"{child.pid}\\n")
child.wait()
"""


@pytest.mark.parametrize("kind", ["polite", "stubborn", "apart"])
def test_close_ends_whole_process_groups(processes: Processes, tmp_path: Path, kind: str) -> None:
    note = tmp_path / "pid"
    child = processes.start("parent", [sys.executable, "-c", GRANDCHILD, str(note), kind])
    grandchild = int(wait_for(note))
    assert grandchild in descendants(child.pid)
    assert memory(grandchild).resident > memory(grandchild).own > 0
    processes.close(grace=0.5)
    assert gone(grandchild)
    assert not child.alive


def test_a_killed_demo_takes_its_processes_along(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"""
import pathlib, sys, time
from examples.bookstore.demo.processes import Processes
started = Processes(pathlib.Path({str(tmp_path)!r}), {{}}, {str(ROOT)!r})
child = started.start("child", [sys.executable, "-c", "import time; time.sleep(600)"])
open({str(note)!r}, "w").write(f"{{child.pid}}\\n")
time.sleep(600)
"""
    demo = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    child = int(wait_for(note))
    demo.kill()
    demo.wait()
    assert gone(child)


def test_a_process_that_ends_is_named_with_its_last_words(processes: Processes) -> None:
    child = processes.start("brief", [sys.executable, "-c", "import sys; sys.exit('why not')"])
    child.process.wait(20)
    with pytest.raises(Died, match=r"brief ended with status 1(.|\n)*why not"):
        processes.check()


def test_an_end_that_was_meant_is_no_failure(processes: Processes) -> None:
    child = processes.start("victim", [sys.executable, "-c", "import time; time.sleep(600)"])
    child.signal_group(signal.SIGKILL)
    processes.forget(child)
    processes.check()


def test_a_second_demo_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        lock.hold(path),
        pytest.raises(lock.Taken, match=rf"process {os.getpid()}\b.*kill -INT"),
        lock.hold(path),
    ):
        raise AssertionError("two demos hold one lock")
    with lock.hold(path):
        pass


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = Address(*server.getsockname())
        with pytest.raises(lock.Taken, match=rf"{taken} cannot be used .*ss -ltnp"):
            lock.check_free([taken])
    lock.check_free([taken])


def test_the_manifests_say_who_runs_where() -> None:
    docs = layout.documents(layout.MANIFESTS)
    found = layout.workloads(docs)
    assert set(found) == {"web", "reviews-v1", "reviews-v2", "ratings", "ledger"}
    assert len({w.sidecar for w in found.values()} | {w.program.host for w in found.values()}) == 10
    assert found["web"].proxy == Address(found["web"].sidecar, 15080)
    identity = found["web"].spiffe_id(layout.trust_domain(docs))
    assert identity == "spiffe://bookstore.example/ns/shop/sa/web"
    assert len(set(layout.listening(found))) == 3 + 4 * 5
    assert {name for call in layout.CALLS for name in call} == set(found)


def test_the_manifests_are_valid_down_to_the_last_field() -> None:
    assert validate([layout.MANIFESTS], strict=True) == []


def test_the_broken_manifest_is_reported_with_everything_the_demo_asks_for() -> None:
    text = (layout.MANIFESTS / broken.FILE).read_text()
    assert text.count(restart.GOOD) == 1
    changed = text.replace(restart.GOOD, broken.GOOD)
    assert validate_texts({broken.FILE: changed}, strict=True) == []
    spoilt = changed.replace(broken.GOOD, broken.BROKEN)
    (problem,) = validate_texts({broken.FILE: spoilt})
    at = spoilt.splitlines().index(f"  {broken.BROKEN}") + 1
    assert broken.complete(to_json(problem), at) == []


async def test_until_returns_the_answer_or_names_what_was_late() -> None:
    answers = iter([0, 0, 7])

    async def ask() -> int:
        return next(answers)

    async def never() -> bool:
        return False

    assert await until("seven", ask, 5.0, every=0.001) == 7
    with pytest.raises(TooSlow, match=r"not within 0.01 s: rain"):
        await until("rain", never, 0.01, every=0.001)


def batch(client: str, *calls: Call, failures: tuple[Failure, ...] = ()) -> Batch:
    return Batch(client, calls, failures, {"ratings": "spiffe://d/x"}, 2)


def test_reports_survive_their_json() -> None:
    given = batch("a", Call(1.0, 0.1, "v1"), failures=(Failure(2.0, "why"),))
    assert Batch.from_json(given.to_json()) == given


def test_the_meter_counts_what_started_after_a_moment() -> None:
    meter = Meter()
    meter.take(batch("a", Call(10.0, 1.9, "v1"), Call(11.0, 0.1, "v2"), Call(10.5, 1.0, "v1")))
    meter.take(batch("b", Call(11.5, 0.1, "v2"), failures=(Failure(11.6, "late"),)))
    assert meter.versions(("a", "b"), 10.5) == Counter(v1=1, v2=2)
    assert meter.versions(("a", "nobody"), 0.0) == Counter(v1=2, v2=1)
    assert meter.failures == [("b", Failure(11.6, "late"))]
    assert meter.clients["a"].rate(12.0) == 1.5
    assert meter.latencies("a", "v2") == [0.1]
    meter.forget(11.2)
    assert (len(meter.clients["a"].calls), meter.clients["a"].total, meter.total) == (0, 3, 4)


@pytest.mark.parametrize(
    ("share", "v1", "v2", "held"),
    [
        (0.2, 1600, 400, True),
        (0.2, 1500, 500, False),
        (1.0, 0, 2000, True),
        (1.0, 1, 1999, False),
        (0.0, 2000, 0, True),
    ],
)
def test_a_split_holds_or_not(share: float, v1: int, v2: int, held: bool) -> None:
    measured = Measured(share, Counter(v1=v1, v2=v2))
    assert measured.held is held
    assert f"{v2:,} of 2,000" in str(measured)
    assert ("wrong version" in str(measured)) is (share in (0.0, 1.0))


def shown(renderable: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO(), no_color=True)
    console.print(renderable)
    return console.export_text()


VIEW = View(
    "shifting reviews to 80/20",
    (ClientRow("http kept", 301.4, 9_000, 0), ClientRow("tcp long", 40.0, 99, 1)),
    {"v1": 80, "v2": 20},
    {"ratings": "spiffe://bookstore.example/ns/shop/sa/reviews-v1"},
)


def test_the_page_shows_rates_success_split_and_callers() -> None:
    text = shown(render(VIEW, ["1.0 s  $ meshctl status"]))
    for part in (
        "bookstore: shifting reviews to 80/20",
        "301",
        "100.000 %",
        "99.000 %",
        "v1 80.0 %  v2 20.0 %",
        "spiffe://bookstore.example/ns/shop/sa/reviews-v1",
        "$ meshctl status",
    ):
        assert part in text


def test_the_page_before_any_traffic() -> None:
    assert "starting" in shown(render(View(), []))
    assert split_bar({}).plain == ""
    assert plain(View()) == "0 calls/s, 0 failed"


def test_the_bar_is_always_as_wide() -> None:
    for v1 in range(0, 101, 7):
        assert len(split_bar({"v1": v1, "v2": 100 - v1}).plain) == 40


def test_plain_lines_carry_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Console(force_terminal=False, no_color=True, width=160), time.monotonic())
    lines.say("first [not markup]\nsecond")
    lines.EVERY = 0.0
    lines.show(VIEW)
    out = capsys.readouterr().out
    assert "first [not markup]" in out
    assert "341 calls/s, 1 failed, reviews v1 80.0 %" in out
    assert "\x1b" not in out


def test_claims() -> None:
    claims = Claims()
    assert not claims.all_held
    claims.add("a", "1 ms")
    assert not claims.all_held
    claims.add("b", "2 of 2", held=True)
    assert claims.all_held
    claims.add("c", "1 of 2", held=False)
    assert not claims.all_held
    assert [claim.text for claim in claims.failed] == ["c"]
    text = shown(claims.table())
    assert all(word in text for word in ("reported", "held", "FAILED", "1 of 2"))


def test_metrics_are_read() -> None:
    text = '# HELP x y\nplait_a_total{type="cds"} 3.0\nplait_a_total{type="eds"} 4\nplain 1e3\n'
    assert parse_metrics(text) == {
        "plait_a_total": {'type="cds"': 3.0, 'type="eds"': 4.0},
        "plain": {"": 1000.0},
    }


def test_an_access_log_is_read_on_from_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"peer": "old"}\n')
    log = AccessLog(path)
    log.skip()
    with path.open("a") as file:
        file.write('not json AB12\n{"peer_serial": "ab12"}\n{"peer_serial": "ab1')
    assert list(log.entries("AB12")) == [{"peer_serial": "ab12"}]
    with path.open("a") as file:
        file.write('2", "n": 2}\n{broken ab12\n')
    assert [entry["n"] for entry in log.entries("ab12")] == [2]


def test_serials_compare_as_numbers() -> None:
    assert rotate.serial("0A:BC") == rotate.serial("abc")
    entries = [{"peer": "spiffe://d/web", "peer_serial": "abc"}, {"peer": "", "peer_serial": ""}]
    assert rotate.met(entries, "spiffe://d/web", 0xABC)
    assert not rotate.met(entries, "spiffe://d/other", 0xABC)
    assert not rotate.met(entries, "spiffe://d/web", 0xABD)


def test_a_problem_must_name_everything() -> None:
    problem = {
        "source": {"path": "ratings.yaml", "line": 42},
        "object": {"kind": "RoutePolicy", "namespace": "shop", "name": "ratings"},
        "field": "spec.timeout",
        "remedy": "write a duration",
    }
    assert broken.complete(problem, 42) == []
    assert broken.complete({**problem, "remedy": "", "source": None}, 42) == [
        "file",
        "line",
        "remedy",
    ]


async def door(tmp_path: Path, authority: strangers.Authority) -> tuple[asyncio.Server, Address]:
    """A server that demands a leaf of ``authority`` and greets, as a STRICT sidecar would."""
    from cryptography.hazmat.primitives.serialization import Encoding

    leaf = authority.leaf("spiffe://d/server", tmp_path, "server")
    roots = authority.certificate.public_bytes(Encoding.PEM).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf)
    context.load_verify_locations(cadata=roots)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["plait-tcp"])

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome\n")
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda loop, what: None)
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    return server, Address(*server.sockets[0].getsockname())


async def test_strangers_are_told_from_members(tmp_path: Path) -> None:
    mesh = strangers.stranger()
    server, address = await door(tmp_path, mesh)
    known = mesh.leaf("spiffe://d/web", tmp_path, "known")
    foreign = strangers.stranger().leaf("spiffe://d/web", tmp_path, "foreign")
    assert await strangers.with_leaf(address, known, "plait-tcp")
    assert not await strangers.with_leaf(address, foreign, "plait-tcp")
    assert not await strangers.plaintext(address)
    server.close()


async def test_a_door_that_answers_plain_text_is_open() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps({"hello": 1}).encode())
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    assert await strangers.plaintext(Address(*server.sockets[0].getsockname()))
    server.close()
