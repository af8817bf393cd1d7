//! Who has which slot.

use super::SLOTS_MAX;

/// The slots of one memory. A slot is free, or the reader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    count: u32,
    /// One bit a slot that the reader has.
    held: u32,
}

impl Slots {
    /// All free. `count`: 1 to [`SLOTS_MAX`].
    pub fn new(count: u32) -> Self {
        Self { count: count.clamp(1, SLOTS_MAX), held: 0 }
    }

    /// Lends the reader a free slot; `None` while it has them all.
    pub fn lend(&mut self) -> Option<u32> {
        let slot = self.held.trailing_ones();
        (slot < self.count).then(|| self.held |= 1 << slot)?;
        Some(slot)
    }

    /// Takes a slot back. Whether the reader had it.
    pub fn take_back(&mut self, slot: u32) -> bool {
        let had = slot < self.count && self.held & (1 << slot) != 0;
        if had {
            self.held &= !(1 << slot);
        }
        had
    }

    /// Whether the reader has none.
    pub fn all_free(&self) -> bool {
        self.held == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_lent_once_until_it_comes_back() {
        let mut slots = Slots::new(2);
        assert_eq!([slots.lend(), slots.lend(), slots.lend()], [Some(0), Some(1), None]);
        assert!(slots.take_back(1));
        assert!(!slots.take_back(1), "twice");
        assert!(!slots.take_back(2) && !slots.take_back(u32::MAX), "there is no such slot");
        assert_eq!(slots.lend(), Some(1));
        assert!(slots.take_back(0) && slots.take_back(1) && slots.all_free());
    }

    #[test]
    fn there_may_be_sixteen() {
        let mut slots = Slots::new(SLOTS_MAX + 1);
        assert_eq!(std::iter::from_fn(|| slots.lend()).count(), 16);
    }
}
