"""Sends a file with tuspy, as its documentation shows it: URL, ticket, file, where URLs of uploads are kept, chunk."""

import sys

from tusclient import client
from tusclient.storage import filestorage

url, ticket, path, kept, chunk = sys.argv[1:]
tus = client.TusClient(url, headers={"Authorization": f"Bearer {ticket}"})
uploader = tus.uploader(
    path,
    chunk_size=int(chunk),
    metadata={"filename": "volume.raw"},
    retries=100,
    retry_delay=1,
    store_url=True,
    url_storage=filestorage.FileStorage(kept),
)
uploader.upload()
print(uploader.offset)
