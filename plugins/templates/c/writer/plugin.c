// The writer my-plugin: each volume is an image, each snapshot a snapshot of it; the host moves the data.

#include <stdlib.h>
#include <string.h>

#include "plugin.h"

// The settings: the plugin's own table in the gateway's configuration. One of the stores that the operator granted.
static plugin_string_t store;

static bool is(const plugin_string_t *one, const char *text) {
    return one->len == strlen(text) && memcmp(one->ptr, text, one->len) == 0;
}

bool exports_writer_configure(plugin_string_t *err) {
    plugin_list_string_t keys;
    settings_keys(&keys);
    bool known = true;
    for (size_t i = 0; i < keys.len; i++)
        known = known && is(&keys.ptr[i], "store");
    plugin_list_string_free(&keys);
    if (!known) {
        plugin_string_dup(err, "settings: the only key is store");
        return false;
    }
    plugin_string_t key;
    plugin_string_set(&key, "store");
    if (!settings_value(&key, &store))
        plugin_string_set(&store, "main");
    return true;
}

// `before` followed by `text`.
static void name(plugin_string_t *ret, const char *before, const plugin_string_t *text) {
    size_t length = strlen(before);
    ret->len = length + text->len;
    ret->ptr = malloc(ret->len);
    memcpy(ret->ptr, before, length);
    memcpy(ret->ptr + length, text->ptr, text->len);
}

// The same answer each time, and another image for each volume.
bool exports_writer_locate(plugin_string_t *volume, exports_writer_location_t *ret, exports_writer_error_t *err) {
    (void)err;
    plugin_string_dup_n(&ret->store, (const char *)store.ptr, store.len);
    name(&ret->image, "volume-", volume);
    plugin_string_free(volume);
    return true;
}

// Answer EXPORTS_WRITER_DESTINATION_CHUNKS, and fill in `write` and `finish`, to look at the data; it is slower.
bool exports_writer_begin(exports_writer_transfer_t *transfer, exports_writer_destination_t *ret, exports_writer_error_t *err) {
    plugin_string_t image, snapshot;
    name(&image, "volume-", &transfer->volume);
    name(&snapshot, "snapshot-", &transfer->snapshot);
    types_transfer_free(transfer);
    ret->tag = EXPORTS_WRITER_DESTINATION_IMAGE;
    bool opened = image_store_open(&store, &image, &snapshot, &ret->val.image, err);
    plugin_string_free(&image);
    plugin_string_free(&snapshot);
    return opened;
}

static bool no_chunks(exports_writer_error_t *err) {
    err->tag = TYPES_ERROR_OTHER;
    plugin_string_dup(&err->val.other, "this plugin takes no chunks");
    return false;
}

bool exports_writer_write(exports_writer_list_extent_t *extents, exports_writer_error_t *err) {
    exports_writer_list_extent_free(extents);
    return no_chunks(err);
}

bool exports_writer_finish(exports_writer_own_image_t *ret, exports_writer_error_t *err) {
    (void)ret;
    return no_chunks(err);
}
