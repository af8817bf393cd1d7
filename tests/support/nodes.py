#!/usr/bin/env python3
"""Three camshafts in network namespaces of their own behind the HAProxy configuration that is shipped, and what becomes of
24 cameras when a node is lost, refuses, or comes back. Needs HAProxy 3 (deploy/tools.sh haproxy) and root or user
namespaces; leaves nothing behind.

    nodes.py CAMSHAFT lost|refuses
    nodes.py - balance [FACTOR]       HAProxy's hash alone, without and with hash-balance-factor
"""

import collections
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "deploy/kustomize/components/several-nodes"
TRIXIE = ROOT / "target/tools/trixie"
NODES = {"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3"}
FRONT = "10.77.0.100"
CAMERAS = [f"cam{n:02}" for n in range(24)]
PATIENCE = 150  # for what must happen, on a loaded machine
PROMISED = 2.0  # seconds until a lost node's cameras are answered for elsewhere


def fail(message):
    sys.exit(f"nodes.py: {message}")


def run(*command):
    subprocess.run(command, check=True)


def start(*command, **more):
    """A process that dies with this one."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdin=subprocess.DEVNULL, **more)


def eventually(what, check, missing=lambda: ""):
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        if time.monotonic() > deadline:
            fail(f"within {PATIENCE} s it did not happen that {what} {missing()}")
        time.sleep(0.1)
    return found


class Cluster:
    """The nodes, a switch, DNS, and HAProxy."""

    def __init__(self, camshaft, folder, extra=None, haproxy_changes=()):
        self.folder, self.logs = folder, []
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "switch", "type", "bridge")
        run("ip", "address", "add", f"{FRONT}/24", "dev", "switch")
        run("ip", "link", "set", "switch", "up")
        streams = "".join(f'  {name}: {{ source: "test:?width=128&height=64&fps=2" }}\n' for name in CAMERAS)
        config = folder / "camshaft.yaml"
        config.write_text(
            "server: { http: 0.0.0.0:8080, admin: 0.0.0.0:8081, rtsp: 0.0.0.0:8554, open_to_network: true }\n"
            f"hardware: {{ policy: software }}\nlimits: {{ pixels_linger: 0ms, watchdog: 60s }}\nstreams:\n{streams}"
        )
        self.nodes = {name: self.node(name, address, camshaft, config, (extra or {}).get(name, {})) for name, address in NODES.items()}
        threading.Thread(target=serve_dns, daemon=True).start()
        self.haproxy(haproxy_changes)
        eventually("every node is ready", lambda: all(self.get(name, ":8081/readyz", raw=True) for name in NODES))
        eventually("HAProxy sees the nodes", self.sees_all)

    def node(self, name, address, camshaft, config, environment):
        log = open(self.folder / f"{name}.log", "w")
        process = start("unshare", "--net", "sh", "-c", f"""
            while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
            ip link set lo up; ip address add {address}/24 dev eth0; ip link set eth0 up
            exec "$0" serve --config "$1" --log-format json""", camshaft, config,
            stdout=log, stderr=log, env={**os.environ, "CAMSHAFT_SERVER_NODE": name, "RUST_LOG": "info", **environment})
        ours = os.readlink("/proc/self/ns/net")
        eventually("it has a network", lambda: os.readlink(f"/proc/{process.pid}/ns/net") != ours)
        run("ip", "link", "add", f"port-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        run("ip", "link", "set", f"port-{name}", "master", "switch", "up")
        return process

    def haproxy(self, changes):
        inside = Path("/run")
        run("mount", "-t", "tmpfs", "none", str(TRIXIE) + "/run")
        text = (SHIPPED / "haproxy.cfg").read_text()
        for old, new in changes:
            if old not in text:
                fail(f"the shipped configuration has no '{old}'")
            text = text.replace(old, new)
        (TRIXIE / "run/haproxy.cfg").write_text(text.replace("global\n", "global\n    stats socket /run/stats.sock\n", 1))
        shutil.copy(SHIPPED / "rtsp.lua", TRIXIE / "run/rtsp.lua")
        resolv = TRIXIE / "run/resolv.conf"
        resolv.write_text(f"nameserver {FRONT}\n")
        run("mount", "--bind", str(resolv), str(TRIXIE / "etc/resolv.conf"))
        environment = {**os.environ, "CAMSHAFT_NODES": "nodes.test", "HAPROXY_LUA": "/run"}
        log = open(self.folder / "haproxy.log", "w")
        start("chroot", TRIXIE, "haproxy", "-db", "-f", inside / "haproxy.cfg", env=environment, stdout=log, stderr=log)

    def stats(self, command):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(TRIXIE / "run/stats.sock"))
            except OSError:
                return ""
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def sees_all(self):
        rows = [line.split(",") for line in self.stats("show stat").splitlines()]
        up = collections.Counter(row[0] for row in rows if len(row) > 17 and row[1].startswith("node") and row[17].startswith("UP"))
        return up["http_nodes"] == up["rtsp_nodes"] == len(NODES)

    def get(self, node, path, raw=False):
        try:
            with urllib.request.urlopen(f"http://{NODES[node]}{path}", timeout=10) as response:
                return response.read() if raw else json.load(response)
        except OSError:
            return None

    def owners(self, busy):
        """Which nodes' status of each camera is as `busy` says."""
        owners = collections.defaultdict(list)
        for node in NODES:
            for stream in self.get(node, ":8080/v1/streams") or []:
                if busy(stream):
                    owners[stream["id"]].append(node)
        return owners

    def link(self, node, state):
        run("ip", "link", "set", f"port-{node}", state)


