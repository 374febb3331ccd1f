/* SPDX-License-Identifier: GPL-2.0-only */
/* <linux/mm.h>: vm_flags are changed by functions since 6.3. */
#ifndef KVMI_COMPAT_MM_H
#define KVMI_COMPAT_MM_H

#include <linux/mm.h>

static inline void compat_vm_flags_set(struct vm_area_struct *vma,
				       unsigned long flags)
{
#ifdef KVMI_HAS_VM_FLAGS_SET
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

static inline void compat_vm_flags_clear(struct vm_area_struct *vma,
					 unsigned long flags)
{
#ifdef KVMI_HAS_VM_FLAGS_SET
	vm_flags_clear(vma, flags);
#else
	vma->vm_flags &= ~flags;
#endif
}

#endif /* KVMI_COMPAT_MM_H */
