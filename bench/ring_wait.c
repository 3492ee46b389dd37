//! Preloaded under valgrind, which holds its lock on all threads while one of them blocks in io_uring_enter: waits in
//! poll(2) instead, which it knows to block, and enters the ring when that has something.
#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/syscall.h>

static long call_kernel(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

static long with_errno(long result) {
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/// Takes the place of the C library's function of this name, through which liburing enters its rings.
long syscall(long number, long a, long b, long c, long d, long e, long f) {
    long ring = a, to_submit = b, to_wait_for = c, flags = d;
    if (number != SYS_io_uring_enter || to_wait_for == 0 || !(flags & IORING_ENTER_GETEVENTS)) {
        return with_errno(call_kernel(number, a, b, c, d, e, f));
    }
    long submitted = 0;
    if (to_submit > 0) {
        submitted = call_kernel(number, ring, to_submit, 0, flags & ~IORING_ENTER_GETEVENTS, e, f);
        if (submitted < 0) {
            return with_errno(submitted);
        }
    }
    struct pollfd readable = {.fd = (int)ring, .events = POLLIN};
    poll(&readable, 1, -1);
    long entered = call_kernel(number, ring, 0, to_wait_for, flags, e, f);
    return entered < 0 ? with_errno(entered) : submitted;
}
