//! Prints the bindings of `src/rbd` from the headers of librbd and librados, for `cargo xtask bindings`.
//!
//! Restricted to what the crate uses: each function here is a symbol that the installed library must have. A program
//! of its own and not a part of the chores: what it depends on would delay every chore for the sake of one.

use std::error::Error;
use std::io::Write;

use bindgen::callbacks::{ItemInfo, ParseCallbacks};
use bindgen::{Formatter, RustEdition, RustTarget};

/// Everything that `src/rbd` calls.
const FUNCTIONS: &[&str] = &[
    // A cluster.
    "rados_create2",
    "rados_conf_read_file",
    "rados_conf_set",
    "rados_connect",
    "rados_shutdown",
    "rados_cluster_fsid",
    "rados_cluster_stat",
    "rados_getaddrs",
    "rados_blocklist_add",
    "rados_wait_for_latest_osdmap",
    "rados_buffer_free",
    // A pool and its objects.
    "rados_ioctx_create",
    "rados_ioctx_destroy",
    "rados_ioctx_get_id",
    "rados_ioctx_set_namespace",
    "rados_set_pool_full_try",
    "rados_aio_create_completion2",
    "rados_aio_get_return_value",
    "rados_aio_release",
    "rados_aio_read",
    "rados_aio_write",
    "rados_aio_write_full",
    "rados_aio_remove",
    "rados_aio_stat",
    "rados_aio_exec",
    "rados_lock_exclusive",
    "rados_list_lockers",
    "rados_break_lock",
    "rados_nobjects_list_open",
    "rados_nobjects_list_next",
    "rados_nobjects_list_close",
    // Images of a pool.
    "rbd_version",
    "rbd_namespace_exists",
    "rbd_image_options_create",
    "rbd_image_options_destroy",
    "rbd_image_options_set_uint64",
    "rbd_create4",
    "rbd_remove",
    "rbd_list2",
    "rbd_image_spec_list_cleanup",
    // An image.
    "rbd_open",
    "rbd_open_read_only",
    "rbd_close",
    "rbd_config_image_list",
    "rbd_config_image_list_cleanup",
    "rbd_stat",
    "rbd_get_size",
    "rbd_get_features",
    "rbd_get_flags",
    "rbd_get_id",
    "rbd_get_overlap",
    "rbd_get_stripe_unit",
    "rbd_get_stripe_count",
    "rbd_resize",
    "rbd_metadata_get",
    "rbd_metadata_set",
    "rbd_metadata_remove",
    "rbd_metadata_list",
    // Its snapshots.
    "rbd_snap_set",
    "rbd_snap_set_by_id",
    "rbd_snap_get_id",
    "rbd_snap_list",
    "rbd_snap_list_end",
    "rbd_snap_get_namespace_type",
    "rbd_snap_create2",
    "rbd_snap_remove",
    "rbd_snap_remove_by_id",
    "rbd_snap_rename",
    "rbd_snap_rollback",
    "rbd_snap_protect",
    "rbd_snap_unprotect",
    "rbd_snap_is_protected",
    "rbd_snap_get_limit",
    "rbd_diff_iterate2",
    // Its lock.
    "rbd_lock_acquire",
    "rbd_lock_release",
    "rbd_update_watch",
    "rbd_update_unwatch",
    "rbd_lock_get_owners",
    "rbd_lock_get_owners_cleanup",
    "rbd_lock_break",
    "rbd_is_exclusive_lock_owner",
    "rbd_list_lockers",
    "rbd_watchers_list",
    "rbd_watchers_list_cleanup",
    // Its data.
    "rbd_aio_create_completion",
    "rbd_aio_get_return_value",
    "rbd_aio_release",
    "rbd_aio_read",
    "rbd_aio_write",
    "rbd_aio_writev",
    "rbd_aio_write_zeroes",
    "rbd_aio_flush",
];

/// Numbers that the crate gives to them or reads from them, and the version of the headers.
const CONSTANTS: &[&str] = &[
    "LIBRBD_VER_(MAJOR|MINOR|EXTRA)",
    "RBD_FLAG_.*",
    "RBD_FEATURE_(LAYERING|STRIPINGV2|EXCLUSIVE_LOCK|OBJECT_MAP|FAST_DIFF|DEEP_FLATTEN|JOURNALING|DATA_POOL)",
    "RBD_IMAGE_OPTION_(FORMAT|FEATURES|ORDER|STRIPE_UNIT|STRIPE_COUNT)",
];

const HEADER: &str =
    "//! Declarations of librbd and librados, made from their headers: do not edit, run `cargo xtask bindings`.";

/// How this repository's files are formatted.
const FORMAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.rustfmt.toml");

fn main() -> Result<(), Box<dyn Error>> {
    let target = RustTarget::stable(85, 0).map_err(|fault| fault.to_string())?;
    let mut builder = bindgen::builder()
        .header_contents("ceph.h", "#include <rbd/librbd.h>\n")
        .raw_line(HEADER)
        .dynamic_library_name("Ceph")
        .dynamic_link_require_all(true)
        .prepend_enum_name(false)
        .generate_comments(false)
        .disable_header_comment()
        .formatter(Formatter::Rustfmt)
        .rust_target(target)
        .rust_edition(RustEdition::Edition2024)
        .rustfmt_configuration_file(Some(FORMAT.into()))
        .parse_callbacks(Box::new(Names));
    builder = FUNCTIONS.iter().fold(builder, |builder, name| builder.allowlist_function(name));
    builder = CONSTANTS.iter().fold(builder, |builder, name| builder.allowlist_var(name));
    let text = builder.generate()?.to_string();
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Names for what has none in the headers: bindgen's own count everything that the system's headers declare.
#[derive(Debug)]
struct Names;

impl ParseCallbacks for Names {
    fn item_name(&self, item: ItemInfo<'_>) -> Option<String> {
        item.name.starts_with("_bindgen_ty_").then(|| "rbd_image_option_t".to_owned())
    }
}
