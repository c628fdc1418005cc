//! An object store that dies: after a number of operations nothing works any more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Dying {
    inner: Arc<dyn ObjectStore>,
    /// Operations until death.
    left: Arc<AtomicI64>,
    /// The last one takes effect, and its answer is lost.
    loses_answer: bool,
    pub operations: AtomicU64,
    _folder: Option<tempfile::TempDir>,
}

impl Dying {
    pub(super) fn after(inner: &Arc<dyn ObjectStore>, operations: i64, loses_answer: bool) -> Self {
        let (left, operations) = (Arc::new(AtomicI64::new(operations)), AtomicU64::new(0));
        Self { inner: Arc::clone(inner), left, loses_answer, operations, _folder: None }
    }

    /// Never dies, and takes its directory with it when it is dropped.
    pub(super) fn never(inner: Arc<dyn ObjectStore>, folder: tempfile::TempDir) -> Self {
        Self { _folder: Some(folder), ..Self::after(&inner, i64::MAX, false) }
    }

    pub(super) fn has_died(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    fn dead() -> Error {
        Error::Generic { store: "dying", source: "the storage does not answer".into() }
    }

    /// Whether this operation is done, and whether its answer arrives.
    fn step(&self) -> (bool, bool) {
        self.operations.fetch_add(1, Ordering::SeqCst);
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        (left > 0 || left == 0 && self.loses_answer, left > 0)
    }

    async fn around<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let (is_done, is_answered) = self.step();
        let result = if is_done { work.await } else { Err(Self::dead()) };
        if is_answered { result } else { Err(Self::dead()) }
    }
}

impl fmt::Display for Dying {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "dying {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.around(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.around(self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.around(self.inner.get_opts(location, options)).await
    }

    /// One by one, so that it can die between two.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (left, inner) = (Arc::clone(&self.left), Arc::clone(&self.inner));
        let remove = move |location: Result<Path>| {
            let (left, inner) = (left.fetch_sub(1, Ordering::SeqCst), Arc::clone(&inner));
            async move {
                match left > 0 {
                    true => inner.delete(&location?).await.map(|()| Path::default()),
                    false => Err(Self::dead()),
                }
            }
        };
        locations.then(remove).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.step() {
            (_, true) => self.inner.list(prefix),
            _ => stream::iter([Err(Self::dead())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.around(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.around(self.inner.copy_opts(from, to, options)).await
    }
}
