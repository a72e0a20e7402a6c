/* The built-in demonstration: a float YOLOv8n, its QAT twin and the manifest of the twin, made on the spot.
 * The structure is the real one (demo_net.h), the values are small deterministic numbers: two runs write the
 * same bytes. */
#ifndef QS_DEMO_H
#define QS_DEMO_H

#include "base/err.h"

typedef struct qs_demo_paths {
    char a[4096];        /* DIR/yolov8n-float.pt: 355 entries */
    char b[4096];        /* DIR/yolov8n-qat.pt: 1783 entries, its quantizers filled as after some training */
    char manifest[4096]; /* DIR/yolov8n-qat.json */
} qs_demo_paths;

/* Writes the three files (26 MB) into dir, which is made if its parent exists. Existing files of these names
 * are replaced, each in one step. */
bool qs_demo_write(const char *dir, qs_demo_paths *out, qs_err *e);

#endif
