#!/usr/bin/python3
"""A camera for tests: gst-rtsp-server that replays a clip's access units unchanged, in real time.

Prints `READY <port>` once it serves rtsp://127.0.0.1:<port>/cam; ends on SIGTERM and when its standard input closes.
Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base -good -bad, glib-networking for TLS.
"""

import argparse
import os
import signal
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

AUDIO_TEST_SIGNAL = "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=8000,channels=1"
AUDIO = {
    "none": "",
    "aac": "appsrc name=audio format=time block=true max-bytes=20000 ! valve name=valve ! rtpmp4gpay name=pay1 pt=97",
    "pcmu": AUDIO_TEST_SIGNAL + " ! valve name=valve ! mulawenc ! rtppcmupay name=pay1 pt=0",
    "opus": "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000,channels=2 ! valve name=valve ! opusenc ! rtpopuspay name=pay1 pt=98",
    "pcma": AUDIO_TEST_SIGNAL + " ! valve name=valve ! alawenc ! rtppcmapay name=pay1 pt=8",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", default="0", help="0: any free one")
    parser.add_argument("--file", required=True, help=".mp4 with the codec, or a raw .h264/.h265 without B frames")
    parser.add_argument("--then", metavar="FILE", help="a clip of the same codec that follows --file in the same session")
    parser.add_argument("--codec", choices=["h264", "h265", "jpeg", "mpeg4"], default="h264")
    parser.add_argument("--fps", type=int, default=25, help="of a raw file")
    parser.add_argument("--loop", choices=["yes", "no"], default="yes")
    parser.add_argument("--live", type=int, metavar="FPS", help="all that serve clips of a length show the same number at a time")
    parser.add_argument("--audio", choices=AUDIO, default="none", help="aac: the clip's own")
    parser.add_argument("--audio-gaps", type=int, metavar="MS", help="its sound stops and comes back, each for so long")
    parser.add_argument("--transport", choices=["tcp", "udp", "both", "multicast"], default="both")
    parser.add_argument("--group", default="239.255.42.1:5000-5003", help="where multicast goes")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="speaks rtsps:")
    parser.add_argument("--auth", choices=["none", "basic", "digest"], default="none")
    parser.add_argument("--user", default=os.environ.get("CAMERA_USER", "viewer"))
    parser.add_argument("--password", default=os.environ.get("CAMERA_PASSWORD", "secret"))
    sets = parser.add_mutually_exclusive_group()
    sets.add_argument("--sdp-only", action="store_true", help="parameter sets in the SDP, none in band")
    sets.add_argument("--in-band-only", action="store_true", help="parameter sets in band, none in the SDP")
    parser.add_argument("--shared", action="store_true", help="all clients see one playback, else each its own")
    return parser.parse_args()


def collect(description):
    """Runs a pipeline; returns the caps and (time, duration, bytes) of each sample that the clip's edit list shows."""
    pipeline = Gst.parse_launch(description + " ! appsink name=sink sync=false")
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    caps, samples = None, []
    while sample := sink.emit("pull-sample"):
        buffer = sample.get_buffer()
        caps = sample.get_caps()
        time = sample.get_segment().to_running_time(Gst.Format.TIME, buffer.pts)
        if time != Gst.CLOCK_TIME_NONE:
            samples.append((time, buffer.duration, buffer.extract_dup(0, buffer.get_size())))
    pipeline.set_state(Gst.State.NULL)
    if not samples:
        raise SystemExit(f"nothing comes out of: {description}")
    return caps, samples


def load_video(args):
    """Caps and access units of --file, and of --then behind them; parameter sets in band unless --sdp-only."""
    caps, video = load_clip(args, args.file)
    if args.then:
        end = max(pts + length for pts, length, _ in video)
        video += [(end + pts, length, data) for pts, length, data in load_clip(args, args.then)[1]]
    return caps, video


def load_clip(args, file):
    caps, samples, sets = parse_clip(args, file)
    if args.sdp_only or not sets:
        return caps, samples
    return caps, [(pts, length, (sets if has_key(args.codec, data) else b"") + data) for pts, length, data in samples]


def parse_clip(args, file):
    """Caps, access units with 4-byte lengths, and the parameter sets likewise."""
    if file.endswith(".mp4"):
        source = f"filesrc location={file} ! qtdemux name=demux demux.video_0"
        caps, samples = collect(source)
        if args.codec in ("jpeg", "mpeg4"):
            return caps, samples, b""
    else:
        kind = "video/x-h264,stream-format=avc" if args.codec == "h264" else "video/x-h265,stream-format=hvc1"
        caps, samples = collect(f"filesrc location={file} ! {args.codec}parse ! {kind},alignment=au")
        tick = Gst.SECOND // args.fps
        samples = [(index * tick, tick, data) for index, (_, _, data) in enumerate(samples)]
    _, record = caps.get_structure(0).get_value("codec_data").map(Gst.MapFlags.READ)
    sets = (avc_sets if args.codec == "h264" else hevc_sets)(bytes(record.data))
    return caps, samples, sets


def avc_sets(record):
    """The parameter sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1)."""
    sets, at = b"", 5
    for mask in (0x1F, 0xFF):
        count, at = record[at] & mask, at + 1
        for _ in range(count):
            unit, at = take_unit(record, at)
            sets += unit
    return sets


