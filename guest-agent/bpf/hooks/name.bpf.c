/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Names: an inode that gets a second one is never judged by its label again, see lib/label.h. */

SEC("lsm/inode_link")
int BPF_PROG(inode_link, struct dentry *old_dentry, struct inode *dir, struct dentry *new_dentry,
	     int ret)
{
	struct inode *inode;
	struct abi_label *label;

	if (ret)
		return ret;
	inode = old_dentry->d_inode;
	if (!inode)
		return 0;
	label = bpf_inode_storage_get(&labels, inode, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!label) {
		count(ABI_FAIL_CLOSED_DENIALS);
		return -ENOMEM;
	}
	/* In this order, see write_label. */
	__sync_lock_test_and_set(&label->linked, 1);
	*(volatile __u64 *)&label->settled = 0;
	return 0;
}
