// SPDX-License-Identifier: GPL-2.0-only
/*
 * idle-vm: a VM with one vCPU that never runs, for scripts: says "up", and stays
 * until it is killed.
 */
#include <stdio.h>
#include <unistd.h>

#include "lib/vmm.h"

int main(void)
{
	vmm_create(1, 0);
	puts("up");
	fflush(stdout);
	for (;;)
		pause();
}
