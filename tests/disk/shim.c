/* A disk that can be told to fail, and whose every change is written down.
 *
 * Preloaded into a child (LD_PRELOAD), it stands between the program and the C library for the files
 * below one directory:
 *
 *   CRANKCASE_DISK_DIR    the directory, as the program names it
 *   CRANKCASE_DISK_LOG    where each change is written down, before it is made and with what came of
 *                         it after; what the entries mean stands in `power.rs`
 *   CRANKCASE_DISK_FAULT  `call:n:error:once` or `call:n:error:ever`: from the nth call of that sort
 *                         on, or that one alone, the error comes instead. Calls: write, sync,
 *                         truncate, rename, create. Errors: EIO, ENOSPC, and SHORT, which writes half.
 *   CRANKCASE_DISK_ROOM   after so many bytes were written the disk is full: the write that crosses
 *                         them is cut short, and what comes then gets ENOSPC
 *
 * Changes are made one at a time, so that the order in which they are written down is the order in
 * which they are made. A sync is let go of meanwhile: it covers what was written when it began.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, CLOSE, DUP, DONE, FAULT };
enum { FDS = 65536 };

struct entry {
    uint32_t kind;
    uint32_t fd;
    uint64_t id;
    uint64_t offset; /* or a length, or flags */
    int64_t result;
    uint32_t path, other, data;
    uint32_t zero;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FDS];
static char dir[PATH_MAX];
static size_t dir_len;
static int log_fd = -1;
static uint64_t next_id = 1;

static const char *fault_call = "";
static int64_t fault_from;
static int64_t fault_calls;
static int fault_error;
static int fault_short;
static int fault_ever;
static char fault_text[128];
static int64_t room = INT64_MAX;

static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_closedir)(DIR *);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_renameat)(int, const char *, int, const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_mkdirat)(int, const char *, mode_t);
static int (*real_fcntl)(int, int, ...);

static void begin(void);

#define REAL(name) ((void)(real_##name || (real_##name = dlsym(RTLD_NEXT, #name))))

static void note(struct entry *entry, const char *path, const char *other, const void *data) {
    struct iovec parts[4] = {{entry, sizeof *entry}};
    int count = 1;
    if (path) {
        entry->path = strlen(path);
        parts[count++] = (struct iovec){(void *)path, entry->path};
    }
    if (other) {
        entry->other = strlen(other);
        parts[count++] = (struct iovec){(void *)other, entry->other};
    }
    if (entry->data) parts[count++] = (struct iovec){(void *)data, entry->data};
    for (int at = 0; at < count; at++) {
        const char *from = parts[at].iov_base;
        size_t left = parts[at].iov_len;
        while (left > 0) {
            ssize_t wrote = real_write(log_fd, from, left);
            if (wrote <= 0) abort();
            from += wrote;
            left -= wrote;
        }
    }
}

static uint64_t intend(uint32_t kind, int fd, uint64_t offset, const char *path, const char *other,
                       const void *data, size_t len) {
    struct entry entry = {.kind = kind, .fd = fd, .id = next_id++, .offset = offset, .data = len};
    note(&entry, path, other, data);
    return entry.id;
}

static void done(uint64_t id, int64_t result) {
    int error = errno;
    struct entry entry = {.kind = DONE, .id = id, .result = result};
    note(&entry, NULL, NULL, NULL);
    errno = error;
}

/* Whether this call is one that is to fail. */
static int strikes(const char *call) {
    if (strcmp(call, fault_call) != 0) return 0;
    fault_calls++;
    int now = fault_ever ? fault_calls >= fault_from : fault_calls == fault_from;
    if (now) {
        struct entry entry = {.kind = FAULT};
        note(&entry, fault_text, NULL, NULL);
    }
    return now;
}

static void full(void) {
    struct entry entry = {.kind = FAULT};
    note(&entry, "room", NULL, NULL);
    errno = ENOSPC;
}

