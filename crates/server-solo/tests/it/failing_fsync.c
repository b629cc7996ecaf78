/* Makes fsync and fdatasync fail with EIO while a file exists: the one that FSYNC_FAILS names.
   What that file holds is the end of the paths whose sync fails; an empty file means all. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int descriptor) {
    const char *name = getenv("FSYNC_FAILS");
    FILE *file = name ? fopen(name, "r") : NULL;
    if (!file) return 0;
    char suffix[256] = "", link[64], path[4096];
    if (!fgets(suffix, sizeof suffix, file)) suffix[0] = 0;
    fclose(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 1;
    path[length] = 0;
    size_t tail = strlen(suffix);
    return tail <= (size_t)length && strcmp(path + length - tail, suffix) == 0;
}

int fsync(int descriptor) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (fails(descriptor)) { errno = EIO; return -1; }
    return real(descriptor);
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (fails(descriptor)) { errno = EIO; return -1; }
    return real(descriptor);
}
