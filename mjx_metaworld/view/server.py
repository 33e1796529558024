"""viser's server of pages, without its words on the terminal."""

from __future__ import annotations

import contextlib
import io
import socket
from types import ModuleType
from typing import TYPE_CHECKING

from mjx_metaworld.processes.installed import install_command

if TYPE_CHECKING:
    import viser


def start_server(host: str, port: int) -> viser.ViserServer:
    """A server of pages.

    Args:
        host: address that it listens on.
        port: 0 for any that is free.

    Raises:
        ImportError: without the extra `view`.
        ValueError: if the port is in use, or cannot be had.
    """
    viser = require_viser()
    port = _free_port(host, port)  # viser itself would take the next one without a word
    with contextlib.redirect_stdout(io.StringIO()):
        return viser.ViserServer(host=host, port=port, verbose=False)


def require_viser() -> ModuleType:
    """The library of pages.

    Raises:
        ImportError: if it is missing, with what to install.
    """
    try:
        import viser
    except ImportError as error:
        raise ImportError(f"pages and replays need viser: {install_command('view')}") from error
    return viser


def stop_server(server: viser.ViserServer) -> None:
    """Close all pages."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def _free_port(host: str, port: int) -> int:
    """The port, or one that is free for 0.

    Raises:
        ValueError: if it cannot be listened on.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"port {port} of {host} cannot be had ({reason}); name another, or 0 for a free one") from None
