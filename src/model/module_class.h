/* What is known of torch's own module classes. The table is module_class.def. */
#ifndef QS_MODEL_MODULE_CLASS_H
#define QS_MODEL_MODULE_CLASS_H

#include "base/str.h"

/* The class's _version, which state_dict() writes into _metadata: 2 for BatchNorm, 3 for observers; 1 for
 * every class not in the table, because nn.Module says so and few override it. */
int64_t qs_module_class_version(qs_str class_name);

#endif