def hevc_sets(record):
    """The parameter sets of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1); x265's SEI is left out."""
    sets, at = b"", 23
    for _ in range(record[22]):
        kind, count, at = record[at] & 0x3F, int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            unit, at = take_unit(record, at)
            sets += unit if kind in (32, 33, 34) else b""
    return sets


def take_unit(record, at):
    size = int.from_bytes(record[at : at + 2], "big")
    return size.to_bytes(4, "big") + record[at + 2 : at + 2 + size], at + 2 + size


def is_key(codec, unit_header):
    return unit_header & 0x1F == 5 if codec == "h264" else 16 <= (unit_header >> 1) & 0x3F <= 23


def has_key(codec, access_unit):
    at = 0
    while at + 4 < len(access_unit):
        if is_key(codec, access_unit[at + 4]):
            return True
        at += 4 + int.from_bytes(access_unit[at : at + 4], "big")
    return False


class Live(threading.Thread):
    """Plays a clip by the time of day: its sources are pushed each access unit when that is due."""

    def __init__(self, codec, samples, fps):
        super().__init__(daemon=True)
        self.codec, self.samples, self.fps = codec, samples, fps
        self.sources, self.lock = {}, threading.Lock()
        self.start()

    def add(self, source):
        with self.lock:
            self.sources[source] = False

    def run(self):
        number = int(time.time() * self.fps)
        while True:
            number += 1
            time.sleep(max(number / self.fps - time.time(), 0))
            _, _, data = self.samples[number % len(self.samples)]
            is_key = has_key(self.codec, data)
            with self.lock:
                for source, started in self.sources.items():
                    if started or is_key:
                        self.sources[source] = True
                        source.emit("push-buffer", Gst.Buffer.new_wrapped(data))


class Camera(GstRtspServer.RTSPMediaFactory):
    def __init__(self, args):
        super().__init__()
        self.looped = args.loop == "yes"
        self.audio_gaps = args.audio_gaps
        caps, video = load_video(args)
        self.tracks = {"video": (caps, video)}
        if args.audio == "aac":
            self.tracks["audio"] = collect(f"filesrc location={args.file} ! qtdemux name=demux demux.audio_0 ! aacparse")
        self.length = max(pts + length for pts, length, _ in video)
        payloaders = {"jpeg": "rtpjpegpay pt=26", "mpeg4": "rtpmp4vpay pt=96"}
        payloader = payloaders.get(args.codec, f"rtp{args.codec}pay config-interval=0 pt=96")
        if args.in_band_only:
            rtp = f"application/x-rtp,media=video,clock-rate=90000,payload=96,encoding-name={args.codec.upper()}"
            payloader += f' ! capssetter name=pay0 replace=true join=false caps="{rtp}"'
        else:
            payloader += " name=pay0"
        source = "appsrc name=video format=time " + ("is-live=true do-timestamp=true" if args.live else "block=true max-bytes=2000000")
        self.live = Live(args.codec, video, args.live) if args.live else None
        self.set_launch(f"( {source} ! {payloader} {AUDIO[args.audio]} )")
        self.set_shared(args.shared)
        lower = GstRtsp.RTSPLowerTrans
        protocols = {"tcp": lower.TCP, "udp": lower.UDP, "both": lower.TCP | lower.UDP, "multicast": lower.UDP_MCAST}
        self.set_protocols(protocols[args.transport])
        if args.transport == "multicast":
            address, ports = args.group.split(":")
            first, last = map(int, ports.split("-"))
            pool = GstRtspServer.RTSPAddressPool()
            pool.add_range(address, address, first, last, 1)
            self.set_address_pool(pool)

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        for name, (caps, samples) in self.tracks.items():
            source = media.get_element().get_by_name(name)
            source.set_property("caps", caps)
            if self.live:
                self.live.add(source)
            else:
                source.connect("need-data", self.feed, self.replay(samples))
        if self.audio_gaps:
            GLib.timeout_add(self.audio_gaps, self.turn, media.get_element().get_by_name("valve"))

    @staticmethod
    def turn(valve):
        valve.set_property("drop", not valve.get_property("drop"))
        return True

    def replay(self, samples):
        start = 0
        while start == 0 or self.looped:
            for pts, length, data in samples:
                buffer = Gst.Buffer.new_wrapped(data)
                buffer.pts = start + pts
                buffer.duration = length
                yield buffer
            start += self.length

    @staticmethod
    def feed(source, _wanted, buffers):
        if buffer := next(buffers, None):
            source.emit("push-buffer", buffer)
        else:
            source.emit("end-of-stream")


def guard(server, factory, args):
    """Lets in only `args.user`, or everybody by TLS."""
    method = GstRtsp.RTSPAuthMethod.BASIC if args.auth == "basic" else GstRtsp.RTSPAuthMethod.DIGEST
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(method)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if args.tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*args.tls))
    if args.auth == "none":
        auth.set_default_token(token)
    elif args.auth == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    else:
        auth.add_digest(args.user, args.password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", permission, True)
    factory.set_permissions(permissions)


def main():
    args = arguments()
    Gst.init(None)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer(address=args.address, service=args.port)
    factory = Camera(args)
    if args.auth != "none" or args.tls:
        guard(server, factory, args)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, loop.quit)
    GLib.io_add_watch(0, GLib.PRIORITY_HIGH, GLib.IOCondition.IN | GLib.IOCondition.HUP, lambda *_: loop.quit())
    print("READY", server.get_bound_port(), flush=True)
    loop.run()
    os._exit(0)  # streaming threads may wait in appsrc


main()
