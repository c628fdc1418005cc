//! Memory that is free, back to the system.

/// Lets the allocator have as many arenas as threads can run at once, two at least, for the rest of the process. To be
/// called before there are threads.
///
/// By itself it has eight for each core, and keeps in each of them what was freed last: tens of megabytes after a burst
/// of work, which no call gives back.
#[allow(unsafe_code, reason = "the allocator has no other interface for it")]
pub fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let arenas = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
        // SAFETY: `mallopt` takes two numbers and may be called at any time; what it does not like it refuses.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, arenas);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn resident() -> usize {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    #[cfg_attr(not(target_env = "gnu"), ignore = "another allocator")]
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
