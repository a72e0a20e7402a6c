/* Every system call of a save fails once: copy, write, fsync, close, rename, link. The input is what it was,
 * nothing is left behind, and the message says which file and why. Short writes and interrupted ones are no
 * failures.
 */
#include "format/zip_write.h"
#include "repair/write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the calls that fail; they replace libc's in this program ---- */

static long countdown = -1; /* of the calls below; -1: never */
static int fault;           /* errno, 0: only be awkward */
static bool awkward;        /* short and interrupted writes */
static bool deadly;         /* the process is killed instead */

static bool hit(void) {
    if (countdown < 0 || countdown-- > 0) return false;
    countdown = -1;
    if (deadly) kill(getpid(), SIGKILL);
    errno = fault;
    return true;
}

static bool spoilt;             /* one byte in the middle of a large write */
static int misplaced = INT_MAX; /* so many copies go right, then one is taken from 64 bytes too far */

static ssize_t write_spoilt(int fd, const void *p, size_t n, off_t at) {
    char *copy = malloc(n);
    if (!copy) return -1;
    memcpy(copy, p, n);
    copy[n / 2] ^= 1;
    ssize_t did = syscall(SYS_pwrite64, fd, copy, n, at);
    free(copy);
    return did;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
    static int turn;
    if (hit()) return -1;
    if (spoilt && n > 100000) return write_spoilt(fd, p, n, at);
    if (awkward && ++turn % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    if (awkward && n > 1) n = n / 2 + 1;
    return syscall(SYS_pwrite64, fd, p, n, at);
}

static bool no_kernel_copy; /* as between file systems of different kinds */
static size_t kernel_copied;

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    if (hit()) return -1;
    if (no_kernel_copy) {
        errno = EXDEV;
        return -1;
    }
    if (awkward && n > 1) n = n / 2 + 1;
    kernel_copied += n;
    if (misplaced-- == 0) {
        off64_t wrong = *from + 64;
        return syscall(SYS_copy_file_range, in, &wrong, out, to, n, flags);
    }
    return syscall(SYS_copy_file_range, in, from, out, to, n, flags);
}

ssize_t write(int fd, const void *p, size_t n) {
    static int turn;
    if (fd > 2 && hit()) return -1;
    if (awkward && ++turn % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    if (awkward && n > 1) n = n / 2 + 1;
    return syscall(SYS_write, fd, p, n);
}

static int synced;

int fsync(int fd) {
    synced++;
    return hit() ? -1 : (int)syscall(SYS_fsync, fd);
}

/* A network's file system, or one with quotas, tells there what could not be written. */
int close(int fd) {
    bool written = fd > 2 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int done = (int)syscall(SYS_close, fd);
    return written && hit() ? -1 : done;
}
int rename(const char *from, const char *to) {
    return hit() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
int link(const char *from, const char *to) {
    return hit() ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- a checkpoint ---- */

static qs_err err;
static char dir[32], input[64], output[64], backup[64];

/* {"w": a float tensor of 300000 x 1, "v": another on the same storage} */
#define TENSOR                                                                                               \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                   \
    "0X\3\0\0\0cpuJ\xe0\x93\4\0tQK\0J\xe0\x93\4\0K\1\x86K\1K\1\x86\x89"                                      \
    "ccollections\nOrderedDict\n)RtR"
static const char pickle[] = "\x80\2}X\1\0\0\0w" TENSOR "sX\1\0\0\0v" TENSOR "s.";
enum { SET_FILES = 4 }; /* in.pt, and its set: a file for each tensor and the index */

static bool content(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)ctx, (void)e;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)buf)[i] = (unsigned char)((offset + i) * 2654435761u >> 9);
    return true;
}

static bool text(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)ctx + offset, n);
    return true;
}