def serve_dns():
    """One address a node for every A question, nothing for others (RFC 1035 §4)."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((FRONT, 53))
    while True:
        query, peer = server.recvfrom(2048)
        end = query.index(0, 12) + 5
        addresses = NODES.values() if query[end - 4 : end - 2] == b"\0\1" else []
        answers = b"".join(b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 1, 4) + socket.inet_aton(a) for a in addresses)
        header = query[:2] + b"\x84\0" + struct.pack(">HHHH", 1, len(addresses), 0, 0)
        server.sendto(header + query[12:end] + answers, peer)


class Viewer(threading.Thread):
    """Watches one camera and connects again at once; notes when it was answered, and when media came."""

    def __init__(self, camera):
        super().__init__(daemon=True)
        self.camera, self.answered, self.media, self.connections, self.refusals = camera, 0.0, 0.0, 0, 0
        self.stopped, self.trouble = False, None
        self.start()

    def run(self):
        while not self.stopped:
            try:
                self.watch()
            except (OSError, http.client.HTTPException) as error:
                self.trouble = error
            if not self.stopped:
                time.sleep(0.05)

    def note(self):
        self.answered = time.monotonic()
        self.connections += 1

    def stop(self):
        self.stopped = True


class HttpViewer(Viewer):
    def watch(self):
        url = f"http://{FRONT}:8080/v1/streams/{self.camera}/live.mjpeg?width=64&fps=2"
        with urllib.request.urlopen(url, timeout=30) as response:
            self.note()
            while not self.stopped and response.read1(65536):
                self.media = time.monotonic()


class RtspViewer(Viewer):
    def watch(self):
        with socket.create_connection((FRONT, 8554), timeout=30) as connection:
            url = f"rtsp://{FRONT}:8554/{self.camera}"
            reader = connection.makefile("rb")
            self.ask(connection, reader, f"OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            self.note()
            description, _ = self.ask(connection, reader, f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 2\r\n\r\n")
            track = re.search(r"a=control:(\S*track\S*|\S*[0-9])\r", description).group(1)
            track = track if track.startswith("rtsp") else f"{url}/{track}"
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            _, head = self.ask(connection, reader, f"SETUP {track} RTSP/1.0\r\nCSeq: 3\r\n{transport}\r\n\r\n")
            session = re.search(r"(?i)session: *([^;\r]+)", head).group(1)
            self.ask(connection, reader, f"PLAY {url} RTSP/1.0\r\nCSeq: 4\r\nSession: {session}\r\n\r\n")
            while not self.stopped and reader.read1(65536):
                self.media = time.monotonic()

    def ask(self, connection, reader, request):
        connection.sendall(request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                raise OSError("closed")
            head += line
        head = head.decode()
        if " 200 " not in head.split("\r\n")[0]:
            raise OSError(head.split("\r\n")[0])
        length = re.search(r"(?i)content-length: *(\d+)", head)
        return (reader.read(int(length.group(1))).decode() if length else ""), head


def without(viewers, since=0.0):
    """The viewers that have had no media, and why."""
    return [f"{type(v).__name__} {v.camera}: {v.trouble}" for v in viewers if v.media <= since]


def is_used(stream):
    return stream["state"] != "idle"


def one_owner(cluster, busy=is_used):
    """The node of each camera, if all are used and each on one node alone."""
    owners = cluster.owners(busy)
    if set(owners) == set(CAMERAS) and all(len(nodes) == 1 for nodes in owners.values()):
        return {camera: nodes[0] for camera, nodes in owners.items()}
    return None


def lost(camshaft, folder):
    """A node's link goes down without a word, and comes back."""
    cluster = Cluster(camshaft, folder)
    viewers = [kind(camera) for camera in CAMERAS for kind in (HttpViewer, RtspViewer)]
    # Two that others wrote, on cameras that will stay or go like the rest.
    peers = [
        start("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", f"rtsp://{FRONT}:8554/cam00", "-f", "null", "-"),
        start("curl", "-sfN", "--output", "/dev/null", f"http://{FRONT}:8080/v1/streams/cam01/live.ts"),
    ]
    eventually("every viewer has media", lambda: not without(viewers), lambda: without(viewers))
    before = eventually("each camera is used on one node", lambda: one_owner(cluster))
    decoded = cluster.owners(lambda stream: stream["workers"]["pixels"])
    if any(decoded[camera] != [node] for camera, node in before.items()):
        fail(f"not every camera is decoded on its node alone: {dict(decoded)}")
    counts = collections.Counter(before.values())
    if len(counts) < len(NODES):
        fail(f"a node has no camera: {counts}")
    victim = counts.most_common(1)[0][0]
    connections = {viewer: viewer.connections for viewer in viewers}
    moved = [viewer for viewer in viewers if before[viewer.camera] == victim]

    down = time.monotonic()
    cluster.link(victim, "down")
    late = lambda: [f"{type(v).__name__} {v.camera}: {v.trouble}" for v in moved if v.answered <= down]
    eventually("all are answered again", lambda: not late(), late)
    eventually("all have media again", lambda: all(viewer.media > viewer.answered > down for viewer in moved))
    # RTSP's first answer shows the way there alone; a picture takes a camera and a decoder to start as well.
    answered = max(viewer.answered for viewer in moved if isinstance(viewer, RtspViewer)) - down
    pictures = max(viewer.answered for viewer in moved) - down
    disturbed = {viewer.camera for viewer in viewers if viewer not in moved and viewer.connections != connections[viewer]}
    if disturbed:
        fail(f"cameras of other nodes were disturbed: {disturbed}")
    after = eventually("each camera is used on one node of the others", lambda: one_owner(cluster))
    if any(after[camera] != node for camera, node in before.items() if node != victim):
        fail("cameras of other nodes have moved")
    # The viewers themselves wait for a CPU where others are busy here.
    allowed = PROMISED * max(1, os.getloadavg()[0] / os.cpu_count() / 2)
    if answered > allowed:
        fail(f"the cameras were answered for after {answered:.2f} s, later than {allowed:.1f} s")

    # Sessions stay where they are; new ones go home.
    cluster.link(victim, "up")
    eventually("the node is back", cluster.sees_all)
    for viewer in viewers:
        viewer.stop()
    for peer in peers:
        peer.kill()
    eventually("nobody watches", lambda: not cluster.owners(is_used))
    viewers = [kind(camera) for camera in CAMERAS for kind in (HttpViewer, RtspViewer)]
    eventually("every viewer has media", lambda: not without(viewers), lambda: without(viewers))
    home = eventually("each camera is used on one node", lambda: one_owner(cluster))
    if home != before:
        fail(f"cameras are not at home: {[camera for camera in CAMERAS if home[camera] != before[camera]]}")
    shares = "/".join(str(counts[node]) for node in NODES)
    print(f"cameras {shares}; {counts[victim]} of a lost node answered for after {answered:.2f} s, with pictures after {pictures:.2f} s; no other moved")


