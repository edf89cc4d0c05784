/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Names: an inode that gets a second one is never judged by its label again, see lib/label.h. */

SEC("lsm/inode_link")
int BPF_PROG(inode_link, struct dentry *old_dentry, struct inode *dir, struct dentry *new_dentry,
	     int ret)
{
	struct inode *inode;
	struct abi_label *label;
	struct scope s;

	if (ret)
		return ret;
	inode = inode_of(old_dentry);
	if (!inode)
		return 0;
	label = bpf_inode_storage_get(&labels, inode, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!label) {
		enter(&s, is_unlabelled() ? NULL : any_label());
		return deny_undecided(&s, ABI_CAUSE_MEMORY, ABI_INODE_LINK, ENOMEM);
	}
	/* In this order, see write_label. */
	__sync_lock_test_and_set(&label->linked, 1);
	*(volatile __u64 *)&label->settled = 0;
	return 0;
}

#define RENAME_EXCHANGE 2

SEC("lsm/path_rename")
int BPF_PROG(path_rename, const struct path *old_dir, struct dentry *old_dentry,
	     const struct path *new_dir, struct dentry *new_dentry, unsigned int flags, int ret)
{
	struct change from = {
		.path = old_dir,
		.name = old_dentry,
		.shown = old_dentry,
		.hook = ABI_PATH_RENAME,
		.guarded = 1,
		.written = !!(flags & RENAME_EXCHANGE),
	};
	struct change to = {
		.path = new_dir,
		.name = new_dentry,
		.shown = new_dentry,
		.hook = ABI_PATH_RENAME,
		.guarded = 1,
		.written = 1,
	};

	return ret ? ret : change(&from, &to);
}

SEC("lsm/path_link")
int BPF_PROG(path_link, struct dentry *old_dentry, const struct path *new_dir,
	     struct dentry *new_dentry, int ret)
{
	struct change from = {
		.path = new_dir, /* the kernel makes no link from one mount to another */
		.beside = 1,
		.name = old_dentry,
		.shown = old_dentry,
		.hook = ABI_PATH_LINK,
		.guarded = 1,
		.written = 1,
	};
	struct change to = {
		.path = new_dir,
		.name = new_dentry,
		.shown = new_dentry,
		.hook = ABI_PATH_LINK,
		.written = 1,
	};

	return ret ? ret : change(&from, &to);
}

SEC("lsm/path_unlink")
int BPF_PROG(path_unlink, const struct path *dir, struct dentry *dentry, int ret)
{
	return ret ? ret : change_entry(dir, dentry, ABI_PATH_UNLINK);
}

SEC("lsm/path_rmdir")
int BPF_PROG(path_rmdir, const struct path *dir, struct dentry *dentry, int ret)
{
	return ret ? ret : change_entry(dir, dentry, ABI_PATH_RMDIR);
}

SEC("lsm/path_mkdir")
int BPF_PROG(path_mkdir, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     int ret)
{
	return ret ? ret : change_entry(dir, dentry, ABI_PATH_MKDIR);
}

SEC("lsm/path_symlink")
int BPF_PROG(path_symlink, const struct path *dir, struct dentry *dentry, const char *old_name,
	     int ret)
{
	return ret ? ret : change_entry(dir, dentry, ABI_PATH_SYMLINK);
}

SEC("lsm/path_mknod")
int BPF_PROG(path_mknod, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     unsigned int dev, int ret)
{
	__u32 kind = mode & S_IFMT;
	struct change c = {
		.path = dir,
		.name = dentry,
		.shown = dentry,
		.hook = ABI_PATH_MKNOD,
		.written = !kind || kind == S_IFREG, /* what else there is is not executed */
	};

	return ret ? ret : change(&c, NULL);
}

SEC("lsm/path_truncate")
int BPF_PROG(path_truncate, const struct path *path, int ret)
{
	struct change c = {
		.path = path,
		.name = path->dentry,
		.hook = ABI_PATH_TRUNCATE,
		.written = 1,
	};

	return ret ? ret : change(&c, NULL);
}

SEC("lsm/path_chmod")
int BPF_PROG(path_chmod, const struct path *path, unsigned short mode, int ret)
{
	return ret ? ret : change_file(path, ABI_PATH_CHMOD);
}

SEC("lsm/path_chown")
int BPF_PROG(path_chown, const struct path *path, unsigned int uid, unsigned int gid, int ret)
{
	return ret ? ret : change_file(path, ABI_PATH_CHOWN);
}
