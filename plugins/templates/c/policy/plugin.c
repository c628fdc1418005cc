// The policy my-plugin: sends the change since the newest snapshot that both sides hold with the same content.

#include <string.h>

#include "plugin.h"

// The settings: the plugin's own table in the gateway's configuration.
static bool incremental = true;

static bool equal(const plugin_string_t *one, const plugin_string_t *other) {
    return one->len == other->len && memcmp(one->ptr, other->ptr, one->len) == 0;
}

static bool is(const plugin_string_t *one, const char *text) {
    return one->len == strlen(text) && memcmp(one->ptr, text, one->len) == 0;
}

// Refuses keys that it does not know: a misspelt one would be ignored.
static bool keys_are_known(plugin_string_t *err) {
    plugin_list_string_t keys;
    settings_keys(&keys);
    bool known = true;
    for (size_t i = 0; i < keys.len; i++)
        known = known && is(&keys.ptr[i], "incremental");
    plugin_list_string_free(&keys);
    if (!known)
        plugin_string_dup(err, "settings: the only key is incremental");
    return known;
}

bool exports_policy_configure(plugin_string_t *err) {
    plugin_string_t key, value;
    plugin_string_set(&key, "incremental");
    if (settings_value(&key, &value)) {
        incremental = is(&value, "true");
        bool valid = incremental || is(&value, "false");
        plugin_string_free(&value);
        if (!valid) {
            plugin_string_dup(err, "incremental: must be true or false");
            return false;
        }
    }
    return keys_are_known(err);
}

// The newest snapshot of the target with this content; none: NULL.
static const exports_policy_target_snapshot_t *find(const exports_policy_request_t *request, const plugin_string_t *root) {
    for (size_t i = request->target.len; i > 0; i--)
        if (equal(&request->target.ptr[i - 1].root, root))
            return &request->target.ptr[i - 1];
    return NULL;
}

// Both chains are oldest first, and the source's may go on after the wanted snapshot.
static const exports_policy_target_snapshot_t *newest_common(const exports_policy_request_t *request) {
    const exports_policy_target_snapshot_t *base = NULL;
    for (size_t i = 0; i < request->source.len; i++) {
        const exports_policy_source_snapshot_t *snapshot = &request->source.ptr[i];
        if (equal(&snapshot->id, &request->wanted.id))
            break;
        const exports_policy_target_snapshot_t *there = snapshot->root.is_some ? find(request, &snapshot->root.val) : NULL;
        base = there ? there : base;
    }
    return base;
}

bool exports_policy_decide(exports_policy_request_t *request, exports_policy_plan_t *ret, plugin_string_t *err) {
    (void)err;
    const exports_policy_target_snapshot_t *base = incremental ? newest_common(request) : NULL;
    if (base) {
        ret->decision.tag = EXPORTS_POLICY_DECISION_INCREMENTAL;
        plugin_string_dup_n(&ret->decision.val.incremental, (const char *)base->id.ptr, base->id.len);
        plugin_string_dup(&ret->reason, "the target has an earlier snapshot with the same content");
    } else {
        ret->decision.tag = EXPORTS_POLICY_DECISION_FULL;
        plugin_string_dup(&ret->reason, incremental ? "no earlier snapshot is on the target" : "the settings ask for full copies");
    }
    exports_policy_request_free(request);
    return true;
}
