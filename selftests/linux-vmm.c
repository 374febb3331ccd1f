// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux-vmm: boots a Linux bzImage with an initrd and a serial console, and
 * has next to nothing else. It is for emulated hosts that are too slow for a
 * full VMM; the guest is a stock kernel all the same.
 *
 * Interrupt controllers and timer are KVM's. There is no firmware, no ACPI
 * and no PCI: processors are found by an MP table, and the guest ends itself
 * by a reboot (keyboard controller or triple fault: status 0) or by writing
 * a status to I/O port 0xf4.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BOOT_GDT	0x500
#define BOOT_PML4	0x1000
#define BOOT_PDPT	0x2000
#define BOOT_PD		0x3000		/* four */
#define BOOT_PARAMS	0x10000
#define BOOT_CMDLINE	0x20000
#define BOOT_STACK	0x8000
#define EBDA		0x9fc00
#define MP_FLOATING	EBDA
#define MP_TABLE	(EBDA + 0x10)
#define KERNEL_ADDR	0x1000000UL
#define TSS_ADDR	0xfffbd000UL
#define MAX_CPUS	4
#define MAX_MEM_MIB	3072

#define PORT_RTC_INDEX	0x70
#define PORT_RTC_DATA	0x71
#define PORT_KBD	0x64
#define KBD_RESET	0xfe
#define PORT_EXIT	0xf4
#define PORT_POWEROFF	0x604
#define PORT_UART	0x3f8
#define UART_IRQ	4

static int kvm_fd, vm_fd;
static uint8_t *ram;
static uint64_t ram_size;
static int nr_cpus = 1;
static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("linux-vmm: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(1);
}

static int xioctl_name(const char *name, int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	if (ret < 0)
		die("%s: %s", name, strerror(errno));
	return ret;
}

#define xioctl(fd, cmd, arg)						\
	xioctl_name(#cmd, fd, cmd, (void *)(uintptr_t)(arg))

/* The 16550: transmits at once, receives nothing. */
static struct {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	bool thre;		/* "transmitter empty" not yet reported */
} uart;

static void uart_update_irq(void)
{
	struct kvm_irq_level irq = { .irq = UART_IRQ };

	/* An ISA interrupt is an edge; OUT2 is its gate. */
	if (!(uart.ier & 2) || !uart.thre || !(uart.mcr & 8))
		return;
	irq.level = 1;
	xioctl(vm_fd, KVM_IRQ_LINE, &irq);
	irq.level = 0;
	xioctl(vm_fd, KVM_IRQ_LINE, &irq);
}

static void uart_out(int reg, uint8_t val)
{
	bool dlab = uart.lcr & 0x80;

	switch (reg) {
	case 0:
		if (dlab) {
			uart.dll = val;
			break;
		}
		if (!(uart.mcr & 0x10) && write(STDOUT_FILENO, &val, 1) < 0)
			_exit(1);
		uart.thre = true;
		uart_update_irq();
		break;
	case 1:
		if (dlab) {
			uart.dlm = val;
			break;
		}
		if (val & ~uart.ier & 2)
			uart.thre = true;
		uart.ier = val & 0xf;
		uart_update_irq();
		break;
	case 2:
		uart.fcr = val;
		break;
	case 3:
		uart.lcr = val;
		break;
	case 4:
		uart.mcr = val & 0x1f;
		uart_update_irq();
		break;
	case 7:
		uart.scr = val;
		break;
	}
}

static uint8_t uart_in(int reg)
{
	bool dlab = uart.lcr & 0x80;
	uint8_t val;

	switch (reg) {
	case 0:
		return dlab ? uart.dll : 0;
	case 1:
		return dlab ? uart.dlm : uart.ier;
	case 2:
		val = uart.fcr & 1 ? 0xc0 : 0;
		if (uart.ier & 2 && uart.thre) {
			uart.thre = false;
			return val | 2;
		}
		return val | 1;
	case 3:
		return uart.lcr;
	case 4:
		return uart.mcr;
	case 5:
		return 0x60;
	case 6:
		/* Looped back, the outputs are the inputs. */
		if (uart.mcr & 0x10)
			return (uart.mcr & 1) << 5 | (uart.mcr & 2) << 3 |
			       (uart.mcr & 4) << 4 | (uart.mcr & 8) << 4;
		return 0xb0;
	default:
		return uart.scr;
	}
}

static uint8_t rtc_index;

static uint8_t bcd(int n)
{
	return n / 10 << 4 | n % 10;
}

static uint8_t rtc_in(void)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	switch (rtc_index & 0x7f) {
	case 0x00: return bcd(tm.tm_sec);
	case 0x02: return bcd(tm.tm_min);
	case 0x04: return bcd(tm.tm_hour);
	case 0x06: return bcd(tm.tm_wday + 1);
	case 0x07: return bcd(tm.tm_mday);
	case 0x08: return bcd(tm.tm_mon + 1);
	case 0x09: return bcd(tm.tm_year % 100);
	case 0x32: return bcd(19 + tm.tm_year / 100);
	case 0x0a: return 0x26;
	case 0x0b: return 0x02;
	case 0x0d: return 0x80;
	default: return 0;
	}
}

