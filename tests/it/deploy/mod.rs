//! Gateways as operators run them: certificates that are renewed, service managers, balancers, restarts.

pub mod authority;
mod balancer;
mod certificates;
mod examples;
mod haproxy;
mod keystone;
mod rolling;
mod service;
pub mod site;
