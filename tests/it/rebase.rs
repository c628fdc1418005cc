//! Shows 4: the base is gone at the source, and the next copy is a rebase; its bytes beside those of a full copy.

use serde_json::Value;

use crate::support::{Gateway, Image, Options};
use crate::verify::{event, objects, toward};

const MIB: usize = 1 << 20;

struct Desk {
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(options: &Options) -> Self {
        Self { gateway: Gateway::start_with(options), folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// Runs a command in the folder of the images; gives the objects that it prints.
    fn run(&self, line: &str, code: i32) -> Vec<Value> {
        let mut command = toward(&self.gateway, line, None);
        command.current_dir(self.folder.path());
        objects(command, code)
    }

    fn restored(&self, snapshot: &str) -> Vec<u8> {
        self.run(&format!("restore back --force --volume v --snapshot {snapshot}"), 0);
        std::fs::read(self.folder.path().join("back")).unwrap()
    }
}

/// Some data in a lot of nothing.
fn image() -> Image {
    let mut image = Image { bytes: vec![0; 48 * MIB] };
    image.bytes[3 * MIB..19 * MIB].copy_from_slice(&Image::random(16 * MIB, 51).bytes);
    image
}

#[test]
fn a_base_that_was_deleted_at_the_source_costs_the_difference_and_not_a_full_copy() {
    let desk = Desk::new(&Options::default());
    let first = image();
    let mut second = first.clone();
    second.bytes[5 * MIB..5 * MIB + 100_000].fill(7);
    second.bytes[18 * MIB..19 * MIB].fill(0);
    second.bytes[40 * MIB] = 1;
    second.bytes.truncate(45 * MIB + 333);
    desk.file("one.raw", &first.bytes);
    desk.file("two.raw", &second.bytes);
    desk.run("send one.raw --volume v --snapshot s1", 0);
    std::fs::remove_file(desk.folder.path().join("one.raw")).unwrap();

    let plan = desk.run("plan two.raw --volume v --snapshot s2", 0);
    assert_eq!((&plan[0]["action"], &plan[0]["base"]["snapshot"]), (&"rebase".into(), &"s1".into()), "{plan:?}");
    let sent = desk.run("send two.raw --volume v --snapshot s2", 0);
    let (rebase, done) = (event(&sent, "rebase"), event(&sent, "done"));
    let (moved, full) = (done["moved"].as_u64().unwrap(), rebase["full"].as_u64().unwrap());
    println!("sent {moved} bytes; a full copy would have sent {full}");
    assert_eq!(full, 15 * MIB as u64 + 4096);
    assert!(moved < 400_000, "{done}");
    assert!(desk.restored("s2") == second.bytes && desk.restored("s1") == first.bytes);
    assert_eq!(desk.gateway.client().chain("v")["snapshots"][1]["base"], "s1");

    // In words: both numbers are there.
    let mut third = second.clone();
    third.bytes[4 * MIB] ^= 1;
    desk.file("three.raw", &third.bytes);
    let mut command = toward(&desk.gateway, "send three.raw --volume v --snapshot s3", None);
    let output = command.current_dir(desk.folder.path()).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("rebase on s2") && text.contains("in full it would be 15.00 MiB"), "{text}");
    assert!(desk.restored("s3") == third.bytes);
}

#[test]
fn chains_that_have_diverged_are_brought_together() {
    let desk = Desk::new(&Options::default());
    let ours = image();
    let theirs = ours.changed(52, 5);
    let next = ours.changed(53, 5);
    for (name, image) in [("ours", &ours), ("theirs", &theirs), ("next", &next)] {
        desk.file(name, &image.bytes);
    }
    desk.run("send theirs --volume v --snapshot s1", 0);
    // The source's own s1 has other content, which is noticed.
    let sent = desk.run("send next --volume v --snapshot s2 --base s1=ours", 0);
    assert_eq!(event(&sent, "plan")["action"], "rebase");
    assert!(desk.restored("s2") == next.bytes);
    let full = desk.run("send next --volume v --snapshot s3 --base s1=ours --full", 0);
    assert!(desk.restored("s3") == next.bytes, "{full:?}");
}

#[test]
fn who_cannot_compare_sends_in_full_and_so_does_who_is_told_to() {
    let desk = Desk::new(&Options::default());
    let (one, two) = (image(), image().changed(54, 3));
    desk.file("one", &one.bytes);
    desk.file("two", &two.bytes);
    desk.run("send one --volume v --snapshot s1", 0);
    let line = format!("send - --size {} --volume v --snapshot s2", two.bytes.len());
    let mut command = toward(&desk.gateway, &line, None);
    command.stdin(std::fs::File::open(desk.folder.path().join("two")).unwrap());
    assert_eq!(event(&objects(command, 0), "plan")["action"], "full");
    assert!(desk.restored("s2") == two.bytes);

    let extra = "[plugins.policy.settings]\nrebase = false".to_owned();
    let strict = Desk::new(&Options { extra, ..Options::default() });
    strict.file("one", &one.bytes);
    strict.file("two", &two.bytes);
    strict.run("send one --volume v --snapshot s1", 0);
    assert_eq!(event(&strict.run("send two --volume v --snapshot s2", 0), "plan")["action"], "full");
}
