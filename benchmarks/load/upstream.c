/* A provider for benchmarks: one thread, epoll, canned OpenAI answers over HTTP/1.1 keep-alive.
 *
 *   upstream PORT [CHUNKS] [GAP_US] [CHUNK_BYTES] [dead]
 *
 * A request whose body has `"stream":true` gets CHUNKS server-sent events of about CHUNK_BYTES, GAP_US apart, each in an HTTP
 * chunk and a write of its own; any other gets one JSON answer of about 700 bytes. Words in the body change that, since
 * gateways pass messages on as they are:
 *
 *   bench-burst   400 events as fast as the socket takes them
 *   bench-short   5 events
 *   bench-idle    one event, then the end after 8 s
 *
 * A request `GET /count` is told how many others came since the last such request, and how many of them were asked to fail.
 * Started with `dead` as fifth argument, it fails whatever has one of the words `dead-500`, `dead-503`, `dead-429`,
 * `dead-reset`, `dead-close` or `dead-hang` in its body: by that status, by a reset or closed connection, or by silence.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 20000
#define IN_BYTES (1 << 20)

struct conn {
    char *in;
    size_t in_len;
    int left;          /* chunks of a stream still to come; 0: no stream */
    double due;        /* when the next one is */
    int chunks;        /* of the stream in all */
    int gap_us;
    size_t off;        /* of the chunk being written */
};

static struct conn conns[MAX_FD];
static int streaming[MAX_FD], streams;
static int chunks = 100, gap_us = 12000, chunk_bytes = 200, is_dead;
static long asked, asked_dead;
static char unary[80000], first[80000], middle[80000], last[80000];
static size_t unary_len, first_len, middle_len, last_len;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static size_t http_chunk(char *out, const char *event) {
    return (size_t)sprintf(out, "%zx\r\n%s\r\n", strlen(event), event);
}

