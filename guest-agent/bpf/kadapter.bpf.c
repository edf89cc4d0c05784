/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The one object: hooks gather, lib/ decides, lib/emit.h reports.
 */
#include "lib/vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "lib/abi.h"

#define EPERM 1
#define ENOMEM 12
#define EACCES 13
#define EINVAL 22

#include "lib/maps.h"
#include "lib/cast.h"
#include "lib/text.h"
#include "lib/hash.h"
#include "lib/walk.h"
#include "lib/decide.h"
#include "lib/scope.h"
#include "lib/filter.h"
#include "lib/identity.h"
#include "lib/subject.h"
#include "lib/rules.h"
#include "lib/label.h"
#include "lib/object.h"
#include "lib/settled.h"
#include "lib/quota.h"
#include "lib/taint.h"
#include "lib/code.h"
#include "lib/copy.h"
#include "lib/show.h"
#include "lib/emit.h"
#include "lib/name.h"
#include "lib/guard.h"
#include "lib/applet.h"
#include "lib/arguments.h"

#include "hooks/attribute.bpf.c"
#include "hooks/exec.bpf.c"
#include "hooks/file.bpf.c"
#include "hooks/inode.bpf.c"
#include "hooks/map.bpf.c"
#include "hooks/mount.bpf.c"
#include "hooks/name.bpf.c"
#include "hooks/socket.bpf.c"
#include "hooks/task.bpf.c"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
