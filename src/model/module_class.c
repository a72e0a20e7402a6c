#include "model/module_class.h"

int64_t qs_module_class_version(qs_str class_name) {
    static const struct {
        const char *package, *name;
        int64_t version;
    } table[] = {
#define QS_MODULE_CLASS(package, name, version) {package, name, version},
#include "model/module_class.def"
#undef QS_MODULE_CLASS
    };
    if (!qs_str_starts(class_name, QS_STR("torch."))) return 1;
    qs_str leaf = qs_str_leaf(class_name);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (qs_str_is(leaf, table[i].name) &&
            qs_str_find(class_name, qs_str_of(table[i].package)) != SIZE_MAX)
            return table[i].version;
    return 1;
}
