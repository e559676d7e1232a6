/* A load generator for benchmarks: one thread, epoll, HTTP/1.1 keep-alive, closed or open loop.
 *
 *   load PORT CONNECTIONS SECONDS RATE BODY_FILE [MAX_REQUESTS] [PATH] [HEADER]
 *
 * RATE 0: closed loop, every connection asks again at once. RATE > 0: open loop, requests start on a fixed schedule and
 * their latency counts from the scheduled instant. Prints one JSON object: answered requests, those that were not 200,
 * broken connections, events (`data:` lines), and in milliseconds the median, 90th and 99th percentile of the latency and of
 * the time to the first byte of the body.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 17)
#define MAX_SAMPLES 4000000

struct conn {
    int fd, busy;
    char head[16384];
    size_t head_len;
    int in_body, ok, chunked;
    long long left;            /* of content-length, or -1 */
    char tail[8];              /* last bytes of a chunked body, to see its end */
    int events_seen;
    double asked, first;
    size_t sent;
};

static struct conn *conns;
static int ep, count, port;
static char *request;
static size_t request_len;
static float *latency, *to_first;
static long samples, failed, broken, events, asked_total, max_requests;
static double stop_at;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void open_conn(struct conn *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) { perror("connect"); exit(1); }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &event);
    c->busy = 0;
}

static void reset(struct conn *c) {
    close(c->fd);
    open_conn(c);
}

static void ask(struct conn *c, double when) {
    c->busy = 1;
    c->asked = when;
    c->first = 0;
    c->head_len = 0;
    c->in_body = c->ok = c->chunked = 0;
    c->left = -1;
    memset(c->tail, 0, sizeof c->tail);
    asked_total++;
    size_t off = 0;
    while (off < request_len) {
        ssize_t n = write(c->fd, request + off, request_len - off);
        if (n <= 0) { broken++; reset(c); return; }
        off += (size_t)n;
    }
}

static void finish(struct conn *c) {
    double at = now();
    c->busy = 0;
    if (!c->ok) failed++;
    if (samples < MAX_SAMPLES) {
        latency[samples] = (float)((at - c->asked) * 1e3);
        to_first[samples] = (float)((c->first - c->asked) * 1e3);
        samples++;
    }
}

static void body(struct conn *c, const char *data, size_t len) {
    if (!len) return;
    if (!c->first) c->first = now();
    for (const char *p = data; (p = memmem(p, len - (size_t)(p - data), "data:", 5)); p += 5) events++;
    if (c->chunked) {
        char joined[16];
        size_t keep = len < 7 ? 7 - len : 0;
        memcpy(joined, c->tail + 7 - keep, keep);
        memcpy(joined + keep, data + (len > 7 ? len - 7 : 0), len > 7 ? 7 : len);
        memcpy(c->tail, joined, 7);
        if (!memcmp(joined + 2, "0\r\n\r\n", 5) && (joined[1] == '\n' || joined[1] == 0)) finish(c);
    } else if (c->left >= 0) {
        c->left -= (long long)len;
        if (c->left <= 0) finish(c);
    }
}

static void take(struct conn *c, const char *data, size_t len) {
    if (c->in_body) { body(c, data, len); return; }
    size_t room = sizeof c->head - 1 - c->head_len, part = len < room ? len : room;
    memcpy(c->head + c->head_len, data, part);
    c->head_len += part;
    c->head[c->head_len] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return;
    size_t head = (size_t)(end - c->head) + 4, in_data = head - (c->head_len - part);
    *end = 0;
    c->ok = !strncmp(c->head, "HTTP/1.1 200", 12);
    c->chunked = strcasestr(c->head, "transfer-encoding: chunked") != NULL;
    char *cl = strcasestr(c->head, "content-length:");
    c->left = cl ? atoll(cl + 15) : -1;
    c->in_body = 1;
    if (!c->chunked && c->left == 0) { c->first = now(); finish(c); return; }
    body(c, data + in_data, len - in_data);
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double at_share(float *sorted, double share) {
    return samples ? sorted[(long)(share * (double)(samples - 1))] : 0;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    port = atoi(argv[1]);
    count = atoi(argv[2]);
    double seconds = atof(argv[3]), rate = atof(argv[4]);
    max_requests = argc > 6 ? atol(argv[6]) : 0;
    const char *path = argc > 7 ? argv[7] : "/v1/chat/completions";
    const char *extra = argc > 8 ? argv[8] : "";
    FILE *file = fopen(argv[5], "rb");
    if (!file) { perror(argv[5]); return 1; }
    char *content = malloc(1 << 20);
    size_t length = fread(content, 1, 1 << 20, file);
    request = malloc(length + 4096 + strlen(extra));
    request_len = (size_t)sprintf(request,
        "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\ncontent-length: %zu\r\n%s%s\r\n",
        path, port, length, extra, *extra ? "\r\n" : "");
    memcpy(request + request_len, content, length);
    request_len += length;
    latency = malloc(sizeof *latency * MAX_SAMPLES);
    to_first = malloc(sizeof *to_first * MAX_SAMPLES);
    conns = calloc((size_t)count, sizeof *conns);
    ep = epoll_create1(0);
    for (int i = 0; i < count; i++) open_conn(&conns[i]);
    double start = now(), next = start;
    stop_at = start + seconds;
    static char buffer[BUFFER];
    struct epoll_event ready[256];
    for (;;) {
        double at = now();
        int asking = at < stop_at && (!max_requests || asked_total < max_requests), busy = 0;
        for (int i = 0; i < count; i++) {
            struct conn *c = &conns[i];
            if (c->busy) { busy++; continue; }
            if (!asking) continue;
            if (rate > 0) {
                if (next > at) continue;
                ask(c, next);
                next += 1 / rate;
            } else ask(c, now());
            busy++;
            asking = !max_requests || asked_total < max_requests;
        }
        if ((!asking && !busy) || at > stop_at + 30) break;
        if (!asking && at >= stop_at && !busy) break;
        int wait = 100;
        if (rate > 0 && asking) wait = next <= at ? (busy == count ? 100 : 0) : (int)((next - at) * 1e3);
        int n = epoll_wait(ep, ready, 256, wait);
        for (int i = 0; i < n; i++) {
            struct conn *c = ready[i].data.ptr;
            ssize_t got = read(c->fd, buffer, BUFFER);
            if (got <= 0) {
                if (c->busy && c->in_body && !c->chunked && c->left < 0) { finish(c); }
                else if (c->busy) broken++;
                reset(c);
                continue;
            }
            if (c->busy) take(c, buffer, (size_t)got);
        }
    }
    double took = now() - start;
    qsort(latency, (size_t)samples, sizeof *latency, by_value);
    qsort(to_first, (size_t)samples, sizeof *to_first, by_value);
    printf("{\"answered\":%ld,\"failed\":%ld,\"broken\":%ld,\"events\":%ld,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"first_p50_ms\":%.3f,\"first_p99_ms\":%.3f}\n",
           samples, failed, broken, events, took, at_share(latency, .5), at_share(latency, .9), at_share(latency, .99),
           at_share(to_first, .5), at_share(to_first, .99));
}
