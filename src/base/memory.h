/* How the C library and the kernel hand out memory. */
#ifndef QS_BASE_MEMORY_H
#define QS_BASE_MEMORY_H

/* For a program that makes large structures, the same ones again and again: what is freed stays with the
 * process, and is made of large pages where the system has them. Else most of the time goes into the faults
 * that bring the same memory in anew, 4 KiB at a time. To be called once, before much is allocated; a system
 * that cannot is none the worse. */
void qs_memory_keep(void);

#endif
