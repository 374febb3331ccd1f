// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi stat: how many exits of each reason, and events, by vCPU.
 *
 * It observes, so that others can control the VM meanwhile; the kernel counts, and
 * nothing is told.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

#define MAX_REASONS	512
#define MAX_VCPUS	4096
/* More columns are no table. */
#define MAX_COLUMNS	8

struct row {
	bool event;
	uint32_t number;		/* exit reason, or kind of event */
	uint64_t sum;			/* since the last time, of all vCPUs */
	uint64_t *total, *was;		/* by vCPU */
};

static struct {
	struct kvmi_vm *vm;
	struct kvmi_caps caps;
	bool json;
	uint64_t kinds;
	struct row *rows;
	size_t nr_rows;
	uint32_t nr_vcpus;
} s;

static struct row *find_row(bool event, uint32_t number)
{
	struct row *row;
	size_t i;

	for (i = 0; i < s.nr_rows; i++)
		if (s.rows[i].event == event && s.rows[i].number == number)
			return &s.rows[i];
	s.rows = reallocarray(s.rows, s.nr_rows + 1, sizeof(*s.rows));
	if (!s.rows)
		abort();
	row = &s.rows[s.nr_rows++];
	*row = (struct row) {
		.event = event,
		.number = number,
		.total = calloc(MAX_VCPUS, sizeof(*row->total)),
		.was = calloc(MAX_VCPUS, sizeof(*row->was)),
	};
	if (!row->total || !row->was)
		abort();
	return row;
}

static int read_vcpu(uint32_t v)
{
	static struct kvmi_exit_count counts[MAX_REASONS];
	struct kvmi_stats stats;
	int nr, i, ret;

	nr = kvmi_vm_get_exits(s.vm, v, counts, MAX_REASONS);
	for (i = 0; i < nr && i < MAX_REASONS; i++)
		find_row(false, counts[i].reason)->total[v] = counts[i].count;
	for (i = 0; nr >= 0 && i < KVMI_NR_KINDS; i++) {
		if (!(s.kinds & 1ULL << i))
			continue;
		ret = kvmi_vm_get_stats(s.vm, v, i, &stats);
		if (ret)
			return ret;
		find_row(true, i)->total[v] = stats.out_counted;
	}
	return nr < 0 ? nr : 0;
}

static int by_sum(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->event != y->event)
		return x->event - y->event;
	return x->sum == y->sum ? 0 : x->sum < y->sum ? 1 : -1;
}

/* What there is now, in order. */
static int take(void)
{
	struct kvmi_info info;
	struct row *row;
	uint32_t v;
	int ret;

	ret = kvmi_vm_get_info(s.vm, &info);
	if (ret)
		return ret;
	s.nr_vcpus = info.out_nr_vcpus < MAX_VCPUS ? info.out_nr_vcpus : MAX_VCPUS;
	for (v = 0; v < s.nr_vcpus; v++) {
		ret = read_vcpu(v);
		if (ret)
			return ret;
	}
	for (row = s.rows; row < s.rows + s.nr_rows; row++)
		for (row->sum = 0, v = 0; v < s.nr_vcpus; v++)
			row->sum += row->total[v] - row->was[v];
	qsort(s.rows, s.nr_rows, sizeof(*s.rows), by_sum);
	return 0;
}

static const char *row_name(const struct row *row)
{
	static char text[16];
	const char *name;

	if (row->event)
		return kvmi_event_name(row->number);
	if (row->number == KVMI_EXIT_OTHER)
		return "other";
	name = exit_name(s.caps.out_vendor, row->number);
	if (name)
		return name;
	snprintf(text, sizeof(text), "0x%x", row->number);
	return text;
}

static void show_json(bool events)
{
	const struct row *row;
	uint32_t v;

	json_open(events ? "events" : "exits", '[');
	for (row = s.rows; row < s.rows + s.nr_rows; row++) {
		if (row->event != events || !row->sum)
			continue;
		json_open(NULL, '{');
		if (!events && row->number != KVMI_EXIT_OTHER)
			json_hex("reason", row->number);
		json_string("name", row_name(row));
		json_number("count", row->sum);
		json_open("vcpus", '[');
		for (v = 0; v < s.nr_vcpus; v++)
			json_number(NULL, row->total[v] - row->was[v]);
		json_close(']');
		json_close('}');
	}
	json_close(']');
}

