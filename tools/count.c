// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi count: how often the functions of a Linux guest's kernel are called, from
 * hidden breakpoints that the host's kernel counts.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "linux.h"

/* So that a signal that comes a moment too early is noticed too. */
#define TICK_MS		200

struct function {
	const char *name;
	uint64_t gpa;
	uint64_t before, calls;
};

static struct {
	struct linux_guest guest;
	struct kvmi_breakpoints *set;
	struct function *functions;
	size_t nr_functions, room;
	const char *between;
	uint64_t between_gpa;
	unsigned int marks;		/* calls of @between, up to 2 */
	uint64_t seconds, start_ns, first_ns, last_ns;
	bool json;
} s;

/* What to count ----------------------------------------------------------------- */

static int add_function(const char *name)
{
	struct function *more;

	if (s.nr_functions == s.room) {
		s.room = s.room ? 2 * s.room : 64;
		more = realloc(s.functions, s.room * sizeof(*more));
		if (!more)
			return failed(-ENOMEM);
		s.functions = more;
	}
	name = strdup(name);
	if (!name)
		return failed(-ENOMEM);
	s.functions[s.nr_functions++] = (struct function) { .name = name };
	return EXIT_OK;
}

/* A name a line; what begins with a # is none. */
static int read_functions(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256], name[256];
	int ret = EXIT_OK;

	while (f && !ret && fgets(line, sizeof(line), f))
		if (sscanf(line, "%255s", name) == 1 && name[0] != '#')
			ret = add_function(name);
	if (!f || ferror(f)) {
		fprintf(stderr, "kvmi: cannot read %s: %s\n", path, strerror(errno));
		ret = EXIT_ERROR;
	}
	if (f)
		fclose(f);
	return ret;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct function *)a)->name,
		      ((const struct function *)b)->name);
}

/* In order, and each once. */
static void sort_functions(void)
{
	size_t from, to = 0;

	qsort(s.functions, s.nr_functions, sizeof(*s.functions), by_name);
	for (from = 0; from < s.nr_functions; from++) {
		if (to && !by_name(&s.functions[to - 1], &s.functions[from]))
			free((char *)s.functions[from].name);
		else
			s.functions[to++] = s.functions[from];
	}
	s.nr_functions = to;
}

static int find_function(const char *name, uint64_t *gpa)
{
	uint64_t address = linux_symbol(&s.guest, name);
	struct kvmi_translation tr;
	int ret;

	if (!address) {
		fprintf(stderr, "kvmi: cannot count %s: the guest's kernel has no such function\n",
			name);
		return EXIT_ERROR;
	}
	ret = kvmi_space_translate(s.guest.vm, &s.guest.space,
				   linux_entry(&s.guest, address), &tr);
	if (ret)
		return failed(ret);
	*gpa = tr.out_gpa;
	return EXIT_OK;
}

static int find_functions(const char *symbols)
{
	struct symbol *wanted;
	int ret, err;
	size_t i;

	wanted = calloc(s.nr_functions + 1, sizeof(*wanted));
	if (!wanted)
		return failed(-ENOMEM);
	s.guest.symbols = wanted;
	for (i = 0; i < s.nr_functions; i++)
		wanted[s.guest.nr_symbols++].name = s.functions[i].name;
	if (s.between)
		wanted[s.guest.nr_symbols++].name = s.between;
	ret = linux_open(&s.guest, symbols);
	if (ret)
		return ret;
	err = kvmi_vm_pause(s.guest.vm);
	if (err)
		return failed(err);
	ret = linux_find_space(&s.guest);
	for (i = 0; i < s.nr_functions && !ret; i++)
		ret = find_function(s.functions[i].name, &s.functions[i].gpa);
	if (s.between && !ret)
		ret = find_function(s.between, &s.between_gpa);
	for (i = 0; i < s.nr_functions && !ret; i++)
		if (s.between && s.functions[i].gpa == s.between_gpa)
			ret = usage_error("%s cannot be counted between its own calls",
					  s.functions[i].name);
	err = kvmi_vm_resume(s.guest.vm);
	return ret || !err ? ret : failed(err);
}

static int set_breakpoints(void)
{
	size_t i;
	int ret;

	ret = kvmi_breakpoints_open(s.guest.vm, &s.set);
	for (i = 0; i < s.nr_functions && !ret; i++) {
		ret = kvmi_breakpoints_count(s.set, s.functions[i].gpa);
		/* One function with two names. */
		if (ret == -EEXIST)
			ret = 0;
	}
	/* The last one: from here on each call of it is seen. */
	if (s.between && !ret)
		ret = kvmi_breakpoints_add(s.set, s.between_gpa);
	return ret ? failed(ret) : EXIT_OK;
}

/* Counting ---------------------------------------------------------------------- */

/* All of one moment: from which on they count, or up to which. */
static int read_counts(bool from)
{
	struct function *f = s.functions;
	uint64_t hits;
	int ret, err;

	ret = kvmi_vm_pause(s.guest.vm);
	if (ret)
		return ret;
	s.last_ns = now_ns();
	if (from)
		s.first_ns = s.last_ns;
	for (; f < s.functions + s.nr_functions; f++) {
		ret = kvmi_breakpoints_hits(s.set, f->gpa, &hits);
		if (ret)
			break;
		if (from)
			f->before = hits;
		else
			f->calls = hits - f->before;
	}
	err = kvmi_vm_resume(s.guest.vm);
	return ret ?: err;
}

