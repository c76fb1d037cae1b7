// Disk faults for a real process: a library that is loaded before libc (LD_PRELOAD) and stands between the process and
// the files below one folder. tools/disk-shim.ts builds it, steers it and reads its journal.
//
// DISK_SHIM_ROOT     absolute path of the folder; nothing else is touched
// DISK_SHIM_CONTROL  a file of 32-bit words that are read before each call, see `struct control`
// DISK_SHIM_JOURNAL  optional: what a power cut would take. Every change is noted here before it is made, and struck off when a
//                    sync makes it durable; so the changes can be taken back after the process was killed.
#define _GNU_SOURCE
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define ALWAYS 0xffffffffu
#define FDS 65536
#define KEPT 4096

// Words of the control file, in this order. The first ones are set from outside, the last ones count.
struct control {
  volatile uint32_t sync_errors;  // so many syncs fail with EIO (ALWAYS: all)
  volatile uint32_t write_errors; // so many writes fail with EIO
  volatile uint32_t read_errors;  // so many reads fail with EIO
  volatile uint32_t no_space;     // 1: what needs room fails with ENOSPC, the first time after half of it
  volatile uint32_t sync_lies;    // 1: syncs succeed and do nothing
  volatile uint32_t stuck;        // 1: writes and syncs wait until this is 0
  volatile uint32_t write_delay_us;
  volatile uint32_t sync_delay_us;
  volatile uint32_t syncs;    // counts
  volatile uint32_t writes;   // counts
  volatile uint32_t injected; // counts errors given, and lies
};

static struct control none;
static struct control *control = &none;
static char root[PATH_MAX];
static size_t root_length;
static int journal = -1;
static char journal_path[PATH_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int half_done;

// Which descriptors belong to files below the root, by inode: a stale entry never matches.
static struct {
  dev_t device;
  ino_t inode;
} files[FDS];

// What is in the journal and not durable yet: when nothing is, the journal begins anew.
static long pending;
static struct {
  uint64_t key; // inode of a file, or of a folder for changes of names
  long changes;
  long lost; // of those, covered by a failed sync: no later sync makes them durable
} open_changes[KEPT];
static int open_count;

// Files that are kept under a second name for the journal's sake.
static char *kept_files[KEPT];
static int kept_count;

#define REAL(name) ((__typeof__(&name))real_##name())
#define DEFINE_REAL(name)                      \
  static void *real_##name(void) {             \
    static void *found;                        \
    if (found == NULL) found = dlsym(RTLD_NEXT, #name); \
    return found;                              \
  }
DEFINE_REAL(open64)
DEFINE_REAL(write)
DEFINE_REAL(writev)
DEFINE_REAL(pwrite64)
DEFINE_REAL(pwritev)
DEFINE_REAL(read)
DEFINE_REAL(pread64)
DEFINE_REAL(preadv)
DEFINE_REAL(fsync)
DEFINE_REAL(fdatasync)
DEFINE_REAL(ftruncate64)
DEFINE_REAL(rename)
DEFINE_REAL(unlink)

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("DISK_SHIM_ROOT");
  if (folder == NULL || folder[0] != '/' || realpath(folder, root) == NULL) return;
  root_length = strlen(root);
  const char *steering = getenv("DISK_SHIM_CONTROL");
  if (steering != NULL) {
    int fd = REAL(open64)(steering, O_RDWR | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof(struct control)) {
      void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (mapped != MAP_FAILED) control = mapped;
    }
    if (fd >= 0) close(fd);
  }
  const char *notes = getenv("DISK_SHIM_JOURNAL");
  if (notes == NULL) return;
  snprintf(journal_path, sizeof journal_path, "%s", notes);
  journal = REAL(open64)(notes, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
  // What an earlier process left is pending for good: the journal then only grows, until it is read.
  struct stat st;
  if (journal >= 0 && fstat(journal, &st) == 0 && st.st_size > 0) pending = 1;
}

static int is_below(const char *path, char *whole) {
  if (root_length == 0) return 0;
  if (path[0] == '/') snprintf(whole, PATH_MAX, "%s", path);
  else {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == NULL) return 0;
    if (snprintf(whole, PATH_MAX, "%s/%s", here, path) >= PATH_MAX) return 0;
  }
  return strncmp(whole, root, root_length) == 0 && (whole[root_length] == '/' || whole[root_length] == '\0');
}