static __attribute__((constructor)) void begin(void) {
    if (log_fd >= 0) return;
    REAL(openat); REAL(close); REAL(closedir); REAL(write); REAL(pwrite); REAL(fsync);
    REAL(fdatasync); REAL(ftruncate); REAL(renameat); REAL(unlinkat); REAL(mkdirat); REAL(fcntl);
    const char *where = getenv("CRANKCASE_DISK_DIR");
    const char *log = getenv("CRANKCASE_DISK_LOG");
    if (!where || !log) return;
    dir_len = snprintf(dir, sizeof dir, "%s", where);
    const char *fault = getenv("CRANKCASE_DISK_FAULT");
    if (fault && *fault) {
        static char copy[128];
        snprintf(copy, sizeof copy, "%s", fault);
        char *rest = copy;
        fault_call = strsep(&rest, ":");
        fault_from = atoll(strsep(&rest, ":"));
        char *error = strsep(&rest, ":");
        fault_ever = rest && strcmp(rest, "ever") == 0;
        fault_short = strcmp(error, "SHORT") == 0;
        fault_error = strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
        snprintf(fault_text, sizeof fault_text, "%s:%s", fault_call, error);
    }
    const char *bytes = getenv("CRANKCASE_DISK_ROOM");
    if (bytes && *bytes) room = atoll(bytes);
    int fd = real_openat(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    log_fd = real_fcntl(fd, F_DUPFD_CLOEXEC, 1000);
    if (log_fd < 0) log_fd = fd;
    else real_close(fd);
}

static int below(const char *path) {
    return dir_len && strncmp(path, dir, dir_len) == 0 && (path[dir_len] == 0 || path[dir_len] == '/');
}

static const char *of(int fd) {
    return fd >= 0 && fd < FDS ? __atomic_load_n(&paths[fd], __ATOMIC_ACQUIRE) : NULL;
}

static void name(int fd, const char *path) {
    if (fd < 0 || fd >= FDS) return;
    /* The old name is not freed: someone may be looking at it, and children are short-lived. */
    __atomic_store_n(&paths[fd], path ? strdup(path) : NULL, __ATOMIC_RELEASE);
}

/* The whole name of what is called `path` from `at`, if it lies below the directory. */
static const char *whole(int at, const char *path, char *into) {
    if (!path) return NULL;
    if (path[0] != '/') {
        const char *above = at == AT_FDCWD ? NULL : of(at);
        if (!above) return NULL;
        snprintf(into, PATH_MAX, "%s/%s", above, path);
        path = into;
    }
    return below(path) ? path : NULL;
}

static int open_named(int at, const char *path, int flags, mode_t mode) {
    begin();
    char room_for[PATH_MAX];
    const char *known = whole(at, path, room_for);
    if (!known) {
        int fd = real_openat(at, path, flags, mode);
        if (fd >= 0 && of(fd)) name(fd, NULL);
        return fd;
    }
    pthread_mutex_lock(&turn);
    struct stat there;
    int creates = (flags & O_CREAT) && fstatat(at, path, &there, 0) != 0;
    int fd;
    if (creates && (strikes("create") || room <= 0)) {
        if (room <= 0) full(); else errno = fault_error;
        fd = -1;
    } else {
        uint64_t id = intend(OPEN, 0, (uint64_t)flags | ((uint64_t)creates << 32), known, NULL, NULL, 0);
        fd = real_openat(at, path, flags, mode);
        if (fd >= 0) name(fd, known);
        done(id, fd);
    }
    pthread_mutex_unlock(&turn);
    return fd;
}

static mode_t mode_of(int flags, va_list more) {
    return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(more, mode_t) : 0;
}

#define OPENS(function)                                   \
    int function(const char *path, int flags, ...) {      \
        va_list more;                                     \
        va_start(more, flags);                            \
        mode_t mode = mode_of(flags, more);               \
        va_end(more);                                     \
        return open_named(AT_FDCWD, path, flags, mode);   \
    }
#define OPENS_AT(function)                                \
    int function(int at, const char *path, int flags, ...) { \
        va_list more;                                     \
        va_start(more, flags);                            \
        mode_t mode = mode_of(flags, more);               \
        va_end(more);                                     \
        return open_named(at, path, flags, mode);         \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int fd) {
    begin();
    if (of(fd)) name(fd, NULL);
    return real_close(fd);
}

int closedir(DIR *folder) {
    begin();
    int fd = dirfd(folder);
    if (of(fd)) name(fd, NULL);
    return real_closedir(folder);
}

static int duplicate(int fd, int command, long argument) {
    int made = real_fcntl(fd, command, argument);
    if (of(fd) && made >= 0) {
        pthread_mutex_lock(&turn);
        name(made, of(fd));
        done(intend(DUP, fd, made, NULL, NULL, NULL, 0), made);
        pthread_mutex_unlock(&turn);
    }
    return made;
}

int fcntl(int fd, int command, ...) {
    begin();
    va_list more;
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) return duplicate(fd, command, argument);
    return real_fcntl(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    begin();
    va_list more;
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) return duplicate(fd, command, argument);
    return real_fcntl(fd, command, argument);
}