static int on_hit(__attribute__((unused)) const struct kvmi_event *ev, uint64_t gpa)
{
	return gpa == s.between_gpa ? read_counts(++s.marks == 1) : 0;
}

static bool is_over(void)
{
	return interrupted || s.marks == 2 ||
	       (s.seconds && now_ns() - s.start_ns >= s.seconds * 1000000000ULL);
}

/* 0 when it is to end, 1 when the VM did, or -errno. */
static int loop(void)
{
	const struct kvmi_event *ev;
	int ret;

	while (!is_over()) {
		ret = kvmi_event_wait(s.guest.vm, &ev, TICK_MS);
		if (ret > 0)
			ret = linux_answer(&s.guest, s.set, ev, on_hit);
		if (ret == -ENODEV)
			return 1;
		if (ret < 0 && ret != -EINTR)
			return ret;
	}
	return !s.between || s.marks == 1 ? read_counts(false) : 0;
}

/* Output ------------------------------------------------------------------------ */

static void begin(const char *spec)
{
	s.start_ns = now_ns();
	if (!s.between)
		s.first_ns = s.start_ns;
	if (!s.json) {
		fprintf(stderr, "kvmi: attached to %s, counting %zu functions; ^C ends it\n",
			spec, s.nr_functions);
		return;
	}
	json_begin();
	json_string("event", "begin");
	json_end();
	fflush(stdout);
}

static int by_calls(const void *a, const void *b)
{
	const struct function *f = a, *g = b;

	if (f->calls != g->calls)
		return f->calls < g->calls ? 1 : -1;
	return by_name(a, b);
}

static void summary(bool gone)
{
	uint64_t all = 0, called = 0;
	struct function *f;

	qsort(s.functions, s.nr_functions, sizeof(*s.functions), by_calls);
	for (f = s.functions; f < s.functions + s.nr_functions; f++) {
		all += f->calls;
		called += f->calls != 0;
		if (s.json) {
			json_begin();
			json_string("event", "count");
			json_string("function", f->name);
			json_number("calls", f->calls);
			json_end();
		} else if (f->calls) {
			printf("%12llu  %s\n", ULL(f->calls), f->name);
		}
	}
	if (s.json) {
		json_begin();
		json_string("event", "end");
		json_number("functions", s.nr_functions);
		json_number("called", called);
		json_number("calls", all);
		json_number("ns", s.first_ns ? s.last_ns - s.first_ns : 0);
		if (s.between)
			json_number("marks", s.marks);
		json_bool("vm_gone", gone);
		json_end();
		fflush(stdout);
		return;
	}
	fflush(stdout);
	if (s.between && s.marks < 2)
		fprintf(stderr, "kvmi: %s was called %s\n", s.between,
			s.marks ? "once: these are the calls since then" :
				  "not even once: nothing is counted");
	fprintf(stderr, "kvmi: %llu calls of %llu of %zu functions in %.3f s; %s\n",
		ULL(all), ULL(called), s.nr_functions,
		s.first_ns ? (s.last_ns - s.first_ns) / 1e9 : 0,
		gone ? "the VM has ended: these are no counts" : "detached");
}

static int run(const char *spec, const char *symbols)
{
	int ret;

	catch_signals();
	ret = attach(spec, &s.guest.vm);
	if (ret)
		return ret;
	ret = find_functions(symbols);
	if (!ret)
		ret = set_breakpoints();
	if (!ret) {
		begin(spec);
		ret = loop();
		if (ret >= 0)
			summary(ret > 0);
		ret = ret < 0 ? failed(ret) : EXIT_OK;
	}
	kvmi_breakpoints_close(s.set);
	/* Ends the session: everything armed is withdrawn. */
	kvmi_vm_close(s.guest.vm);
	linux_close(&s.guest);
	free(s.guest.symbols);
	return ret;
}

int cmd_count(int argc, char **argv)
{
	static const struct option options[] = {
		{ "symbols", required_argument, NULL, 's' },
		{ "functions", required_argument, NULL, 'f' },
		{ "between", required_argument, NULL, 'b' },
		{ "json", no_argument, NULL, 'j' },
		{ }
	};
	const char *symbols = NULL, *functions = NULL, *spec;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "d:", options, NULL)) >= 0) {
		switch (opt) {
		case 's':
			symbols = optarg;
			break;
		case 'f':
			functions = optarg;
			break;
		case 'b':
			s.between = optarg;
			break;
		case 'j':
			s.json = true;
			break;
		case 'd':
			if (!parse_number(optarg, &s.seconds) ||
			    s.seconds > 1000000000)
				return usage_error("%s is no time", optarg);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc == optind || (argc == optind + 1 && !functions))
		return usage_error("kvmi count VM FUNCTION...");
	spec = argv[optind++];
	ret = functions ? read_functions(functions) : EXIT_OK;
	while (optind < argc && !ret)
		ret = add_function(argv[optind++]);
	if (ret)
		return ret;
	sort_functions();
	ret = run(spec, symbols);
	while (s.nr_functions)
		free((char *)s.functions[--s.nr_functions].name);
	free(s.functions);
	return ret;
}
