// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the Linux guest does besides "work", where it is to be busy: processes that
 * fork and map memory, a disk that is written and read back, and TCP to somebody who
 * sends everything back. All that comes back is compared.
 *
 * usage: load FORKS [DISK [ADDRESS]]
 *
 * DISK: a block device that may be overwritten; ADDRESS: of a host with an echo
 * service on port 7. Without it, a process of the guest's own is that.
 *
 * Prints, for who watches from outside:
 *	guest: load FORKS forks, N KiB on disk, M KiB by TCP
 *	guest: FAILED what
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/fs.h>

#include "guest.h"

#define ECHO_PORT	7
#define CHUNK		(64UL * 1024)
#define FORKS_A_ROUND	20

static uint8_t *sent, *got;

static void fill(uint64_t seed)
{
	uint64_t *words = (uint64_t *)sent;
	size_t i;

	for (i = 0; i < CHUNK / sizeof(*words); i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		words[i] = seed ^ seed >> 29;
	}
	memset(got, 0, CHUNK);
}

static void compare(const char *what)
{
	errno = EIO;
	if (memcmp(sent, got, CHUNK))
		fail(what);
}

/* A child with memory of its own, which it has copied on write. */
static void fork_once(unsigned int nr)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (!pid) {
		uint8_t *mem = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (mem == MAP_FAILED)
			_exit(1);
		memset(mem, nr, CHUNK);
		sent[nr % CHUNK]++;
		_exit(mem[nr % CHUNK] == (uint8_t)nr ? 42 : 2);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 42)
		fail("a child did not end as it should");
}

static void disk_once(int fd, uint64_t nr, uint64_t size)
{
	off_t at = nr % (size / CHUNK) * CHUNK;

	fill(nr);
	if (pwrite(fd, sent, CHUNK, at) != (ssize_t)CHUNK)
		fail("write to the disk");
	if (pread(fd, got, CHUNK, at) != (ssize_t)CHUNK)
		fail("read from the disk");
	compare("what was written to the disk");
}

/* Whatever comes goes back, until the other side has enough. */
static void __attribute__((noreturn)) echo(int listener)
{
	ssize_t n, done, ret;
	int fd = accept(listener, NULL, NULL);

	while ((n = read(fd, got, CHUNK)) > 0) {
		for (done = 0; done < n; done += ret) {
			ret = write(fd, got + done, n - done);
			if (ret <= 0)
				_exit(1);
		}
	}
	_exit(0);
}

static int net_open(const char *address)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(ECHO_PORT),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0), listener;

	if (fd < 0)
		fail("socket");
	if (!inet_aton(address ? address : "127.0.0.1", &sin.sin_addr))
		fail(address);
	if (!address) {
		listener = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) ||
		    listen(listener, 1))
			fail("listen");
		if (!fork())
			echo(listener);
		close(listener);
	}
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)))
		fail("connect");
	return fd;
}

static void net_once(int fd, uint64_t nr)
{
	size_t out = 0, in = 0;
	ssize_t ret;

	fill(~nr);
	/* No more than anybody's buffers hold, or both sides wait for each other. */
	while (in < CHUNK) {
		if (out < CHUNK && out - in < CHUNK / 4) {
			ret = write(fd, sent + out, CHUNK / 8);
			if (ret <= 0)
				fail("send");
			out += ret;
			continue;
		}
		ret = read(fd, got + in, CHUNK - in);
		if (ret <= 0)
			fail("receive");
		in += ret;
	}
	compare("what was sent");
}

int main(int argc, char **argv)
{
	unsigned long forks, nr, rounds = 0, disk_kib = 0, net_kib = 0;
	uint64_t size = 0;
	int disk = -1, net;

	if (argc < 2 || argc > 4)
		return 2;
	forks = strtoul(argv[1], NULL, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sent = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (sent == MAP_FAILED)
		fail("mmap");
	got = sent + CHUNK;
	if (argc > 2) {
		/* Past the page cache, or nothing would ever be read. */
		disk = open(argv[2], O_RDWR | O_DIRECT);
		if (disk < 0 || ioctl(disk, BLKGETSIZE64, &size))
			fail(argv[2]);
	}
	net = net_open(argc > 3 ? argv[3] : NULL);

	for (nr = 0; nr < forks; nr++) {
		fork_once(nr);
		if (nr % FORKS_A_ROUND)
			continue;
		if (disk >= 0) {
			disk_once(disk, rounds, size);
			disk_kib += CHUNK / 1024;
		}
		net_once(net, rounds++);
		net_kib += CHUNK / 1024;
	}
	printf("guest: load %lu forks, %lu KiB on disk, %lu KiB by TCP\n", nr,
	       disk_kib, net_kib);
	return 0;
}
