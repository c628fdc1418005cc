//! The store on a real cluster.

mod support;

use self::support::site;
use crate::image::cases::run_cases;

mod shared_cases {
    use super::*;
    run_cases!(site().bench());
}