static int is_tracked(int fd, struct stat *st) {
  if (root_length == 0 || fd < 0 || fd >= FDS || files[fd].inode == 0) return 0;
  if (fstat(fd, st) != 0) return 0;
  return st->st_ino == files[fd].inode && st->st_dev == files[fd].device;
}

static int take(volatile uint32_t *count) {
  uint32_t now = *count;
  if (now == 0) return 0;
  if (now != ALWAYS) *count = now - 1;
  control->injected++;
  return 1;
}

static void wait_for(volatile uint32_t *delay_us) {
  while (control->stuck != 0) usleep(5000);
  if (*delay_us > 0) usleep(*delay_us);
}

// --- The journal ---

struct record {
  uint32_t magic;
  uint32_t type;
  uint64_t key; // inode of the file, or of the folder
  uint64_t a;
  uint64_t b;
  uint32_t first; // bytes of the three parts that follow
  uint32_t second;
  uint32_t third;
  uint32_t zero;
};

static void note(char type, uint64_t key, uint64_t a, uint64_t b, const void *first, size_t first_length, const void *second, size_t second_length, const void *third, size_t third_length) {
  struct record head = {0x4d485344, (uint32_t)type, key, a, b, (uint32_t)first_length, (uint32_t)second_length, (uint32_t)third_length, 0};
  struct iovec parts[4] = {{&head, sizeof head}, {(void *)first, first_length}, {(void *)second, second_length}, {(void *)third, third_length}};
  REAL(writev)(journal, parts, 4);
}

static void add_change(uint64_t key) {
  pending++;
  for (int at = 0; at < open_count; at++) {
    if (open_changes[at].key != key) continue;
    open_changes[at].changes++;
    return;
  }
  if (open_count == KEPT) return; // Then the journal is not begun anew any more; nothing else depends on this.
  open_changes[open_count].key = key;
  open_changes[open_count].changes = 1;
  open_changes[open_count++].lost = 0;
}

static long changes_of(uint64_t key) {
  for (int at = 0; at < open_count; at++) if (open_changes[at].key == key) return open_changes[at].changes;
  return 0;
}

static void settle(uint64_t key, long changes) {
  for (int at = 0; at < open_count; at++) {
    if (open_changes[at].key != key) continue;
    long durable = changes - open_changes[at].lost;
    if (durable <= 0) return;
    open_changes[at].changes -= durable;
    pending -= durable;
    if (open_changes[at].changes == 0) open_changes[at] = open_changes[--open_count];
    break;
  }
  if (pending > 0) return;
  if (REAL(ftruncate64)(journal, 0) != 0) abort();
  while (kept_count > 0) {
    REAL(unlink)(kept_files[--kept_count]);
    free(kept_files[kept_count]);
  }
}

static void lose(uint64_t key) {
  for (int at = 0; at < open_count; at++) if (open_changes[at].key == key) open_changes[at].lost = open_changes[at].changes;
}

// Notes a write of `length` bytes at `offset`, given in pieces, with what it overwrites.
static void note_write(int fd, const struct stat *st, const struct iovec *pieces, int count, off_t offset, size_t length) {
  size_t overwritten = 0;
  if (offset < st->st_size) overwritten = (size_t)(st->st_size - offset) < length ? (size_t)(st->st_size - offset) : length;
  char *old = malloc(overwritten + 1);
  char *fresh = malloc(length + 1);
  if (old == NULL || fresh == NULL) abort();
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (overwritten > 0) {
    int again = REAL(open64)(link, O_RDONLY | O_CLOEXEC);
    if (again < 0 || REAL(pread64)(again, old, overwritten, offset) != (ssize_t)overwritten) abort();
    close(again);
  }
  size_t at = 0;
  for (int piece = 0; piece < count && at < length; piece++) {
    size_t part = pieces[piece].iov_len < length - at ? pieces[piece].iov_len : length - at;
    memcpy(fresh + at, pieces[piece].iov_base, part);
    at += part;
  }
  note('W', st->st_ino, (uint64_t)offset, (uint64_t)st->st_size, old, overwritten, fresh, length, NULL, 0);
  add_change(st->st_ino);
  free(old);
  free(fresh);
}

