/*
 * checksums: the checksums of files, computed on all processors.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: checksums FILE...
 *
 * Each file is an item of a thread pool that has a thread per processor.  The
 * threads read and compute, and the loop of the main thread prints each result
 * as it comes: nothing is shared, so there is no lock.  The output is that of
 * cksum(1), in order of completion.  To try it:
 *
 *	cc checksums.c $(pkg-config --cflags --libs ivykis) -o checksums
 *	./checksums *.c
 */

#include <errno.h>
#include <fcntl.h>
#include <iv.h>
#include <iv_work.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK		65536
#define POLYNOMIAL	0x04c11db7

struct file {
	struct iv_work_item	item;
	const char		*name;

	/* Owned by the thread until the completion handler is called. */
	uint32_t		crc;
	unsigned long long	bytes;
	int			error;		/* errno, or 0 */
};

static struct iv_work_pool pool;
static uint32_t table[256];
static int files_left;
static int failed;

/* The remainder of a byte that is followed by 32 zero bits. */
static uint32_t remainder_of(uint32_t byte)
{
	uint32_t crc = byte << 24;
	int i;

	for (i = 0; i < 8; i++)
		crc = crc & 0x80000000 ? crc << 1 ^ POLYNOMIAL : crc << 1;

	return crc;
}

static void fill_table(void)
{
	int i;

	for (i = 0; i < 256; i++)
		table[i] = remainder_of(i);
}

static void add_byte(struct file *f, unsigned char byte)
{
	f->crc = f->crc << 8 ^ table[f->crc >> 24 ^ byte];
}

/* Returns 1 if there was something to read, 0 at the end, -1 with errno set. */
static int add_block(struct file *f, int fd)
{
	unsigned char block[BLOCK];
	ssize_t len;
	ssize_t i;

	do {
		len = read(fd, block, sizeof(block));
	} while (len < 0 && errno == EINTR);
	if (len <= 0)
		return len;

	for (i = 0; i < len; i++)
		add_byte(f, block[i]);
	f->bytes += len;

	return 1;
}

/* The sum covers the length, as zeroes at the front would not change it. */
static void add_length(struct file *f)
{
	unsigned long long left;

	for (left = f->bytes; left != 0; left >>= 8)
		add_byte(f, left & 0xff);
	f->crc = ~f->crc;
}

/* In a thread of the pool. */
static void sum_up(void *_f)
{
	struct file *f = _f;
	int fd = open(f->name, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0) {
		f->error = errno;
		return;
	}

	while ((ret = add_block(f, fd)) > 0)
		;
	if (ret < 0)
		f->error = errno;
	add_length(f);
	close(fd);
}

/* In the main thread's loop. */
static void print(void *_f)
{
	struct file *f = _f;

	if (f->error) {
		fprintf(stderr, "checksums: %s: %s\n", f->name,
			strerror(f->error));
		failed = 1;
	} else {
		printf("%lu %llu %s\n", (unsigned long)f->crc, f->bytes,
		       f->name);
	}

	/* Without a pool the loop has nothing left, and iv_main() returns. */
	if (--files_left == 0)
		iv_work_pool_put(&pool);
}

static void submit(struct file *f, const char *name)
{
	f->name = name;
	IV_WORK_ITEM_INIT(&f->item);
	f->item.cookie = f;
	f->item.work = sum_up;
	f->item.completion = print;
	iv_work_pool_submit_work(&pool, &f->item);
}

int main(int argc, char **argv)
{
	struct file *files;
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: checksums FILE...\n");
		return 1;
	}

	files_left = argc - 1;
	files = calloc(files_left, sizeof(*files));
	if (files == NULL) {
		perror("checksums");
		return 1;
	}
	fill_table();

	iv_init();
	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = sysconf(_SC_NPROCESSORS_ONLN);
	if (iv_work_pool_create(&pool) < 0) {
		perror("checksums: iv_work_pool_create");
		free(files);
		return 1;
	}
	for (i = 0; i < argc - 1; i++)
		submit(&files[i], argv[i + 1]);

	iv_main();
	iv_deinit();
	free(files);

	return failed;
}
