#!/usr/bin/python3
"""An RTSP server that means harm or trouble, for tests. Prints `READY <port>`; ends on SIGTERM and when its standard input closes.

endless-header     answers the first request with a header line that never ends
million-lines      describes itself in a million lines
million-tracks     describes itself with a million tracks
endless-fragments  plays one H.264 NAL unit in FU-A fragments (RFC 6184 5.8) that never ends
huge-picture       plays, and its SPS asks for 8192x8192 pixels
echo               refuses every login with a status line that repeats the client's Authorization header
silent             accepts and never answers
changing           plays a few pictures; before the third, other parameter sets come in band
lossy              plays a few pictures; before each but the first one broken packet comes and three are missing
redirect PORT      says that it is at that port of 127.0.0.1
rst                plays a few pictures, then resets the connection
"""

import argparse
import base64
import os
import socket
import struct
import sys
import threading
import time

SPS = bytes.fromhex("6742c00dd90150878888c044000003000400000300c83c50a920")
FULL_HD_SPS = bytes.fromhex("67640028acd940780227e5c044000003000400000300c83c60c658")
HUGE_SPS = bytes.fromhex("6742c03eda002000040190")
PPS = bytes.fromhex("68cb83cb20")
IDR = bytes([0x65]) + bytes(range(1, 200))
UNDEFINED = bytes([0x1F]) + b"?"  # NAL unit type 31 (RFC 6184 table 1)
PICTURES = 5


class Client:
    def __init__(self, connection, mode, target):
        self.connection = connection
        self.mode, self.target = mode, target
        self.sequence = 0
        self.authorization = ""

    def serve(self):
        if self.mode == "silent":
            self.connection.recv(1)  # …and keep it open
            threading.Event().wait()
        while request := self.read_request():
            self.answer(*request)

    def read_request(self):
        """Method and CSeq of the next request."""
        text = b""
        while b"\r\n\r\n" not in text:
            if not (chunk := self.connection.recv(4096)):
                return None
            text += chunk
        lines = text.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        self.authorization = headers.get("Authorization", "")
        return lines[0].split(" ")[0], headers.get("CSeq", "0")

    def answer(self, method, cseq):
        if self.mode == "endless-header":
            self.flood(b"RTSP/1.0 200 OK\r\nCSeq: " + cseq.encode() + b"\r\nX: ", b"x" * 65536)
        elif self.mode == "echo":
            status = f"400 {self.authorization}" if self.authorization else "401 Unauthorized"
            self.reply(cseq, 'WWW-Authenticate: Basic realm="x"\r\n', status=status)
        elif self.mode == "redirect" and method == "DESCRIBE":
            location = f"Location: rtsp://127.0.0.1:{self.target}/elsewhere\r\n"
            self.reply(cseq, location, status="302 Found")
        elif method == "DESCRIBE" and self.mode.startswith("million"):
            line = "a=x:y\r\n" if self.mode == "million-lines" else "m=video 0 RTP/AVP 96\r\n"
            sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + line * 1_000_000
            self.reply(cseq, "Content-Type: application/sdp\r\n", sdp)
        elif method == "DESCRIBE":
            sps = HUGE_SPS if self.mode == "huge-picture" else SPS
            sets = ",".join(base64.b64encode(unit).decode() for unit in (sps, PPS))
            sdp = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
                f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:v\r\n"
            )
            self.reply(cseq, "Content-Type: application/sdp\r\n", sdp)
        elif method == "SETUP":
            self.reply(cseq, "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
        elif method == "PLAY":
            self.reply(cseq, "Session: 1\r\n")
            self.play()
        else:
            self.reply(cseq)

    def reply(self, cseq, headers="", body="", status="200 OK"):
        head = f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self.connection.sendall((head + body).encode())

    def play(self):
        if self.mode == "endless-fragments":
            self.flood(self.packet(bytes([0x7C, 0x85]) + b"\xff" * 1400, 0, False), None)
        for picture in range(PICTURES):
            if self.mode == "lossy" and picture > 0:
                self.connection.sendall(self.packet(UNDEFINED, picture * 3600, False))
                self.sequence += 3
            if self.mode == "changing" and picture == 2:
                for unit in (FULL_HD_SPS, PPS):
                    self.connection.sendall(self.packet(unit, picture * 3600, False))
            self.connection.sendall(self.packet(IDR, picture * 3600, True))
            time.sleep(0.04)  # as a camera would; a reset also discards what the client has not read yet
        if self.mode == "rst":
            # With a linger time of 0, closing resets.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionError

    def packet(self, payload, timestamp, last):
        """An RTP packet (RFC 3550 5.1) in an interleaved frame (RFC 2326 10.12)."""
        rtp = struct.pack(">BBHII", 0x80, 96 | (0x80 if last else 0), self.sequence & 0xFFFF, timestamp, 1) + payload
        self.sequence += 1
        return b"$\0" + struct.pack(">H", len(rtp)) + rtp

    def flood(self, start, more):
        self.connection.sendall(start)
        while True:
            self.connection.sendall(more or self.packet(bytes([0x7C, 0x05]) + b"\xff" * 1400, 0, False))


def serve(connection, *mode):
    try:
        Client(connection, *mode).serve()
    except OSError:
        pass  # the client is gone, which is the point of most modes


def main():
    modes = [line.split(" ")[0] for line in __doc__.splitlines()[2:]]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=modes)
    parser.add_argument("target", nargs="?", type=int)
    args = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    print("READY", listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, args.mode, args.target), daemon=True).start()


main()
