/*
 * reader SOCKET STREAM QUERY [COUNT]: pictures to standard output, a line on each to standard error.
 *
 *     cc -O2 -o reader reader.c
 *     ./reader /run/camshaft/camshaft.sock yard 'width=640&fps=5' 10 > pictures.yuv
 */
#include "camshaft_shm.h"

#include <inttypes.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    camshaft_shm reader;
    camshaft_shm_frame frame;
    int got = 0;

    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s SOCKET STREAM QUERY [COUNT]\n", argv[0]);
        return 2;
    }
    long left = argc == 5 ? atol(argv[4]) : -1;
    if (camshaft_shm_open(&reader, argv[1], argv[2], argv[3]) < 0) {
        fprintf(stderr, "%s\n", reader.error);
        return 1;
    }
    while (left != 0 && !ferror(stdout) && (got = camshaft_shm_next(&reader, &frame)) == 1) {
        fwrite(frame.data, 1, frame.bytes, stdout);
        fflush(stdout);
        fprintf(stderr, "%" PRIu64 " %" PRIu32 "x%" PRIu32 " %.4s %.6f %.6f %" PRIu64 "\n", frame.sequence, frame.width,
                frame.height, (const char *)&frame.fourcc, (double)frame.pts / 90000, (double)frame.wall / 1e6,
                frame.dropped);
        camshaft_shm_release(&reader, &frame);
        left--;
    }
    if (got < 0)
        fprintf(stderr, "%s\n", reader.error);
    else if (got == 0 && left != 0)
        fprintf(stderr, "ended: reason %" PRIu32 "\n", reader.end_reason);
    camshaft_shm_close(&reader);
    return got < 0 || ferror(stdout);
}
