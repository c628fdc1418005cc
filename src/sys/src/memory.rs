//! Memory that is free, back to the system.

/// Gives back what the allocator keeps of memory that nobody uses. Takes milliseconds, in which other threads may wait for
/// theirs.
///
/// The allocator keeps what was freed between pieces that are in use, in an arena for each of many threads, and by itself
/// gives back only what is free at an arena's end: after a burst of work a process stays as large as it was in it.
#[allow(unsafe_code, reason = "the allocator has no other interface for it")]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes no pointer, may be called by any thread at any time, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::fs;

    use super::*;

    fn resident() -> usize {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    fn what_lies_between_pieces_in_use_goes_back() {
        let mut pieces: Vec<Option<Vec<u8>>> = (0..20_000).map(|_| Some(vec![1; 8000])).collect();
        let full = resident();
        // One of a hundred stays, so that no arena has an end that is free.
        pieces.iter_mut().enumerate().filter(|(number, _)| number % 100 != 99).for_each(|(_, piece)| *piece = None);
        give_back();
        let left = resident();
        assert!(left + (100 << 20) < full, "{full} bytes, and {left} of them after giving back");
        assert_eq!(pieces.iter().flatten().count(), 200);
    }
}
