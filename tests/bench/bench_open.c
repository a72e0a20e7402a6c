/* What opening a file costs: the best wall and CPU time of several processes, and their peak memory. By hand:
 *     build/.../bench_open FILE [RUNS] */
#include "base/memory.h"
#include "model/checkpoint.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double cpu_ms(const struct rusage *u) {
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e3 +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e3;
}

/* In a process of its own; `tell` prints what was found. */
static int open_once(const char *path, bool tell) {
    qs_checkpoint *c = NULL;
    qs_err e = QS_ERR_INIT;
    qs_memory_keep(); /* as the program does */
    if (!qs_checkpoint_open(path, NULL, &c, &e)) return fprintf(stderr, "%s\n", e.msg), 1;
    if (tell)
        printf("%s: %u entries, %u records, pickle of %.1f MiB\n", path, qs_checkpoint_count(c),
               qs_container_count(qs_checkpoint_container(c)),
               (double)qs_checkpoint_pickle_bytes(c) / (1 << 20));
    qs_checkpoint_close(c);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    double wall = 1e300, cpu = 1e300;
    long peak = 0;
    if (argc < 2) return fprintf(stderr, "usage: bench_open FILE [RUNS]\n"), 2;
    int runs = argc > 2 ? atoi(argv[2]) : 7;
    for (int i = 0; i < runs; i++) {
        struct rusage u;
        int status;
        double t = now_ms();
        pid_t child = fork();
        if (child < 0) return perror("fork"), 1;
        if (child == 0) _exit(open_once(argv[1], i == 0));
        if (wait4(child, &status, 0, &u) != child || status != 0) return 1;
        t = now_ms() - t;
        if (t < wall) wall = t;
        if (cpu_ms(&u) < cpu) cpu = cpu_ms(&u);
        if (u.ru_maxrss > peak) peak = u.ru_maxrss;
    }
    printf("wall %.1f ms  cpu %.1f ms  rss %.1f MiB\n", wall, cpu, (double)peak / 1024);
    return 0;
}
