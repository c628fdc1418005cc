//! What `verify` found, in words and tables.

use indicatif::BinaryBytes;

use super::table;
use crate::client::repair::Repaired;
use crate::client::verify::{Checked, Comparison, Extent, Extents, Side};

/// Extents that are shown; as JSON there are more.
const SHOWN: usize = 20;

pub(super) fn comparison(comparison: &Comparison) -> String {
    let Comparison { equal, one, other, extents, moved } = comparison;
    let header = ["", "SIZE", "CONTENT ROOT"].map(str::to_owned);
    let sides = table(&[header, side(one), side(other)]);
    let verdict = if *equal {
        "equal: both have the same content".to_owned()
    } else {
        format!("different in {}\n{}", count(extents), listed(extents))
    };
    format!("{sides}\n{verdict}\nexchanged {}", BinaryBytes(*moved))
}

pub(super) fn checked(checked: &Checked) -> String {
    let Checked { intact, side, read, extents } = checked;
    let verdict = if *intact {
        "intact: what is stored is what was committed".to_owned()
    } else {
        format!("damaged in {}\n{}", count(extents), listed(extents))
    };
    format!("snapshot {}\n{verdict}\nread {} there", side.name, BinaryBytes(*read))
}

fn side(side: &Side) -> [String; 3] {
    [side.name.clone(), BinaryBytes(side.size).to_string(), side.root.clone()]
}

fn count(extents: &Extents) -> String {
    let noun = if extents.count == 1 { "extent" } else { "extents" };
    format!("{} {noun}, {}", extents.count, BinaryBytes(extents.bytes))
}

fn listed(extents: &Extents) -> String {
    let mut rows = vec![["OFFSET", "LENGTH", ""].map(str::to_owned)];
    rows.extend(
        extents
            .extents
            .iter()
            .take(SHOWN)
            .map(|extent| [extent.offset.to_string(), extent.length.to_string(), detail(extent)]),
    );
    let more = extents.count.saturating_sub(SHOWN as u64);
    let note = if more > 0 { format!("\nand {more} more; --json lists more of them") } else { String::new() };
    table(&rows) + &note
}

fn detail(extent: &Extent) -> String {
    extent.damage.as_ref().map(|damage| damage.detail.clone()).unwrap_or_default()
}

pub(super) fn repaired(repaired: &Repaired) -> String {
    let Repaired { side, damaged, written, sent, unmendable } = repaired;
    let bytes = |value: u64| BinaryBytes(value).to_string();
    let share = 100.0 * *sent as f64 / side.size.max(1) as f64;
    let mended = match damaged {
        0 => "nothing was damaged".to_owned(),
        _ => format!("{} were damaged, {} of them wrong and written again", bytes(*damaged), bytes(*written)),
    };
    let left = match unmendable {
        0 => String::new(),
        left => format!("\n{} cannot be mended: the content tree is damaged there", bytes(*left)),
    };
    format!("snapshot {}\n{mended}{left}\nsent {} of {} ({share:.2} %)", side.name, bytes(*sent), bytes(side.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, root: &str) -> Side {
        Side { name: name.to_owned(), size: 1 << 20, root: root.to_owned() }
    }

    fn extents(count: u64) -> Extents {
        let extent = |number| Extent { offset: number * 131_072, length: 65_536, damage: None };
        let mut extents = Extents::default();
        (extents.extents, extents.count) = ((0..count).map(extent).collect(), count);
        extents.bytes = count * 65_536;
        extents
    }

    #[test]
    fn a_comparison_is_a_verdict_with_its_extents() {
        let (one, other) = (side("s of v at a:1", "r1"), side("disk.raw", "r2"));
        let differing = Comparison { equal: false, one, other, extents: extents(2), moved: 512 };
        assert_eq!(
            comparison(&differing),
            "               SIZE      CONTENT ROOT\n\
             s of v at a:1  1.00 MiB  r1\n\
             disk.raw       1.00 MiB  r2\n\
             different in 2 extents, 128.00 KiB\n\
             OFFSET  LENGTH\n\
             0       65536\n\
             131072  65536\n\
             exchanged 512 B"
        );
        let equal = Comparison { equal: true, extents: Extents::default(), ..differing };
        assert!(comparison(&equal).contains("\nequal: both have the same content\n"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let damaged = Checked { intact: false, side: side("s", "r"), read: 1 << 20, extents: extents(25) };
        let text = checked(&damaged);
        assert!(text.contains("damaged in 25 extents") && text.contains("and 5 more;"), "{text}");
        assert_eq!(text.lines().count(), 2 + 1 + SHOWN + 2);
    }
}
