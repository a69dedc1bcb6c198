"""Logging of the control plane over stdlib logging: one JSON object a line, or console lines.

An event is a short constant; facts stand in ``extra``. grpc's and aiohttp's own lines come out in
the same form. Tokens and private keys are blotted out of every finished line, tracebacks included,
whoever wrote it there.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Final, TextIO

REDACTED: Final = "[redacted]"
_SECRET: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\")|\Z)"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/-]+=*",
    re.DOTALL,
)
_STANDARD: Final = frozenset(
    logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys() | {"message", "asctime"}
)
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def redact(text: str) -> str:
    """``text`` without private keys (PEM), JSON Web Tokens and bearer credentials."""
    return _SECRET.sub(REDACTED, text)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "event", facts..., "exception"}``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, default=str, ensure_ascii=False))


class ConsoleFormatter(logging.Formatter):
    """``12:00:01.123 info  event  key=value``, for people."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower():<7}"
        if self._colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        facts = " ".join(f"{key}={value}" for key, value in _facts(record).items())
        line = f"{_time(record)[11:-1]} {level} {record.getMessage()}"
        line += f"  {facts}" if facts else ""
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


class Throttle(logging.Filter):
    """Lets through so many lines of an event in a time, and then says how many it left out: what a
    client does again and again must not fill a disk. Metrics count all of them."""

    def __init__(self, lines: int = 50, seconds: float = 10.0) -> None:
        super().__init__()
        self._lines = lines
        self._seconds = seconds
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        began, count = self._seen.get(str(record.msg), (record.created, 0))
        if not began <= record.created < began + self._seconds:
            if count > self._lines:
                record.left_out = count - self._lines
            began, count = record.created, 0
        self._seen[str(record.msg)] = (began, count + 1)
        return count < self._lines


def configure(level: str, form: str, stream: TextIO) -> None:
    """Send all logging of this process to ``stream``.

    ``level``: debug, info, warning or error. ``form``: json, console, or auto (console on a
    terminal). Replaces the root logger's handlers.
    """
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    if form == "json" or (form == "auto" and not terminal):
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(ConsoleFormatter(colours=terminal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("watchfiles", "asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))
