//! Answers of Keystone, for a short time and not too many.
//!
//! Only what was valid is kept: a token that is refused now may be good in a moment, and strangers could fill the cache with
//! what is not. When it is full of what still counts it is emptied: to know which was used last costs more than to ask again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::keystone::Token;

/// The digest of a token, and whether it was asked for with its expiry forgiven.
pub(super) type Key = ([u8; 32], bool);

#[derive(Debug)]
pub(super) struct Cache {
    lifetime: Duration,
    most: usize,
    known: Mutex<HashMap<Key, (Token, Instant)>>,
}

impl Cache {
    pub(super) fn new(lifetime: Duration, most: usize) -> Self {
        Self { lifetime, most, known: Mutex::default() }
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Token> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(_, until)| now < *until).map(|(token, _)| token.clone())
    }

    pub(super) fn put(&self, key: Key, token: Token, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() >= self.most {
            known.clear();
        }
        known.insert(key, (token, now + self.lifetime));
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::keystone::Named;

    fn token() -> Token {
        let user = Named { id: "u".to_owned(), name: "n".to_owned() };
        Token { expires: UNIX_EPOCH, user, project: None, roles: Vec::new() }
    }

    #[test]
    fn an_answer_counts_for_its_time() {
        let (cache, now) = (Cache::new(Duration::from_secs(60), 10), Instant::now());
        cache.put(([1; 32], false), token(), now);
        assert!(cache.get(&([1; 32], false), now + Duration::from_secs(59)).is_some());
        assert!(cache.get(&([1; 32], false), now + Duration::from_secs(60)).is_none());
        assert!(cache.get(&([1; 32], true), now).is_none(), "an expired token is another question");
    }

    #[test]
    fn there_are_never_more_than_it_may_have() {
        let (cache, now) = (Cache::new(Duration::from_secs(60), 3), Instant::now());
        for number in 0..20 {
            cache.put(([number; 32], false), token(), now + Duration::from_secs(u64::from(number) * 25));
            assert!(cache.known.lock().unwrap().len() <= 3);
            let now = now + Duration::from_secs(u64::from(number) * 25);
            assert!(cache.get(&([number; 32], false), now).is_some());
        }
        for number in 100..120 {
            cache.put(([number; 32], false), token(), now);
            assert!(cache.known.lock().unwrap().len() <= 3);
        }
    }
}
