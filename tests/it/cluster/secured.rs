//! What is written into etcd or done to it by others.
