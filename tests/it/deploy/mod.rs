//! Gateways as operators run them: certificates that are renewed, service managers, balancers, restarts.

mod authority;
mod balancer;
mod certificates;
mod haproxy;
mod keystone;
mod rolling;
mod service;
mod site;
