/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Sockets: AF_VSOCK is not namespaced, and reaches the agent's port and the runtime's. */

#define AF_VSOCK 40

SEC("lsm/socket_create")
int BPF_PROG(socket_create, int family, int type, int protocol, int kern, int ret)
{
	struct abi_task *label;

	if (ret)
		return ret;
	if (family != AF_VSOCK || kern)
		return 0;
	label = own_label();
	return label ? defend(label, ABI_SOCKET_CREATE) : 0;
}
