/*
 * Raw pictures from camshaft through shared memory. One header for C99 and C++11 on Linux; docs/shm.md has the protocol.
 *
 *     camshaft_shm reader;
 *     camshaft_shm_frame frame;
 *     if (camshaft_shm_open(&reader, "/run/camshaft/camshaft.sock", "yard", "width=640&fps=5&format=nv12") < 0)
 *         fail(reader.error);
 *     while (camshaft_shm_next(&reader, &frame) == 1) {
 *         detect(frame.data, frame.width, frame.height, frame.stride);
 *         camshaft_shm_release(&reader, &frame);
 *     }
 *     camshaft_shm_close(&reader);
 *
 * A reader is one thread's. frame.data is read-only memory, valid until the frame is released or the reader closed. As many
 * frames may be held as there are slots ("&slots=", 3 by default); the newest picture is given, and what was lost is counted.
 */
#ifndef CAMSHAFT_SHM_H
#define CAMSHAFT_SHM_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* What comes from camshaft: 64 bytes, in the machine's byte order. */
typedef struct {
    uint32_t kind; /* 1 config, 2 frame, 3 end */
    uint32_t generation;
    union {
        struct {
            uint32_t slots, fourcc, width, height, stride, fps_num, fps_den, version;
            uint64_t slot_bytes, frame_bytes;
        } config;
        struct {
            uint32_t slot, stride;
            uint64_t sequence;
            int64_t pts, wall;
            uint64_t dropped, bytes;
        } frame;
        struct {
            uint32_t reason;
        } end;
        uint8_t bytes[56];
    } as;
} camshaft_shm_message;

/* What goes to it: 16 bytes. */
typedef struct {
    uint32_t kind; /* 1 next, 2 release */
    uint32_t generation, slot, zero;
} camshaft_shm_request;

/* Memory that frames lie in; unmapped once a newer one has come and its frames are released. */
typedef struct {
    uint32_t generation, held;
    uint8_t *map;
    size_t bytes;
    camshaft_shm_message config;
} camshaft_shm_memory;

#define CAMSHAFT_SHM_MEMORIES 4 /* changes of the picture's size that frames may be held across */

typedef struct {
    int socket;
    camshaft_shm_memory memories[CAMSHAFT_SHM_MEMORIES];
    unsigned newest;
    uint32_t end_reason; /* once camshaft has ended it: 1 ended, 2 shutdown, 3 stalled, 4 violation, 5 limit, 6 failed */
    char error[512];
} camshaft_shm;

typedef struct {
    const uint8_t *data;
    size_t bytes;
    uint32_t width, height, stride;
    uint32_t fourcc;      /* V4L2's: YU12 (i420), NV12, GREY, RGB3, BGR3 */
    uint64_t sequence;    /* pictures made since the reader came, from 0 */
    uint64_t dropped;     /* lost since the frame before */
    int64_t pts;          /* 1/90000 s on the stream's timeline */
    int64_t wall;         /* microseconds since 1970 */
    uint32_t memory, generation, slot;
} camshaft_shm_frame;

static inline int camshaft_shm_fail(camshaft_shm *reader, const char *what)
{
    snprintf(reader->error, sizeof reader->error, "%s: %s", what, strerror(errno));
    return -1;
}

static inline void camshaft_shm_close(camshaft_shm *reader)
{
    for (unsigned i = 0; i < CAMSHAFT_SHM_MEMORIES; i++)
        if (reader->memories[i].map)
            munmap(reader->memories[i].map, reader->memories[i].bytes);
    if (reader->socket >= 0)
        close(reader->socket);
    memset(reader->memories, 0, sizeof reader->memories);
    reader->socket = -1;
}

static inline int camshaft_shm_write(camshaft_shm *reader, const void *data, size_t bytes)
{
    for (const char *at = (const char *)data; bytes > 0;) {
        ssize_t count = send(reader->socket, at, bytes, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return camshaft_shm_fail(reader, "cannot write to camshaft");
        at += count;
        bytes -= (size_t)count;
    }
    return 0;
}

static inline int camshaft_shm_connect(camshaft_shm *reader, const char *path)
{
    struct sockaddr_un address;
    struct timeval patience = {15, 0};

    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return camshaft_shm_fail(reader, path);
    }
    memcpy(address.sun_path, path, strlen(path));
    reader->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (reader->socket < 0)
        return camshaft_shm_fail(reader, "socket");
    setsockopt(reader->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(reader->socket, (struct sockaddr *)&address, sizeof address) < 0)
        return camshaft_shm_fail(reader, path);
    return 0;
}

