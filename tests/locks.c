/* SPDX-License-Identifier: Apache-2.0 */
/* Locks as Lustre may have them, for LD_PRELOAD: LOCKS=none grants everything to everybody
   (localflock, seen from several nodes), LOCKS=ENOSYS and LOCKS=ENOLCK refuse (noflock).
   CLOCK_OFFSET puts the clock wrong, in seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int is_replaced(void) { return getenv("LOCKS") != NULL; }

static int answer(void)
{
    const char *locks = getenv("LOCKS");
    if (strcmp(locks, "none") == 0)
        return 0;
    errno = strcmp(locks, "ENOSYS") == 0 ? ENOSYS : ENOLCK;
    return -1;
}

int flock(int descriptor, int operation)
{
    return is_replaced() ? answer() : syscall(SYS_flock, descriptor, operation);
}

static int control(int descriptor, int command, void *argument)
{
    switch (command) {
    case F_SETLK: case F_SETLKW: case F_OFD_SETLK: case F_OFD_SETLKW:
        if (is_replaced())
            return answer();
    }
    return syscall(SYS_fcntl, descriptor, command, argument);
}

#define CONTROL(name)                                \
    int name(int descriptor, int command, ...)       \
    {                                                \
        va_list arguments;                           \
        va_start(arguments, command);                \
        void *argument = va_arg(arguments, void *);  \
        va_end(arguments);                           \
        return control(descriptor, command, argument); \
    }

CONTROL(fcntl)
CONTROL(fcntl64)

static long offset(void)
{
    const char *text = getenv("CLOCK_OFFSET");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += offset();
    return result;
}

time_t time(time_t *now)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now)
        *now = found.tv_sec;
    return found.tv_sec;
}

/* Files are stamped by whoever writes them, as on Lustre. */
int utimensat(int directory, const char *path, const struct timespec times[2], int flags)
{
    struct timespec now[2];
    if (times == NULL) {
        clock_gettime(CLOCK_REALTIME, &now[0]);
        now[1] = now[0];
        times = now;
    }
    return syscall(SYS_utimensat, directory, path, times, flags);
}

int futimens(int descriptor, const struct timespec times[2])
{
    return utimensat(descriptor, NULL, times, 0);
}
