"""The files source on a real directory: what is noticed, and in how many transactions."""

import asyncio
import errno
import os
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from watchfiles import Change, awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from controlplane.api.problem import Severity
from controlplane.sources.files import FilesSource
from tests.unit.sources.recorder import Recorder, replace, running, service, shift, write


def ports(recorder: Recorder, name: str) -> tuple[int, ...]:
    row = recorder.world.get(("Service", "shop", name))
    return tuple(port.port for port in row.ports) if row else ()


def has_port(recorder: Recorder, port: int) -> bool:
    return ports(recorder, "a") == (port,)


async def test_the_first_transaction_holds_everything(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": service("a"), "deep/er/b.yml": service("b"), "notes.txt": "x"})
    async with running(FilesSource(tmp_path)) as recorder:
        assert recorder.names == {"Service a", "Service b"}
        assert len(recorder.transactions) == 1


async def test_an_empty_directory_is_synced(tmp_path: Path) -> None:
    async with running(FilesSource(tmp_path)) as recorder:
        assert recorder.world == {}
        write(tmp_path, {"new/a.yaml": service("a")})
        await recorder.until(lambda: recorder.names == {"Service a"})


async def test_rename_replaces(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": service("a", 80)})
    async with running(FilesSource(tmp_path)) as recorder:
        for port in (81, 82, 83):
            replace(tmp_path, "a.yaml", service("a", port))
            await recorder.until(partial(has_port, recorder, port))


async def test_write_in_place_and_delete(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": service("a"), "b.yaml": service("b")})
    async with running(FilesSource(tmp_path)) as recorder:
        write(tmp_path, {"a.yaml": service("a", 81)})
        await recorder.until(lambda: ports(recorder, "a") == (81,))
        (tmp_path / "b.yaml").unlink()
        await recorder.until(lambda: recorder.names == {"Service a"})


async def test_a_burst_is_one_transaction(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.yaml": service(f"s{i}") for i in range(50)})
    calm = timedelta(milliseconds=400)
    async with running(FilesSource(tmp_path, debounce=calm, ceiling=10 * calm)) as recorder:
        for i in range(50):
            replace(tmp_path, f"{i}.yaml", service(f"s{i}", 1000 + i))
        await recorder.until(lambda: ports(recorder, "s49") == (1049,))
        assert len(recorder.transactions) == 2
        assert len(recorder.transactions[1]) == 50


async def test_directories_come_move_and_go(tmp_path: Path) -> None:
    root, aside = tmp_path / "root", tmp_path / "aside"
    root.mkdir()
    write(aside, {"a.yaml": service("a")})
    async with running(FilesSource(root)) as recorder:
        aside.rename(root / "inside")
        await recorder.until(lambda: recorder.names == {"Service a"})
        write(root, {"inside/b.yaml": service("b")})
        await recorder.until(lambda: recorder.names == {"Service a", "Service b"})
        (root / "inside").rename(aside)
        await recorder.until(lambda: recorder.names == set())


async def test_a_config_map_volume_is_swapped(tmp_path: Path) -> None:
    """The kubelet's layout: files are links through ``..data``, which is replaced by rename."""
    root = tmp_path / "volume"

    def publish(version: str, port: int) -> None:
        write(root, {f"..{version}/a.yaml": service("a", port)})
        (root / "..data_tmp").symlink_to(f"..{version}")
        (root / "..data_tmp").rename(root / "..data")

    publish("one", 80)
    (root / "a.yaml").symlink_to("..data/a.yaml")
    async with running(FilesSource(root)) as recorder:
        assert ports(recorder, "a") == (80,)
        assert recorder.problems == ()
        publish("two", 81)
        await recorder.until(lambda: ports(recorder, "a") == (81,))
        publish("three", 82)
        await recorder.until(lambda: ports(recorder, "a") == (82,))


async def test_the_root_is_a_link_that_is_swapped(tmp_path: Path) -> None:
    write(tmp_path, {"one/a.yaml": service("a", 80), "two/a.yaml": service("a", 81)})
    link = tmp_path / "current"
    link.symlink_to("one")
    async with running(FilesSource(link)) as recorder:
        assert ports(recorder, "a") == (80,)
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(link)
        await recorder.until(lambda: ports(recorder, "a") == (81,))
        replace(tmp_path / "two", "a.yaml", service("a", 82))
        await recorder.until(lambda: ports(recorder, "a") == (82,))


async def test_a_root_that_goes_keeps_its_objects(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, {"a.yaml": service("a")})
    async with running(FilesSource(root)) as recorder:
        root.rename(tmp_path / "elsewhere")
        await recorder.until(lambda: bool(recorder.problems))
        assert recorder.names == {"Service a"}
        assert recorder.texts == [
            f"Directory {root}: cannot be read: no such file or directory (what was read from it "
            "stays in effect). Restore it; an empty directory deletes the objects"
        ]
        write(root, {"b.yaml": service("b")})
        await recorder.until(lambda: recorder.names == {"Service b"} and not recorder.problems)


async def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path, {"sub/a.yaml": service("a")})
    (tmp_path / "sub" / "again").symlink_to("..")
    async with running(FilesSource(tmp_path)) as recorder:
        assert recorder.names == {"Service a"}


async def test_what_is_no_manifest_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {".git/a.yaml": service("git"), ".b.yaml.swp": "x", "c.yaml~": "x"})
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to("nowhere.yaml")
    (tmp_path / "dir.yaml").mkdir()
    async with running(FilesSource(tmp_path)) as recorder:
        assert recorder.world == {}
        assert recorder.problems == ()


async def test_refresh_delivers_at_once(tmp_path: Path) -> None:
    """For meshctl's writes, which do not wait for the watcher."""
    source = FilesSource(tmp_path, debounce=timedelta(seconds=8))
    async with running(source) as recorder:
        write(tmp_path, {"shift.yaml": shift("reviews", 1, 2)})
        await source.refresh()
        assert recorder.names == {"TrafficShift reviews"}


async def test_files_that_come_and_go_while_they_are_read(tmp_path: Path) -> None:
    """A second thread replaces, deletes and moves files as fast as it can, without a pause."""
    choice = random.Random(7)

    def churn() -> None:
        for i in range(400):
            name = f"{choice.randrange(20)}.yaml"
            path = tmp_path / name
            if choice.random() < 0.3:
                path.unlink(missing_ok=True)
            else:
                replace(tmp_path, name, service(f"s{name[:-5]}", 1 + i))

    async with running(FilesSource(tmp_path, debounce=timedelta(milliseconds=2))) as recorder:
        await asyncio.to_thread(churn)
        write(tmp_path, {"last.yaml": service("last")})
        async with running(FilesSource(tmp_path)) as fresh:
            await recorder.until(lambda: recorder.world == fresh.world)
            assert "Service last" in recorder.names
        assert recorder.problems == ()
        assert len(recorder.transactions) > 2


class NoWatches:
    """Stands for `watchfiles.awatch` on a machine whose limits are reached, until ``free``."""

    def __init__(self, error: Exception) -> None:
        self.error, self.free, self.asked = error, False, 0

    def __call__(self, *paths: str, **options: Any) -> AsyncIterator[set[tuple[Change, str]]]:
        self.asked += 1
        if not self.free:
            raise self.error
        return awatch(*paths, **options)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "OS file watch limit reached"),
        WatchfilesRustInternalError("Too many open files (os error 24)"),
    ],
)
async def test_without_watches_it_is_read_once_a_second(tmp_path: Path, error: Exception) -> None:
    write(tmp_path, {"a.yaml": service("a", 80)})
    watch = NoWatches(error)
    async with running(FilesSource(tmp_path, watch=watch)) as recorder:
        await recorder.until(lambda: bool(recorder.problems))
        [problem] = recorder.problems
        assert problem.severity is Severity.WARNING
        assert str(problem) == (
            f"Directory {tmp_path}: cannot be watched: {str(error).lower()}; it is read once a "
            "second instead. Raise fs.inotify.max_user_watches and max_user_instances"
        )
        for port in (81, 82):
            replace(tmp_path, "a.yaml", service("a", port))
            await recorder.until(partial(has_port, recorder, port))
        assert watch.asked >= 2
        assert len(recorder.problems) == 1
        watch.free = True
        await recorder.until(lambda: not recorder.problems)
        replace(tmp_path, "a.yaml", service("a", 83))
        await recorder.until(partial(has_port, recorder, 83))
