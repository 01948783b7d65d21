//! How many boxes this process has at a time: two, for memory and cores are few.

use std::sync::{Condvar, Mutex, PoisonError};

static FREE: Mutex<usize> = Mutex::new(2);
static GIVEN_BACK: Condvar = Condvar::new();

/// The right to one box; dropped, it is another's.
pub struct BoxPermit(());

/// Waits until that many can be had at once.
pub fn take<const N: usize>() -> [BoxPermit; N] {
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = GIVEN_BACK.wait_while(free, |free| *free < N).unwrap_or_else(PoisonError::into_inner);
    *free -= N;
    std::array::from_fn(|_| BoxPermit(()))
}

impl Drop for BoxPermit {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        GIVEN_BACK.notify_all();
    }
}
