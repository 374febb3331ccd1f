// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi pause: a VM that stands still while the command runs.
 */
#include <getopt.h>
#include <string.h>
#include <time.h>

#include "tool.h"

int cmd_pause(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "stop-clocks", no_argument, NULL, 'c' },
		{ }
	};
	const struct timespec second = { .tv_sec = 1 };
	struct kvmi_policy policy = {};
	uint64_t left = UINT64_MAX;
	bool json = false;
	struct kvmi_vm *vm;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "d:", options, NULL)) >= 0) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'c':
			policy.flags = KVMI_POLICY_STOP_CLOCKS;
			break;
		case 'd':
			if (!parse_number(optarg, &left))
				return usage_error("%s is no time", optarg);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1)
		return usage_error("kvmi pause VM [-d SECONDS] [--stop-clocks]");
	/* From here on a signal ends the pause in good order. */
	catch_signals();
	ret = attach(argv[optind], &vm);
	if (ret)
		return ret;
	if (policy.flags)
		ret = kvmi_vm_set_policies(vm, &policy);
	if (!ret)
		ret = kvmi_vm_pause(vm);
	if (ret) {
		kvmi_vm_close(vm);
		return failed(ret);
	}
	if (json) {
		json_begin();
		json_string("event", "paused");
		json_end();
	} else {
		puts("paused; ^C lets it go on");
	}
	fflush(stdout);
	/* By the second: a signal just before it sleeps is seen as well. */
	for (; left && !interrupted; left--)
		nanosleep(&second, NULL);
	ret = kvmi_vm_resume(vm);
	if (ret)
		failed(ret);
	kvmi_vm_close(vm);
	return ret ? EXIT_ERROR : EXIT_OK;
}
