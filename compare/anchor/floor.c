//go:build ignore

/*
 * floor is the least a WebSocket pub/sub server can do: one thread, one epoll
 * loop, no parsing of what clients send, one send(2) for every delivery and no
 * Redis library. What a server spends is told as a multiple of what this spends.
 *
 *     floor PORT REDIS_PORT
 *
 * It takes any first read for an upgrade with the fixed key
 * dGhlIHNhbXBsZSBub25jZQ==, any second for a subscription to the channel
 * "bench", and ignores the rest.
 */
#define _GNU_SOURCE
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 1 << 20, BUFFER = 1 << 16, EVENTS = 512 };
enum stage { NEW, UPGRADED, SUBSCRIBED };

static struct {
	int stage;
	int place; /* in subscribers */
} connections[MOST];
static int subscribers[MOST], subscribed;

static const char upgrade[] =
	"HTTP/1.1 101 Switching Protocols\r\n"
	"Upgrade: websocket\r\nConnection: Upgrade\r\n"
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char acknowledgement[] = "\x81\x27{\"op\":\"subscribed\",\"channel\":\"bench\"}  ";
static const char subscribe[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nbench\r\n";
static const char message[] = "*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$";

static int epoll;

static void watch(int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		err(1, "epoll_ctl");
}

static struct sockaddr_in local(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

/* persist waits for a client that does not take all at once: what it missed would
 * not have been paid for. It gives up on one that has gone or is stuck. */
static void persist(int fd, const unsigned char *at, size_t length)
{
	while (length) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		if (poll(&p, 1, 5000) <= 0 || p.revents != POLLOUT)
			return;
		ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
		if (n > 0) {
			at += n;
			length -= n;
		}
	}
}

/* deliver sends one payload to every subscriber. */
static void deliver(const char *payload, size_t length)
{
	static unsigned char frame[BUFFER + 4];
	size_t head = 2;
	frame[0] = 0x81;
	if (length < 126) {
		frame[1] = length;
	} else {
		head = 4;
		frame[1] = 126;
		frame[2] = length >> 8;
		frame[3] = length & 255;
	}
	memcpy(frame + head, payload, length);
	for (int i = 0; i < subscribed; i++) {
		ssize_t n = send(subscribers[i], frame, head + length, MSG_NOSIGNAL);
		if (n != (ssize_t)(head + length))
			persist(subscribers[i], frame + (n > 0 ? n : 0), head + length - (n > 0 ? n : 0));
	}
}

/* published takes in what Redis sends and keeps the unfinished rest. */
static void published(int redis)
{
	static char buffer[BUFFER];
	static size_t kept;
	ssize_t n = read(redis, buffer + kept, sizeof buffer - kept);
	if (n <= 0)
		errx(1, "redis has gone");
	char *at = buffer, *end = buffer + kept + n;
	for (;;) {
		char *number = memmem(at, end - at, message, sizeof message - 1);
		if (!number)
			break;
		number += sizeof message - 1;
		char *line = memchr(number, '\n', end - number);
		if (!line)
			break;
		size_t length = strtoul(number, NULL, 10);
		if ((size_t)(end - line) < 1 + length + 2)
			break;
		deliver(line + 1, length);
		at = line + 1 + length + 2;
	}
	kept = end - at;
	memmove(buffer, at, kept);
}

static void received(int fd)
{
	static char ignored[BUFFER];
	if (read(fd, ignored, sizeof ignored) <= 0) {
		if (connections[fd].stage == SUBSCRIBED) {
			int last = subscribers[--subscribed];
			subscribers[connections[fd].place] = last;
			connections[last].place = connections[fd].place;
		}
		close(fd);
	} else if (connections[fd].stage == NEW) {
		connections[fd].stage = UPGRADED;
		(void)!send(fd, upgrade, sizeof upgrade - 1, MSG_NOSIGNAL);
	} else if (connections[fd].stage == UPGRADED) {
		connections[fd].stage = SUBSCRIBED;
		connections[fd].place = subscribed;
		subscribers[subscribed++] = fd;
		(void)!send(fd, acknowledgement, sizeof acknowledgement - 1, MSG_NOSIGNAL);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: floor PORT REDIS_PORT");
	struct rlimit files;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), redis = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in here = local(argv[1]), there = local(argv[2]);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (connect(redis, (void *)&there, sizeof there))
		err(1, "connect to redis on port %s", argv[2]);
	if (send(redis, subscribe, sizeof subscribe - 1, 0) != sizeof subscribe - 1)
		err(1, "subscribe");
	if (bind(listener, (void *)&here, sizeof here) || listen(listener, 65535))
		err(1, "listen on port %s", argv[1]);
	if ((epoll = epoll_create1(0)) < 0)
		err(1, "epoll_create1");
	watch(listener);
	watch(redis);
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == redis) {
				published(redis);
			} else if (fd != listener) {
				received(fd);
			} else if ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				if (fd >= MOST)
					errx(1, "descriptor %d is too high", fd);
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				connections[fd].stage = NEW;
				watch(fd);
			}
		}
	}
}
