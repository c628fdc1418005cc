//! Declarations of librbd and librados, made from their headers: do not edit, run `cargo xtask bindings`.

pub const RBD_FEATURE_LAYERING: u32 = 1;
pub const RBD_FEATURE_STRIPINGV2: u32 = 2;
pub const RBD_FEATURE_EXCLUSIVE_LOCK: u32 = 4;
pub const RBD_FEATURE_OBJECT_MAP: u32 = 8;
pub const RBD_FEATURE_FAST_DIFF: u32 = 16;
pub const RBD_FEATURE_DEEP_FLATTEN: u32 = 32;
pub const RBD_FEATURE_JOURNALING: u32 = 64;
pub const RBD_FEATURE_DATA_POOL: u32 = 128;
pub const LIBRBD_VER_MAJOR: u32 = 1;
pub const LIBRBD_VER_MINOR: u32 = 16;
pub const LIBRBD_VER_EXTRA: u32 = 0;
pub const RBD_FLAG_OBJECT_MAP_INVALID: u32 = 1;
pub const RBD_FLAG_FAST_DIFF_INVALID: u32 = 2;
pub type __time_t = ::std::os::raw::c_long;
pub type __suseconds_t = ::std::os::raw::c_long;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct iovec {
    pub iov_base: *mut ::std::os::raw::c_void,
    pub iov_len: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of iovec"][::std::mem::size_of::<iovec>() - 16usize];
    ["Alignment of iovec"][::std::mem::align_of::<iovec>() - 8usize];
    ["Offset of field: iovec::iov_base"][::std::mem::offset_of!(iovec, iov_base) - 0usize];
    ["Offset of field: iovec::iov_len"][::std::mem::offset_of!(iovec, iov_len) - 8usize];
};
pub type time_t = __time_t;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct timeval {
    pub tv_sec: __time_t,
    pub tv_usec: __suseconds_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of timeval"][::std::mem::size_of::<timeval>() - 16usize];
    ["Alignment of timeval"][::std::mem::align_of::<timeval>() - 8usize];
    ["Offset of field: timeval::tv_sec"][::std::mem::offset_of!(timeval, tv_sec) - 0usize];
    ["Offset of field: timeval::tv_usec"][::std::mem::offset_of!(timeval, tv_usec) - 8usize];
};
pub type rados_t = *mut ::std::os::raw::c_void;
pub type rados_ioctx_t = *mut ::std::os::raw::c_void;
pub type rados_list_ctx_t = *mut ::std::os::raw::c_void;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rados_cluster_stat_t {
    pub kb: u64,
    pub kb_used: u64,
    pub kb_avail: u64,
    pub num_objects: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rados_cluster_stat_t"][::std::mem::size_of::<rados_cluster_stat_t>() - 32usize];
    ["Alignment of rados_cluster_stat_t"][::std::mem::align_of::<rados_cluster_stat_t>() - 8usize];
    ["Offset of field: rados_cluster_stat_t::kb"][::std::mem::offset_of!(rados_cluster_stat_t, kb) - 0usize];
    ["Offset of field: rados_cluster_stat_t::kb_used"][::std::mem::offset_of!(rados_cluster_stat_t, kb_used) - 8usize];
    ["Offset of field: rados_cluster_stat_t::kb_avail"]
        [::std::mem::offset_of!(rados_cluster_stat_t, kb_avail) - 16usize];
    ["Offset of field: rados_cluster_stat_t::num_objects"]
        [::std::mem::offset_of!(rados_cluster_stat_t, num_objects) - 24usize];
};
pub type rados_completion_t = *mut ::std::os::raw::c_void;
pub type rados_callback_t =
    ::std::option::Option<unsafe extern "C" fn(cb: rados_completion_t, arg: *mut ::std::os::raw::c_void)>;
pub type rbd_image_t = *mut ::std::os::raw::c_void;
pub type rbd_image_options_t = *mut ::std::os::raw::c_void;
pub type rbd_completion_t = *mut ::std::os::raw::c_void;
pub type rbd_callback_t =
    ::std::option::Option<unsafe extern "C" fn(cb: rbd_completion_t, arg: *mut ::std::os::raw::c_void)>;
pub type librbd_progress_fn_t = ::std::option::Option<
    unsafe extern "C" fn(offset: u64, total: u64, ptr: *mut ::std::os::raw::c_void) -> ::std::os::raw::c_int,