/* Writes at a place, or where the file stands (-1). */
static ssize_t put(int fd, const void *bytes, size_t len, off_t at) {
    pthread_mutex_lock(&turn);
    ssize_t wrote = -1;
    size_t allowed = len;
    int struck = len > 0 && strikes("write");
    if (struck && fault_short && len > 1) allowed = len / 2;
    if (len > 0 && room <= 0) {
        full();
    } else if (struck && !fault_short) {
        errno = fault_error;
    } else {
        if ((int64_t)allowed > room) allowed = room;
        off_t where = at;
        if (at < 0) {
            int flags = real_fcntl(fd, F_GETFL);
            where = lseek(fd, 0, (flags & O_APPEND) ? SEEK_END : SEEK_CUR);
        }
        uint64_t id = intend(WRITE, fd, where, NULL, NULL, bytes, allowed);
        wrote = at < 0 ? real_write(fd, bytes, allowed) : real_pwrite(fd, bytes, allowed, at);
        done(id, wrote);
        if (wrote > 0 && room != INT64_MAX) room -= wrote;
    }
    pthread_mutex_unlock(&turn);
    return wrote;
}

ssize_t write(int fd, const void *bytes, size_t len) {
    begin();
    return of(fd) ? put(fd, bytes, len, -1) : real_write(fd, bytes, len);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    begin();
    return of(fd) ? put(fd, bytes, len, at) : real_pwrite(fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
    return pwrite(fd, bytes, len, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    begin();
    static ssize_t (*real_writev)(int, const struct iovec *, int);
    if (!of(fd)) {
        REAL(writev);
        return real_writev(fd, parts, count);
    }
    /* The first part that is not empty: writing less than was asked is allowed. */
    for (int at = 0; at < count; at++)
        if (parts[at].iov_len) return put(fd, parts[at].iov_base, parts[at].iov_len, -1);
    return 0;
}

static int sync_with(int fd, int (*real)(int)) {
    if (!of(fd)) return real(fd);
    pthread_mutex_lock(&turn);
    int fails = strikes("sync");
    uint64_t id = intend(SYNC, fd, 0, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&turn);
    int result = -1;
    if (fails) errno = fault_error;
    else result = real(fd);
    pthread_mutex_lock(&turn);
    done(id, result);
    pthread_mutex_unlock(&turn);
    return result;
}

int fsync(int fd) {
    begin();
    return sync_with(fd, real_fsync);
}

int fdatasync(int fd) {
    begin();
    return sync_with(fd, real_fdatasync);
}

int ftruncate(int fd, off_t len) {
    begin();
    if (!of(fd)) return real_ftruncate(fd, len);
    pthread_mutex_lock(&turn);
    int result = -1;
    if (strikes("truncate")) {
        errno = fault_error;
    } else {
        uint64_t id = intend(TRUNCATE, fd, len, NULL, NULL, NULL, 0);
        result = real_ftruncate(fd, len);
        done(id, result);
    }
    pthread_mutex_unlock(&turn);
    return result;
}

int ftruncate64(int fd, off64_t len) { return ftruncate(fd, len); }

int renameat(int at, const char *from, int to_at, const char *to) {
    begin();
    char one[PATH_MAX], two[PATH_MAX];
    const char *known = whole(at, from, one), *target = whole(to_at, to, two);
    if (!known || !target) return real_renameat(at, from, to_at, to);
    pthread_mutex_lock(&turn);
    int result = -1;
    if (strikes("rename")) {
        errno = fault_error;
    } else {
        uint64_t id = intend(RENAME, 0, 0, known, target, NULL, 0);
        result = real_renameat(at, from, to_at, to);
        done(id, result);
    }
    pthread_mutex_unlock(&turn);
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int renameat2(int at, const char *from, int to_at, const char *to, unsigned int flags) {
    begin();
    if (flags == 0) return renameat(at, from, to_at, to);
    errno = EINVAL;
    return -1;
}

int unlinkat(int at, const char *path, int flags) {
    begin();
    char into[PATH_MAX];
    const char *known = whole(at, path, into);
    if (!known) return real_unlinkat(at, path, flags);
    pthread_mutex_lock(&turn);
    uint64_t id = intend((flags & AT_REMOVEDIR) ? RMDIR : UNLINK, 0, 0, known, NULL, NULL, 0);
    int result = real_unlinkat(at, path, flags);
    done(id, result);
    pthread_mutex_unlock(&turn);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode) {
    begin();
    char into[PATH_MAX];
    const char *known = whole(at, path, into);
    if (!known) return real_mkdirat(at, path, mode);
    pthread_mutex_lock(&turn);
    int result = -1;
    if (room <= 0) {
        full();
    } else {
        uint64_t id = intend(MKDIR, 0, 0, known, NULL, NULL, 0);
        result = real_mkdirat(at, path, mode);
        done(id, result);
    }
    pthread_mutex_unlock(&turn);
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