static void io_out(uint16_t port, const uint8_t *data, int size)
{
	switch (port) {
	case PORT_UART ... PORT_UART + 7:
		uart_out(port - PORT_UART, data[0]);
		break;
	case PORT_RTC_INDEX:
		rtc_index = data[0];
		break;
	case PORT_KBD:
		if (data[0] == KBD_RESET)
			exit(0);
		break;
	case PORT_EXIT:
		exit(data[0]);
	case PORT_POWEROFF:
		if (size == 2)
			exit(0);
		break;
	}
}

static void io_in(uint16_t port, uint8_t *data, int size)
{
	/* Nobody there: all ones. */
	memset(data, 0xff, size);
	if (port >= PORT_UART && port <= PORT_UART + 7)
		data[0] = uart_in(port - PORT_UART);
	else if (port == PORT_RTC_DATA)
		data[0] = rtc_in();
}

static void *vcpu_thread(void *arg)
{
	long run_size = xioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	int fd = (intptr_t)arg;
	struct kvm_run *run;
	uint8_t *data;
	uint32_t i;

	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		die("mmap of a vCPU: %s", strerror(errno));
	for (;;) {
		if (ioctl(fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			die("KVM_RUN: %s", strerror(errno));
		}
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			data = (uint8_t *)run + run->io.data_offset;
			pthread_mutex_lock(&device_lock);
			for (i = 0; i < run->io.count; i++) {
				if (run->io.direction == KVM_EXIT_IO_OUT)
					io_out(run->io.port, data,
					       run->io.size);
				else
					io_in(run->io.port, data,
					      run->io.size);
				data += run->io.size;
			}
			pthread_mutex_unlock(&device_lock);
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, run->mmio.len);
			break;
		case KVM_EXIT_INTR:
		case KVM_EXIT_HLT:
			break;
		case KVM_EXIT_SHUTDOWN:
		case KVM_EXIT_SYSTEM_EVENT:
			exit(0);
		case KVM_EXIT_INTERNAL_ERROR:
			die("KVM internal error %u", run->internal.suberror);
		case KVM_EXIT_FAIL_ENTRY:
			die("entry failed: %#llx",
			    run->fail_entry.hardware_entry_failure_reason);
		default:
			die("exit reason %u", run->exit_reason);
		}
	}
	return NULL;
}

static void *read_file(const char *name, size_t *size)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", name, strerror(errno));
	data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die("%s: %s", name, strerror(errno));
	close(fd);
	*size = st.st_size;
	return data;
}

/* Intel's MultiProcessor Specification 1.4, chapter 4. */
static void make_mp_table(void)
{
	uint8_t *fps = ram + MP_FLOATING, *t = ram + MP_TABLE, *p = t + 44;
	int entries = 0, i;
	uint8_t sum = 0;

#define PUT(...)							\
	do {								\
		const uint8_t e[] = { __VA_ARGS__ };			\
									\
		memcpy(p, e, sizeof(e));				\
		p += sizeof(e);						\
		entries++;						\
	} while (0)
	/* Processors: APIC id, version 0x14, enabled, the first boots. */
	for (i = 0; i < nr_cpus; i++)
		PUT(0, i, 0x14, i ? 1 : 3, 0, 6, 0, 0, 1, 2, 0, 0,
		    0, 0, 0, 0, 0, 0, 0, 0);
	PUT(1, 0, 'I', 'S', 'A', ' ', ' ', ' ');
	/* I/O APIC at 0xfec00000, with an id behind the processors'. */
	PUT(2, nr_cpus, 0x11, 1, 0, 0, 0xc0, 0xfe);
	/* ISA interrupt i at pin i, as KVM's routing has it. */
	for (i = 0; i < 16; i++)
		if (i != 2)
			PUT(3, 0, 0, 0, 0, i, nr_cpus, i);
	/* LINT0: ExtINT, LINT1: NMI. */
	PUT(4, 3, 0, 0, 0, 0, 0xff, 0);
	PUT(4, 1, 0, 0, 0, 0, 0xff, 1);
#undef PUT

	memcpy(t, "PCMP", 4);
	t[4] = (p - t) & 0xff;
	t[5] = (p - t) >> 8;
	t[6] = 4;
	memcpy(t + 8, "KVMI    LINUX-VMM   ", 20);
	t[34] = entries;
	t[38] = 0xe0;
	t[39] = 0xfe;
	for (i = 0; i < p - t; i++)
		sum += t[i];
	t[7] = -sum;

	memcpy(fps, "_MP_", 4);
	fps[4] = MP_TABLE & 0xff;
	fps[5] = MP_TABLE >> 8 & 0xff;
	fps[6] = MP_TABLE >> 16;
	fps[8] = 1;
	fps[9] = 4;
	for (sum = 0, i = 0; i < 16; i++)
		sum += fps[i];
	fps[10] = -sum;
	/* Where the BIOS data area says that the EBDA is. */
	ram[0x40e] = EBDA >> 4 & 0xff;
	ram[0x40f] = EBDA >> 12;
}