static void note_truncate(int fd, const struct stat *st, off_t size) {
  size_t cut = st->st_size > size ? (size_t)(st->st_size - size) : 0;
  char *old = malloc(cut + 1);
  if (old == NULL) abort();
  if (cut > 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = REAL(open64)(link, O_RDONLY | O_CLOEXEC);
    if (again < 0 || REAL(pread64)(again, old, cut, size) != (ssize_t)cut) abort();
    close(again);
  }
  note('T', st->st_ino, (uint64_t)size, (uint64_t)st->st_size, old, cut, NULL, 0, NULL, 0);
  add_change(st->st_ino);
  free(old);
}

static uint64_t folder_of(const char *path) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s", path);
  char *slash = strrchr(folder, '/');
  if (slash != NULL) *slash = '\0';
  struct stat st;
  return stat(folder, &st) == 0 ? st.st_ino : 0;
}

// Keeps a file that loses its name, so that a power cut can bring the name back.
static void keep(const char *path, char *kept) {
  static unsigned serial;
  kept[0] = '\0';
  struct stat st;
  if (stat(path, &st) != 0) return;
  if (snprintf(kept, PATH_MAX, "%s.kept-%d-%u", journal_path, (int)getpid(), serial++) >= PATH_MAX || link(path, kept) != 0) {
    kept[0] = '\0';
    return;
  }
  if (kept_count < KEPT) kept_files[kept_count++] = strdup(kept);
}

// --- What the process calls ---

static int opened(int fd, const char *whole, int existed) {
  struct stat st;
  if (fd < 0 || fd >= FDS || fstat(fd, &st) != 0) return fd;
  files[fd].device = st.st_dev;
  files[fd].inode = st.st_ino;
  if (journal >= 0 && !existed) {
    uint64_t folder = folder_of(whole);
    note('C', folder, st.st_ino, 0, whole, strlen(whole), NULL, 0, NULL, 0);
    add_change(folder);
  }
  return fd;
}

