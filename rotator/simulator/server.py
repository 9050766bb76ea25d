"""The simulator as a process: starlette routes, uvicorn serves, a signal stops it within a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.routing import Route, Router
from uvicorn.protocols.http.h11_impl import H11Protocol

from rotator.simulator import api, control, keys
from rotator.simulator.exchange import INFERENCE, error
from rotator.simulator.fields import BadField, Fields
from rotator.simulator.model import Platform
from rotator.simulator.plan import read_plan
from rotator.simulator.records import Missing, Refusal
from rotator.simulator.seed import plant
from rotator.simulator.wire import Endpoint, Wire

_KEEP_ALIVE = 75  # seconds: longer than any client of ours keeps a connection, so that the client closes it


class BadFile(Exception):
    """A file that the simulator shall begin with is wrong; the message is one line that names file and field."""


def serve(
    *, host: str, port: int, seed_file: Path | None, faults_file: Path | None, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    :param port: 0 picks a free one.
    :param seed_file: JSON as in ``rotator.simulator.seed``; ``None`` starts with an empty platform.
    :param faults_file: a plan as in ``rotator.simulator.plan``, YAML or JSON; ``None`` starts without a fault.
    :param announce: called once with the base URL (``http://127.0.0.1:40123``) when requests are answered.
    :raises OSError: the address can't be listened on.
    :raises BadFile: one of the files can't be read, has a field that is wrong, or breaks a rule of the platform.
    """
    wire = Wire(Platform())
    if seed_file is not None:
        with _naming(seed_file):
            plant(wire.platform, Fields(json.loads(seed_file.read_text(encoding="utf-8"))))
    if faults_file is not None:
        with _naming(faults_file):
            wire.faults.add(read_plan(faults_file))
    asyncio.run(_serve(wire, host, port, announce))


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadFile(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadFile(f"{file}: not in UTF-8") from None
    except RecursionError:
        raise BadFile(f"{file}: nested too deeply") from None
    except Missing as missing:
        raise BadFile(f"{file}: there is no such {missing}") from None
    except (ValueError, BadField, Refusal) as problem:
        raise BadFile(f"{file}: {problem}") from None


async def _serve(wire: Wire, host: str, port: int, announce: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        _router(wire),
        http=_protocol(wire),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # ours follows the platform's clock
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=1,
    )
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    server = _Server(config, wire, lambda: announce(_url(host, listener.getsockname()[1])))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    await server.serve(sockets=[listener])


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _router(wire: Wire) -> Router:
    tables = ((api.routes(wire.platform), False), (keys.routes(wire.platform), False), (control.routes(wire), True))
    routes = [
        Route(template, Endpoint(wire, template, handlers, control=is_control))
        for table, is_control in tables
        for template, handlers in table.items()
    ]
    routes.sort(key=lambda route: route.path != INFERENCE)  # the first match wins: the busiest path comes first
    return Router(routes, redirect_slashes=False, default=_nowhere(wire))


def _nowhere(wire: Wire) -> Endpoint:
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    answer = error(404, "not_found", "there is no such path")
    return Endpoint(wire, "(no such path)", dict.fromkeys(methods, lambda _: answer))


def _protocol(wire: Wire) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """Remembers its connection, so that a fault can break it: ASGI has no word for that."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio does this only for sockets that name their protocol number, which an accepted one does not.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.connections[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            wire.connections.pop(self.client, None)
            super().connection_lost(exc)

    return Protocol


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, wire: Wire, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._wire = wire
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the event loop: uvicorn would raise them again at the end, and the exit not be 0."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    def stop(self) -> None:
        """End now: nobody waits for a rehearsal's last answers."""
        self.should_exit = self.force_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for transport in list(self._wire.connections.values()):
            transport.abort()
        await super().shutdown(sockets)
