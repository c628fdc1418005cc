//! The rules about transfers. Each uses volumes of its own.

use bytes::Bytes;

use super::super::{Stop, broken};
use super::Subject;
use super::content::{after, cut, data, image, random, zero};
use super::drive::{Sending, Until};
use crate::plugin::Piece;

/// Sizes of images: the smallest, whole blocks, and a byte more.
const SIZES: [usize; 4] = [1, 4096, 1_048_577, 2_500_001];
/// A long transfer: more small pieces than may be kept, in bytes or in number, and then nothing for long.
const LARGE: u64 = 1 << 40;
const SMALL: usize = 8192;
const SMALL_PIECES: u64 = 3000;

impl Subject {
    pub(super) async fn begins(&self) -> Result<(), Stop> {
        let pieces = [data(0, &random(5000, 1))];
        let send = Sending { volume: "begins", snapshot: "s1", size: 8192, base: None, pieces: &pieces };
        self.send_until(&send, "begins-1", Until::Begun).await.map(drop)
    }

    pub(super) async fn bytes(&self) -> Result<(), Stop> {
        for size in SIZES {
            let (volume, image) = (format!("bytes-{size}"), image(size));
            let pieces = cut(&image);
            let send = Sending { volume: &volume, snapshot: "s1", size: size as u64, base: None, pieces: &pieces };
            self.send(&send, &volume).await?;
            self.compare(&volume, "s1", &image).await?;
        }
        Ok(())
    }

    pub(super) async fn changes(&self) -> Result<(), Stop> {
        let base = random(2_500_001, 7);
        let full = [data(0, &base)];
        let volume = "changes";
        let size = base.len() as u64;
        self.send(&Sending { volume, snapshot: "base", size, base: None, pieces: &full }, "changes-0").await?;
        let scattered = vec![
            data(5, &random(9, 8)),
            zero(4096, 4096),
            data(100_000, &random(70_000, 9)),
            data(300_000, &vec![0; 10_000]),
            zero(1_048_576, 1_000_001),
        ];
        let end = vec![zero(2_400_000, 50_000), data(2_499_999, &random(2, 10))];
        let changes = [
            ("scattered", scattered, size),
            ("the end", end, size),
            ("shrunk", vec![], 1_500_000),
            ("grown", vec![], 3_000_000),
        ];
        for (number, (about, pieces, size)) in changes.into_iter().enumerate() {
            let snapshot = format!("change-{number}");
            let expected = after(&base, usize::try_from(size).unwrap_or_default(), &pieces);
            let send = Sending { volume, snapshot: &snapshot, size, base: Some("base"), pieces: &pieces };
            let told = |stop| in_change(about, stop);
            self.send(&send, &format!("changes-{snapshot}")).await.map_err(told)?;
            self.compare(volume, &snapshot, &expected).await.map_err(told)?;
            self.compare(volume, "base", &base).await.map_err(told)?;
        }
        Ok(())
    }

    pub(super) async fn snapshots_apart(&self) -> Result<(), Stop> {
        let contents = [random(5000, 11), random(5000, 12), random(5000, 13)];
        let snapshots = ["s1", "s2", "S1"];
        for (snapshot, content) in snapshots.iter().zip(&contents) {
            let pieces = [data(0, content)];
            let send = Sending { volume: "apart", snapshot, size: 5000, base: None, pieces: &pieces };
            self.send(&send, &format!("apart-{snapshot}")).await?;
        }
        for (snapshot, content) in snapshots.iter().zip(&contents) {
            self.compare("apart", snapshot, content).await?;
        }
        Ok(())
    }

    pub(super) async fn attempts(&self) -> Result<(), Stop> {
        let content = image(700_000);
        let pieces = cut(&content);
        let send = Sending { volume: "attempts", snapshot: "s1", size: 700_000, base: None, pieces: &pieces };
        let steps = [Until::Begun, Until::Pieces(1), Until::Pieces(pieces.len() / 2), Until::Flushed];
        for (number, until) in steps.into_iter().enumerate() {
            // The second time with the same arguments, as after an error or a restart.
            for _ in 0..2 {
                self.send_until(&send, &format!("attempts-{number}"), until).await?;
            }
            if !self.chain("attempts").await?.snapshots.is_empty() {
                return broken(format!("a transfer that was given up ({until:?}) left a snapshot"));
            }
        }
        let first = self.send(&send, "attempts-last").await?;
        let again = self.send(&send, "attempts-again").await?;
        if first != again {
            return broken("the same snapshot, sent again, is another one");
        }
        self.compare("attempts", "s1", &content).await?;
        self.same_names("attempts", "s1")
    }

    /// Holds the names of all attempts against each other.
    fn same_names(&self, volume: &str, snapshot: &str) -> Result<(), Stop> {
        let mut names: Vec<_> = self.stores.values().flat_map(|store| store.names_of(volume, snapshot)).collect();
        names.sort();
        names.dedup();
        match names.as_slice() {
            [one, other, ..] => broken(format!("it names one snapshot {one}, and in another attempt {other}")),
            _ => Ok(()),
        }
    }

    pub(super) async fn restart(&self) -> Result<(), Stop> {
        let base = random(1_200_000, 21);
        let volume = "restart";
        let size = base.len() as u64;
        let full = [data(0, &base)];
        self.send(&Sending { volume, snapshot: "restart-1", size, base: None, pieces: &full }, "restart-1").await?;
        let later = self.restarted().await?;
        later.compare(volume, "restart-1", &base).await?;
        let pieces = [data(600_000, &random(10, 22))];
        let send = Sending { volume, snapshot: "restart-2", size, base: Some("restart-1"), pieces: &pieces };
        later.send(&send, "restart-2").await?;
        let expected = after(&base, base.len(), &pieces);
        self.restarted().await?.compare(volume, "restart-2", &expected).await
    }

    pub(super) async fn bounds(&self) -> Result<(), Stop> {
        let block = Bytes::from(random(SMALL, 31));
        let small = |number: u64| Piece::Data { offset: number * SMALL as u64, bytes: block.clone() };
        let end = SMALL_PIECES * SMALL as u64;
        let pieces: Vec<Piece> = (0..SMALL_PIECES).map(small).chain([zero(end, LARGE - end)]).collect();
        let send = Sending { volume: "bounds", snapshot: "s1", size: LARGE, base: None, pieces: &pieces };
        self.send_until(&send, "bounds-1", Until::Flushed).await.map(drop)
    }
}

fn in_change(about: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Broken(text) => Stop::Broken(format!("in the change {about:?}: {text}")),
        skipped @ Stop::Skipped(_) => skipped,
    }
}
