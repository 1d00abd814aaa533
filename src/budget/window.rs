//! Finagle's retry budget: what calls put in is worth something for a while.

use std::time::Duration;

use super::tokens::{MANY, TOKEN, rate, thousandths};
use crate::{
    sync::{
        Padded,
        atomic::{AtomicU64, Ordering},
    },
    time,
};

/// In how many steps what was put in expires.
const SLOTS: usize = if cfg!(all(test, upstream_loom)) { 2 } else { 10 };

/// Each call puts in a part of a token, each retry takes one, and either counts for the time to
/// live. Beside that there is a reserve that is always there: so many retries a second, for that
/// time.
///
/// What came and went is counted in slots, one for each tenth of the time. The balance is the
/// reserve and the sum of the slots that are not over, in a word of its own, so that to look and to
/// take is one step. The first call after a slot is over takes what it holds out of the balance.
pub(super) struct TtlWindow {
    deposit: AtomicU64,
    capacity: AtomicU64,
    /// What is always there, in thousandths.
    reserve: AtomicU64,
    /// Nanoseconds of a slot.
    tick: AtomicU64,
    /// An `i64`. It is below zero where a token was spent just while it expired.
    balance: Padded<AtomicU64>,
    /// The last tick for which all that was over has been taken out.
    swept: AtomicU64,
    slots: [TickSlot; SLOTS],
}

/// The number of the tick that it counts for, and in the low half what came less what went, in
/// thousandths, as an `i32`.
struct TickSlot(AtomicU64);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    tick: u32,
    net: i32,
}

impl Held {
    fn of(word: u64) -> Self {
        Self { tick: (word >> 32) as u32, net: word as u32 as i32 }
    }

    fn word(self) -> u64 {
        u64::from(self.tick) << 32 | u64::from(self.net as u32)
    }

    /// Whether it still counts at `tick`.
    fn is_over(self, tick: u64) -> bool {
        tick.saturating_sub(self.tick.into()) >= SLOTS as u64
    }
}

impl TtlWindow {
    pub(super) fn new(ratio: f64, floor: f64, capacity: u32, ttl: Duration) -> Self {
        let window = Self {
            deposit: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
            tick: AtomicU64::new(tick_of(ttl)),
            balance: Padded(AtomicU64::new(0)),
            swept: AtomicU64::new(0),
            slots: std::array::from_fn(|_| TickSlot(AtomicU64::new(0))),
        };
        window.set(ratio, floor, capacity);
        window
    }

    /// Whether calls count for `ttl`.
    pub(super) fn has(&self, ttl: Duration) -> bool {
        self.tick() == tick_of(ttl)
    }

    /// Begins anew, with another time to live: for a window by which no call counts. One that looked
    /// at it long ago may still count a little in it, or make a slot useless for a while.
    pub(super) fn begin(&self, ttl: Duration) {
        // Relaxed, here and below: tokens are only counted, and each word by itself says all that is
        // to be known of it.
        self.tick.store(tick_of(ttl), Ordering::Relaxed);
        self.slots.iter().for_each(|slot| slot.0.store(0, Ordering::Relaxed));
        self.swept.store(0, Ordering::Relaxed);
        self.balance.store(self.reserve.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Other numbers, for what was counted.
    pub(super) fn set(&self, ratio: f64, floor: f64, capacity: u32) {
        let ttl = (self.tick() * SLOTS as u64) as f64 / 1e9;
        let reserve = ((rate(floor) * ttl).min(f64::from(MANY)) * TOKEN as f64).round() as u64;
        let capacity = (u64::from(capacity).clamp(1, MANY.into()) * TOKEN).max(reserve);
        self.deposit.store(thousandths(ratio), Ordering::Relaxed);
        self.capacity.store(capacity, Ordering::Relaxed);
        let before = self.reserve.swap(reserve, Ordering::Relaxed);
        self.balance.fetch_add(reserve.wrapping_sub(before), Ordering::Relaxed);
    }

    #[inline]
    fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn deposit(&self, now: u64) {
        let tick = self.sweep(now);
        let deposit = self.deposit.load(Ordering::Relaxed);
        let capacity = self.capacity.load(Ordering::Relaxed) as i64;
        if self.balance() < capacity && self.count(tick, deposit as i32) {
            self.balance.fetch_add(deposit, Ordering::Relaxed);
        }
    }

    pub(super) fn withdraw(&self, now: u64) -> bool {
        let tick = self.sweep(now);
        let taken = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
            ((balance as i64) >= TOKEN as i64).then(|| balance.wrapping_sub(TOKEN))
        });
        if taken.is_err() {
            return false;
        }
        if !self.count(tick, -(TOKEN as i32)) {
            // It took so long to get here that it would be over by now.
            self.balance.fetch_add(TOKEN, Ordering::Relaxed);
        }
        true
    }

