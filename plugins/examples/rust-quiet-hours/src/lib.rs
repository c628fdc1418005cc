//! The policy `quiet-hours`: in business hours, no full copies of large volumes. A change since a common snapshot, and
//! what is small, is sent at any time.

use rsnap_plugin::policy::{Plan, Policy, Request};

const MILLISECONDS_PER_HOUR: u64 = 3_600_000;

/// The settings: the plugin's own table in the gateway's configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct QuietHours {
    /// The first quiet hour of each day, in UTC.
    from: u64,
    /// The first hour that is not quiet any more; smaller than `from` when the quiet hours go over midnight.
    until: u64,
    /// The largest volume, in bytes, that is copied in full in quiet hours.
    #[serde(default)]
    largest: u64,
}

impl QuietHours {
    fn is_quiet(&self, hour: u64) -> bool {
        if self.from <= self.until { (self.from..self.until).contains(&hour) } else { hour >= self.from || hour < self.until }
    }
}

impl Policy for QuietHours {
    fn check(&self) -> Result<(), String> {
        if self.from > 23 || self.until > 24 {
            return Err("from and until: must be hours of a day, such as from = 8 and until = 18".to_owned());
        }
        Ok(())
    }

    fn decide(&self, request: Request) -> Result<Plan, String> {
        if let Some((_, base)) = request.common().next() {
            return Ok(Plan::incremental(&base.id, format!("the target has {} with the same content", base.id)));
        }
        let hour = rsnap_plugin::now() / MILLISECONDS_PER_HOUR % 24;
        if self.is_quiet(hour) && request.wanted.size > self.largest {
            let Self { from, until, largest } = self;
            return Ok(Plan::refused(format!(
                "no full copies of more than {largest} bytes between {from}:00 and {until}:00 UTC; send it later"
            )));
        }
        Ok(Plan::full("no earlier snapshot is on the target, and the hour allows a full copy"))
    }
}

rsnap_plugin::export_policy!(QuietHours);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_may_go_over_midnight() {
        let (day, night) = (QuietHours { from: 8, until: 18, largest: 0 }, QuietHours { from: 22, until: 6, largest: 0 });
        assert_eq!([7, 8, 17, 18].map(|hour| day.is_quiet(hour)), [false, true, true, false]);
        assert_eq!([21, 22, 0, 5, 6].map(|hour| night.is_quiet(hour)), [false, true, true, true, false]);
    }
}