int open64(const char *path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  char whole[PATH_MAX];
  if (!is_below(path, whole)) return REAL(open64)(path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat st;
  int existed = stat(whole, &st) == 0;
  int fd = -1;
  if (!existed && (flags & O_CREAT) != 0 && control->no_space != 0) {
    control->injected++;
    errno = ENOSPC;
  } else {
    int truncates = existed && (flags & O_TRUNC) != 0 && S_ISREG(st.st_mode) && st.st_size > 0;
    fd = REAL(open64)(path, truncates ? flags & ~O_TRUNC : flags, mode);
    if (fd >= 0 && truncates) {
      if (journal >= 0) note_truncate(fd, &st, 0);
      if (REAL(ftruncate64)(fd, 0) != 0) abort();
    }
    if (fd >= 0) opened(fd, whole, existed);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

int open(const char *path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  return open64(path, flags, mode);
}

static ssize_t write_at(int fd, const struct stat *st, const struct iovec *pieces, int count, off_t offset) {
  wait_for(&control->write_delay_us);
  pthread_mutex_lock(&lock);
  control->writes++;
  size_t length = 0;
  for (int piece = 0; piece < count; piece++) length += pieces[piece].iov_len;
  ssize_t written = -1;
  if (control->no_space == 0) half_done = 0;
  if (take(&control->write_errors)) errno = EIO;
  else if (control->no_space != 0 && offset + (off_t)length > st->st_size && (half_done || length < 2)) {
    control->injected++;
    errno = ENOSPC;
  } else {
    if (control->no_space != 0 && offset + (off_t)length > st->st_size) {
      half_done = 1;
      length = length / 2;
    }
    if (journal >= 0) note_write(fd, st, pieces, count, offset, length);
    char *bytes = malloc(length + 1);
    if (bytes == NULL) abort();
    size_t at = 0;
    for (int piece = 0; piece < count && at < length; piece++) {
      size_t part = pieces[piece].iov_len < length - at ? pieces[piece].iov_len : length - at;
      memcpy(bytes + at, pieces[piece].iov_base, part);
      at += part;
    }
    written = REAL(pwrite64)(fd, bytes, length, offset);
    free(bytes);
  }
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
  struct stat st;
  if (!is_tracked(fd, &st)) return REAL(pwritev)(fd, pieces, count, offset);
  return write_at(fd, &st, pieces, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
  struct stat st;
  if (!is_tracked(fd, &st)) return REAL(pwrite64)(fd, bytes, length, offset);
  struct iovec piece = {(void *)bytes, length};
  return write_at(fd, &st, &piece, 1, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
  struct stat st;
  if (!is_tracked(fd, &st)) return REAL(writev)(fd, pieces, count);
  off_t offset = lseek(fd, 0, SEEK_CUR);
  ssize_t written = write_at(fd, &st, pieces, count, offset);
  if (written > 0) lseek(fd, offset + written, SEEK_SET);
  return written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  struct stat st;
  if (!is_tracked(fd, &st)) return REAL(write)(fd, bytes, length);
  struct iovec piece = {(void *)bytes, length};
  return writev(fd, &piece, 1);
}

static int read_fails(int fd) {
  struct stat st;
  if (control->read_errors == 0 || !is_tracked(fd, &st) || !S_ISREG(st.st_mode) || !take(&control->read_errors)) return 0;
  errno = EIO;
  return 1;
}

ssize_t read(int fd, void *bytes, size_t length) {
  return read_fails(fd) ? -1 : REAL(read)(fd, bytes, length);
}

ssize_t pread64(int fd, void *bytes, size_t length, off_t offset) {
  return read_fails(fd) ? -1 : REAL(pread64)(fd, bytes, length, offset);
}

ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t offset) {
  return read_fails(fd) ? -1 : REAL(preadv)(fd, pieces, count, offset);
}

int ftruncate64(int fd, off_t size) {
  struct stat st;
  if (!is_tracked(fd, &st)) return REAL(ftruncate64)(fd, size);
  pthread_mutex_lock(&lock);
  if (journal >= 0) note_truncate(fd, &st, size);
  int result = REAL(ftruncate64)(fd, size);
  pthread_mutex_unlock(&lock);
  return result;
}

static int sync_with(int fd, const struct stat *st, int (*real)(int)) {
  wait_for(&control->sync_delay_us);
  uint64_t key = st->st_ino;
  pthread_mutex_lock(&lock);
  control->syncs++;
  int fails = take(&control->sync_errors);
  int lies = !fails && control->sync_lies != 0;
  if (lies) control->injected++;
  if (fails && journal >= 0 && S_ISREG(st->st_mode)) {
    // As on Linux: the pages count as clean from now on, whether they reached the disk or not. Not so names: the file system journals them, and
    // either the next sync of the folder makes them durable or nothing more is written at all.
    note('F', key, 0, 0, NULL, 0, NULL, 0, NULL, 0);
    lose(key);
  }
  struct stat end;
  uint64_t upto = journal >= 0 && fstat(journal, &end) == 0 ? (uint64_t)end.st_size : 0;
  long changes = changes_of(key);
  pthread_mutex_unlock(&lock);
  if (fails) {
    errno = EIO;
    return -1;
  }
  if (lies) return 0;
  if (real(fd) != 0) return -1;
  if (journal >= 0) {
    pthread_mutex_lock(&lock);
    note('S', key, upto, 0, NULL, 0, NULL, 0, NULL, 0);
    settle(key, changes);
    pthread_mutex_unlock(&lock);
  }
  return 0;
}

int fsync(int fd) {
  struct stat st;
  return is_tracked(fd, &st) ? sync_with(fd, &st, REAL(fsync)) : REAL(fsync)(fd);
}

int fdatasync(int fd) {
  struct stat st;
  return is_tracked(fd, &st) ? sync_with(fd, &st, REAL(fdatasync)) : REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to) {
  char whole_from[PATH_MAX];
  char whole_to[PATH_MAX];
  if (journal < 0 || !is_below(from, whole_from) || !is_below(to, whole_to)) return REAL(rename)(from, to);
  pthread_mutex_lock(&lock);
  char kept[PATH_MAX];
  keep(whole_to, kept);
  uint64_t folder = folder_of(whole_to);
  note('R', folder, 0, 0, whole_from, strlen(whole_from), whole_to, strlen(whole_to), kept, strlen(kept));
  add_change(folder);
  int result = REAL(rename)(from, to);
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) {
  char whole[PATH_MAX];
  if (journal < 0 || !is_below(path, whole)) return REAL(unlink)(path);
  pthread_mutex_lock(&lock);
  char kept[PATH_MAX];
  keep(whole, kept);
  uint64_t folder = folder_of(whole);
  note('U', folder, 0, 0, whole, strlen(whole), kept, strlen(kept), NULL, 0);
  add_change(folder);
  int result = REAL(unlink)(path);
  pthread_mutex_unlock(&lock);
  return result;
}