    pub(super) fn available(&self, now: u64) -> u32 {
        self.sweep(now);
        u32::try_from(self.balance() / TOKEN as i64).unwrap_or(0)
    }

    fn balance(&self) -> i64 {
        self.balance.load(Ordering::Relaxed) as i64
    }

    /// Takes out of the balance what is over, once for each tick. Gives the tick.
    #[inline]
    fn sweep(&self, now: u64) -> u64 {
        let tick = now / self.tick();
        if self.swept.load(Ordering::Relaxed) < tick {
            self.take_out(tick);
        }
        tick
    }

    #[cold]
    fn take_out(&self, tick: u64) {
        for slot in &self.slots {
            // The thread that empties a slot takes its tokens out, and no other.
            let emptied = slot.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let held = Held::of(word);
                (held.net != 0 && held.is_over(tick)).then(|| Held { net: 0, ..held }.word())
            });
            if let Ok(word) = emptied {
                self.expire(Held::of(word));
            }
        }
        // After the slots: what finds it done finds them empty, or being emptied.
        self.swept.fetch_max(tick, Ordering::Relaxed);
    }

    /// Counts in the slot of `tick`. Not if that has been taken for a later one.
    fn count(&self, tick: u64, amount: i32) -> bool {
        let slot = &self.slots[(tick % SLOTS as u64) as usize];
        let mut over = None;
        let counted = slot.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let held = Held::of(word);
            over = None;
            let now = Held { tick: tick as u32, net: amount };
            match u64::from(held.tick).cmp(&tick) {
                std::cmp::Ordering::Greater => None,
                std::cmp::Ordering::Equal => {
                    Some(Held { net: held.net.saturating_add(amount), ..held }.word())
                }
                std::cmp::Ordering::Less => {
                    over = Some(held);
                    Some(now.word())
                }
            }
        });
        if let (Ok(_), Some(over)) = (counted, over) {
            self.expire(over);
        }
        counted.is_ok()
    }

    fn expire(&self, held: Held) {
        // Wrapping is how a negative number is added to an unsigned word.
        self.balance.fetch_sub(i64::from(held.net) as u64, Ordering::Relaxed);
    }
}

/// A tenth of a time to live, which is from 1 s to 60 s.
fn tick_of(ttl: Duration) -> u64 {
    let ttl = ttl.clamp(Duration::from_secs(1), Duration::from_secs(60));
    (time::nanos(ttl) / SLOTS as u64).max(1)
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use loom::thread;

    const SECOND: u64 = 1_000_000_000;

    /// The balance is what the slots hold: nothing was made of nothing, and nothing was lost.
    fn assert_whole(window: &TtlWindow, reserve: i64) {
        let held: i64 = window
            .slots
            .iter()
            .map(|slot| i64::from(Held::of(slot.0.load(Ordering::Relaxed)).net))
            .sum();
        assert_eq!(window.balance(), reserve * TOKEN as i64 + held);
    }

    #[test]
    fn loom_of_two_who_want_the_last_token_one_gets_it() {
        loom::model(|| {
            let window = Arc::new(TtlWindow::new(0.0, 1.0, 1, Duration::from_secs(1)));
            let other = window.clone();
            let theirs = thread::spawn(move || other.withdraw(0));
            let ours = window.withdraw(0);
            assert!(ours ^ theirs.join().unwrap());
            assert_whole(&window, 1);
        });
    }

    #[test]
    fn loom_what_expires_while_calls_come_is_taken_out_once() {
        loom::model(|| {
            let window = Arc::new(TtlWindow::new(1.0, 0.0, 10, Duration::from_secs(1)));
            window.deposit(0);
            let other = window.clone();
            // One second on, what came at first is over.
            let thread = thread::spawn(move || other.deposit(SECOND));
            window.deposit(SECOND);
            thread.join().unwrap();
            assert_whole(&window, 0);
            assert_eq!(window.available(SECOND), 2);
        });
    }

    #[test]
    fn loom_of_what_expires_at_most_what_was_there_is_spent() {
        loom::model(|| {
            let window = Arc::new(TtlWindow::new(1.0, 0.0, 10, Duration::from_secs(1)));
            window.deposit(0);
            let other = window.clone();
            let thread = thread::spawn(move || u32::from(other.withdraw(SECOND)));
            let ours = u32::from(window.withdraw(0));
            assert!(ours + thread.join().unwrap() <= 1);
            assert_whole(&window, 0);
            // What came late is taken out when its slot is used again.
            window.deposit(SECOND);
            assert_whole(&window, 0);
        });
    }
}

#[cfg(all(test, not(upstream_loom)))]
#[path = "window_tests.rs"]
mod tests;