static inline int camshaft_shm_upgrade(camshaft_shm *reader, const char *stream, const char *query)
{
    char head[1024], answer[4096];
    size_t have = 0;
    int length = snprintf(head, sizeof head,
                          "GET /v1/streams/%s/live.shm?%s HTTP/1.1\r\nHost: localhost\r\n"
                          "Connection: Upgrade, close\r\nUpgrade: camshaft-shm/1\r\n\r\n",
                          stream, query);

    if (length < 0 || (size_t)length >= sizeof head) {
        errno = EMSGSIZE;
        return camshaft_shm_fail(reader, "the query");
    }
    if (camshaft_shm_write(reader, head, (size_t)length) < 0)
        return -1;
    /* camshaft says nothing behind the head of an upgrade before the reader has spoken; a refusal goes on to the end. */
    for (;;) {
        ssize_t count = recv(reader->socket, answer + have, sizeof answer - 1 - have, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return camshaft_shm_fail(reader, "no answer from camshaft");
        have += (size_t)count;
        answer[have] = 0;
        if (strncmp(answer, "HTTP/1.1 101 ", 13) == 0 && strstr(answer, "\r\n\r\n"))
            return 0;
        if (count == 0)
            break;
    }
    const char *body = strstr(answer, "\r\n\r\n");
    snprintf(reader->error, sizeof reader->error, "camshaft says no: %.400s", body ? body + 4 : answer);
    return -1;
}

/*
 * Connects, and waits for the stream's first picture. query: the parameters of live.raw, and slots. 0, or -1 with
 * reader->error.
 */
static inline int camshaft_shm_open(camshaft_shm *reader, const char *path, const char *stream, const char *query)
{
    memset(reader, 0, sizeof *reader);
    reader->socket = -1;
    if (camshaft_shm_connect(reader, path) == 0 && camshaft_shm_upgrade(reader, stream, query) == 0)
        return 0;
    camshaft_shm_close(reader);
    return -1;
}

/* Reads one message, and the descriptor that comes with it, else -1. */
static inline int camshaft_shm_receive(camshaft_shm *reader, camshaft_shm_message *message, int *descriptor)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;

    *descriptor = -1;
    for (size_t have = 0; have < sizeof *message;) {
        struct iovec into = {(char *)message + have, sizeof *message - have};
        struct msghdr header;

        memset(&header, 0, sizeof header);
        header.msg_iov = &into;
        header.msg_iovlen = 1;
        header.msg_control = control.space;
        header.msg_controllen = sizeof control.space;
        ssize_t count = recvmsg(reader->socket, &header, MSG_CMSG_CLOEXEC);
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            errno = ECONNRESET;
        if (count <= 0)
            return camshaft_shm_fail(reader, "no message from camshaft");
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            memcpy(descriptor, CMSG_DATA(part), sizeof *descriptor);
        have += (size_t)count;
    }
    return 0;
}

/* Maps the memory that a config message announces, in place of one that no frame is held of. */
static inline int camshaft_shm_map(camshaft_shm *reader, const camshaft_shm_message *config, int descriptor)
{
    for (unsigned i = 0; i < CAMSHAFT_SHM_MEMORIES; i++) {
        camshaft_shm_memory *memory = &reader->memories[i];
        if (memory->map && memory->held == 0) {
            munmap(memory->map, memory->bytes);
            memory->map = NULL;
        }
        if (memory->map)
            continue;
        memory->bytes = config->as.config.slots * config->as.config.slot_bytes;
        memory->map = (uint8_t *)mmap(NULL, memory->bytes, PROT_READ, MAP_SHARED, descriptor, 0);
        if (memory->map == MAP_FAILED) {
            memory->map = NULL;
            return camshaft_shm_fail(reader, "mmap");
        }
        memory->config = *config;
        memory->generation = config->generation;
        reader->newest = i;
        return 0;
    }
    errno = ENOBUFS;
    return camshaft_shm_fail(reader, "frames of too many sizes are held");
}

/* The newest picture: 1, 0 once the stream has ended (reader->end_reason), or -1 with reader->error. */
static inline int camshaft_shm_next(camshaft_shm *reader, camshaft_shm_frame *frame)
{
    const camshaft_shm_request next = {1, 0, 0, 0};
    camshaft_shm_message message;
    int descriptor;

    /* Why it ended may still be to be read. */
    (void)camshaft_shm_write(reader, &next, sizeof next);
    for (;;) {
        if (camshaft_shm_receive(reader, &message, &descriptor) < 0)
            return -1;
        camshaft_shm_memory *memory = &reader->memories[reader->newest];
        if (message.kind == 1 && descriptor >= 0) {
            int mapped = camshaft_shm_map(reader, &message, descriptor);
            close(descriptor);
            if (mapped < 0)
                return -1;
        } else if (message.kind == 2 && memory->map && message.generation == memory->generation) {
            memory->held++;
            frame->data = memory->map + message.as.frame.slot * memory->config.as.config.slot_bytes;
            frame->bytes = message.as.frame.bytes;
            frame->width = memory->config.as.config.width;
            frame->height = memory->config.as.config.height;
            frame->stride = message.as.frame.stride;
            frame->fourcc = memory->config.as.config.fourcc;
            frame->sequence = message.as.frame.sequence;
            frame->dropped = message.as.frame.dropped;
            frame->pts = message.as.frame.pts;
            frame->wall = message.as.frame.wall;
            frame->memory = reader->newest;
            frame->generation = message.generation;
            frame->slot = message.as.frame.slot;
            return 1;
        } else if (message.kind == 3) {
            reader->end_reason = message.as.end.reason;
            return 0;
        } else {
            errno = EPROTO;
            return camshaft_shm_fail(reader, "camshaft");
        }
    }
}

/* Gives a frame's slot back. 0, or -1 with reader->error. */
static inline int camshaft_shm_release(camshaft_shm *reader, camshaft_shm_frame *frame)
{
    const camshaft_shm_request release = {2, frame->generation, frame->slot, 0};

    if (!frame->data)
        return 0;
    frame->data = NULL;
    reader->memories[frame->memory].held--;
    return camshaft_shm_write(reader, &release, sizeof release);
}

#endif
