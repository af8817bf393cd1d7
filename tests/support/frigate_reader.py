"""Runs an ffmpeg command and reads raw pictures from it, in the way Frigate 0.14 to 0.18 does.

Standard output as a buffered pipe of ten pictures, no standard input, a session of its own, standard error drained; one
picture of W*H*3/2 bytes a read; a watchdog that ends the command 20 s after a read began; SIGTERM, 30 s, SIGKILL to stop.

Says on standard output: FRAME number milliseconds-waited | SHORT bytes | WATCHDOG | EXIT code. The pictures go to --frames.
A line on standard input, or its end, stops the command.
"""

import argparse
import subprocess
import sys
import threading
import time

WATCHDOG = 20
PATIENCE = 30


def say(*words):
    print(*words, flush=True)


def drain(pipe):
    for line in pipe:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def stop(process):
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, required=True, help="of a picture")
    parser.add_argument("--frames", required=True, metavar="FILE")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    process = subprocess.Popen(
        args.command[1:],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        bufsize=args.bytes * 10,
        start_new_session=True,
    )
    threading.Thread(target=drain, args=(process.stderr,), daemon=True).start()
    stopping = threading.Event()
    began = [time.monotonic()]

    def listen():
        sys.stdin.readline()
        stopping.set()

    def watch():
        while not stopping.wait(1):
            if time.monotonic() - began[0] > WATCHDOG:
                say("WATCHDOG")
                process.terminate()
                return

    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=watch, daemon=True).start()
    with open(args.frames, "wb") as frames:
        number = 0
        while not stopping.is_set():
            began[0] = time.monotonic()
            picture = process.stdout.read(args.bytes)
            if len(picture) != args.bytes:
                if picture:
                    say("SHORT", len(picture))
                break
            frames.write(picture)
            frames.flush()
            number += 1
            say("FRAME", number, round((time.monotonic() - began[0]) * 1000))
    if stopping.is_set():
        stop(process)
    process.stdout.close()
    say("EXIT", process.wait())


main()