static void prepare(void) {
    static char body[70000], pad[66000], event[70000];
    memset(pad, 'x', sizeof pad);
    pad[400] = 0;
    int n = sprintf(body,
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
        "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":100,\"total_tokens\":300}}", pad);
    unary_len = (size_t)sprintf(unary, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", n, body);
    const char *head = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":";
    int room = chunk_bytes - (int)strlen(head) - 50;
    memset(pad, 'x', sizeof pad);
    pad[room > 1 ? room : 1] = 0;
    sprintf(event, "%s{\"content\":\"%s\"},\"finish_reason\":null}]}\n\n", head, pad);
    middle_len = http_chunk(middle, event);
    size_t h = (size_t)sprintf(first, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    memcpy(first + h, middle, middle_len);
    first_len = h + middle_len;
    sprintf(event, "%s{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":%d,\"total_tokens\":300}}\n\ndata: [DONE]\n\n", head, chunks);
    last_len = http_chunk(last, event);
    last_len += (size_t)sprintf(last + last_len, "0\r\n\r\n");
}

static void drop(int fd) {
    if (conns[fd].left) {
        for (int i = 0; i < streams; i++)
            if (streaming[i] == fd) { streaming[i] = streaming[--streams]; break; }
    }
    free(conns[fd].in);
    memset(&conns[fd], 0, sizeof conns[fd]);
    close(fd);
}

/* Write all or nothing more for now: returns 0 when the socket is full, -1 when it is gone. */
static int push(int fd, const char *data, size_t len) {
    struct conn *c = &conns[fd];
    while (c->off < len) {
        ssize_t n = write(fd, data + c->off, len - c->off);
        if (n < 0) return errno == EAGAIN ? 0 : -1;
        c->off += (size_t)n;
    }
    c->off = 0;
    return 1;
}

static int advance(int fd) {
    struct conn *c = &conns[fd];
    const char *data = c->left == c->chunks ? first : c->left == 1 ? last : middle;
    size_t len = c->left == c->chunks ? first_len : c->left == 1 ? last_len : middle_len;
    int done = push(fd, data, len);
    if (done < 1) return done;
    c->left--;
    c->due += c->gap_us / 1e6;
    if (!c->left)
        for (int i = 0; i < streams; i++)
            if (streaming[i] == fd) { streaming[i] = streaming[--streams]; break; }
    return 1;
}

/* Fail as the body asks for; returns 0 when it does not ask, -1 when the connection is gone. */
static int fail(int fd, const char *body) {
    const char *word = is_dead ? strstr(body, "dead-") : NULL;
    if (!word) return 0;
    asked_dead++;
    word += 5;
    if (!strncmp(word, "hang", 4)) return 1;
    if (!strncmp(word, "close", 5) || !strncmp(word, "reset", 5)) {
        struct linger at_once = {1, 0};
        if (*word == 'r') setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        drop(fd);
        return -1;
    }
    char answer[300];
    const char *said = "{\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"code\":\"no\"}}";
    int n = sprintf(answer, "HTTP/1.1 %.3s Dead\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", word, strlen(said), said);
    if (push(fd, answer, (size_t)n) < 0) { drop(fd); return -1; }
    return 1;
}

static int count(int fd) {
    char answer[200], body[80];
    int n = sprintf(body, "{\"asked\":%ld,\"asked_dead\":%ld}", asked, asked_dead);
    asked = asked_dead = 0;
    n = sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", n, body);
    return push(fd, answer, (size_t)n);
}

static void take(int fd) {
    struct conn *c = &conns[fd];
    for (;;) {
        char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        if (!end) return;
        size_t head = (size_t)(end - c->in) + 4, length = 0;
        *end = 0;
        char *cl = strcasestr(c->in, "content-length:");
        if (cl) length = strtoul(cl + 15, NULL, 10);
        *end = '\r';
        if (c->in_len < head + length) return;
        char saved = c->in[head + length];
        c->in[head + length] = 0;
        const char *body = c->in + head;
        int stream = strstr(body, "\"stream\":true") != NULL || strstr(body, "\"stream\": true") != NULL;
        const char *word = strstr(body, "bench-");
        int is_burst = word && !strncmp(word, "bench-burst", 11), is_idle = word && !strncmp(word, "bench-idle", 10);
        int is_short = word && !strncmp(word, "bench-short", 11), is_count = !strncmp(c->in, "GET /count", 10);
        if (!is_count) asked++;
        int failed = is_count ? (count(fd) < 0 ? -1 : 1) : fail(fd, body);
        if (failed < 0) return;
        c->in[head + length] = saved;
        memmove(c->in, c->in + head + length, c->in_len - head - length);
        c->in_len -= head + length;
        if (failed) continue;
        if (stream) {
            c->chunks = c->left = is_burst ? 400 : is_short ? 5 : is_idle ? 2 : chunks;
            c->gap_us = is_burst ? 0 : is_idle ? 8000000 : gap_us;
            c->due = now();
            streaming[streams++] = fd;
            return;
        }
        if (push(fd, unary, unary_len) < 0) { drop(fd); return; }
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    if (argc > 2) chunks = atoi(argv[2]);
    if (argc > 3) gap_us = atoi(argv[3]);
    if (argc > 4) chunk_bytes = atoi(argv[4]);
    is_dead = argc > 5 && !strcmp(argv[5], "dead");
    prepare();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, ep = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) { perror("bind"); return 1; }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    int is_stuck = 0;  /* the last round wrote nothing: every socket that has something due is full */
    for (;;) {
        int wait = -1;
        if (streams) {
            double soonest = 1e18, at = now();
            for (int i = 0; i < streams; i++)
                if (conns[streaming[i]].due < soonest) soonest = conns[streaming[i]].due;
            wait = soonest > at ? (int)((soonest - at) * 1000) + 1 : is_stuck ? 1 : 0;
        }
        int n = epoll_wait(ep, events, 256, wait);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int new;
                while ((new = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (new >= MAX_FD) { close(new); continue; }
                    setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    conns[new].in = malloc(IN_BYTES + 1);
                    event.events = EPOLLIN;
                    event.data.fd = new;
                    epoll_ctl(ep, EPOLL_CTL_ADD, new, &event);
                }
                continue;
            }
            struct conn *c = &conns[fd];
            if (!c->in) continue;
            ssize_t got = read(fd, c->in + c->in_len, IN_BYTES - c->in_len);
            if (got <= 0) { if (got == 0 || errno != EAGAIN) drop(fd); continue; }
            c->in_len += (size_t)got;
            take(fd);
        }
        double at = now();
        is_stuck = 1;
        for (int i = 0; i < streams;) {
            int fd = streaming[i], before = streams, ok = 1;
            while (conns[fd].left && conns[fd].due <= at && (ok = advance(fd)) == 1) {
                is_stuck = 0;
                if (conns[fd].gap_us) break;
            }
            if (ok < 0) drop(fd);
            if (streams == before) i++;
        }
    }
}