>;
pub type rbd_update_callback_t = ::std::option::Option<unsafe extern "C" fn(arg: *mut ::std::os::raw::c_void)>;
pub const RBD_SNAP_NAMESPACE_TYPE_USER: rbd_snap_namespace_type_t = 0;
pub const RBD_SNAP_NAMESPACE_TYPE_GROUP: rbd_snap_namespace_type_t = 1;
pub const RBD_SNAP_NAMESPACE_TYPE_TRASH: rbd_snap_namespace_type_t = 2;
pub const RBD_SNAP_NAMESPACE_TYPE_MIRROR: rbd_snap_namespace_type_t = 3;
pub type rbd_snap_namespace_type_t = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rbd_image_spec_t {
    pub id: *mut ::std::os::raw::c_char,
    pub name: *mut ::std::os::raw::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rbd_image_spec_t"][::std::mem::size_of::<rbd_image_spec_t>() - 16usize];
    ["Alignment of rbd_image_spec_t"][::std::mem::align_of::<rbd_image_spec_t>() - 8usize];
    ["Offset of field: rbd_image_spec_t::id"][::std::mem::offset_of!(rbd_image_spec_t, id) - 0usize];
    ["Offset of field: rbd_image_spec_t::name"][::std::mem::offset_of!(rbd_image_spec_t, name) - 8usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rbd_snap_info_t {
    pub id: u64,
    pub size: u64,
    pub name: *const ::std::os::raw::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rbd_snap_info_t"][::std::mem::size_of::<rbd_snap_info_t>() - 24usize];
    ["Alignment of rbd_snap_info_t"][::std::mem::align_of::<rbd_snap_info_t>() - 8usize];
    ["Offset of field: rbd_snap_info_t::id"][::std::mem::offset_of!(rbd_snap_info_t, id) - 0usize];
    ["Offset of field: rbd_snap_info_t::size"][::std::mem::offset_of!(rbd_snap_info_t, size) - 8usize];
    ["Offset of field: rbd_snap_info_t::name"][::std::mem::offset_of!(rbd_snap_info_t, name) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rbd_image_info_t {
    pub size: u64,
    pub obj_size: u64,
    pub num_objs: u64,
    pub order: ::std::os::raw::c_int,
    pub block_name_prefix: [::std::os::raw::c_char; 24usize],
    pub parent_pool: i64,
    pub parent_name: [::std::os::raw::c_char; 96usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rbd_image_info_t"][::std::mem::size_of::<rbd_image_info_t>() - 160usize];
    ["Alignment of rbd_image_info_t"][::std::mem::align_of::<rbd_image_info_t>() - 8usize];
    ["Offset of field: rbd_image_info_t::size"][::std::mem::offset_of!(rbd_image_info_t, size) - 0usize];
    ["Offset of field: rbd_image_info_t::obj_size"][::std::mem::offset_of!(rbd_image_info_t, obj_size) - 8usize];
    ["Offset of field: rbd_image_info_t::num_objs"][::std::mem::offset_of!(rbd_image_info_t, num_objs) - 16usize];
    ["Offset of field: rbd_image_info_t::order"][::std::mem::offset_of!(rbd_image_info_t, order) - 24usize];
    ["Offset of field: rbd_image_info_t::block_name_prefix"]
        [::std::mem::offset_of!(rbd_image_info_t, block_name_prefix) - 28usize];
    ["Offset of field: rbd_image_info_t::parent_pool"][::std::mem::offset_of!(rbd_image_info_t, parent_pool) - 56usize];
    ["Offset of field: rbd_image_info_t::parent_name"][::std::mem::offset_of!(rbd_image_info_t, parent_name) - 64usize];
};
pub const RBD_LOCK_MODE_EXCLUSIVE: rbd_lock_mode_t = 0;
pub const RBD_LOCK_MODE_SHARED: rbd_lock_mode_t = 1;
pub type rbd_lock_mode_t = ::std::os::raw::c_uint;
pub const RBD_IMAGE_OPTION_FORMAT: rbd_image_option_t = 0;
pub const RBD_IMAGE_OPTION_FEATURES: rbd_image_option_t = 1;
pub const RBD_IMAGE_OPTION_ORDER: rbd_image_option_t = 2;
pub const RBD_IMAGE_OPTION_STRIPE_UNIT: rbd_image_option_t = 3;
pub const RBD_IMAGE_OPTION_STRIPE_COUNT: rbd_image_option_t = 4;
pub const RBD_IMAGE_OPTION_JOURNAL_ORDER: rbd_image_option_t = 5;
pub const RBD_IMAGE_OPTION_JOURNAL_SPLAY_WIDTH: rbd_image_option_t = 6;
pub const RBD_IMAGE_OPTION_JOURNAL_POOL: rbd_image_option_t = 7;
pub const RBD_IMAGE_OPTION_FEATURES_SET: rbd_image_option_t = 8;
pub const RBD_IMAGE_OPTION_FEATURES_CLEAR: rbd_image_option_t = 9;
pub const RBD_IMAGE_OPTION_DATA_POOL: rbd_image_option_t = 10;
pub const RBD_IMAGE_OPTION_FLATTEN: rbd_image_option_t = 11;
pub const RBD_IMAGE_OPTION_CLONE_FORMAT: rbd_image_option_t = 12;
pub const RBD_IMAGE_OPTION_MIRROR_IMAGE_MODE: rbd_image_option_t = 13;
pub type rbd_image_option_t = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rbd_image_watcher_t {
    pub addr: *mut ::std::os::raw::c_char,
    pub id: i64,
    pub cookie: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rbd_image_watcher_t"][::std::mem::size_of::<rbd_image_watcher_t>() - 24usize];
    ["Alignment of rbd_image_watcher_t"][::std::mem::align_of::<rbd_image_watcher_t>() - 8usize];
    ["Offset of field: rbd_image_watcher_t::addr"][::std::mem::offset_of!(rbd_image_watcher_t, addr) - 0usize];
    ["Offset of field: rbd_image_watcher_t::id"][::std::mem::offset_of!(rbd_image_watcher_t, id) - 8usize];
    ["Offset of field: rbd_image_watcher_t::cookie"][::std::mem::offset_of!(rbd_image_watcher_t, cookie) - 16usize];
};
pub const RBD_CONFIG_SOURCE_CONFIG: rbd_config_source_t = 0;
pub const RBD_CONFIG_SOURCE_POOL: rbd_config_source_t = 1;
pub const RBD_CONFIG_SOURCE_IMAGE: rbd_config_source_t = 2;
pub type rbd_config_source_t = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rbd_config_option_t {
    pub name: *mut ::std::os::raw::c_char,
    pub value: *mut ::std::os::raw::c_char,
    pub source: rbd_config_source_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rbd_config_option_t"][::std::mem::size_of::<rbd_config_option_t>() - 24usize];
    ["Alignment of rbd_config_option_t"][::std::mem::align_of::<rbd_config_option_t>() - 8usize];
    ["Offset of field: rbd_config_option_t::name"][::std::mem::offset_of!(rbd_config_option_t, name) - 0usize];
    ["Offset of field: rbd_config_option_t::value"][::std::mem::offset_of!(rbd_config_option_t, value) - 8usize];
    ["Offset of field: rbd_config_option_t::source"][::std::mem::offset_of!(rbd_config_option_t, source) - 16usize];
};
pub struct Ceph {
    __library: ::libloading::Library,
    pub rados_create2: unsafe extern "C" fn(
        pcluster: *mut rados_t,
        clustername: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        flags: u64,
    ) -> ::std::os::raw::c_int,
    pub rados_connect: unsafe extern "C" fn(cluster: rados_t) -> ::std::os::raw::c_int,
    pub rados_shutdown: unsafe extern "C" fn(cluster: rados_t),
    pub rados_conf_read_file:
        unsafe extern "C" fn(cluster: rados_t, path: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rados_conf_set: unsafe extern "C" fn(
        cluster: rados_t,
        option: *const ::std::os::raw::c_char,
        value: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rados_cluster_stat:
        unsafe extern "C" fn(cluster: rados_t, result: *mut rados_cluster_stat_t) -> ::std::os::raw::c_int,
    pub rados_cluster_fsid:
        unsafe extern "C" fn(cluster: rados_t, buf: *mut ::std::os::raw::c_char, len: usize) -> ::std::os::raw::c_int,
    pub rados_wait_for_latest_osdmap: unsafe extern "C" fn(cluster: rados_t) -> ::std::os::raw::c_int,
    pub rados_ioctx_create: unsafe extern "C" fn(
        cluster: rados_t,
        pool_name: *const ::std::os::raw::c_char,
        ioctx: *mut rados_ioctx_t,
    ) -> ::std::os::raw::c_int,
    pub rados_ioctx_destroy: unsafe extern "C" fn(io: rados_ioctx_t),
    pub rados_ioctx_get_id: unsafe extern "C" fn(io: rados_ioctx_t) -> i64,
    pub rados_ioctx_set_namespace: unsafe extern "C" fn(io: rados_ioctx_t, nspace: *const ::std::os::raw::c_char),
    pub rados_nobjects_list_open:
        unsafe extern "C" fn(io: rados_ioctx_t, ctx: *mut rados_list_ctx_t) -> ::std::os::raw::c_int,
    pub rados_nobjects_list_next: unsafe extern "C" fn(
        ctx: rados_list_ctx_t,
        entry: *mut *const ::std::os::raw::c_char,
        key: *mut *const ::std::os::raw::c_char,
        nspace: *mut *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rados_nobjects_list_close: unsafe extern "C" fn(ctx: rados_list_ctx_t),
    pub rados_aio_create_completion2: unsafe extern "C" fn(
        cb_arg: *mut ::std::os::raw::c_void,
        cb_complete: rados_callback_t,
        pc: *mut rados_completion_t,
    ) -> ::std::os::raw::c_int,
    pub rados_aio_get_return_value: unsafe extern "C" fn(c: rados_completion_t) -> ::std::os::raw::c_int,
    pub rados_aio_release: unsafe extern "C" fn(c: rados_completion_t),
    pub rados_aio_write: unsafe extern "C" fn(
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        buf: *const ::std::os::raw::c_char,
        len: usize,
        off: u64,
    ) -> ::std::os::raw::c_int,
    pub rados_aio_write_full: unsafe extern "C" fn(
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        buf: *const ::std::os::raw::c_char,
        len: usize,
    ) -> ::std::os::raw::c_int,
    pub rados_aio_remove: unsafe extern "C" fn(
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
    ) -> ::std::os::raw::c_int,
    pub rados_aio_read: unsafe extern "C" fn(
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        buf: *mut ::std::os::raw::c_char,
        len: usize,
        off: u64,
    ) -> ::std::os::raw::c_int,
    pub rados_aio_stat: unsafe extern "C" fn(
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        psize: *mut u64,
        pmtime: *mut time_t,
    ) -> ::std::os::raw::c_int,
    pub rados_aio_exec: unsafe extern "C" fn(
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        cls: *const ::std::os::raw::c_char,
        method: *const ::std::os::raw::c_char,
        in_buf: *const ::std::os::raw::c_char,
        in_len: usize,
        buf: *mut ::std::os::raw::c_char,
        out_len: usize,
    ) -> ::std::os::raw::c_int,
    pub rados_lock_exclusive: unsafe extern "C" fn(
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        cookie: *const ::std::os::raw::c_char,
        desc: *const ::std::os::raw::c_char,
        duration: *mut timeval,
        flags: u8,
    ) -> ::std::os::raw::c_int,
    pub rados_list_lockers: unsafe extern "C" fn(
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        exclusive: *mut ::std::os::raw::c_int,
        tag: *mut ::std::os::raw::c_char,
        tag_len: *mut usize,
        clients: *mut ::std::os::raw::c_char,
        clients_len: *mut usize,
        cookies: *mut ::std::os::raw::c_char,
        cookies_len: *mut usize,
        addrs: *mut ::std::os::raw::c_char,
        addrs_len: *mut usize,
    ) -> isize,
    pub rados_break_lock: unsafe extern "C" fn(
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        client: *const ::std::os::raw::c_char,
        cookie: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rados_blocklist_add: unsafe extern "C" fn(
        cluster: rados_t,
        client_address: *mut ::std::os::raw::c_char,
        expire_seconds: u32,
    ) -> ::std::os::raw::c_int,
    pub rados_getaddrs:
        unsafe extern "C" fn(cluster: rados_t, addrs: *mut *mut ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rados_set_pool_full_try: unsafe extern "C" fn(io: rados_ioctx_t),
    pub rados_buffer_free: unsafe extern "C" fn(buf: *mut ::std::os::raw::c_char),
    pub rbd_version: unsafe extern "C" fn(
        major: *mut ::std::os::raw::c_int,
        minor: *mut ::std::os::raw::c_int,
        extra: *mut ::std::os::raw::c_int,
    ),
    pub rbd_image_options_create: unsafe extern "C" fn(opts: *mut rbd_image_options_t),
    pub rbd_image_options_destroy: unsafe extern "C" fn(opts: rbd_image_options_t),
    pub rbd_image_options_set_uint64: unsafe extern "C" fn(
        opts: rbd_image_options_t,
        optname: ::std::os::raw::c_int,
        optval: u64,
    ) -> ::std::os::raw::c_int,
    pub rbd_image_spec_list_cleanup: unsafe extern "C" fn(images: *mut rbd_image_spec_t, num_images: usize),
    pub rbd_list2: unsafe extern "C" fn(
        io: rados_ioctx_t,
        images: *mut rbd_image_spec_t,
        max_images: *mut usize,
    ) -> ::std::os::raw::c_int,
    pub rbd_create4: unsafe extern "C" fn(
        io: rados_ioctx_t,
        name: *const ::std::os::raw::c_char,
        size: u64,
        opts: rbd_image_options_t,
    ) -> ::std::os::raw::c_int,
    pub rbd_remove:
        unsafe extern "C" fn(io: rados_ioctx_t, name: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_open: unsafe extern "C" fn(
        io: rados_ioctx_t,
        name: *const ::std::os::raw::c_char,
        image: *mut rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rbd_open_read_only: unsafe extern "C" fn(
        io: rados_ioctx_t,
        name: *const ::std::os::raw::c_char,
        image: *mut rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rbd_close: unsafe extern "C" fn(image: rbd_image_t) -> ::std::os::raw::c_int,
    pub rbd_resize: unsafe extern "C" fn(image: rbd_image_t, size: u64) -> ::std::os::raw::c_int,
    pub rbd_stat:
        unsafe extern "C" fn(image: rbd_image_t, info: *mut rbd_image_info_t, infosize: usize) -> ::std::os::raw::c_int,
    pub rbd_get_size: unsafe extern "C" fn(image: rbd_image_t, size: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_get_features: unsafe extern "C" fn(image: rbd_image_t, features: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_get_stripe_unit: unsafe extern "C" fn(image: rbd_image_t, stripe_unit: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_get_stripe_count: unsafe extern "C" fn(image: rbd_image_t, stripe_count: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_get_overlap: unsafe extern "C" fn(image: rbd_image_t, overlap: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_get_id: unsafe extern "C" fn(
        image: rbd_image_t,
        id: *mut ::std::os::raw::c_char,
        id_len: usize,
    ) -> ::std::os::raw::c_int,
    pub rbd_get_flags: unsafe extern "C" fn(image: rbd_image_t, flags: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_is_exclusive_lock_owner:
        unsafe extern "C" fn(image: rbd_image_t, is_owner: *mut ::std::os::raw::c_int) -> ::std::os::raw::c_int,
    pub rbd_lock_acquire: unsafe extern "C" fn(image: rbd_image_t, lock_mode: rbd_lock_mode_t) -> ::std::os::raw::c_int,
    pub rbd_lock_release: unsafe extern "C" fn(image: rbd_image_t) -> ::std::os::raw::c_int,
    pub rbd_lock_get_owners: unsafe extern "C" fn(
        image: rbd_image_t,
        lock_mode: *mut rbd_lock_mode_t,
        lock_owners: *mut *mut ::std::os::raw::c_char,
        max_lock_owners: *mut usize,
    ) -> ::std::os::raw::c_int,
    pub rbd_lock_get_owners_cleanup:
        unsafe extern "C" fn(lock_owners: *mut *mut ::std::os::raw::c_char, lock_owner_count: usize),
    pub rbd_lock_break: unsafe extern "C" fn(
        image: rbd_image_t,
        lock_mode: rbd_lock_mode_t,
        lock_owner: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rbd_snap_list: unsafe extern "C" fn(
        image: rbd_image_t,
        snaps: *mut rbd_snap_info_t,
        max_snaps: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int,
    pub rbd_snap_list_end: unsafe extern "C" fn(snaps: *mut rbd_snap_info_t),
    pub rbd_snap_create2: unsafe extern "C" fn(
        image: rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
        flags: u32,
        cb: librbd_progress_fn_t,
        cbdata: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int,
    pub rbd_snap_remove:
        unsafe extern "C" fn(image: rbd_image_t, snapname: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_snap_remove_by_id: unsafe extern "C" fn(image: rbd_image_t, snap_id: u64) -> ::std::os::raw::c_int,
    pub rbd_snap_rollback:
        unsafe extern "C" fn(image: rbd_image_t, snapname: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_snap_rename: unsafe extern "C" fn(
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
        dstsnapsname: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rbd_snap_protect:
        unsafe extern "C" fn(image: rbd_image_t, snap_name: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_snap_unprotect:
        unsafe extern "C" fn(image: rbd_image_t, snap_name: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_snap_is_protected: unsafe extern "C" fn(
        image: rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
        is_protected: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int,
    pub rbd_snap_get_limit: unsafe extern "C" fn(image: rbd_image_t, limit: *mut u64) -> ::std::os::raw::c_int,
    pub rbd_snap_set:
        unsafe extern "C" fn(image: rbd_image_t, snapname: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_snap_set_by_id: unsafe extern "C" fn(image: rbd_image_t, snap_id: u64) -> ::std::os::raw::c_int,
    pub rbd_snap_get_id: unsafe extern "C" fn(
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
        snap_id: *mut u64,
    ) -> ::std::os::raw::c_int,
    pub rbd_snap_get_namespace_type: unsafe extern "C" fn(
        image: rbd_image_t,
        snap_id: u64,
        namespace_type: *mut rbd_snap_namespace_type_t,
    ) -> ::std::os::raw::c_int,
    pub rbd_list_lockers: unsafe extern "C" fn(
        image: rbd_image_t,
        exclusive: *mut ::std::os::raw::c_int,
        tag: *mut ::std::os::raw::c_char,
        tag_len: *mut usize,
        clients: *mut ::std::os::raw::c_char,
        clients_len: *mut usize,
        cookies: *mut ::std::os::raw::c_char,
        cookies_len: *mut usize,
        addrs: *mut ::std::os::raw::c_char,
        addrs_len: *mut usize,
    ) -> isize,
    pub rbd_diff_iterate2: unsafe extern "C" fn(
        image: rbd_image_t,
        fromsnapname: *const ::std::os::raw::c_char,
        ofs: u64,
        len: u64,
        include_parent: u8,
        whole_object: u8,
        cb: ::std::option::Option<
            unsafe extern "C" fn(
                arg1: u64,
                arg2: usize,
                arg3: ::std::os::raw::c_int,
                arg4: *mut ::std::os::raw::c_void,
            ) -> ::std::os::raw::c_int,
        >,
        arg: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int,
    pub rbd_aio_write: unsafe extern "C" fn(
        image: rbd_image_t,
        off: u64,
        len: usize,
        buf: *const ::std::os::raw::c_char,
        c: rbd_completion_t,
    ) -> ::std::os::raw::c_int,
    pub rbd_aio_writev: unsafe extern "C" fn(
        image: rbd_image_t,
        iov: *const iovec,
        iovcnt: ::std::os::raw::c_int,
        off: u64,
        c: rbd_completion_t,
    ) -> ::std::os::raw::c_int,
    pub rbd_aio_read: unsafe extern "C" fn(
        image: rbd_image_t,
        off: u64,
        len: usize,
        buf: *mut ::std::os::raw::c_char,
        c: rbd_completion_t,
    ) -> ::std::os::raw::c_int,
    pub rbd_aio_write_zeroes: unsafe extern "C" fn(
        image: rbd_image_t,
        off: u64,
        len: usize,
        c: rbd_completion_t,
        zero_flags: ::std::os::raw::c_int,
        op_flags: ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int,
    pub rbd_aio_create_completion: unsafe extern "C" fn(
        cb_arg: *mut ::std::os::raw::c_void,
        complete_cb: rbd_callback_t,
        c: *mut rbd_completion_t,
    ) -> ::std::os::raw::c_int,
    pub rbd_aio_get_return_value: unsafe extern "C" fn(c: rbd_completion_t) -> isize,
    pub rbd_aio_release: unsafe extern "C" fn(c: rbd_completion_t),
    pub rbd_aio_flush: unsafe extern "C" fn(image: rbd_image_t, c: rbd_completion_t) -> ::std::os::raw::c_int,
    pub rbd_metadata_get: unsafe extern "C" fn(
        image: rbd_image_t,
        key: *const ::std::os::raw::c_char,
        value: *mut ::std::os::raw::c_char,
        val_len: *mut usize,
    ) -> ::std::os::raw::c_int,
    pub rbd_metadata_set: unsafe extern "C" fn(
        image: rbd_image_t,
        key: *const ::std::os::raw::c_char,
        value: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int,
    pub rbd_metadata_remove:
        unsafe extern "C" fn(image: rbd_image_t, key: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int,
    pub rbd_metadata_list: unsafe extern "C" fn(
        image: rbd_image_t,
        start: *const ::std::os::raw::c_char,
        max: u64,
        keys: *mut ::std::os::raw::c_char,
        key_len: *mut usize,
        values: *mut ::std::os::raw::c_char,
        vals_len: *mut usize,
    ) -> ::std::os::raw::c_int,
    pub rbd_update_watch: unsafe extern "C" fn(
        image: rbd_image_t,
        handle: *mut u64,
        watch_cb: rbd_update_callback_t,
        arg: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int,
    pub rbd_update_unwatch: unsafe extern "C" fn(image: rbd_image_t, handle: u64) -> ::std::os::raw::c_int,
    pub rbd_watchers_list: unsafe extern "C" fn(
        image: rbd_image_t,
        watchers: *mut rbd_image_watcher_t,
        max_watchers: *mut usize,
    ) -> ::std::os::raw::c_int,
    pub rbd_watchers_list_cleanup: unsafe extern "C" fn(watchers: *mut rbd_image_watcher_t, num_watchers: usize),
    pub rbd_config_image_list: unsafe extern "C" fn(
        image: rbd_image_t,
        options: *mut rbd_config_option_t,
        max_options: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int,
    pub rbd_config_image_list_cleanup:
        unsafe extern "C" fn(options: *mut rbd_config_option_t, max_options: ::std::os::raw::c_int),
    pub rbd_namespace_exists: unsafe extern "C" fn(
        io: rados_ioctx_t,
        namespace_name: *const ::std::os::raw::c_char,
        exists: *mut bool,
    ) -> ::std::os::raw::c_int,
}
impl Ceph {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let library = ::libloading::Library::new(path)?;
        Self::from_library(library)
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let rados_create2 = __library.get(b"rados_create2\0").map(|sym| *sym)?;
        let rados_connect = __library.get(b"rados_connect\0").map(|sym| *sym)?;
        let rados_shutdown = __library.get(b"rados_shutdown\0").map(|sym| *sym)?;
        let rados_conf_read_file = __library.get(b"rados_conf_read_file\0").map(|sym| *sym)?;
        let rados_conf_set = __library.get(b"rados_conf_set\0").map(|sym| *sym)?;
        let rados_cluster_stat = __library.get(b"rados_cluster_stat\0").map(|sym| *sym)?;
        let rados_cluster_fsid = __library.get(b"rados_cluster_fsid\0").map(|sym| *sym)?;
        let rados_wait_for_latest_osdmap = __library.get(b"rados_wait_for_latest_osdmap\0").map(|sym| *sym)?;
        let rados_ioctx_create = __library.get(b"rados_ioctx_create\0").map(|sym| *sym)?;
        let rados_ioctx_destroy = __library.get(b"rados_ioctx_destroy\0").map(|sym| *sym)?;
        let rados_ioctx_get_id = __library.get(b"rados_ioctx_get_id\0").map(|sym| *sym)?;
        let rados_ioctx_set_namespace = __library.get(b"rados_ioctx_set_namespace\0").map(|sym| *sym)?;
        let rados_nobjects_list_open = __library.get(b"rados_nobjects_list_open\0").map(|sym| *sym)?;
        let rados_nobjects_list_next = __library.get(b"rados_nobjects_list_next\0").map(|sym| *sym)?;
        let rados_nobjects_list_close = __library.get(b"rados_nobjects_list_close\0").map(|sym| *sym)?;
        let rados_aio_create_completion2 = __library.get(b"rados_aio_create_completion2\0").map(|sym| *sym)?;
        let rados_aio_get_return_value = __library.get(b"rados_aio_get_return_value\0").map(|sym| *sym)?;
        let rados_aio_release = __library.get(b"rados_aio_release\0").map(|sym| *sym)?;
        let rados_aio_write = __library.get(b"rados_aio_write\0").map(|sym| *sym)?;
        let rados_aio_write_full = __library.get(b"rados_aio_write_full\0").map(|sym| *sym)?;
        let rados_aio_remove = __library.get(b"rados_aio_remove\0").map(|sym| *sym)?;
        let rados_aio_read = __library.get(b"rados_aio_read\0").map(|sym| *sym)?;
        let rados_aio_stat = __library.get(b"rados_aio_stat\0").map(|sym| *sym)?;
        let rados_aio_exec = __library.get(b"rados_aio_exec\0").map(|sym| *sym)?;
        let rados_lock_exclusive = __library.get(b"rados_lock_exclusive\0").map(|sym| *sym)?;
        let rados_list_lockers = __library.get(b"rados_list_lockers\0").map(|sym| *sym)?;
        let rados_break_lock = __library.get(b"rados_break_lock\0").map(|sym| *sym)?;
        let rados_blocklist_add = __library.get(b"rados_blocklist_add\0").map(|sym| *sym)?;
        let rados_getaddrs = __library.get(b"rados_getaddrs\0").map(|sym| *sym)?;
        let rados_set_pool_full_try = __library.get(b"rados_set_pool_full_try\0").map(|sym| *sym)?;
        let rados_buffer_free = __library.get(b"rados_buffer_free\0").map(|sym| *sym)?;
        let rbd_version = __library.get(b"rbd_version\0").map(|sym| *sym)?;
        let rbd_image_options_create = __library.get(b"rbd_image_options_create\0").map(|sym| *sym)?;
        let rbd_image_options_destroy = __library.get(b"rbd_image_options_destroy\0").map(|sym| *sym)?;
        let rbd_image_options_set_uint64 = __library.get(b"rbd_image_options_set_uint64\0").map(|sym| *sym)?;
        let rbd_image_spec_list_cleanup = __library.get(b"rbd_image_spec_list_cleanup\0").map(|sym| *sym)?;
        let rbd_list2 = __library.get(b"rbd_list2\0").map(|sym| *sym)?;
        let rbd_create4 = __library.get(b"rbd_create4\0").map(|sym| *sym)?;
        let rbd_remove = __library.get(b"rbd_remove\0").map(|sym| *sym)?;
        let rbd_open = __library.get(b"rbd_open\0").map(|sym| *sym)?;
        let rbd_open_read_only = __library.get(b"rbd_open_read_only\0").map(|sym| *sym)?;
        let rbd_close = __library.get(b"rbd_close\0").map(|sym| *sym)?;
        let rbd_resize = __library.get(b"rbd_resize\0").map(|sym| *sym)?;
        let rbd_stat = __library.get(b"rbd_stat\0").map(|sym| *sym)?;
        let rbd_get_size = __library.get(b"rbd_get_size\0").map(|sym| *sym)?;
        let rbd_get_features = __library.get(b"rbd_get_features\0").map(|sym| *sym)?;
        let rbd_get_stripe_unit = __library.get(b"rbd_get_stripe_unit\0").map(|sym| *sym)?;
        let rbd_get_stripe_count = __library.get(b"rbd_get_stripe_count\0").map(|sym| *sym)?;
        let rbd_get_overlap = __library.get(b"rbd_get_overlap\0").map(|sym| *sym)?;
        let rbd_get_id = __library.get(b"rbd_get_id\0").map(|sym| *sym)?;
        let rbd_get_flags = __library.get(b"rbd_get_flags\0").map(|sym| *sym)?;
        let rbd_is_exclusive_lock_owner = __library.get(b"rbd_is_exclusive_lock_owner\0").map(|sym| *sym)?;
        let rbd_lock_acquire = __library.get(b"rbd_lock_acquire\0").map(|sym| *sym)?;
        let rbd_lock_release = __library.get(b"rbd_lock_release\0").map(|sym| *sym)?;
        let rbd_lock_get_owners = __library.get(b"rbd_lock_get_owners\0").map(|sym| *sym)?;
        let rbd_lock_get_owners_cleanup = __library.get(b"rbd_lock_get_owners_cleanup\0").map(|sym| *sym)?;
        let rbd_lock_break = __library.get(b"rbd_lock_break\0").map(|sym| *sym)?;
        let rbd_snap_list = __library.get(b"rbd_snap_list\0").map(|sym| *sym)?;
        let rbd_snap_list_end = __library.get(b"rbd_snap_list_end\0").map(|sym| *sym)?;
        let rbd_snap_create2 = __library.get(b"rbd_snap_create2\0").map(|sym| *sym)?;
        let rbd_snap_remove = __library.get(b"rbd_snap_remove\0").map(|sym| *sym)?;
        let rbd_snap_remove_by_id = __library.get(b"rbd_snap_remove_by_id\0").map(|sym| *sym)?;
        let rbd_snap_rollback = __library.get(b"rbd_snap_rollback\0").map(|sym| *sym)?;
        let rbd_snap_rename = __library.get(b"rbd_snap_rename\0").map(|sym| *sym)?;
        let rbd_snap_protect = __library.get(b"rbd_snap_protect\0").map(|sym| *sym)?;
        let rbd_snap_unprotect = __library.get(b"rbd_snap_unprotect\0").map(|sym| *sym)?;
        let rbd_snap_is_protected = __library.get(b"rbd_snap_is_protected\0").map(|sym| *sym)?;
        let rbd_snap_get_limit = __library.get(b"rbd_snap_get_limit\0").map(|sym| *sym)?;
        let rbd_snap_set = __library.get(b"rbd_snap_set\0").map(|sym| *sym)?;
        let rbd_snap_set_by_id = __library.get(b"rbd_snap_set_by_id\0").map(|sym| *sym)?;
        let rbd_snap_get_id = __library.get(b"rbd_snap_get_id\0").map(|sym| *sym)?;
        let rbd_snap_get_namespace_type = __library.get(b"rbd_snap_get_namespace_type\0").map(|sym| *sym)?;
        let rbd_list_lockers = __library.get(b"rbd_list_lockers\0").map(|sym| *sym)?;
        let rbd_diff_iterate2 = __library.get(b"rbd_diff_iterate2\0").map(|sym| *sym)?;
        let rbd_aio_write = __library.get(b"rbd_aio_write\0").map(|sym| *sym)?;
        let rbd_aio_writev = __library.get(b"rbd_aio_writev\0").map(|sym| *sym)?;
        let rbd_aio_read = __library.get(b"rbd_aio_read\0").map(|sym| *sym)?;
        let rbd_aio_write_zeroes = __library.get(b"rbd_aio_write_zeroes\0").map(|sym| *sym)?;
        let rbd_aio_create_completion = __library.get(b"rbd_aio_create_completion\0").map(|sym| *sym)?;
        let rbd_aio_get_return_value = __library.get(b"rbd_aio_get_return_value\0").map(|sym| *sym)?;
        let rbd_aio_release = __library.get(b"rbd_aio_release\0").map(|sym| *sym)?;
        let rbd_aio_flush = __library.get(b"rbd_aio_flush\0").map(|sym| *sym)?;
        let rbd_metadata_get = __library.get(b"rbd_metadata_get\0").map(|sym| *sym)?;
        let rbd_metadata_set = __library.get(b"rbd_metadata_set\0").map(|sym| *sym)?;
        let rbd_metadata_remove = __library.get(b"rbd_metadata_remove\0").map(|sym| *sym)?;
        let rbd_metadata_list = __library.get(b"rbd_metadata_list\0").map(|sym| *sym)?;
        let rbd_update_watch = __library.get(b"rbd_update_watch\0").map(|sym| *sym)?;
        let rbd_update_unwatch = __library.get(b"rbd_update_unwatch\0").map(|sym| *sym)?;
        let rbd_watchers_list = __library.get(b"rbd_watchers_list\0").map(|sym| *sym)?;
        let rbd_watchers_list_cleanup = __library.get(b"rbd_watchers_list_cleanup\0").map(|sym| *sym)?;
        let rbd_config_image_list = __library.get(b"rbd_config_image_list\0").map(|sym| *sym)?;
        let rbd_config_image_list_cleanup = __library.get(b"rbd_config_image_list_cleanup\0").map(|sym| *sym)?;
        let rbd_namespace_exists = __library.get(b"rbd_namespace_exists\0").map(|sym| *sym)?;
        Ok(Ceph {
            __library,
            rados_create2,
            rados_connect,
            rados_shutdown,
            rados_conf_read_file,
            rados_conf_set,
            rados_cluster_stat,
            rados_cluster_fsid,
            rados_wait_for_latest_osdmap,
            rados_ioctx_create,
            rados_ioctx_destroy,
            rados_ioctx_get_id,
            rados_ioctx_set_namespace,
            rados_nobjects_list_open,
            rados_nobjects_list_next,
            rados_nobjects_list_close,
            rados_aio_create_completion2,
            rados_aio_get_return_value,
            rados_aio_release,
            rados_aio_write,
            rados_aio_write_full,
            rados_aio_remove,
            rados_aio_read,
            rados_aio_stat,
            rados_aio_exec,
            rados_lock_exclusive,
            rados_list_lockers,
            rados_break_lock,
            rados_blocklist_add,
            rados_getaddrs,
            rados_set_pool_full_try,
            rados_buffer_free,
            rbd_version,
            rbd_image_options_create,
            rbd_image_options_destroy,
            rbd_image_options_set_uint64,
            rbd_image_spec_list_cleanup,
            rbd_list2,
            rbd_create4,
            rbd_remove,
            rbd_open,
            rbd_open_read_only,
            rbd_close,
            rbd_resize,
            rbd_stat,
            rbd_get_size,
            rbd_get_features,
            rbd_get_stripe_unit,
            rbd_get_stripe_count,
            rbd_get_overlap,
            rbd_get_id,
            rbd_get_flags,
            rbd_is_exclusive_lock_owner,
            rbd_lock_acquire,
            rbd_lock_release,
            rbd_lock_get_owners,
            rbd_lock_get_owners_cleanup,
            rbd_lock_break,
            rbd_snap_list,
            rbd_snap_list_end,
            rbd_snap_create2,
            rbd_snap_remove,
            rbd_snap_remove_by_id,
            rbd_snap_rollback,
            rbd_snap_rename,
            rbd_snap_protect,
            rbd_snap_unprotect,
            rbd_snap_is_protected,
            rbd_snap_get_limit,
            rbd_snap_set,
            rbd_snap_set_by_id,
            rbd_snap_get_id,
            rbd_snap_get_namespace_type,
            rbd_list_lockers,
            rbd_diff_iterate2,
            rbd_aio_write,
            rbd_aio_writev,
            rbd_aio_read,
            rbd_aio_write_zeroes,
            rbd_aio_create_completion,
            rbd_aio_get_return_value,
            rbd_aio_release,
            rbd_aio_flush,
            rbd_metadata_get,
            rbd_metadata_set,
            rbd_metadata_remove,
            rbd_metadata_list,
            rbd_update_watch,
            rbd_update_unwatch,
            rbd_watchers_list,
            rbd_watchers_list_cleanup,
            rbd_config_image_list,
            rbd_config_image_list_cleanup,
            rbd_namespace_exists,
        })
    }
    pub unsafe fn rados_create2(
        &self,
        pcluster: *mut rados_t,
        clustername: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        flags: u64,
    ) -> ::std::os::raw::c_int {
        (self.rados_create2)(pcluster, clustername, name, flags)
    }
    pub unsafe fn rados_connect(&self, cluster: rados_t) -> ::std::os::raw::c_int {
        (self.rados_connect)(cluster)
    }
    pub unsafe fn rados_shutdown(&self, cluster: rados_t) {
        (self.rados_shutdown)(cluster)
    }
    pub unsafe fn rados_conf_read_file(
        &self,
        cluster: rados_t,
        path: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rados_conf_read_file)(cluster, path)
    }
    pub unsafe fn rados_conf_set(
        &self,
        cluster: rados_t,
        option: *const ::std::os::raw::c_char,
        value: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rados_conf_set)(cluster, option, value)
    }
    pub unsafe fn rados_cluster_stat(
        &self,
        cluster: rados_t,
        result: *mut rados_cluster_stat_t,
    ) -> ::std::os::raw::c_int {
        (self.rados_cluster_stat)(cluster, result)
    }
    pub unsafe fn rados_cluster_fsid(
        &self,
        cluster: rados_t,
        buf: *mut ::std::os::raw::c_char,
        len: usize,
    ) -> ::std::os::raw::c_int {
        (self.rados_cluster_fsid)(cluster, buf, len)
    }
    pub unsafe fn rados_wait_for_latest_osdmap(&self, cluster: rados_t) -> ::std::os::raw::c_int {
        (self.rados_wait_for_latest_osdmap)(cluster)
    }
    pub unsafe fn rados_ioctx_create(
        &self,
        cluster: rados_t,
        pool_name: *const ::std::os::raw::c_char,
        ioctx: *mut rados_ioctx_t,
    ) -> ::std::os::raw::c_int {
        (self.rados_ioctx_create)(cluster, pool_name, ioctx)
    }
    pub unsafe fn rados_ioctx_destroy(&self, io: rados_ioctx_t) {
        (self.rados_ioctx_destroy)(io)
    }
    pub unsafe fn rados_ioctx_get_id(&self, io: rados_ioctx_t) -> i64 {
        (self.rados_ioctx_get_id)(io)
    }
    pub unsafe fn rados_ioctx_set_namespace(&self, io: rados_ioctx_t, nspace: *const ::std::os::raw::c_char) {
        (self.rados_ioctx_set_namespace)(io, nspace)
    }
    pub unsafe fn rados_nobjects_list_open(
        &self,
        io: rados_ioctx_t,
        ctx: *mut rados_list_ctx_t,
    ) -> ::std::os::raw::c_int {
        (self.rados_nobjects_list_open)(io, ctx)
    }
    pub unsafe fn rados_nobjects_list_next(
        &self,
        ctx: rados_list_ctx_t,
        entry: *mut *const ::std::os::raw::c_char,
        key: *mut *const ::std::os::raw::c_char,
        nspace: *mut *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rados_nobjects_list_next)(ctx, entry, key, nspace)
    }
    pub unsafe fn rados_nobjects_list_close(&self, ctx: rados_list_ctx_t) {
        (self.rados_nobjects_list_close)(ctx)
    }
    pub unsafe fn rados_aio_create_completion2(
        &self,
        cb_arg: *mut ::std::os::raw::c_void,
        cb_complete: rados_callback_t,
        pc: *mut rados_completion_t,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_create_completion2)(cb_arg, cb_complete, pc)
    }
    pub unsafe fn rados_aio_get_return_value(&self, c: rados_completion_t) -> ::std::os::raw::c_int {
        (self.rados_aio_get_return_value)(c)
    }
    pub unsafe fn rados_aio_release(&self, c: rados_completion_t) {
        (self.rados_aio_release)(c)
    }
    pub unsafe fn rados_aio_write(
        &self,
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        buf: *const ::std::os::raw::c_char,
        len: usize,
        off: u64,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_write)(io, oid, completion, buf, len, off)
    }
    pub unsafe fn rados_aio_write_full(
        &self,
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        buf: *const ::std::os::raw::c_char,
        len: usize,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_write_full)(io, oid, completion, buf, len)
    }
    pub unsafe fn rados_aio_remove(
        &self,
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_remove)(io, oid, completion)
    }
    pub unsafe fn rados_aio_read(
        &self,
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        buf: *mut ::std::os::raw::c_char,
        len: usize,
        off: u64,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_read)(io, oid, completion, buf, len, off)
    }
    pub unsafe fn rados_aio_stat(
        &self,
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        psize: *mut u64,
        pmtime: *mut time_t,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_stat)(io, o, completion, psize, pmtime)
    }
    pub unsafe fn rados_aio_exec(
        &self,
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        completion: rados_completion_t,
        cls: *const ::std::os::raw::c_char,
        method: *const ::std::os::raw::c_char,
        in_buf: *const ::std::os::raw::c_char,
        in_len: usize,
        buf: *mut ::std::os::raw::c_char,
        out_len: usize,
    ) -> ::std::os::raw::c_int {
        (self.rados_aio_exec)(io, o, completion, cls, method, in_buf, in_len, buf, out_len)
    }
    pub unsafe fn rados_lock_exclusive(
        &self,
        io: rados_ioctx_t,
        oid: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        cookie: *const ::std::os::raw::c_char,
        desc: *const ::std::os::raw::c_char,
        duration: *mut timeval,
        flags: u8,
    ) -> ::std::os::raw::c_int {
        (self.rados_lock_exclusive)(io, oid, name, cookie, desc, duration, flags)
    }
    pub unsafe fn rados_list_lockers(
        &self,
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        exclusive: *mut ::std::os::raw::c_int,
        tag: *mut ::std::os::raw::c_char,
        tag_len: *mut usize,
        clients: *mut ::std::os::raw::c_char,
        clients_len: *mut usize,
        cookies: *mut ::std::os::raw::c_char,
        cookies_len: *mut usize,
        addrs: *mut ::std::os::raw::c_char,
        addrs_len: *mut usize,
    ) -> isize {
        (self.rados_list_lockers)(
            io,
            o,
            name,
            exclusive,
            tag,
            tag_len,
            clients,
            clients_len,
            cookies,
            cookies_len,
            addrs,
            addrs_len,
        )
    }
    pub unsafe fn rados_break_lock(
        &self,
        io: rados_ioctx_t,
        o: *const ::std::os::raw::c_char,
        name: *const ::std::os::raw::c_char,
        client: *const ::std::os::raw::c_char,
        cookie: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rados_break_lock)(io, o, name, client, cookie)
    }
    pub unsafe fn rados_blocklist_add(
        &self,
        cluster: rados_t,
        client_address: *mut ::std::os::raw::c_char,
        expire_seconds: u32,
    ) -> ::std::os::raw::c_int {
        (self.rados_blocklist_add)(cluster, client_address, expire_seconds)
    }
    pub unsafe fn rados_getaddrs(
        &self,
        cluster: rados_t,
        addrs: *mut *mut ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rados_getaddrs)(cluster, addrs)
    }
    pub unsafe fn rados_set_pool_full_try(&self, io: rados_ioctx_t) {
        (self.rados_set_pool_full_try)(io)
    }
    pub unsafe fn rados_buffer_free(&self, buf: *mut ::std::os::raw::c_char) {
        (self.rados_buffer_free)(buf)
    }
    pub unsafe fn rbd_version(
        &self,
        major: *mut ::std::os::raw::c_int,
        minor: *mut ::std::os::raw::c_int,
        extra: *mut ::std::os::raw::c_int,
    ) {
        (self.rbd_version)(major, minor, extra)
    }
    pub unsafe fn rbd_image_options_create(&self, opts: *mut rbd_image_options_t) {
        (self.rbd_image_options_create)(opts)
    }
    pub unsafe fn rbd_image_options_destroy(&self, opts: rbd_image_options_t) {
        (self.rbd_image_options_destroy)(opts)
    }
    pub unsafe fn rbd_image_options_set_uint64(
        &self,
        opts: rbd_image_options_t,
        optname: ::std::os::raw::c_int,
        optval: u64,
    ) -> ::std::os::raw::c_int {
        (self.rbd_image_options_set_uint64)(opts, optname, optval)
    }
    pub unsafe fn rbd_image_spec_list_cleanup(&self, images: *mut rbd_image_spec_t, num_images: usize) {
        (self.rbd_image_spec_list_cleanup)(images, num_images)
    }
    pub unsafe fn rbd_list2(
        &self,
        io: rados_ioctx_t,
        images: *mut rbd_image_spec_t,
        max_images: *mut usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_list2)(io, images, max_images)
    }
    pub unsafe fn rbd_create4(
        &self,
        io: rados_ioctx_t,
        name: *const ::std::os::raw::c_char,
        size: u64,
        opts: rbd_image_options_t,
    ) -> ::std::os::raw::c_int {
        (self.rbd_create4)(io, name, size, opts)
    }
    pub unsafe fn rbd_remove(&self, io: rados_ioctx_t, name: *const ::std::os::raw::c_char) -> ::std::os::raw::c_int {
        (self.rbd_remove)(io, name)
    }
    pub unsafe fn rbd_open(
        &self,
        io: rados_ioctx_t,
        name: *const ::std::os::raw::c_char,
        image: *mut rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_open)(io, name, image, snap_name)
    }
    pub unsafe fn rbd_open_read_only(
        &self,
        io: rados_ioctx_t,
        name: *const ::std::os::raw::c_char,
        image: *mut rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_open_read_only)(io, name, image, snap_name)
    }
    pub unsafe fn rbd_close(&self, image: rbd_image_t) -> ::std::os::raw::c_int {
        (self.rbd_close)(image)
    }
    pub unsafe fn rbd_resize(&self, image: rbd_image_t, size: u64) -> ::std::os::raw::c_int {
        (self.rbd_resize)(image, size)
    }
    pub unsafe fn rbd_stat(
        &self,
        image: rbd_image_t,
        info: *mut rbd_image_info_t,
        infosize: usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_stat)(image, info, infosize)
    }
    pub unsafe fn rbd_get_size(&self, image: rbd_image_t, size: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_get_size)(image, size)
    }
    pub unsafe fn rbd_get_features(&self, image: rbd_image_t, features: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_get_features)(image, features)
    }
    pub unsafe fn rbd_get_stripe_unit(&self, image: rbd_image_t, stripe_unit: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_get_stripe_unit)(image, stripe_unit)
    }
    pub unsafe fn rbd_get_stripe_count(&self, image: rbd_image_t, stripe_count: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_get_stripe_count)(image, stripe_count)
    }
    pub unsafe fn rbd_get_overlap(&self, image: rbd_image_t, overlap: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_get_overlap)(image, overlap)
    }
    pub unsafe fn rbd_get_id(
        &self,
        image: rbd_image_t,
        id: *mut ::std::os::raw::c_char,
        id_len: usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_get_id)(image, id, id_len)
    }
    pub unsafe fn rbd_get_flags(&self, image: rbd_image_t, flags: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_get_flags)(image, flags)
    }
    pub unsafe fn rbd_is_exclusive_lock_owner(
        &self,
        image: rbd_image_t,
        is_owner: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int {
        (self.rbd_is_exclusive_lock_owner)(image, is_owner)
    }
    pub unsafe fn rbd_lock_acquire(&self, image: rbd_image_t, lock_mode: rbd_lock_mode_t) -> ::std::os::raw::c_int {
        (self.rbd_lock_acquire)(image, lock_mode)
    }
    pub unsafe fn rbd_lock_release(&self, image: rbd_image_t) -> ::std::os::raw::c_int {
        (self.rbd_lock_release)(image)
    }
    pub unsafe fn rbd_lock_get_owners(
        &self,
        image: rbd_image_t,
        lock_mode: *mut rbd_lock_mode_t,
        lock_owners: *mut *mut ::std::os::raw::c_char,
        max_lock_owners: *mut usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_lock_get_owners)(image, lock_mode, lock_owners, max_lock_owners)
    }
    pub unsafe fn rbd_lock_get_owners_cleanup(
        &self,
        lock_owners: *mut *mut ::std::os::raw::c_char,
        lock_owner_count: usize,
    ) {
        (self.rbd_lock_get_owners_cleanup)(lock_owners, lock_owner_count)
    }
    pub unsafe fn rbd_lock_break(
        &self,
        image: rbd_image_t,
        lock_mode: rbd_lock_mode_t,
        lock_owner: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_lock_break)(image, lock_mode, lock_owner)
    }
    pub unsafe fn rbd_snap_list(
        &self,
        image: rbd_image_t,
        snaps: *mut rbd_snap_info_t,
        max_snaps: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_list)(image, snaps, max_snaps)
    }
    pub unsafe fn rbd_snap_list_end(&self, snaps: *mut rbd_snap_info_t) {
        (self.rbd_snap_list_end)(snaps)
    }
    pub unsafe fn rbd_snap_create2(
        &self,
        image: rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
        flags: u32,
        cb: librbd_progress_fn_t,
        cbdata: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_create2)(image, snap_name, flags, cb, cbdata)
    }
    pub unsafe fn rbd_snap_remove(
        &self,
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_remove)(image, snapname)
    }
    pub unsafe fn rbd_snap_remove_by_id(&self, image: rbd_image_t, snap_id: u64) -> ::std::os::raw::c_int {
        (self.rbd_snap_remove_by_id)(image, snap_id)
    }
    pub unsafe fn rbd_snap_rollback(
        &self,
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_rollback)(image, snapname)
    }
    pub unsafe fn rbd_snap_rename(
        &self,
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
        dstsnapsname: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_rename)(image, snapname, dstsnapsname)
    }
    pub unsafe fn rbd_snap_protect(
        &self,
        image: rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_protect)(image, snap_name)
    }
    pub unsafe fn rbd_snap_unprotect(
        &self,
        image: rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_unprotect)(image, snap_name)
    }
    pub unsafe fn rbd_snap_is_protected(
        &self,
        image: rbd_image_t,
        snap_name: *const ::std::os::raw::c_char,
        is_protected: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_is_protected)(image, snap_name, is_protected)
    }
    pub unsafe fn rbd_snap_get_limit(&self, image: rbd_image_t, limit: *mut u64) -> ::std::os::raw::c_int {
        (self.rbd_snap_get_limit)(image, limit)
    }
    pub unsafe fn rbd_snap_set(
        &self,
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_set)(image, snapname)
    }
    pub unsafe fn rbd_snap_set_by_id(&self, image: rbd_image_t, snap_id: u64) -> ::std::os::raw::c_int {
        (self.rbd_snap_set_by_id)(image, snap_id)
    }
    pub unsafe fn rbd_snap_get_id(
        &self,
        image: rbd_image_t,
        snapname: *const ::std::os::raw::c_char,
        snap_id: *mut u64,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_get_id)(image, snapname, snap_id)
    }
    pub unsafe fn rbd_snap_get_namespace_type(
        &self,
        image: rbd_image_t,
        snap_id: u64,
        namespace_type: *mut rbd_snap_namespace_type_t,
    ) -> ::std::os::raw::c_int {
        (self.rbd_snap_get_namespace_type)(image, snap_id, namespace_type)
    }
    pub unsafe fn rbd_list_lockers(
        &self,
        image: rbd_image_t,
        exclusive: *mut ::std::os::raw::c_int,
        tag: *mut ::std::os::raw::c_char,
        tag_len: *mut usize,
        clients: *mut ::std::os::raw::c_char,
        clients_len: *mut usize,
        cookies: *mut ::std::os::raw::c_char,
        cookies_len: *mut usize,
        addrs: *mut ::std::os::raw::c_char,
        addrs_len: *mut usize,
    ) -> isize {
        (self.rbd_list_lockers)(
            image,
            exclusive,
            tag,
            tag_len,
            clients,
            clients_len,
            cookies,
            cookies_len,
            addrs,
            addrs_len,
        )
    }
    pub unsafe fn rbd_diff_iterate2(
        &self,
        image: rbd_image_t,
        fromsnapname: *const ::std::os::raw::c_char,
        ofs: u64,
        len: u64,
        include_parent: u8,
        whole_object: u8,
        cb: ::std::option::Option<
            unsafe extern "C" fn(
                arg1: u64,
                arg2: usize,
                arg3: ::std::os::raw::c_int,
                arg4: *mut ::std::os::raw::c_void,
            ) -> ::std::os::raw::c_int,
        >,
        arg: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int {
        (self.rbd_diff_iterate2)(image, fromsnapname, ofs, len, include_parent, whole_object, cb, arg)
    }
    pub unsafe fn rbd_aio_write(
        &self,
        image: rbd_image_t,
        off: u64,
        len: usize,
        buf: *const ::std::os::raw::c_char,
        c: rbd_completion_t,
    ) -> ::std::os::raw::c_int {
        (self.rbd_aio_write)(image, off, len, buf, c)
    }
    pub unsafe fn rbd_aio_writev(
        &self,
        image: rbd_image_t,
        iov: *const iovec,
        iovcnt: ::std::os::raw::c_int,
        off: u64,
        c: rbd_completion_t,
    ) -> ::std::os::raw::c_int {
        (self.rbd_aio_writev)(image, iov, iovcnt, off, c)
    }
    pub unsafe fn rbd_aio_read(
        &self,
        image: rbd_image_t,
        off: u64,
        len: usize,
        buf: *mut ::std::os::raw::c_char,
        c: rbd_completion_t,
    ) -> ::std::os::raw::c_int {
        (self.rbd_aio_read)(image, off, len, buf, c)
    }
    pub unsafe fn rbd_aio_write_zeroes(
        &self,
        image: rbd_image_t,
        off: u64,
        len: usize,
        c: rbd_completion_t,
        zero_flags: ::std::os::raw::c_int,
        op_flags: ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int {
        (self.rbd_aio_write_zeroes)(image, off, len, c, zero_flags, op_flags)
    }
    pub unsafe fn rbd_aio_create_completion(
        &self,
        cb_arg: *mut ::std::os::raw::c_void,
        complete_cb: rbd_callback_t,
        c: *mut rbd_completion_t,
    ) -> ::std::os::raw::c_int {
        (self.rbd_aio_create_completion)(cb_arg, complete_cb, c)
    }
    pub unsafe fn rbd_aio_get_return_value(&self, c: rbd_completion_t) -> isize {
        (self.rbd_aio_get_return_value)(c)
    }
    pub unsafe fn rbd_aio_release(&self, c: rbd_completion_t) {
        (self.rbd_aio_release)(c)
    }
    pub unsafe fn rbd_aio_flush(&self, image: rbd_image_t, c: rbd_completion_t) -> ::std::os::raw::c_int {
        (self.rbd_aio_flush)(image, c)
    }
    pub unsafe fn rbd_metadata_get(
        &self,
        image: rbd_image_t,
        key: *const ::std::os::raw::c_char,
        value: *mut ::std::os::raw::c_char,
        val_len: *mut usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_metadata_get)(image, key, value, val_len)
    }
    pub unsafe fn rbd_metadata_set(
        &self,
        image: rbd_image_t,
        key: *const ::std::os::raw::c_char,
        value: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_metadata_set)(image, key, value)
    }
    pub unsafe fn rbd_metadata_remove(
        &self,
        image: rbd_image_t,
        key: *const ::std::os::raw::c_char,
    ) -> ::std::os::raw::c_int {
        (self.rbd_metadata_remove)(image, key)
    }
    pub unsafe fn rbd_metadata_list(
        &self,
        image: rbd_image_t,
        start: *const ::std::os::raw::c_char,
        max: u64,
        keys: *mut ::std::os::raw::c_char,
        key_len: *mut usize,
        values: *mut ::std::os::raw::c_char,
        vals_len: *mut usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_metadata_list)(image, start, max, keys, key_len, values, vals_len)
    }
    pub unsafe fn rbd_update_watch(
        &self,
        image: rbd_image_t,
        handle: *mut u64,
        watch_cb: rbd_update_callback_t,
        arg: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int {
        (self.rbd_update_watch)(image, handle, watch_cb, arg)
    }
    pub unsafe fn rbd_update_unwatch(&self, image: rbd_image_t, handle: u64) -> ::std::os::raw::c_int {
        (self.rbd_update_unwatch)(image, handle)
    }
    pub unsafe fn rbd_watchers_list(
        &self,
        image: rbd_image_t,
        watchers: *mut rbd_image_watcher_t,
        max_watchers: *mut usize,
    ) -> ::std::os::raw::c_int {
        (self.rbd_watchers_list)(image, watchers, max_watchers)
    }
    pub unsafe fn rbd_watchers_list_cleanup(&self, watchers: *mut rbd_image_watcher_t, num_watchers: usize) {
        (self.rbd_watchers_list_cleanup)(watchers, num_watchers)
    }
    pub unsafe fn rbd_config_image_list(
        &self,
        image: rbd_image_t,
        options: *mut rbd_config_option_t,
        max_options: *mut ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int {
        (self.rbd_config_image_list)(image, options, max_options)
    }
    pub unsafe fn rbd_config_image_list_cleanup(
        &self,
        options: *mut rbd_config_option_t,
        max_options: ::std::os::raw::c_int,
    ) {
        (self.rbd_config_image_list_cleanup)(options, max_options)
    }
    pub unsafe fn rbd_namespace_exists(
        &self,
        io: rados_ioctx_t,
        namespace_name: *const ::std::os::raw::c_char,
        exists: *mut bool,
    ) -> ::std::os::raw::c_int {
        (self.rbd_namespace_exists)(io, namespace_name, exists)
    }
}