static void add_e820(struct boot_params *bp, uint64_t addr, uint64_t end,
		     uint32_t type)
{
	struct boot_e820_entry *e = &bp->e820_table[bp->e820_entries++];

	e->addr = addr;
	e->size = end - addr;
	e->type = type;
}

static void load_linux(const char *kernel, const char *initrd,
		       const char *cmdline)
{
	struct boot_params *bp = (void *)(ram + BOOT_PARAMS);
	size_t size, offset, initrd_size;
	uint64_t addr, max, *pt;
	uint8_t *image;
	int i;

	image = read_file(kernel, &size);
	if (size < 0x1000 || memcmp(image + 0x202, "HdrS", 4))
		die("%s is no bzImage", kernel);
	memcpy(&bp->hdr, image + 0x1f1, 0x202 + image[0x201] - 0x1f1);
	if (bp->hdr.version < 0x20c || !(bp->hdr.xloadflags & XLF_KERNEL_64))
		die("%s has no 64-bit entry", kernel);
	offset = ((bp->hdr.setup_sects ? bp->hdr.setup_sects : 4) + 1) * 512;
	if (KERNEL_ADDR + bp->hdr.init_size > ram_size)
		die("%s needs more memory", kernel);
	memcpy(ram + KERNEL_ADDR, image + offset, size - offset);

	bp->hdr.type_of_loader = 0xff;
	bp->hdr.loadflags |= LOADED_HIGH;
	bp->hdr.cmd_line_ptr = BOOT_CMDLINE;
	if (strlen(cmdline) > bp->hdr.cmdline_size)
		die("the command line is too long");
	memcpy(ram + BOOT_CMDLINE, cmdline, strlen(cmdline) + 1);
	if (initrd) {
		image = read_file(initrd, &initrd_size);
		max = (uint64_t)bp->hdr.initrd_addr_max + 1;
		if (max > ram_size)
			max = ram_size;
		if (initrd_size > max - KERNEL_ADDR - bp->hdr.init_size)
			die("%s does not fit", initrd);
		addr = (max - initrd_size) & ~4095UL;
		memcpy(ram + addr, image, initrd_size);
		bp->hdr.ramdisk_image = addr;
		bp->hdr.ramdisk_size = initrd_size;
	}
	add_e820(bp, 0, EBDA, 1);
	add_e820(bp, EBDA, 0xa0000, 2);
	add_e820(bp, 0xf0000, 0x100000, 2);
	add_e820(bp, 0x100000, ram_size, 1);

	/* The state that the 64-bit boot protocol asks for. */
	pt = (void *)(ram + BOOT_GDT);
	pt[2] = 0x00af9b000000ffffUL;
	pt[3] = 0x00cf93000000ffffUL;
	pt = (void *)(ram + BOOT_PML4);
	pt[0] = BOOT_PDPT | 3;
	pt = (void *)(ram + BOOT_PDPT);
	for (i = 0; i < 4; i++)
		pt[i] = (BOOT_PD + i * 4096) | 3;
	pt = (void *)(ram + BOOT_PD);
	for (i = 0; i < 4 * 512; i++)
		pt[i] = (uint64_t)i << 21 | 0x83;
}

