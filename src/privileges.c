/* SPDX-License-Identifier: GPL-2.0-only */
/* The capabilities of this process: see privileges.h. */
#include "privileges.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SET_SIZE 32 /* in each of the two that version 3 of the call has */

/* What Isomer ever needs, by name. */
static const struct {
	uint64_t set;
	const char *name;
} names[] = {
	{PRIVILEGE(CAP_BPF), "CAP_BPF"},
	{PRIVILEGE(CAP_PERFMON), "CAP_PERFMON"},
	{PRIVILEGE(CAP_NET_ADMIN), "CAP_NET_ADMIN"},
	{PRIVILEGE(CAP_SYS_PTRACE), "CAP_SYS_PTRACE"},
};

#define NAMES (sizeof(names) / sizeof(*names))

/* The kernel asks for one of these, or for CAP_SYS_ADMIN, which they were split off from. */
#define SPLIT_OFF (PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_NET_ADMIN))

static int get(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

const char *privileges_missing(uint64_t needed, char text[LONGEST_PRIVILEGES_TEXT])
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
	uint64_t missing, effective;
	size_t length = 0;

	if (get(data) < 0)
		return NULL;
	effective = data[0].effective | (uint64_t)data[1].effective << SET_SIZE;
	if (effective & PRIVILEGE(CAP_SYS_ADMIN))
		effective |= SPLIT_OFF;
	missing = needed & ~effective;
	for (size_t i = 0; i < NAMES; i++) {
		if (!(missing & names[i].set))
			continue;
		missing &= ~names[i].set;
		length += (size_t)snprintf(text + length, LONGEST_PRIVILEGES_TEXT - length, "%s%s",
			length == 0       ? ""
				: missing ? ", "
					  : " and ",
			names[i].name);
	}
	return length ? text : NULL;
}

int privileges_keep(uint64_t kept)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
	int r = get(data);

	if (r < 0)
		return r;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(kept >> i * SET_SIZE);
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &header, data) < 0)
		return -errno;
	return 0;
}
