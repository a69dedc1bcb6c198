"""The example of gRPC without a sidecar does what it says."""

import asyncio
import sys
from pathlib import Path

import pytest

import examples

SCRIPT = Path(*examples.__path__) / "grpc-proxyless" / "run.py"


@pytest.mark.envoy
@pytest.mark.slow
async def test_example() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert "all as it should be" in out.decode()
