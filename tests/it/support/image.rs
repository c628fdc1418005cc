//! Images as plain bytes, and the streams that describe them: written by hand, so that they test our encoder too.

/// An image in memory, made by a replayable generator.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    pub bytes: Vec<u8>,
}

impl Image {
    pub fn random(size: usize, seed: u64) -> Self {
        let mut bytes = vec![0; size];
        fill(&mut bytes, seed);
        Self { bytes }
    }

    /// A copy with `count` changed ranges; every fourth one becomes zeroes.
    pub fn changed(&self, seed: u64, count: usize) -> Self {
        let mut image = self.clone();
        let mut state = seed;
        for number in 0..count {
            let start = next(&mut state) as usize % image.bytes.len();
            let end = (start + 1 + next(&mut state) as usize % 100_000).min(image.bytes.len());
            match number % 4 {
                3 => image.bytes[start..end].fill(0),
                _ => fill(&mut image.bytes[start..end], next(&mut state)),
            }
        }
        image
    }
}

/// The seed of a run, printed so that it can be replayed.
pub fn seed() -> u64 {
    let seed = std::env::var("RSNAP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::process::id().into());
    println!("replay with RSNAP_SEED={seed}");
    seed
}

pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    for chunk in bytes.chunks_mut(8) {
        let value = next(&mut state).to_le_bytes();
        chunk.copy_from_slice(&value[..chunk.len()]);
    }
}

/// An rbd-diff stream under construction.
pub struct Diff(pub Vec<u8>);

impl Diff {
    pub fn new(from: Option<&str>, to: Option<&str>, size: u64) -> Self {
        let mut diff = Self(b"rbd diff v1\n".to_vec());
        for (tag, name) in [(b'f', from), (b't', to)] {
            if let Some(name) = name {
                diff.0.push(tag);
                diff.0.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
                diff.0.extend(name.as_bytes());
            }
        }
        diff.0.push(b's');
        diff.0.extend(size.to_le_bytes());
        diff
    }

    pub fn write(mut self, offset: u64, bytes: &[u8]) -> Self {
        self.0.push(b'w');
        self.0.extend(offset.to_le_bytes());
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
        self
    }

    pub fn zero(mut self, offset: u64, length: u64) -> Self {
        self.0.push(b'z');
        self.0.extend(offset.to_le_bytes());
        self.0.extend(length.to_le_bytes());
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.push(b'e');
        self.0
    }

    /// The change from `old` to `new`, in extents that follow no alignment.
    pub fn between(from: Option<&str>, to: &str, old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut diff = Self::new(from, Some(to), new.len() as u64);
        let mut position = 0;
        while position < new.len() {
            let end = (position + 997).min(new.len());
            let piece = &new[position..end];
            if old.get(position..end) != Some(piece) {
                diff = if piece.iter().all(|byte| *byte == 0) {
                    diff.zero(position as u64, piece.len() as u64)
                } else {
                    diff.write(position as u64, piece)
                };
            }
            position = end;
        }
        diff.end()
    }

    pub fn full(to: &str, new: &[u8]) -> Vec<u8> {
        Self::between(None, to, &vec![0; new.len()], new)
    }

    /// What applying the stream to `old` gives.
    pub fn apply(stream: &[u8], old: &[u8]) -> Vec<u8> {
        let mut image = old.to_vec();
        let mut rest = stream.strip_prefix(b"rbd diff v1\n").unwrap();
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        loop {
            let (tag, after) = rest.split_first().unwrap();
            rest = match tag {
                b'f' | b't' => &after[4 + u32::from_le_bytes(after[..4].try_into().unwrap()) as usize..],
                b's' => {
                    image.resize(number(after), 0);
                    &after[8..]
                }
                b'z' => {
                    image[number(after)..][..number(&after[8..])].fill(0);
                    &after[16..]
                }
                b'w' => {
                    let length = number(&after[8..]);
                    image[number(after)..][..length].copy_from_slice(&after[16..16 + length]);
                    &after[16 + length..]
                }
                b'e' => {
                    assert!(after.is_empty());
                    return image;
                }
                other => panic!("tag {other}"),
            };
        }
    }
}

/// A snapshot of a chain: its name, the name and the bytes of the one before, its bytes.
pub type Link<'a> = (&'a str, Option<(&'a str, &'a [u8])>, &'a [u8]);

/// The chain stream as Ceph 16.2 writes it, with its one-byte protection status that declares eight.
pub fn rbd_export(links: &[Link<'_>]) -> Vec<u8> {
    let field = |tag: u8, value: u64| [&[tag][..], &8_u64.to_le_bytes(), &value.to_le_bytes()].concat();
    let name = |tag: u8, name: &str| {
        let length = name.len() as u32;
        [&[tag][..], &u64::from(length + 4).to_le_bytes(), &length.to_le_bytes(), name.as_bytes()].concat()
    };
    let mut stream = b"rbd image v2\n".to_vec();
    stream.extend(field(b'O', 22));
    stream.extend(field(b'T', 61));
    stream.extend(b"Erbd image diffs v2\n");
    stream.extend((links.len() as u64 + 1).to_le_bytes());
    for (to, from, bytes) in links {
        stream.extend(b"rbd diff v2\n");
        if let Some((from, _)) = from {
            stream.extend(name(b'f', from));
        }
        stream.extend(name(b't', to));
        stream.extend([&b"p"[..], &8_u64.to_le_bytes(), &[0]].concat());
        stream.extend(field(b's', bytes.len() as u64));
        let old = from.map_or_else(|| vec![0; bytes.len()], |(_, old)| old.to_vec());
        for (number, (piece, before)) in bytes.chunks(4096).zip(old.chunks(4096)).enumerate() {
            if piece != before {
                stream.push(b'w');
                stream.extend((16 + piece.len() as u64).to_le_bytes());
                stream.extend((number as u64 * 4096).to_le_bytes());
                stream.extend((piece.len() as u64).to_le_bytes());
                stream.extend(piece);
            }
        }
        stream.push(b'e');
    }
    let (last, _, bytes) = links.last().unwrap();
    stream.extend(b"rbd diff v2\n");
    stream.extend(name(b'f', last));
    stream.extend(field(b's', bytes.len() as u64));
    stream.push(b'e');
    stream
}
