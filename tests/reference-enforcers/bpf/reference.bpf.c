/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The hooks on which the peers decide. Each asks the same: is this task concerned, and does a rule
 * deny this hook on one of its paths. Nothing is counted or reported: a test sees the errno.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define EACCES 13

#include "rules.h"
#include "subject.h"
#include "path.h"

static __always_inline int judge(const struct path *path, __u32 hook)
{
	if (!is_subject())
		return 0;
	return is_denied(BPF_CORE_READ(path, dentry), BPF_CORE_READ(path, mnt), hook) ? -EACCES : 0;
}

/* A name in a directory, by the mount of the directory. */
static __always_inline int judge_name(const struct path *dir, struct dentry *dentry, __u32 hook)
{
	if (!is_subject())
		return 0;
	return is_denied(dentry, BPF_CORE_READ(dir, mnt), hook) ? -EACCES : 0;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm, int ret)
{
	return ret ? ret : judge(&bprm->file->f_path, HOOK_EXEC);
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file, int ret)
{
	return ret ? ret : judge(&file->f_path, HOOK_OPEN);
}

SEC("lsm/path_rename")
int BPF_PROG(path_rename, const struct path *old_dir, struct dentry *old_dentry,
	     const struct path *new_dir, struct dentry *new_dentry, unsigned int flags, int ret)
{
	if (!ret)
		ret = judge_name(old_dir, old_dentry, HOOK_RENAME);
	return ret ? ret : judge_name(new_dir, new_dentry, HOOK_RENAME);
}

/* The old name comes without a mount; it is on the one where the new one will be. */
SEC("lsm/path_link")
int BPF_PROG(path_link, struct dentry *old_dentry, const struct path *new_dir,
	     struct dentry *new_dentry, int ret)
{
	if (!ret)
		ret = judge_name(new_dir, old_dentry, HOOK_LINK);
	return ret ? ret : judge_name(new_dir, new_dentry, HOOK_LINK);
}

SEC("lsm/path_unlink")
int BPF_PROG(path_unlink, const struct path *dir, struct dentry *dentry, int ret)
{
	return ret ? ret : judge_name(dir, dentry, HOOK_UNLINK);
}

SEC("lsm/path_rmdir")
int BPF_PROG(path_rmdir, const struct path *dir, struct dentry *dentry, int ret)
{
	return ret ? ret : judge_name(dir, dentry, HOOK_RMDIR);
}

SEC("lsm/path_mkdir")
int BPF_PROG(path_mkdir, const struct path *dir, struct dentry *dentry, unsigned short mode, int ret)
{
	return ret ? ret : judge_name(dir, dentry, HOOK_MKDIR);
}

SEC("lsm/path_mknod")
int BPF_PROG(path_mknod, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     unsigned int dev, int ret)
{
	return ret ? ret : judge_name(dir, dentry, HOOK_MKNOD);
}

SEC("lsm/path_symlink")
int BPF_PROG(path_symlink, const struct path *dir, struct dentry *dentry, const char *old_name,
	     int ret)
{
	return ret ? ret : judge_name(dir, dentry, HOOK_SYMLINK);
}

SEC("lsm/path_chmod")
int BPF_PROG(path_chmod, const struct path *path, unsigned short mode, int ret)
{
	return ret ? ret : judge(path, HOOK_CHMOD);
}

SEC("lsm/path_truncate")
int BPF_PROG(path_truncate, const struct path *path, int ret)
{
	return ret ? ret : judge(path, HOOK_TRUNCATE);
}

SEC("lsm/sb_mount")
int BPF_PROG(sb_mount, const char *dev_name, const struct path *path, const char *type,
	     unsigned long flags, void *data, int ret)
{
	return ret ? ret : judge(path, HOOK_MOUNT);
}

SEC("lsm/move_mount")
int BPF_PROG(move_mount, const struct path *from_path, const struct path *to_path, int ret)
{
	return ret ? ret : judge(to_path, HOOK_MOVE_MOUNT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
