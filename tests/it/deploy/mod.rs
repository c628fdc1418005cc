//! Gateways as operators run them: certificates that are renewed, service managers, balancers, restarts.

mod authority;
mod certificates;
mod service;