static int setup(void **state) {
    (void)state;
    qs_zip_out *z = NULL;
    strcpy(dir, "/tmp/qatscope-faults-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(input, sizeof input, "%s/in.pt", dir);
    snprintf(output, sizeof output, "%s/out.pt", dir);
    snprintf(backup, sizeof backup, "%s/in.pt.bak", dir);
    int fd = open(input, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(qs_zip_out_open(fd, QS_STR("in"), &z, &err));
    assert_true(qs_zip_out_add(z, QS_STR("version"), 2, text, (void *)(uintptr_t) "3\n", &err));
    assert_true(qs_zip_out_add(z, QS_STR("data/0"), 1200000, content, NULL, &err));
    assert_true(
        qs_zip_out_add(z, QS_STR("data.pkl"), sizeof pickle - 1, text, (void *)(uintptr_t)pickle, &err));
    if (!qs_zip_out_close(z, NULL, &err)) fail_msg("%s", err.msg);
    close(fd);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static int count_files(void) {
    char command[64];
    int n = 0;
    snprintf(command, sizeof command, "ls -A %s | wc -l", dir);
    FILE *p = popen(command, "r");
    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

static void must_be_whole(const char *path) {
    qs_checkpoint *c = NULL;
    float got[4], want[4];
    err = (qs_err)QS_ERR_INIT;
    if (!qs_checkpoint_open(path, NULL, &c, &err)) fail_msg("%s", err.msg);
    content(NULL, 4 * 299996, want, sizeof want, NULL);
    assert_true(qs_storage_read(c, 0, 4 * 299996, got, sizeof got, &err));
    assert_memory_equal(got, want, sizeof want);
    qs_checkpoint_close(c);
}

static bool save_as(const char *path, const qs_write_options *opt) {
    qs_checkpoint *a = NULL;
    qs_resolution *r = NULL;
    err = (qs_err)QS_ERR_INIT;
    assert_true(qs_checkpoint_open(input, NULL, &a, &err));
    assert_true(qs_resolve(&(qs_resolve_input){.a = a}, &r, &err));
    bool ok = qs_write_pt(r, path, opt, &err);
    qs_resolution_free(r);
    qs_checkpoint_close(a);
    return ok;
}

static bool save(const char *path, bool in_place) {
    return save_as(path, &(qs_write_options){.in_place = in_place});
}

/* ---- tests ---- */

/* The old file, where only giving it the backup's name failed: the message says where it is. 1 if it was
 * there. */
static int remove_kept(const char *message) {
    const char *at = strstr(message, "kept as ");
    if (!at) return 0;
    char path[4096];
    at += strlen("kept as ");
    snprintf(path, sizeof path, "%.*s", (int)strcspn(at, ":"), at);
    must_be_whole(path);
    return unlink(path) == 0;
}

static void every_call_fails(const char *path, bool in_place, int number) {
    static const char *const says[] = {"No space", "Input/output", "Read-only"};
    static const int faults[] = {ENOSPC, EIO, EROFS};
    long nth = 0;
    for (bool reached = true; reached; nth++) {
        countdown = nth;
        fault = faults[number];
        bool ok = save(path, in_place);
        reached = countdown < 0;
        countdown = -1;
        qs_err got = err;
        must_be_whole(input);
        if (!reached) {
            assert_true(ok);
            break;
        }
        if (ok) fail_msg("call %ld failed and nobody noticed", nth);
        assert_int_equal(got.code, QS_E_IO);
        if (!strstr(got.msg, says[number]) || !strstr(got.msg, dir)) fail_msg("call %ld: %s", nth, got.msg);
        /* After the rename only the directory's fsync can fail: the new file is there, and the error is told.
         */
        int files = 1 + (access(output, F_OK) == 0) + (access(backup, F_OK) == 0);
        if (access(output, F_OK) == 0) must_be_whole(output);
        files += remove_kept(got.msg);
        if (count_files() + (strstr(got.msg, "kept as ") != NULL) != files)
            fail_msg("call %ld left something behind: %s", nth, got.msg);
        unlink(output);
        unlink(backup);
    }
    assert_in_range(nth, 5, 40);
    must_be_whole(path);
}

/* The set opens and holds what the input does. */
static void must_be_set(const char *index) {
    qs_checkpoint *c = NULL;
    float got[4], want[4];
    err = (qs_err)QS_ERR_INIT;
    if (!qs_checkpoint_open(index, NULL, &c, &err)) fail_msg("%s", err.msg);
    content(NULL, 4 * 299996, want, sizeof want, NULL);
    assert_int_equal(qs_checkpoint_count(c), 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(qs_tensor_read(c, qs_checkpoint_tensor(c, i), 299996, 4, got, &err));
        assert_memory_equal(got, want, sizeof want);
    }
    qs_checkpoint_close(c);
}

/* before: files there when the save begins, all of the set itself. */
static void every_call_of_a_set_fails(const char *index, int before) {
    long nth = 0;
    for (bool reached = true; reached; nth++) {
        countdown = nth;
        fault = EIO;
        bool ok = save_as(index, &(qs_write_options){.overwrite = true, .shard_bytes = 1});
        reached = countdown < 0;
        countdown = -1;
        qs_err got = err;
        must_be_whole(input);
        if (!reached) {
            assert_true(ok);
            break;
        }
        if (ok) fail_msg("call %ld failed and nobody noticed", nth);
        if (!strstr(got.msg, "Input/output")) fail_msg("call %ld: %s", nth, got.msg);
        if (access(index, F_OK) == 0) must_be_set(index);
        int files = count_files();
        /* All of it is there where only the directory's fsync failed. */
        if (files != before && files != SET_FILES) fail_msg("call %ld: %d files, %s", nth, files, got.msg);
        if (before == 1 && files == SET_FILES) {
            char command[64];
            snprintf(command, sizeof command, "rm %s/out*", dir);
            assert_int_equal(system(command), 0);
        }
    }
    assert_in_range(nth, 12, 60);
    must_be_set(index);
}

/* Saves in a process that is killed at its nth call; false when there were fewer. */
static bool killed_at(long nth, const char *path, const qs_write_options *opt) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        deadly = true;
        countdown = nth;
        _exit(!save_as(path, opt));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || status == 0);
    return WIFSIGNALED(status);
}

static void clean(void) {
    char command[160];
    snprintf(command, sizeof command, "cd %s && rm -rf out* .[!.]* in.pt.bak", dir);
    assert_int_equal(system(command), 0);
}

/* Killed at any call: the input is whole, and what has the name of the output is whole too. */
static void test_killed_at_every_call(void **state) {
    (void)state;
    char names[3][80];
    snprintf(names[0], sizeof names[0], "%s/out.pt", dir);
    snprintf(names[1], sizeof names[1], "%s/out.safetensors", dir);
    snprintf(names[2], sizeof names[2], "%s/out.safetensors.index.json", dir);
    for (int i = 0; i < 6; i++) {
        const char *name = names[i % 3];
        bool again = i >= 3; /* over what is there */
        long nth = 0;
        for (bool died = true; died; nth++) {
            if (again && !save_as(name, &(qs_write_options){.shard_bytes = 1})) fail_msg("%s", err.msg);
            died = killed_at(nth, name, &(qs_write_options){.overwrite = again, .shard_bytes = 1});
            must_be_whole(input);
            if (access(name, F_OK) == 0) must_be_set(name);
            if (again && i % 3 < 2) assert_int_equal(access(name, F_OK), 0);
            if (!died) assert_int_equal(access(name, F_OK), 0);
            clean();
        }
        assert_in_range(nth, 4, 40);
    }
    for (long nth = 0; killed_at(nth, input, &(qs_write_options){.in_place = true}); nth++) {
        must_be_whole(input);
        clean();
    }
    must_be_whole(input);
    must_be_whole(backup);
}

static void test_a_set(void **state) {
    (void)state;
    char index[80];
    snprintf(index, sizeof index, "%s/out.safetensors.index.json", dir);
    every_call_of_a_set_fails(index, 1);
    every_call_of_a_set_fails(index, SET_FILES);
}

static void test_safetensors(void **state) {
    (void)state;
    snprintf(output, sizeof output, "%s/out.safetensors", dir);
    for (int i = 0; i < 3; i++) {
        every_call_fails(output, false, i);
        unlink(output);
    }
}

static void test_a_new_file(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        every_call_fails(output, false, i);
        unlink(output);
    }
}

static void test_in_place(void **state) {
    (void)state;
    every_call_fails(input, true, 1);
    must_be_whole(backup);
}

static void test_awkward_writes_are_no_failures(void **state) {
    (void)state;
    awkward = true;
    if (!save(output, false)) fail_msg("%s", err.msg);
    awkward = false;
    must_be_whole(output);
}

static void same_files(const char *a, const char *b) {
    char command[160];
    snprintf(command, sizeof command, "cmp %s %s", a, b);
    assert_int_equal(system(command), 0);
}

/* Copied by the kernel or not, the file is the same. */
static void test_without_the_kernel(void **state) {
    (void)state;
    char other[64], third[64];
    snprintf(other, sizeof other, "%s/other.pt", dir);
    snprintf(third, sizeof third, "%s/third.pt", dir);
    kernel_copied = 0;
    assert_true(save(output, false));
    assert_in_range(kernel_copied, 1200000, 1300000);
    no_kernel_copy = true;
    assert_true(save(other, false));
    no_kernel_copy = false;
    must_be_whole(other);
    same_files(output, other);
    /* What we wrote is copied from its first byte to data.pkl in whole blocks, which a file system may share.
     */
    unlink(input);
    assert_int_equal(syscall(SYS_renameat, AT_FDCWD, other, AT_FDCWD, input), 0);
    kernel_copied = 0;
    assert_true(save(third, false));
    assert_in_range(kernel_copied, 1200000, 1300000);
    same_files(output, third);
    no_kernel_copy = true;
    assert_true(save(third, false) == false); /* it exists */
    unlink(third);
    assert_true(save(third, false));
    no_kernel_copy = false;
    same_files(output, third);
}

/* What passed through our hands is read again whole, what the kernel copied at its ends. */
static void test_what_is_written_wrong_is_not_saved(void **state) {
    (void)state;
    spoilt = no_kernel_copy = true;
    assert_false(save(output, false));
    if (!strstr(err.msg, "has other bytes")) fail_msg("%s", err.msg);
    assert_int_equal(access(output, F_OK), -1);
    spoilt = no_kernel_copy = false;
    assert_true(save(output, false));
    must_be_whole(output);
}

/* Each of the pieces that the kernel copies, whichever of them is taken from a wrong place. */
static void test_what_is_copied_from_elsewhere_is_not_saved(void **state) {
    (void)state;
    int nth = 0;
    for (misplaced = 0; !save(output, false); misplaced = ++nth) {
        if (!strstr(err.msg, "has other bytes")) fail_msg("copy %d: %s", nth, err.msg);
        assert_int_equal(count_files(), 1);
    }
    misplaced = INT_MAX;
    assert_in_range(nth, 3, 10);
    must_be_whole(output);
}

/* Only where an old file could be lost; what is new is in the kernel's hands, as after cp. */
static void test_what_is_synced(void **state) {
    (void)state;
    char name[80];
    static const char *const ends[] = {"pt", "safetensors", "safetensors.index.json"};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/out.%s", dir, ends[i]);
        synced = 0;
        assert_true(save_as(name, &(qs_write_options){.shard_bytes = 1}));
        assert_int_equal(synced, 0);
        assert_true(save_as(name, &(qs_write_options){.shard_bytes = 1, .overwrite = true}));
        assert_int_equal(synced, i < 2 ? 2 : SET_FILES); /* the folder too; of the set its three files */
    }
    synced = 0;
    assert_true(save(input, true));
    assert_int_equal(synced, 2);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_a_new_file),
                                       TEST(test_in_place),
                                       TEST(test_without_the_kernel),
                                       TEST(test_what_is_copied_from_elsewhere_is_not_saved),
                                       TEST(test_what_is_synced),
                                       TEST(test_what_is_written_wrong_is_not_saved),
                                       TEST(test_a_set),
                                       TEST(test_safetensors),
                                       TEST(test_killed_at_every_call),
                                       TEST(test_awkward_writes_are_no_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