def refuses(camshaft, folder):
    """A node without room for pixels sends them on, over HTTP at once and over RTSP with the next connection."""
    # Whose budget is too small is found out by asking each node for what does not fit.
    cluster = Cluster(camshaft, folder, extra={"b": {"CAMSHAFT_LIMITS_SOFTWARE_PIXELS": "1M"}})
    big = '{ "source": "test:?width=640&height=360&fps=10", "on_demand": true }'
    for node in NODES:
        for camera in CAMERAS:
            request = urllib.request.Request(f"http://{NODES[node]}:8080/v1/streams/{camera}", big.encode(), method="PUT")
            urllib.request.urlopen(request, timeout=10).read()
    retried = 0
    rtsp_retries = 0
    cameras = CAMERAS[:12]
    for camera in cameras:
        url = f"http://{FRONT}:8080/v1/streams/{camera}/live.mjpeg?width=64"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            if b"\xff\xd8" not in response.read(1000):
                fail(f"{camera} has no picture")
    rows = [line.split(",") for line in cluster.stats("show stat").splitlines()]
    names = rows[0]
    for row in rows[1:]:
        if row[0] == "http_nodes" and row[1] == "BACKEND":
            retried = int(row[names.index("wredis")]) + int(row[names.index("wretr")])
    if not retried:
        fail("HAProxy repeated no request: did the node refuse nothing?")
    for camera in cameras:
        url = f"rtsp://{FRONT}:8554/{camera}?width=64"
        for attempt in range(len(NODES) + 3):
            probe = subprocess.run(
                ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=width", "-of", "csv=p=0", url],
                capture_output=True, text=True, timeout=PATIENCE)
            if probe.stdout.strip() == "64":
                break
            if "503" not in probe.stderr:
                fail(f"{camera}: {probe.stderr}")
            rtsp_retries += 1
        else:
            fail(f"{camera} is refused again and again over RTSP")
    if not rtsp_retries:
        fail("no RTSP connection was refused")
    print(f"all {len(cameras)} cameras are served: HTTP retried {retried} times by HAProxy, RTSP {rtsp_retries} times by the client")


