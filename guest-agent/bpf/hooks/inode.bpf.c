/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Inodes: what passes from one to another, and what ends with one. */

SEC("lsm/inode_copy_up")
int BPF_PROG(inode_copy_up, struct dentry *src, struct cred **new, int ret)
{
	struct inode *inode;
	struct scope s;
	int scope;

	if (ret)
		return ret;
	scope = enter(&s, is_unlabelled() ? NULL : own_label());
	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, NULL, ABI_INODE_COPY_UP, ABI_FILE);
	if (!(s.set->flags & (ABI_SET_IDENTITY | ABI_SET_TAINT)))
		return 0;
	inode = inode_of(src);
	if (!inode || begin_copy(&s, inode))
		return refuse(&s, NULL, ABI_INODE_COPY_UP, ABI_FILE);
	return 0;
}

SEC("lsm/inode_free_security")
int BPF_PROG(inode_free_security, struct inode *inode)
{
	if (!inode->i_nlink && (inode->i_mode & S_IFMT) == S_IFREG)
		forget_taint(inode);
	return 0;
}
