/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a file rule denies of a file beside its opens and names: its attributes, and to reach who listens
 * at a socket. These hooks know no path: what names a file here is its dentry, in its super block. */

/* Whether the kernel acts with credentials that are not the task's own, as an overlay does in its layers
 * with those of who mounted it: the task has asked for the file in front. */
static __always_inline bool acts_for_overlay(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return (__u64)BPF_CORE_READ(task, cred) != (__u64)BPF_CORE_READ(task, real_cred);
}

static __always_inline int change_attribute(struct dentry *name, __u32 hook)
{
	struct change c = {
		.name = name,
		.shown = name,
		.hook = hook,
		.behind = acts_for_overlay(),
	};

	return change(&c, NULL);
}

SEC("lsm/inode_setxattr")
int BPF_PROG(inode_setxattr, struct mnt_idmap *idmap, struct dentry *dentry, const char *name,
	     const void *value, unsigned long size, int flags, int ret)
{
	return ret || is_unlabelled() ? ret : change_attribute(dentry, ABI_INODE_SETXATTR);
}

SEC("lsm/inode_removexattr")
int BPF_PROG(inode_removexattr, struct mnt_idmap *idmap, struct dentry *dentry, const char *name,
	     int ret)
{
	return ret || is_unlabelled() ? ret : change_attribute(dentry, ABI_INODE_REMOVEXATTR);
}

SEC("lsm/inode_set_acl")
int BPF_PROG(inode_set_acl, struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name,
	     struct posix_acl *kacl, int ret)
{
	return ret || is_unlabelled() ? ret : change_attribute(dentry, ABI_INODE_SET_ACL);
}

SEC("lsm/inode_remove_acl")
int BPF_PROG(inode_remove_acl, struct mnt_idmap *idmap, struct dentry *dentry,
	     const char *acl_name, int ret)
{
	return ret || is_unlabelled() ? ret : change_attribute(dentry, ABI_INODE_REMOVE_ACL);
}

/* include/linux/fs.h */
#define ATTR_MODE (1u << 0)
#define ATTR_UID (1u << 1)
#define ATTR_GID (1u << 2)
#define ATTR_SIZE (1u << 3)
#define ATTR_ATIME (1u << 4)
#define ATTR_MTIME (1u << 5)
#define ATTR_FORCE (1u << 9)

/* utimensat(2) and its like. Of mode, owner and size other hooks of the same call ask; and what the
 * kernel forces is part of something that was asked before. */
static __always_inline bool sets_times(struct iattr *attr)
{
	__u32 set = attr->ia_valid;

	return set & (ATTR_ATIME | ATTR_MTIME) &&
	       !(set & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_SIZE | ATTR_FORCE));
}

/* Whether a change of the file gives this name an inode of its own: an overlay of the host copies a
 * lower file of several names up under one of them, and this kernel sees a new file there. */
static __always_inline bool splits(struct dentry *dentry)
{
	struct inode *inode = inode_of(dentry);

	return inode && is_fuse(inode) && !has_one_name(inode);
}

/* Opens for writing are file_open's. */
SEC("lsm/inode_setattr")
int BPF_PROG(inode_setattr, struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr,
	     int ret)
{
	struct change c = {
		.name = dentry,
		.shown = dentry,
		.hook = ABI_INODE_SETATTR,
	};

	if (ret || is_unlabelled())
		return ret;
	c.guarded = splits(dentry);
	c.guards_only = !sets_times(attr);
	if (!c.guarded && c.guards_only)
		return 0;
	c.behind = acts_for_overlay();
	return change(&c, NULL);
}

/* By the name that the socket was bound to: a rename has changed that of its dentry, and a second name
 * is known by its inode. */
static __always_inline int reach(struct sock *other, __u32 hook)
{
	struct unix_sock *socket = bpf_skc_to_unix_sock(other);
	struct change c = { .hook = hook };

	if (!socket)
		return 0;
	c.name = socket->path.dentry;
	if (!c.name) /* it has no name, or an abstract one */
		return 0;
	c.path = &socket->path;
	return change(&c, NULL);
}

SEC("lsm/unix_stream_connect")
int BPF_PROG(unix_stream_connect, struct sock *from, struct sock *other, struct sock *newsk,
	     int ret)
{
	return ret || is_unlabelled() ? ret : reach(other, ABI_UNIX_STREAM_CONNECT);
}

/* Each datagram, and connect(2) of sockets that send these. */
SEC("lsm/unix_may_send")
int BPF_PROG(unix_may_send, struct socket *from, struct socket *other, int ret)
{
	struct sock *sk;

	if (ret || is_unlabelled())
		return ret;
	sk = other->sk;
	return sk ? reach(sk, ABI_UNIX_MAY_SEND) : 0;
}
