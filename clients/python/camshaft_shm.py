"""Raw pictures from camshaft through shared memory, with nothing but the standard library (Python 3.9 or newer).

    with Reader("/run/camshaft/camshaft.sock", "yard", width=640, fps=5, format="nv12") as reader:
        for frame in reader:
            detect(frame.data, frame.width, frame.height)

`frame.data` is the shared memory itself, without a copy: it is valid until the next step of the loop. For frames that
are needed longer, ask for more slots, take frames with `reader.next()` and give each back with `frame.release()`.
The protocol is described in docs/shm.md.
"""

import mmap
import os
import socket
import struct
import sys
from array import array
from urllib.parse import quote, urlencode

PROTOCOL = "camshaft-shm/1"
SLOTS = 3

_MESSAGE_BYTES = 64
_KIND = struct.Struct("=II")
_CONFIG = struct.Struct("=8xI4sIIIIIIQQ")
_FRAME = struct.Struct("=8xIIQqqQQ")
_END = struct.Struct("=8xI")
_REQUEST = struct.Struct("=IIII")
_CONFIG_KIND, _FRAME_KIND, _END_KIND = 1, 2, 3
_NEXT, _RELEASE = 1, 2
_ENDINGS = {
    1: "the stream ended",
    2: "camshaft stops",
    3: "no picture was taken for too long",
    4: "the protocol was broken",
    5: "there is no room for pictures of the new size",
    6: "camshaft failed",
}


class Ended(Exception):
    """There are no more pictures; says why. Connect again unless `refused`."""

    def __init__(self, message, refused=False):
        super().__init__(message)
        self.refused = refused


class _Memory:
    """A memory with its layout; unmapped once its frames are released."""

    def __init__(self, fd, message):
        _, self.generation = _KIND.unpack_from(message)
        slots, fourcc, self.width, self.height, self.stride, num, den, _, self.slot_bytes, self.frame_bytes = (
            _CONFIG.unpack_from(message)
        )
        self.format = fourcc.decode("ascii")
        self.fps = num / den
        try:
            self.map = mmap.mmap(fd, slots * self.slot_bytes, prot=mmap.PROT_READ)
        finally:
            os.close(fd)


class Frame:
    """One picture. `data` is read-only memory, valid until `release()`."""

    def __init__(self, reader, memory, message):
        self._reader = reader
        self._memory = memory
        self._slot, self.stride, self.sequence, pts, wall, self.dropped, count = _FRAME.unpack_from(message)
        start = self._slot * memory.slot_bytes
        self.data = memoryview(memory.map)[start : start + count]
        #: Seconds on the stream's timeline.
        self.pts = pts / 90_000
        #: Seconds since 1970 when it was captured, or received.
        self.wall = wall / 1e6
        self.width, self.height = memory.width, memory.height
        #: V4L2's name of the pixel format: YU12 (i420), NV12, GREY, RGB3 or BGR3.
        self.format = memory.format
        self.fps = memory.fps

    def release(self):
        """Gives the slot back: what was made of `data` without a copy shows other pictures from now on. A second call does
        nothing."""
        if self._memory is not None:
            memory, self._memory, self.data = self._memory, None, None
            self._reader._send(_REQUEST.pack(_RELEASE, memory.generation, self._slot, 0))


class Reader:
    """A connection to one stream. `query` are the parameters of live.raw: width, height, fps, format, crop, rendition.

    `timeout` (seconds) bounds the wait for the camera at the start and for each picture.
    """

    def __init__(self, path, stream, slots=SLOTS, timeout=15.0, **query):
        self._memory = None
        self._asked = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(os.fspath(path))
            self._upgrade(f"/v1/streams/{quote(stream, safe='')}/live.shm?{urlencode({'slots': slots, **query})}")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        """Every frame is released when the next is asked for."""
        while True:
            try:
                frame = self.next()
            except Ended:
                return
            try:
                yield frame
            finally:
                frame.release()

    def close(self):
        """Ends the connection. Frames that are held stay readable for some seconds at most."""
        self._socket.close()

    def ask(self):
        """Asks for one more picture ahead of `next()`: as many as there are slots may be asked for at a time."""
        self._send(_REQUEST.pack(_NEXT, 0, 0, 0))
        self._asked += 1

    def next(self):
        """The newest picture, or the next one if that was taken already. Raises `Ended`, or `TimeoutError`."""
        if self._asked == 0:
            self.ask()
        while True:
            message, fd = self._receive()
            kind, _ = _KIND.unpack_from(message)
            if kind == _CONFIG_KIND and fd is not None:
                self._memory = _Memory(fd, message)
            elif kind == _FRAME_KIND and self._memory is not None:
                self._asked -= 1
                return Frame(self, self._memory, message)
            elif kind == _END_KIND:
                (reason,) = _END.unpack_from(message)
                raise Ended(_ENDINGS.get(reason, f"reason {reason}"))
            else:
                raise Ended(f"a message of kind {kind} makes no sense here")

    def _upgrade(self, target):
        head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: {PROTOCOL}\r\n\r\n"
        self._socket.sendall(head.encode("ascii"))
        answer = b""
        # camshaft says nothing behind the head of an upgrade before the reader has spoken.
        while b"\r\n\r\n" not in answer:
            part = self._socket.recv(4096)
            if not part:
                break
            answer += part
        if not answer.startswith(b"HTTP/1.1 101 "):
            while part := self._socket.recv(4096):
                answer += part
            body = answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
            raise Ended(f"camshaft says no: {body}", refused=True)

    def _send(self, message):
        try:
            self._socket.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Why it ended is still to be read.

    def _receive(self):
        message, fd = b"", None
        while len(message) < _MESSAGE_BYTES:
            size = socket.CMSG_SPACE(array("i").itemsize)
            part, ancillary, _, _ = self._socket.recvmsg(_MESSAGE_BYTES - len(message), size, socket.MSG_CMSG_CLOEXEC)
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds = array("i", data)
                    fd = fds[0]
            if not part:
                raise Ended("the connection was lost")
            message += part
        return message, fd


def main(arguments):
    """camshaft_shm.py SOCKET STREAM QUERY [COUNT]: pictures to standard output, a line on each to standard error."""
    if len(arguments) not in (3, 4):
        print(main.__doc__, file=sys.stderr)
        return 2
    path, stream, query = arguments[:3]
    left = int(arguments[3]) if len(arguments) == 4 else -1
    parameters = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    with Reader(path, stream, **parameters) as reader:
        for frame in reader:
            sys.stdout.buffer.write(frame.data)
            sys.stdout.buffer.flush()
            print(
                f"{frame.sequence} {frame.width}x{frame.height} {frame.format} {frame.pts:.6f} {frame.wall:.6f}"
                f" {frame.dropped}",
                file=sys.stderr,
            )
            left -= 1
            if left == 0:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