static void set_cpuid(int fd, int id)
{
	bool deadline = xioctl(kvm_fd, KVM_CHECK_EXTENSION,
			       KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	struct kvm_cpuid2 *cpuid;
	uint32_t i;

	cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	if (!cpuid)
		die("no memory");
	cpuid->nent = 256;
	xioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0xffff) | nr_cpus << 16 | id << 24;
			if (deadline)
				e->ecx |= 1 << 24;
			break;
		case 0xb:
		case 0x1f:
			/* No topology: each a package of its own. */
			e->eax = 0;
			e->ebx = 0;
			e->ecx = 0;
			e->edx = id;
			break;
		}
	}
	xioctl(fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void set_segment(struct kvm_segment *seg, uint16_t selector, bool code)
{
	memset(seg, 0, sizeof(*seg));
	seg->limit = 0xffffffff;
	seg->selector = selector;
	seg->type = code ? 11 : 3;
	seg->present = 1;
	seg->db = !code;
	seg->s = 1;
	seg->l = code;
	seg->g = 1;
}

static void set_boot_state(int fd)
{
	struct kvm_regs regs = {
		.rip = KERNEL_ADDR + 0x200,
		.rsi = BOOT_PARAMS,
		.rsp = BOOT_STACK,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	xioctl(fd, KVM_GET_SREGS, &sregs);
	set_segment(&sregs.cs, 0x10, true);
	set_segment(&sregs.ds, 0x18, false);
	set_segment(&sregs.es, 0x18, false);
	set_segment(&sregs.fs, 0x18, false);
	set_segment(&sregs.gs, 0x18, false);
	set_segment(&sregs.ss, 0x18, false);
	sregs.gdt.base = BOOT_GDT;
	sregs.gdt.limit = 4 * 8 - 1;
	sregs.idt.limit = 0;
	sregs.cr0 = 0x80000011;		/* PG, ET, PE */
	sregs.cr3 = BOOT_PML4;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.efer = 0x500;		/* LMA, LME */
	xioctl(fd, KVM_SET_SREGS, &sregs);
	xioctl(fd, KVM_SET_REGS, &regs);
}

static void create_vm(void)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_userspace_memory_region region = { };

	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0)
		die("/dev/kvm: %s", strerror(errno));
	vm_fd = xioctl(kvm_fd, KVM_CREATE_VM, 0);
	xioctl(vm_fd, KVM_SET_TSS_ADDR, TSS_ADDR);
	xioctl(vm_fd, KVM_CREATE_IRQCHIP, 0);
	xioctl(vm_fd, KVM_CREATE_PIT2, &pit);

	ram = mmap(NULL, ram_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		die("guest memory: %s", strerror(errno));
	madvise(ram, ram_size, MADV_HUGEPAGE);
	region.memory_size = ram_size;
	region.userspace_addr = (uintptr_t)ram;
	xioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void usage(FILE *f)
{
	fputs("usage: linux-vmm --kernel BZIMAGE [--initrd FILE]\n"
	      "         [--append ARGS] [--mem MIB] [--cpus N] [--name NAME]\n"
	      "The guest's serial port is standard output. A reboot of the guest\n"
	      "ends it with status 0, a byte to port 0xf4 with that status.\n",
	      f);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "append", required_argument, NULL, 'a' },
		{ "mem", required_argument, NULL, 'm' },
		{ "cpus", required_argument, NULL, 'c' },
		/* For those who look for it in the command line. */
		{ "name", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *kernel = NULL, *initrd = NULL;
	const char *append = "console=ttyS0";
	char cmdline[2048];
	pthread_t thread;
	int mem = 256;
	int opt, i, fd;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (opt) {
		case 'k':
			kernel = optarg;
			break;
		case 'i':
			initrd = optarg;
			break;
		case 'a':
			append = optarg;
			break;
		case 'm':
			mem = atoi(optarg);
			break;
		case 'c':
			nr_cpus = atoi(optarg);
			break;
		case 'n':
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (!kernel || optind < argc) {
		usage(stderr);
		return 2;
	}
	if (nr_cpus < 1 || nr_cpus > MAX_CPUS)
		die("1 to %d processors", MAX_CPUS);
	if (mem < 32 || mem > MAX_MEM_MIB)
		die("32 to %d MiB of memory", MAX_MEM_MIB);
	ram_size = (uint64_t)mem << 20;
	/* What is not there is not looked for; the way out is known. */
	snprintf(cmdline, sizeof(cmdline),
		 "acpi=off pci=off reboot=k,force panic=-1 i8042.noaux i8042.nokbd %s",
		 append);

	create_vm();
	load_linux(kernel, initrd, cmdline);
	make_mp_table();
	for (i = 0; i < nr_cpus; i++) {
		fd = xioctl(vm_fd, KVM_CREATE_VCPU, i);
		set_cpuid(fd, i);
		if (!i)
			set_boot_state(fd);
		if (pthread_create(&thread, NULL, vcpu_thread,
				   (void *)(intptr_t)fd))
			die("cannot make a thread");
	}
	pthread_join(thread, NULL);
	return 0;
}