class Listeners(Cluster):
    """In the place of camshafts: they note which camera is asked of whom, and keep the connection."""

    def __init__(self, haproxy_changes):
        self.asked, self.kept = [], []
        run("ip", "link", "set", "lo", "up")
        for address in [FRONT, *NODES.values()]:
            run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for name, address in NODES.items():
            for port in (8080, 8081, 8554):
                listener = socket.create_server((address, port), backlog=256)
                threading.Thread(target=self.serve, args=(name, port, listener), daemon=True).start()
        threading.Thread(target=serve_dns, daemon=True).start()
        self.folder = Path(tempfile.mkdtemp())
        self.haproxy([*haproxy_changes, ("bind :", f"bind {FRONT}:")])
        eventually("HAProxy sees the nodes", self.sees_all)

    def serve(self, name, port, listener):
        while True:
            connection = listener.accept()[0]
            path = connection.recv(4096).decode().split(" ")[1:2]
            if port == 8080 and path:
                self.asked.append((path[0].split("/")[3], name))
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
                self.kept.append(connection)
            else:
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                connection.close()


def balance(_camshaft, _folder, factor="none"):
    """How even HAProxy spreads cameras with two viewers each, and how many of them it sends to two nodes."""
    hashing = "    hash-type consistent sdbm avalanche\n"
    changes = [(hashing, f"{hashing}    hash-balance-factor {factor}\n")] if factor != "none" else []
    cluster = Listeners(changes)
    for count in (12, 24, 48):
        cluster.asked.clear()
        clients = []
        for number in range(2 * count):
            client = socket.create_connection((FRONT, 8080))
            client.sendall(f"GET /v1/streams/cam{number % count:02}/live.ts HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.recv(100)
            clients.append(client)
        owners = collections.defaultdict(set)
        for camera, node in cluster.asked:
            owners[camera].add(node)
        decoded = collections.Counter(node for nodes in owners.values() for node in nodes)
        twice = sum(len(nodes) > 1 for nodes in owners.values())
        shares = "/".join(str(decoded[node]) for node in NODES)
        print(f"factor {factor}, {count} cameras: {shares}, max/mean {max(decoded.values()) * 3 / count:.2f}, on two nodes {twice}")
        for held in clients + cluster.kept:
            held.close()
        cluster.kept.clear()
        time.sleep(1)


def main():
    camshaft, case, *more = sys.argv[1:]
    if os.environ.get("NODES_STAGE") != "inside":
        as_who = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *as_who, "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, __file__, *sys.argv[1:]]
        os.environ["NODES_STAGE"] = "inside"
        os.execvp(command[0], command)
    with tempfile.TemporaryDirectory() as folder:
        try:
            {"lost": lost, "refuses": refuses, "balance": balance}[case](camshaft, Path(folder), *more)
        except BaseException as error:
            print(error, file=sys.stderr)
            for log in Path(folder).glob("*.log"):
                print(f"--- {log.name} ---\n{log.read_text()[-1500:]}", file=sys.stderr)
            raise
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
