// The writer sharded: spreads volumes over several stores. Which store a volume is in follows from its id alone, so
// every gateway knows it, and it must not change: append to the list of stores only in a new installation.

#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define STORES_MAX 64

// The names in the setting `stores`, which has spaces between them.
static plugin_string_t stores[STORES_MAX];
static size_t count;

static bool is(const plugin_string_t *one, const char *text) {
    return one->len == strlen(text) && memcmp(one->ptr, text, one->len) == 0;
}

static bool refuse(plugin_string_t *err, const char *text) {
    plugin_string_dup(err, text);
    return false;
}

// The names stay where they are, in the text of the setting.
static bool split(const plugin_string_t *text) {
    for (size_t at = 0; at < text->len;) {
        size_t start = at;
        while (at < text->len && text->ptr[at] != ' ')
            at++;
        if (at > start) {
            if (count == STORES_MAX)
                return false;
            stores[count++] = (plugin_string_t){.ptr = text->ptr + start, .len = at - start};
        }
        at++;
    }
    return count > 0;
}

bool exports_writer_configure(plugin_string_t *err) {
    plugin_list_string_t keys;
    settings_keys(&keys);
    bool known = keys.len == 1 && is(&keys.ptr[0], "stores");
    plugin_list_string_free(&keys);
    plugin_string_t key, text;
    plugin_string_set(&key, "stores");
    if (!known || !settings_value(&key, &text))
        return refuse(err, "settings: the only key is stores, such as stores = \"fast slow\"");
    return split(&text) || refuse(err, "stores: needs between one and 64 names with spaces between them");
}

// FNV-1a: short, and well spread for ids that differ in a few characters.
static uint32_t hash(const plugin_string_t *text) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < text->len; i++)
        hash = (hash ^ text->ptr[i]) * 16777619u;
    return hash;
}

static const plugin_string_t *store_of(const plugin_string_t *volume) {
    return &stores[hash(volume) % count];
}

static void name(plugin_string_t *ret, const char *before, const plugin_string_t *text) {
    size_t length = strlen(before);
    ret->len = length + text->len;
    ret->ptr = malloc(ret->len);
    memcpy(ret->ptr, before, length);
    memcpy(ret->ptr + length, text->ptr, text->len);
}

bool exports_writer_locate(plugin_string_t *volume, exports_writer_location_t *ret, exports_writer_error_t *err) {
    (void)err;
    const plugin_string_t *store = store_of(volume);
    plugin_string_dup_n(&ret->store, (const char *)store->ptr, store->len);
    name(&ret->image, "volume-", volume);
    plugin_string_free(volume);
    return true;
}

bool exports_writer_begin(exports_writer_transfer_t *transfer, exports_writer_destination_t *ret, exports_writer_error_t *err) {
    plugin_string_t store = *store_of(&transfer->volume), image, snapshot;
    name(&image, "volume-", &transfer->volume);
    name(&snapshot, "snapshot-", &transfer->snapshot);
    ret->tag = EXPORTS_WRITER_DESTINATION_IMAGE;
    bool opened = image_store_open(&store, &image, &snapshot, &ret->val.image, err);
    plugin_string_free(&image);
    plugin_string_free(&snapshot);
    types_transfer_free(transfer);
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