static void show_table(bool events, double seconds)
{
	const struct row *row;
	char column[16];
	uint32_t v;

	printf("%-28s %12s %12s", events ? "event" : "exit", "count", "per second");
	for (v = 0; v < s.nr_vcpus && s.nr_vcpus <= MAX_COLUMNS; v++) {
		snprintf(column, sizeof(column), "vcpu %u", v);
		printf(" %12s", column);
	}
	putchar('\n');
	for (row = s.rows; row < s.rows + s.nr_rows; row++) {
		if (row->event != events || !row->sum)
			continue;
		printf("%-28s %12llu %12.0f", row_name(row),
		       (unsigned long long)row->sum, row->sum / seconds);
		for (v = 0; v < s.nr_vcpus && s.nr_vcpus <= MAX_COLUMNS; v++)
			printf(" %12llu", (unsigned long long)
			       (row->total[v] - row->was[v]));
		putchar('\n');
	}
	putchar('\n');
}

static void show(uint64_t ns)
{
	struct row *row;

	if (s.json) {
		json_begin();
		json_number("interval_ns", ns);
		show_json(false);
		if (s.kinds)
			show_json(true);
		json_end();
	} else {
		show_table(false, ns / 1e9);
		if (s.kinds)
			show_table(true, ns / 1e9);
	}
	for (row = s.rows; row < s.rows + s.nr_rows; row++)
		memcpy(row->was, row->total, s.nr_vcpus * sizeof(*row->was));
}

/* Until then, a signal, or the VM's end: -ENODEV. */
static int wait_until(uint64_t end)
{
	struct pollfd pfd = { .fd = kvmi_vm_fd(s.vm) };
	struct timespec ts;
	uint64_t now;

	while (!interrupted && (now = now_ns()) < end) {
		ts.tv_sec = (end - now) / 1000000000;
		ts.tv_nsec = (end - now) % 1000000000;
		if (ppoll(&pfd, 1, &ts, NULL) > 0 && (pfd.revents & POLLHUP))
			return -ENODEV;
	}
	return 0;
}

static int watch(uint64_t interval, uint64_t count)
{
	struct kvmi_control_event control = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_EXIT,
		.mode = KVMI_MODE_COUNT,
		.index_last = UINT32_MAX,
	};
	uint64_t start, now, n;
	int ret;

	ret = kvmi_event_control(s.vm, &control);
	start = now_ns();
	for (n = 1; !ret && !interrupted && (!count || n <= count); n++) {
		ret = wait_until(start + interval);
		now = now_ns();
		if (!ret)
			ret = take();
		if (ret)
			break;
		show(now - start);
		start = now;
		if (fflush(stdout))
			break;
	}
	/* The VM has ended. */
	return ret == -ENODEV ? 0 : ret;
}

int cmd_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "event", required_argument, NULL, 'e' },
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'c' },
		{ }
	};
	double interval = 1;
	uint64_t count = 0;
	char *end;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "e:", options, NULL)) >= 0) {
		switch (opt) {
		case 'j':
			s.json = true;
			break;
		case 'e':
			if (parse_events(optarg))
				return EXIT_USAGE;
			break;
		case 'i':
			interval = strtod(optarg, &end);
			if (*end || !(interval >= 0.01 && interval <= 1e6))
				return usage_error("%s is no time", optarg);
			break;
		case 'c':
			if (!parse_number(optarg, &count) || !count)
				return usage_error("%s is no number", optarg);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1)
		return usage_error("kvmi stat VM");
	catch_signals();
	ret = attach_observer(argv[optind], &s.vm);
	if (ret)
		return ret;
	ret = kvmi_vm_get_caps(s.vm, &s.caps);
	if (ret)
		ret = failed(ret);
	else
		ret = count_events(s.vm, &s.caps, &s.kinds);
	if (!ret) {
		ret = watch(interval * 1e9, count);
		if (ret)
			ret = failed(ret);
	}
	kvmi_vm_close(s.vm);
	return ret;
}
