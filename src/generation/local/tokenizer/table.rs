//! Finds tokens and merges by what they are, without a copy of it.

use std::hash::{BuildHasher, RandomState};

/// Stands for the absence of a number.
pub const NONE: u32 = u32::MAX;

/// A hash table of numbers that stand for things stored elsewhere. The hashes are seeded, so nobody
/// can make a file whose tokens all collide.
pub struct NumberTable {
    /// At least twice as many as there are numbers, and a power of two.
    slots: Vec<Slot>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Part of the thing's hash, so that other things are rarely compared.
    tag: u32,
    number: u32,
}

impl NumberTable {
    pub fn with_room(count: usize) -> Self {
        let slots = vec![Slot { tag: 0, number: NONE }; (count * 2).next_power_of_two()];
        Self { slots, hasher: RandomState::new() }
    }

    /// Stores the number of a thing, in place of that of an equal thing.
    pub fn insert(&mut self, thing: &impl std::hash::Hash, number: u32, is: impl Fn(u32) -> bool) {
        let (tag, slot) = self.locate(thing, is);
        self.slots[slot] = Slot { tag, number };
    }

    /// The number of a thing; `is` says whether a number stands for it.
    pub fn find(&self, thing: &impl std::hash::Hash, is: impl Fn(u32) -> bool) -> Option<u32> {
        let (_, slot) = self.locate(thing, is);
        Some(self.slots[slot].number).filter(|&number| number != NONE)
    }

    /// The tag of a thing, and its slot, or the free one where it would be.
    fn locate(&self, thing: &impl std::hash::Hash, is: impl Fn(u32) -> bool) -> (u32, usize) {
        let hash = self.hasher.hash_one(thing);
        let (tag, mask) = ((hash >> 32) as u32, self.slots.len() - 1);
        let mut slot = hash as usize & mask;
        // At least half of the slots are free.
        loop {
            let Slot { tag: found, number } = self.slots[slot];
            if number == NONE || (found == tag && is(number)) {
                return (tag, slot);
            }
            slot = (slot + 1) & mask;
        }
    }
}
